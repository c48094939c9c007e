"""The state of one series: what one stream has said so far about one attribute set.

A series knows nothing of names, labels or formats. That makes accumulating the step that cannot fail: a
delta that the SDK handed over is added here before anything is translated, so it is not lost, whatever
goes wrong later.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    Kind,
    Labels,
    NativeHistogramPoint,
    Point,
)
from otel_prom_bridge.histograms import by_bucket, joined, lowered, rebucket, to_classic, total
from otel_prom_bridge.merging import native_exemplars
from otel_prom_bridge.translate.exemplars import SourceExemplar, exemplar
from otel_prom_bridge.translate.points import BucketPoint, ExponentialPoint, NumberPoint


class Series(ABC):
    """What the store asks of a series, whatever its points look like."""

    __slots__ = ("attributes", "changed", "created", "gone", "seen", "slot", "stream", "updated")

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        self.stream = stream  # the store's record of the stream that this series belongs to
        self.attributes = attributes
        self.created: float | None = None  # seconds since the epoch
        self.slot: Any = None  # the place in a family that shows this series, once it has one
        self.changed = False  # it waits to be shown anew
        self.gone = False  # its stream does not report it any more
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

    def _exemplar(self, source: SourceExemplar) -> Exemplar:
        return exemplar(source, escape=self.stream.escape)


class NumberSeries(Series):
    """A sum or a current value, with its newest exemplar."""

    __slots__ = ("exemplar", "value")

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        super().__init__(stream, attributes)
        self.value: float = 0
        self.exemplar: Exemplar | None = None

    def add(self, point: NumberPoint) -> None:
        """Add a delta."""
        value = point.value
        if type(value) is int or type(value) is float:  # as nearly always: this runs for every changed series
            try:
                self.value += value
            except OverflowError:
                self.value = added(self.value, value)
        else:
            self.value = added(self.value, plain(value))
        if point.exemplars:
            self._keep_exemplar(point)

    def replace(self, point: NumberPoint) -> bool:
        """Take the current value; say whether anything changed."""
        before, self.value = self.value, plain(point.value)
        if self.value < before:
            # Only a counter shows when it began, and a counter that falls has begun anew.
            self.created = point.time_unix_nano / 1e9
        if point.exemplars:
            self._keep_exemplar(point)
            return True
        return before != self.value

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a counter or gauge."""
        if kind is Kind.COUNTER:
            return CounterPoint(labels, self.value, self.exemplar, self.created)
        # "Exemplars on gauges SHOULD be dropped": OpenMetrics 1.0 has no place for them.
        return GaugePoint(labels, self.value, self.updated)

    def _keep_exemplar(self, point: NumberPoint) -> None:
        latest = max(point.exemplars, key=lambda item: item.time_unix_nano)
        self.exemplar = self._exemplar(latest)


class HistogramSeries(Series):
    """Bucket counts and a sum, with the newest exemplar of every bucket."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    NO_BOUNDS: ClassVar[tuple[float, ...]] = (math.nan,)  # equal to no real bounds

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        super().__init__(stream, attributes)
        self.bounds = self.NO_BOUNDS
        self.counts: Sequence[int] = ()
        self.sum: float = 0
        self.exemplars: tuple[Exemplar | None, ...] = ()

    def add(self, point: BucketPoint) -> None:
        """Add a delta."""
        counts: Sequence[int] = point.bucket_counts
        if self.bounds is self.NO_BOUNDS:
            self._set_bounds(point)
        elif self.bounds != point.explicit_bounds:
            # Two views that share a name: buckets that not both have are joined to the next higher one.
            common = tuple(sorted(set(self.bounds) & set(point.explicit_bounds)))
            counts = rebucket(point.explicit_bounds, counts, common)
            self.counts = rebucket(self.bounds, self.counts, common)
            self.bounds = common
            self._keep(item for item in self.exemplars if item is not None)
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.sum = added(self.sum, plain(point.sum))
        if point.exemplars:
            self._keep(self._with_new(point))

    def replace(self, point: BucketPoint) -> bool:
        """Take the current value; say whether anything changed."""
        before = (self.bounds, self.counts, self.sum)
        self._set_bounds(point)
        self.counts = point.bucket_counts
        self.sum = plain(point.sum)
        if point.exemplars:
            self._keep(self._with_new(point))
            return True
        return before != (self.bounds, self.counts, self.sum)

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a histogram."""
        counts = tuple(self.counts)
        return HistogramPoint(labels, self.bounds, counts, self.sum, self.exemplars, self.created)

    def _set_bounds(self, point: BucketPoint) -> None:
        self.bounds = tuple(point.explicit_bounds)
        self.counts = [0] * len(point.bucket_counts)

    def _with_new(self, point: BucketPoint) -> list[Exemplar]:
        kept = [item for item in self.exemplars if item is not None]
        return kept + [self._exemplar(source) for source in point.exemplars]

    def _keep(self, exemplars: Iterable[Exemplar]) -> None:
        # OTel buckets include their upper bound, as Prometheus' do.
        self.exemplars = by_bucket(self.bounds, exemplars)


