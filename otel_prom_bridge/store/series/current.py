"""Series of current values, of which each source has its part.

A source says its part anew with each collection, and takes it along when it ends. What is shown is all parts
together: their sum or, of gauges, what the view wants (``ExportView.workers``). They are joined when the
series is shown, however many sources have said something since the last time.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from otel_prom_bridge.arithmetic.histograms import native_sum, total
from otel_prom_bridge.arithmetic.merging import merged
from otel_prom_bridge.families import HistogramPoint, Kind, Labels, NativeHistogramPoint, Point
from otel_prom_bridge.points import BucketPoint, ExponentialPoint, NumberPoint, Source
from otel_prom_bridge.store.series.base import Series, Traits, added, plain
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import NumberSeries
from otel_prom_bridge.translate.labels import attribute_identity

# Whose part it is that sources left behind when they ended.
ENDED = None


class Current(Series):
    """What all series of current values have in common.

    ``parts`` holds what each source says, and under ``ENDED`` what is kept of sources that are no more.
    """

    __slots__ = ()  # only one base of a class may have any, so each class below has "parts"
    parts: dict[Source | None, Any]

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self.parts = {}  # type: ignore[misc]

    @property
    def is_level(self) -> bool:
        """Whether what ended sources left in it says how much of something there is."""
        return ENDED in self.parts and self.traits.stream.meaning.kind is Kind.GAUGE

    def leave(self, source: Source, *, collection: int, ended: bool) -> bool:
        """A source has no part in this any more; say whether there is something left to show.

        If it has ``ended``, what it added to a total stays, and so does what the view keeps.
        """
        part = self.parts.pop(source, None)
        if ended and part is not None and self._keeps_ended:
            self._leave_behind(part)
        if self.parts.keys() == {ENDED}:
            self.seen = collection
            return bool(self.parts[ENDED]) or not self.is_level or not self.traits.stream.meaning.additive
        return bool(self.parts)

    @property
    def _keeps_ended(self) -> bool:
        return self.traits.keeps_ended or self.traits.stream.meaning.kind is not Kind.GAUGE

    def _leave_behind(self, part: Any) -> None:
        before = self.parts.get(ENDED)
        self.parts[ENDED] = part if before is None else self._joined((before, part))

    def _put(self, source: Source, part: Any) -> bool:
        """Take the part of a source; say whether it is another one than before."""
        parts = self.parts
        if source in parts and parts[source] == part:
            return False
        parts[source] = part
        self.seen = sys.maxsize  # as long as it has a part of a source
        return True

    @abstractmethod
    def _joined(self, parts: Collection[Any]) -> Any:
        """Several parts as one."""

    def _all(self) -> Any:
        """All parts as one."""
        parts = self.parts.values()
        return self._joined(parts) if len(parts) > 1 else next(iter(parts))


class CurrentNumber(Current, NumberSeries):
    """Current values that add up."""

    __slots__ = ("parts",)

    def replace(self, source: Source, points: Sequence[NumberPoint]) -> bool:
        """Take the current values of a source, which add up; say whether anything changed."""
        part, before = self._of(source, points), self.parts.get(source)
        if before is not None and part < before:
            # Only a counter shows when it began, and a counter that falls has begun again.
            self.created = points[-1].time_unix_nano / 1e9
        changed = self._put(source, part)
        for point in points:
            if point.exemplars:
                self._keep_exemplar(point)
                changed = True
        return changed

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a counter or gauge, of all parts together."""
        parts = self.parts
        if len(parts) == 1:  # as nearly always
            (self.value,) = parts.values()
        elif parts:
            self.value = self._joined(parts.values())
        return NumberSeries.freeze(self, labels, kind)

    def _of(self, source: Source, points: Sequence[NumberPoint]) -> float:
        """What a source says, of one or several attribute sets."""
        if len(points) == 1:
            return plain(points[0].value)
        return total(plain(point.value) for point in points)

    def _joined(self, parts: Collection[float]) -> float:
        return total(parts)


