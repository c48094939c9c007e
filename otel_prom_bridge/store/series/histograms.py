"""Series of histograms: with explicit bounds, and exponential ones."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from otel_prom_bridge.arithmetic.histograms import by_bucket, joined, lowered, rebucket, to_classic
from otel_prom_bridge.arithmetic.merging import native_exemplars
from otel_prom_bridge.families import (
    Exemplar,
    HistogramPoint,
    Kind,
    Labels,
    NativeHistogramPoint,
    Point,
    made,
)
from otel_prom_bridge.points import BucketPoint, ExponentialPoint
from otel_prom_bridge.store.series.base import Series, Traits, plain, total_of


class HistogramSeries(Series):
    """Bucket counts and a sum, with one exemplar for every bucket."""

    __slots__ = ("bounds", "counts", "exemplars", "sum")

    _summed = staticmethod(total_of)
    NO_BOUNDS: ClassVar[tuple[float, ...]] = (math.nan,)  # equal to no real bounds

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self.bounds = self.NO_BOUNDS
        self.counts: tuple[int, ...] = ()
        self.sum: float = 0
        self.exemplars: tuple[Exemplar | None, ...] = ()

    @property
    def exemplars_held(self) -> int:
        """One per bucket at most."""
        return len(self.exemplars) - self.exemplars.count(None)

    def add(self, point: BucketPoint) -> None:
        """Add a delta. What cannot be added to the sum is counted nevertheless."""
        counts = point.bucket_counts
        if point.explicit_bounds is not self.bounds:  # nearly always they are the same object
            counts = self._common_counts(point)
        if len(counts) != len(self.counts):
            raise ValueError(f"{len(counts)} buckets for {len(self.bounds)} bounds")
        self.counts = (*map(operator.add, self.counts, counts),)
        if point.exemplars:
            self._keep(self._taken(point))
        self.sum = self._summed(self.sum, plain(point.sum))

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a histogram."""
        return made(
            HistogramPoint,
            (labels, self.bounds, self.counts, self.sum, self.exemplars, self.created, None, None),
        )

    def _common_counts(self, point: BucketPoint) -> Sequence[int]:
        """What is counted in the buckets that this series has from now on: those that both have.

        The bounds differ where two SDK Views share a name, or where a view wants fewer buckets. A bucket that
        only one side has is joined to the next higher one that both have.
        """
        if self.bounds is self.NO_BOUNDS:
            self._clear(point)
        if self.bounds == point.explicit_bounds:
            return point.bucket_counts
        common = tuple(sorted(set(self.bounds) & set(point.explicit_bounds)))
        if common != self.bounds:
            self.counts = tuple(rebucket(self.bounds, self.counts, common))
            self.bounds = common
            self._keep(())
        return rebucket(point.explicit_bounds, point.bucket_counts, common)

    def _clear(self, point: BucketPoint) -> None:
        wanted = self.traits.bounds
        bounds = point.explicit_bounds
        self.bounds = tuple(bounds) if wanted is None else tuple(item for item in wanted if item in bounds)
        self.counts = (0,) * (len(self.bounds) + 1)
        self.sum = 0

    def _keep(self, new: Sequence[Exemplar]) -> None:
        # OTel buckets include their upper bound, as Prometheus' do.
        items = [*(item for item in self.exemplars if item is not None), *new]
        intake, held = self.traits.intake, self.exemplars_held
        if items and intake is not None:
            self.exemplars = by_bucket(self.bounds, items, order=intake.order(items))
            intake.held += self.exemplars_held - held


class ExponentialSeries(Series):
    """Exponential buckets and a sum, at a resolution that only ever goes down, with the newest exemplars.

    The SDK chooses a scale for every collection, by the range of what was recorded in it. Here everything is
    brought to the lowest scale that was seen. "Schema = scale in [-4, 8]; >8 SHOULD be downscaled."
    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#exponential-histograms
    """

    __slots__ = ("exemplars", "negative", "positive", "schema", "sum", "zero_count", "zero_threshold")

    _summed = staticmethod(total_of)
    MAX_SCHEMA, MIN_SCHEMA = 8, -4
    # The SDK's own default for each side. Deltas of different ranges may need more when they are added up.
    MAX_BUCKETS: ClassVar[int] = 160
    # "ZeroThreshold: as set, otherwise 1e-128": the Python SDK sets none.
    ZERO_THRESHOLD: ClassVar[float] = 1e-128

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self._clear()
        self.exemplars: tuple[Exemplar, ...] = ()

    @property
    def exemplars_held(self) -> int:
        """As many as a scrape carries."""
        return len(self.exemplars)

    def _clear(self) -> None:
        self.schema = self.MAX_SCHEMA
        self.zero_count = 0
        self.positive: tuple[tuple[int, int], ...] = ()
        self.negative: tuple[tuple[int, int], ...] = ()
        self.sum: float = 0

    def add(self, point: ExponentialPoint) -> None:
        """Add a delta. What cannot be added to the sum is counted nevertheless."""
        positive, negative = _sparse(point.positive), _sparse(point.negative)
        if positive or negative:
            # For observations that were all zero the SDK says scale 0, which must not cost any resolution.
            self._lower(max(0, self.schema - point.scale))
        by = point.scale - self.schema
        self.positive = joined(self.positive, lowered(positive, by))
        self.negative = joined(self.negative, lowered(negative, by))
        while (
            max(len(self.positive), len(self.negative)) > self.MAX_BUCKETS and self.schema > self.MIN_SCHEMA
        ):
            self._lower(1)
        self.zero_count += point.zero_count
        if point.exemplars:
            self._keep(self._taken(point))
        self.sum = self._summed(self.sum, plain(point.sum))

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a native histogram, or as a classic one if its schema is too low."""
        native = self.native(labels)
        if self.traits.bounds is not None:
            return to_classic(native, self.traits.bounds)
        # "Scale < -4 MUST be dropped" as a native histogram; written with explicit buckets nothing is lost.
        return native if self.schema >= self.MIN_SCHEMA else to_classic(native)

    def native(self, labels: Labels) -> NativeHistogramPoint:
        """The present state with exponential buckets, whatever its schema."""
        return NativeHistogramPoint(
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

    def _keep(self, new: Sequence[Exemplar]) -> None:
        items = [*self.exemplars, *new]
        intake, held = self.traits.intake, len(self.exemplars)
        if items and intake is not None:
            self.exemplars = native_exemplars(items, order=intake.order(items))
            intake.held += len(self.exemplars) - held

    def _lower(self, by: int) -> None:
        if by:
            self.schema -= by
            self.positive, self.negative = lowered(self.positive, by), lowered(self.negative, by)


def _sparse(buckets: Any) -> list[tuple[int, int]]:
    # "Index: offset + i + 1": OTel names a bucket by its lower bound, Prometheus by its upper one.
    counts = enumerate(buckets.bucket_counts, buckets.offset + 1)
    return [(index, count) for index, count in counts if count]
