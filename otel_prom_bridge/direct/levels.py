"""What a process says at each push, where collections say what is new, or say one thing in several parts.

A hub has to be told all levels of a process (up-down counters, gauges) again and again: what a process does
not mention is gone there, and a hub that was started anew knows nothing. Of what is observed it has to be
told one sum for each attribute set, since a total that is said twice would look like one that began anew.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.direct.given_attributes import MOST_CHARACTERS, size_of
from otel_prom_bridge.points import Stream, plain
from otel_prom_bridge.store.keys import set_key
from otel_prom_bridge.store.series.base import total_of
from otel_prom_bridge.views.mapped import OVERFLOW_ATTRIBUTES

_OVERFLOW = set_key(OVERFLOW_ATTRIBUTES)


class _Sets:
    """The attribute sets of one stream that are told apart: ``limit`` of them, which stay. Others are one."""

    def __init__(self, stream: Stream, *, limit: int, findings: Findings) -> None:
        self._stream = stream
        self._limit = limit
        self._findings = findings
        self._told_apart: set[Hashable] = set()
        self._characters = 0

    def _found(self, attributes: Mapping[str, object]) -> tuple[Mapping[str, object], Hashable]:
        key = set_key(attributes)
        if key in self._told_apart:
            return attributes, key
        if len(self._told_apart) >= self._limit or self._characters > MOST_CHARACTERS:
            return OVERFLOW_ATTRIBUTES, _OVERFLOW
        self._told_apart.add(key)
        self._characters += size_of(plain(attributes))
        return attributes, key

    def _sum(self, before: float, change: float) -> float:
        try:
            return total_of(before, change)
        except OverflowError as error:
            message = "instrument %r: what would make a sum infinite is not pushed: %s"
            self._findings.report(("total", self._stream), message, self._stream.name, error)
            return before


class Levels(_Sets):
    """The levels of one stream.

    They are in the order in which they were set, since several may become one series.
    """

    def __init__(self, stream: Stream, *, limit: int, findings: Findings) -> None:
        super().__init__(stream, limit=limit, findings=findings)
        self._known: dict[Hashable, tuple[Mapping[str, object], float, int]] = {}

    def take(self, points: Iterable[Number]) -> None:
        """Take what was recorded since the last time."""
        for point in points:
            attributes, key = self._found(point.attributes)
            value, start = point.value, point.start_time_unix_nano or 0
            if self._stream.meaning.additive:
                _, before, start = self._known.get(key, (None, 0, start))
                value = self._sum(before, point.value)
            else:
                self._known.pop(key, None)  # it becomes the last one
            self._known[key] = (attributes, value, start)

    def points(self, now: int) -> Iterator[Number]:
        """All levels, as they are now."""
        for attributes, value, start in self._known.values():
            yield Number(attributes, value, (), start, now)


class ObservedSums(_Sets):
    """What callbacks say of one stream whose observations add up."""

    def added_up(self, points: Iterable[Number]) -> Iterable[Number]:
        """The observations, each attribute set once."""
        found: dict[Hashable, Number] = {}
        for point in points:
            attributes, key = self._found(point.attributes)
            before = found.get(key)
            if before is not None:
                exemplars = [*before.exemplars, *point.exemplars]
                point = point._replace(value=self._sum(before.value, point.value), exemplars=exemplars)
            found[key] = point._replace(attributes=attributes)
        return found.values()