class ExponentialSeries(Series):
    """Exponential buckets and a sum, at a resolution that only ever goes down, with the newest exemplars.

    The SDK chooses a scale for every collection, by the range of what was recorded in it; here everything is
    brought to the lowest that was seen. "Schema = scale in [-4, 8]; >8 SHOULD be downscaled."
    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#exponential-histograms
    """

    __slots__ = ("exemplars", "negative", "positive", "schema", "sum", "zero_count", "zero_threshold")

    MAX_SCHEMA, MIN_SCHEMA = 8, -4
    # The SDK's own default, per side; deltas of different ranges together may need more.
    MAX_BUCKETS: ClassVar[int] = 160
    # "ZeroThreshold: as set, otherwise 1e-128": the Python SDK sets none.
    ZERO_THRESHOLD: ClassVar[float] = 1e-128

    def __init__(self, stream: Any, attributes: Mapping[str, object]) -> None:
        super().__init__(stream, attributes)
        self._clear()
        self.exemplars: tuple[Exemplar, ...] = ()

    def _clear(self) -> None:
        self.schema = self.MAX_SCHEMA
        self.zero_count = 0
        self.positive: tuple[tuple[int, int], ...] = ()
        self.negative: tuple[tuple[int, int], ...] = ()
        self.sum: float = 0

    def add(self, point: ExponentialPoint) -> None:
        """Add a delta."""
        positive, negative = _sparse(point.positive), _sparse(point.negative)
        if positive or negative:
            # Of observations that were all zero the SDK says scale 0, which must not cost any resolution.
            self._lower(max(0, self.schema - point.scale))
        by = point.scale - self.schema
        self.positive = joined(self.positive, lowered(positive, by))
        self.negative = joined(self.negative, lowered(negative, by))
        while (
            max(len(self.positive), len(self.negative)) > self.MAX_BUCKETS and self.schema > self.MIN_SCHEMA
        ):
            self._lower(1)
        self.zero_count += point.zero_count
        self.sum = added(self.sum, plain(point.sum))
        if point.exemplars:
            new = [self._exemplar(source) for source in point.exemplars]
            self.exemplars = native_exemplars([*self.exemplars, *new])

    def replace(self, point: ExponentialPoint) -> bool:
        """Take the current value; say whether anything changed."""
        before = self.freeze((), Kind.HISTOGRAM)
        self._clear()
        self.add(point)
        return before != self.freeze((), Kind.HISTOGRAM)

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a native histogram; as a classic one if its schema is too low."""
        native = NativeHistogramPoint(
            labels=labels,
            schema=self.schema,
            zero_threshold=self.ZERO_THRESHOLD,
            zero_count=self.zero_count,
            positive=self.positive,
            negative=self.negative,
            sum=self.sum,
            exemplars=self.exemplars,
            created=self.created,
        )
        # "Scale < -4 MUST be dropped" as a native histogram; written with explicit buckets nothing is lost.
        return native if self.schema >= self.MIN_SCHEMA else to_classic(native)

    def _lower(self, by: int) -> None:
        if by:
            self.schema -= by
            self.positive, self.negative = lowered(self.positive, by), lowered(self.negative, by)


def _sparse(buckets: Any) -> list[tuple[int, int]]:
    # "Index: offset + i + 1": OTel names a bucket by its lower bound, Prometheus by its upper one.
    counts = enumerate(buckets.bucket_counts, buckets.offset + 1)
    return [(index, count) for index, count in counts if count]


def added(value: float, delta: float) -> float:
    """The sum of both; infinite where an integer is larger than any float."""
    try:
        return value + delta
    except OverflowError:
        return total((value, delta))


def plain(value: float) -> float:
    """The value as an int or a float: a Decimal or NumPy number would not add up with the others."""
    return value if isinstance(value, (int, float)) else float(value)
