"""What up-down counters and gauges stand at, where collections say only what was recorded since the last.

A hub has to be told all levels of a process again and again: what a process does not mention is gone there,
and a hub that was started anew knows nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.points import Stream
from otel_prom_bridge.store.keys import set_key
from otel_prom_bridge.store.series.base import total_of
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES


class Levels:
    """The levels of one stream, of ``limit`` attribute sets. Those past it have one level together.

    They are in the order in which they were set, since several may become one series.
    """

    def __init__(self, stream: Stream, *, limit: int, findings: Findings) -> None:
        self._stream = stream
        self._limit = limit
        self._findings = findings
        self._known: dict[Hashable, tuple[Mapping[str, object], float, int]] = {}

    def take(self, points: Iterable[Number]) -> None:
        """Take what was recorded since the last time."""
        for point in points:
            attributes, start = point.attributes, point.start_time_unix_nano or 0
            key = set_key(attributes)
            if key not in self._known and len(self._known) >= self._limit:
                attributes = OVERFLOW_ATTRIBUTES
                key = set_key(attributes)
            value = point.value
            if self._stream.meaning.additive:
                _, before, start = self._known.get(key, (None, 0, start))
                value = self._sum(before, point.value)
            else:
                self._known.pop(key, None)  # it becomes the last one
            self._known[key] = (attributes, value, start)

    def _sum(self, before: float, change: float) -> float:
        try:
            return total_of(before, change)
        except OverflowError as error:
            message = "instrument %r: what was recorded since the last push is left out: %s"
            self._findings.report(("total", self._stream), message, self._stream.name, error)
            return before

    def points(self, now: int) -> Sequence[Number]:
        """All levels, as they are now."""
        return [
            Number(attributes, value, (), start, now) for attributes, value, start in self._known.values()
        ]


def added_up(points: Sequence[Number]) -> Sequence[Number]:
    """Observations of sums, each attribute set once."""
    if len(points) < 2:
        return points
    found: dict[Hashable, Number] = {}
    for point in points:
        key = set_key(point.attributes)
        before = found.get(key)
        if before is not None:
            exemplars = [*before.exemplars, *point.exemplars]
            point = point._replace(value=before.value + point.value, exemplars=exemplars)
        found[key] = point
    return [*found.values()]
