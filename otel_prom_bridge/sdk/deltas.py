"""Series of the SDK that hold what is new since the last collection, and little else.

After each collection of deltas the SDK makes every series anew, with a lock, a reservoir for exemplars and a
dictionary of attributes, and then a point for what it holds: eight objects for a number. Whoever records
holds the lock of the instrument meanwhile, so a series needs none. Nothing is asked of it after it was
collected, so it is the point itself. And its attributes are the key by which it was found.

Only what counters, up-down counters and histograms with explicit buckets become is made so. The classes that
it is like are private to the SDK. What is of another class is left to the SDK.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from opentelemetry.sdk.metrics import Exemplar, ExemplarReservoir
from opentelemetry.sdk.metrics import view as sdk
from opentelemetry.sdk.metrics._internal import aggregation

from otel_prom_bridge.points import plain
from otel_prom_bridge.sdk.reservoirs import reentrant


class Delta:
    """What all of them have in common. ``maker`` knows what is the same for all series of an instrument."""

    __slots__ = ("_maker", "_reservoir", "attributes", "exemplars", "start_time_unix_nano", "time_unix_nano")

    def __init__(self, maker: Deltas, attributes: Mapping[str, object], start: int) -> None:
        self._maker = maker
        self._reservoir: ExemplarReservoir | None = None
        self.attributes = attributes
        self.exemplars: Sequence[Exemplar] = ()
        self.start_time_unix_nano = start
        self.time_unix_nano = start

    def collect(self, temporality: object, now: int) -> Delta:
        """What was recorded, to which nothing is added any more."""
        self.time_unix_nano = now
        if self._reservoir is not None:
            attributes: Any = plain(self.attributes)
            self.exemplars = self._reservoir.collect(attributes)
        return self

    def _offer(self, measurement: Any) -> None:
        if self._reservoir is None:
            self._reservoir = self._maker.reservoir()
        self._reservoir.offer(
            measurement.value, measurement.time_unix_nano, measurement.attributes, measurement.context
        )


class SumDelta(Delta):
    """A sum."""

    __slots__ = ("value",)

    def __init__(self, maker: Deltas, attributes: Mapping[str, object], start: int) -> None:
        super().__init__(maker, attributes, start)
        self.value: float = 0

    def aggregate(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Add a measurement."""
        self.value += measurement.value
        if should_sample_exemplar:
            self._offer(measurement)


class HistogramDelta(Delta):
    """A histogram with explicit bounds."""

    __slots__ = ("bucket_counts", "explicit_bounds", "max", "min", "sum")

    def __init__(self, maker: Deltas, attributes: Mapping[str, object], start: int) -> None:
        super().__init__(maker, attributes, start)
        self.explicit_bounds = maker.bounds
        self.bucket_counts = [0] * (len(maker.bounds) + 1)
        self.sum: float = 0
        self.min, self.max = inf, -inf

    @property
    def count(self) -> int:
        """The number of all observations."""
        return sum(self.bucket_counts)

    def aggregate(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Count a measurement."""
        value = measurement.value
        bucket = bisect_left(self.explicit_bounds, value)
        # From here on nothing is called, so neither a signal handler nor a fork finds half of it.
        self.sum += value
        self.bucket_counts[bucket] += 1
        if self._maker.has_extremes:
            if value < self.min:
                self.min = value
            if value > self.max:
                self.max = value
        if should_sample_exemplar:
            self._offer(measurement)


# By the SDK's class; one that an SDK does not have is left out.
_KINDS: Mapping[object, type[Delta]] = {
    getattr(aggregation, name, None): kind
    for name, kind in (
        ("_SumAggregation", SumDelta),
        ("_ExplicitBucketHistogramAggregation", HistogramDelta),
    )
}


class Deltas(sdk.Aggregation):
    """Makes series like ``example``, each of class ``kind``."""

    def __init__(self, kind: type[Delta], example: Any) -> None:
        self._kind = kind
        self._like = type(example)
        self._made: Callable[[], ExemplarReservoir] | None = None
        self.bounds: tuple[float, ...] = getattr(example, "_boundaries", ())
        self.has_extremes: bool = getattr(example, "_record_min_max", False)

    def _create_aggregation(
        self, instrument: Any, attributes: Any, reservoirs: Callable[[type], Any], start: int
    ) -> Any:
        if self._made is None:
            self._made = reservoirs(self._like)
            if self._kind is HistogramDelta:
                self._made = partial(reservoirs(self._like), boundaries=self.bounds)
        return self._kind(self, attributes, start)

    def reservoir(self) -> ExemplarReservoir:
        """What keeps the exemplars of a series, as the View of the instrument wants it."""
        assert self._made is not None
        return reentrant(self._made())


def deltas_like(example: object) -> Deltas | None:
    """What makes series like this one of the SDK's; None if we do not know such series."""
    kind = _KINDS.get(type(example))
    return None if kind is None else Deltas(kind, example)
