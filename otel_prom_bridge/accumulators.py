"""The state of one series: what one stream has said so far about one attribute set.

A series knows nothing of names, labels or formats. That makes accumulating the step that cannot fail: a
delta that the SDK handed over is added here before anything is translated, so it is not lost, whatever
goes wrong later.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    Kind,
    Labels,
    Point,
)
from otel_prom_bridge.translate.exemplars import exemplar
from otel_prom_bridge.translate.points import BucketPoint, NumberPoint


class Series(ABC):
    """What the store asks of a series, whatever its points look like."""

    __slots__ = ("attributes", "changed", "seen", "slot", "stream", "updated")

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        self.stream = stream  # the store's record of the stream that this series belongs to
        self.attributes = attributes
        self.slot: Any = None  # the place in a family that shows this series, once it has one
        self.changed = False  # it waits to be shown anew
        self.seen = 0  # the collection that last had a point for this series
        self.updated = 0  # the collection that last changed it

    @abstractmethod
    def add(self, point: Any) -> None:
        """Add a delta."""

    @abstractmethod
    def replace(self, point: Any) -> bool:
        """Take the current value; say whether anything changed."""

    @abstractmethod
    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a point of a family."""

    @classmethod
    @abstractmethod
    def merge(cls, group: Sequence[Any], *, additive: bool) -> Series:
        """Several series that became one after translation: their sum, or the newest of them."""


class NumberSeries(Series):
    """A sum or a current value, with its newest exemplar."""

    __slots__ = ("exemplar", "value")

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        super().__init__(stream, attributes)
        self.value: float = 0
        self.exemplar: Exemplar | None = None

    def add(self, point: NumberPoint) -> None:
        """Add a delta."""
        self.value += plain(point.value)
        if point.exemplars:
            self._keep_exemplar(point)

    def replace(self, point: NumberPoint) -> bool:
        """Take the current value; say whether anything changed."""
        before, self.value = self.value, plain(point.value)
        if point.exemplars:
            self._keep_exemplar(point)
            return True
        return before != self.value

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a counter or gauge."""
        if kind is Kind.COUNTER:
            return CounterPoint(labels, self.value, self.exemplar)
        # "Exemplars on gauges SHOULD be dropped": OpenMetrics 1.0 has no place for them.
        return GaugePoint(labels, self.value)

    @classmethod
    def merge(cls, group: Sequence[NumberSeries], *, additive: bool) -> NumberSeries:
        """The sum of the group, or the one that changed last."""
        if not additive:
            return max(group, key=lambda series: series.updated)
        merged = cls(None, {})
        merged.value = sum(series.value for series in group)
        merged.exemplar = newest([series.exemplar for series in group])
        return merged

    def _keep_exemplar(self, point: NumberPoint) -> None:
        latest = max(point.exemplars, key=lambda item: item.time_unix_nano)
        self.exemplar = exemplar(latest)


class HistogramSeries(Series):
    """Bucket counts and a sum, with the newest exemplar of every bucket."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    NO_BOUNDS: ClassVar[tuple[float, ...]] = (math.nan,)  # equal to no real bounds

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        super().__init__(stream, attributes)
        self.bounds = self.NO_BOUNDS
        self.counts: Sequence[int] = ()
        self.sum: float = 0
        self.exemplars: list[Exemplar | None] = []

    def add(self, point: BucketPoint) -> None:
        """Add a delta."""
        if self.bounds is self.NO_BOUNDS:
            self.bounds, self.counts = tuple(point.explicit_bounds), point.bucket_counts
        elif self.bounds == point.explicit_bounds:
            self.counts = [a + b for a, b in zip(self.counts, point.bucket_counts, strict=True)]
        else:
            self._add_coarser(tuple(point.explicit_bounds), point.bucket_counts)
        self.sum += plain(point.sum)
        if point.exemplars:
            self._keep_exemplars(point)

    def replace(self, point: BucketPoint) -> bool:
        """Take the current value; say whether anything changed."""
        before = (self.bounds, self.counts, self.sum)
        self.bounds, self.counts = tuple(point.explicit_bounds), point.bucket_counts
        self.sum = plain(point.sum)
        if point.exemplars:
            self._keep_exemplars(point)
            return True
        return before != (self.bounds, self.counts, self.sum)

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a histogram."""
        return HistogramPoint(labels, self.bounds, tuple(self.counts), self.sum, tuple(self.exemplars))

    @classmethod
    def merge(cls, group: Sequence[HistogramSeries], *, additive: bool) -> HistogramSeries:
        """The sum of the group; buckets that not all of them have are joined to the next higher one."""
        merged = cls(None, {})
        merged.bounds, merged.counts = group[0].bounds, group[0].counts
        for other in group[1:]:
            merged._add_coarser(other.bounds, other.counts)
        merged.sum = sum(series.sum for series in group)
        for found in (item for series in group for item in series.exemplars if item is not None):
            merged._keep(found)
        return merged

    def _add_coarser(self, bounds: tuple[float, ...], counts: Sequence[int]) -> None:
        common = tuple(sorted(set(self.bounds) & set(bounds)))
        mine = rebucket(self.bounds, self.counts, common)
        theirs = rebucket(bounds, counts, common)
        kept = [item for item in self.exemplars if item is not None]
        self.bounds, self.exemplars = common, []
        self.counts = [a + b for a, b in zip(mine, theirs, strict=True)]
        for item in kept:
            self._keep(item)

    def _keep_exemplars(self, point: BucketPoint) -> None:
        for source in point.exemplars:
            self._keep(exemplar(source))

    def _keep(self, item: Exemplar) -> None:
        if not self.exemplars:
            self.exemplars = [None] * (len(self.bounds) + 1)
        # OTel buckets include their upper bound, as Prometheus' do.
        index = bisect_left(self.bounds, item.value)
        self.exemplars[index] = newest([self.exemplars[index], item])


def plain(value: float) -> float:
    """The value as an int or a float: a Decimal or NumPy number would not add up with the others."""
    return value if isinstance(value, (int, float)) else float(value)


def newest(exemplars: Sequence[Exemplar | None]) -> Exemplar | None:
    """The exemplar with the latest timestamp; of equal ones the last."""
    latest: Exemplar | None = None
    for item in exemplars:
        if item is not None and (latest is None or (item.timestamp or 0) >= (latest.timestamp or 0)):
            latest = item
    return latest


def rebucket(bounds: Sequence[float], counts: Sequence[int], onto: Sequence[float]) -> list[int]:
    """Counts for the bounds ``onto``, each of which must be among ``bounds``. The total is kept."""
    result = [0] * (len(onto) + 1)
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        result[bisect_left(onto, bound)] += count
    return result