class GaugeSeries(CurrentNumber):
    """Current values of which each stands for itself.

    Where several attribute sets of one source became one series, its part is the value of the newest. The
    SDK reports a gauge at every collection, whether it was set since the last one or not, in the order in
    which attribute sets were seen first. So the newest is one of those whose value differs from the one
    before. Among these it is the latest by the times of the points, and then by their order. A gauge that was
    set to the value that it had already cannot be told from one that was not set.

    Of several sources, ``traits.workers`` says what is shown. Parts are in the order in which they changed,
    so the newest one is the last.
    """

    __slots__ = ("_news",)

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self._news: dict[Source, _News] = {}  # of sources that have several attribute sets here

    def leave(self, source: Source, *, collection: int, ended: bool) -> bool:
        """A source has no part in this any more; say whether there is something left to show."""
        self._news.pop(source, None)
        is_newest = next(reversed(self.parts), None) is source
        return super().leave(source, collection=collection, ended=ended and is_newest)

    @property
    def _keeps_ended(self) -> bool:
        return self.traits.keeps_ended and self.traits.workers == "newest"

    def _put(self, source: Source, part: float) -> bool:
        if source in self.parts and _is_same(self.parts[source], part):
            return False
        self.parts.pop(source, None)
        self.parts.pop(ENDED, None)  # it was the newest when it was kept
        return super()._put(source, part)

    def _of(self, source: Source, points: Sequence[NumberPoint]) -> float:
        if len(points) == 1:
            return plain(points[0].value)
        news = self._news.get(source)
        if news is None:
            news = self._news[source] = _News()
        return plain(news.newest_of(points).value)

    def _joined(self, parts: Collection[float]) -> float:
        workers = self.traits.workers
        if workers == "sum":
            return total(parts)
        if workers in ("max", "min"):
            known = [part for part in parts if part == part]  # NaN is no number that compares
            return (max if workers == "max" else min)(known, default=math.nan)
        return list(parts)[-1]


class _News:
    """Which of several current values of one source changed last."""

    __slots__ = ("_before", "_newest")

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._newest = ""

    def newest_of(self, points: Sequence[NumberPoint]) -> NumberPoint:
        before, keys = self._before, [attribute_identity(point.attributes or {}) for point in points]
        self._before = {key: point.value for key, point in zip(keys, points, strict=True)}
        found = dict(zip(keys, points, strict=True))
        new = [key for key, point in found.items() if not _is_same(before.get(key), point.value)]
        if new or self._newest not in found:
            self._newest = max(reversed(new or keys), key=lambda key: found[key].time_unix_nano)
        return found[self._newest]


def _is_same(one: float | None, other: float) -> bool:
    return one is other or one == other  # NaN is no news


class CurrentHistogram(Current, HistogramSeries):
    """Histograms with explicit bounds that say all of their observations each time."""

    __slots__ = ("parts",)
    _summed = staticmethod(added)  # what is said anew each time may be infinite

    def replace(self, source: Source, points: Sequence[BucketPoint]) -> bool:
        """Take the current values of a source; say whether anything changed."""
        exemplars = self.exemplars
        self._clear(points[0])
        for point in points:
            self.add(point)
        part = HistogramPoint((), self.bounds, self.counts, self.sum)
        return self._put(source, part) or exemplars != self.exemplars

    def _joined(self, parts: Collection[HistogramPoint]) -> HistogramPoint:
        return cast("HistogramPoint", merged(list(parts)))

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a histogram, of all parts together."""
        if self.parts:
            part = self._all()
            self.bounds, self.counts, self.sum = part.bounds, part.counts, part.sum
            self._keep(())
        return HistogramSeries.freeze(self, labels, kind)


class CurrentExponential(Current, ExponentialSeries):
    """Exponential histograms that say all of their observations each time."""

    __slots__ = ("parts",)
    _summed = staticmethod(added)  # what is said anew each time may be infinite

    def replace(self, source: Source, points: Sequence[ExponentialPoint]) -> bool:
        """Take the current values of a source; say whether anything changed."""
        exemplars = self.exemplars
        self._clear()
        for point in points:
            self.add(point)
        return self._put(source, self.native(())._replace(exemplars=())) or exemplars != self.exemplars

    def _joined(self, parts: Collection[NativeHistogramPoint]) -> NativeHistogramPoint:
        return native_sum(list(parts))

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a histogram, of all parts together."""
        if self.parts:
            part = self._all()
            self.schema, self.zero_count, self.sum = part.schema, part.zero_count, part.sum
            self.positive, self.negative = part.positive, part.negative
        return ExponentialSeries.freeze(self, labels, kind)
