"""Which exemplars a series takes from its points, and what their labels say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from otel_prom_bridge.arithmetic.histograms import by_time
from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.families import Exemplar
from otel_prom_bridge.points import SourcePoint, plain
from otel_prom_bridge.translate.exemplars import exemplar
from otel_prom_bridge.views.computations import Outcome
from otel_prom_bridge.views.exemplars import Exemplars, Order
from otel_prom_bridge.views.mapping import AttributeMap

_outcome = Outcome()


class Shift:
    """By how many ``seconds`` the clock of the source that is taken in was set back since that began."""

    seconds = 0.0


class SetClock:
    """By how many seconds a source's clock was set back, as the times of its collections say it.

    What comes later is decided by time, and that must not depend on somebody who sets the clock. A clock
    that is set forward does no harm: what came before looks older than it is. ``clock`` is what these times
    are compared with. Without one, a batch may have been under way for any time, and only a time before that
    of the last batch counts. ``shift`` is what is known before the first one.
    """

    _NOTICED = 1.0  # seconds; less may be the time that a batch takes from the SDK to us

    def __init__(self, *, clock: Callable[[], float] | None = monotonic, shift: float = 0.0) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None
        self.shift = shift

    def look(self, unix_nano: int) -> None:
        """Compare the time of a collection with that of the one before."""
        now, seconds = 0.0 if self._clock is None else self._clock(), unix_nano / 1e9
        if self._last is not None:
            passed, said = now - self._last[0], seconds - self._last[1]
            if passed - said > self._NOTICED:
                self.shift += passed - said
        self._last = (now, seconds)


class Turn(NamedTuple):
    """When a series may take its next exemplar.

    ``since`` is that time in seconds since the epoch, by a clock that nobody set back. ``of`` is the time of
    the collection that brought the last exemplars, in nanoseconds, and ``rank`` the rank of the best of
    them.
    """

    since: float = 0.0
    of: int = 0
    rank: tuple[float, ...] = ()


NO_TURN = Turn()  # of a series that has taken none yet


class ExemplarIntake:
    """Takes exemplars for the series of one view of one stream, as ``policy`` says.

    ``attributes`` says which attributes that are no labels of a series may be seen in its exemplars. With
    ``escape`` the names of their labels are translated. ``held`` is the number of exemplars that the series
    keep together; they count it up and down themselves. ``shift`` is added to the times of points.
    """

    def __init__(self, policy: Exemplars, attributes: AttributeMap, *, escape: bool, shift: Shift) -> None:
        self._policy = policy
        self._attributes = attributes
        self._escape = escape
        self.held = 0
        self._shift = shift

    def taken(self, point: SourcePoint, turn: Turn, *, overflowed: bool) -> tuple[list[Exemplar], Turn]:
        """The exemplars of the point that a series compares with its own, and when its next turn is.

        ``overflowed`` says that the series is the one past a limit, which shows none of the point's
        attributes.
        """
        policy = self._policy
        latest = max(item.time_unix_nano for item in point.exemplars) / 1e9 + self._shift.seconds
        waits = latest < turn.since
        if waits and not policy.may_pass(point.time_unix_nano == turn.of):
            return [], turn
        result = self._labelled(point, overflowed=overflowed)
        if not policy.interval:
            return result, turn
        rank = policy.rank(latest)
        # For each exemplar that it takes, a series waits once: so a histogram can take those of many buckets.
        result = sorted(result, key=policy.order(latest))[-policy.at_once :]
        since = turn.since
        if waits:
            result = [item for item in result if rank(item) > turn.rank]
        else:
            since = latest + policy.interval * len(result)
        if not result:
            return result, turn._replace(since=since)
        return result, Turn(since, point.time_unix_nano, max(map(rank, result)))

    def order(self, exemplars: Sequence[Exemplar]) -> Order:
        """How these exemplars compare; the greatest one is kept."""
        return self._policy.order(max(by_time(item)[0] for item in exemplars))

    def _labelled(self, point: SourcePoint, *, overflowed: bool) -> list[Exemplar]:
        attributes = plain(point.attributes)
        extra = self._attributes.exemplar_attributes(attributes, overflowed=overflowed)
        result = []
        for source in point.exemplars:
            filtered = source.filtered_attributes or {}  # what an SDK View left out of the point
            left_out = self._attributes.exemplar_attributes(filtered, overflowed=True)
            shown = self._policy.chosen({**extra, **left_out})
            item = exemplar(source, shown, escape=self._escape)
            if self._policy.keep == "error" and _failed({**attributes, **filtered}):
                item = item._replace(failed=True)
            if self._shift.seconds:
                item = item._replace(shift=self._shift.seconds)
            result.append(item)
        return result


def _failed(attributes: Mapping[str, object]) -> bool:
    return _outcome(attributes) == _outcome.error
