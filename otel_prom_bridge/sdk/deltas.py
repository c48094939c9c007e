"""Series of the SDK that hold what is new since the last collection, and little else.

After each collection of deltas the SDK makes every series anew, with a lock, a reservoir for exemplars and a
dictionary of attributes, and then a point for what it holds: eight objects for a number. Whoever records
holds the lock of the instrument meanwhile, so a series needs none. Nothing is asked of it after it was
collected, so it is the point itself. And its attributes are the key by which it was found.

What the lock is held for is an addition. Within, nothing is called but a View's own reservoir, so no thread
loses the interpreter while others wait for what it holds. The series is found before, and may be collected
meanwhile: then it is not in the table of the match any more, and the measurement is for the series that is.

An exemplar is the newest measurement in a sampled span: of a sum, or of each bucket. That is what a series
keeps, unless a View of the application has reservoirs of its own.

Only what counters, up-down counters and histograms with explicit buckets become is made so. The classes that
it is like are private to the SDK. What is of another class is left to the SDK.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any

from opentelemetry.sdk.metrics import ExemplarReservoir
from opentelemetry.sdk.metrics import view as sdk

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import Sampled, SourceExemplar, plain, sampled
from otel_prom_bridge.sdk.private import private_class
from otel_prom_bridge.sdk.reservoirs import are_usual, shown
from otel_prom_bridge.sdk.series_keys import QuickMatch, is_known

_OURS = (Sampled, dict)  # what a series keeps where no View has a reservoir of its own
_NUMBERS = (int, float)
_findings = Findings()


@contextmanager
def _failing_alone() -> Iterator[None]:
    """A reservoir of the application's that fails costs its exemplars, and nothing else."""
    try:
        yield
    except Exception as error:
        _findings.report(("reservoir", type(error)), "an exemplar reservoir of a View failed: %r", error)


class Delta:
    """What all of them have in common. ``_reservoir`` has what is to become exemplars, if there is any."""

    __slots__ = ("_reservoir", "attributes", "exemplars", "start_time_unix_nano", "time_unix_nano")

    def __init__(self, maker: Deltas, attributes: Mapping[str, object], start: int) -> None:
        self.attributes = attributes
        self.exemplars: Sequence[SourceExemplar] = ()
        self._reservoir: Any = None
        self.start_time_unix_nano = start
        self.time_unix_nano = start

    def collect(self, temporality: object, now: int) -> Delta:
        """What was recorded, to which nothing is added any more."""
        self.time_unix_nano = now
        kept, self._reservoir = self._reservoir, None
        if kept is not None:
            attributes: Any = plain(self.attributes)
            if type(kept) in _OURS:
                self.exemplars = shown(self._sampled(kept), attributes)
            else:
                with _failing_alone():
                    self.exemplars = kept.collect(attributes)
        return self

    def _sampled(self, kept: Any) -> Sequence[Sampled]:
        return (kept,)


class SumDelta(Delta):
    """A sum."""

    __slots__ = ("value",)

    def __init__(self, maker: Deltas, attributes: Mapping[str, object], start: int) -> None:
        super().__init__(maker, attributes, start)
        self.value: float = 0


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

    def _sampled(self, kept: Any) -> Sequence[Sampled]:
        return (*kept.values(),)


def _number(value: Any) -> float:
    """As an int or a float. Sums of others may wrap around, as NumPy's do, or add up with nothing."""
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else float(value)


class DeltaMatch(QuickMatch):
    """Records in the series that ``deltas`` makes."""

    deltas: Deltas

    def _offer(self, series: Delta, measurement: Any) -> None:
        """To the reservoir that a View of the application wants."""
        with _failing_alone():
            if series._reservoir is None:
                series._reservoir = self.deltas.reservoir()
            series._reservoir.offer(
                measurement.value, measurement.time_unix_nano, measurement.attributes, measurement.context
            )


class SumMatch(DeltaMatch):
    """Adds measurements to sums."""

    def consume_measurement(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Take a measurement."""
        value, attributes = measurement.value, measurement.attributes or {}
        keeps = self.deltas.keeps_newest
        value = value if type(value) in _NUMBERS else _number(value)
        taken = None
        if should_sample_exemplar and keeps:
            given, when = measurement.value, measurement.time_unix_nano
            taken = sampled(given, measurement.context, always=True, left_out=attributes, when=when)
        while True:
            table = self._attributes_aggregation
            series = self.series_of(measurement, table)
            with self._lock:
                if self._attributes_aggregation is not table:
                    continue
                series.value += value
                if taken is not None:
                    series._reservoir = taken
                elif should_sample_exemplar and not keeps:
                    self._offer(series, measurement)
                return


class HistogramMatch(DeltaMatch):
    """Counts measurements in histograms."""

    def consume_measurement(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Take a measurement."""
        value, attributes, deltas = measurement.value, measurement.attributes or {}, self.deltas
        keeps, has_extremes = deltas.keeps_newest, deltas.has_extremes
        value = value if type(value) in _NUMBERS else _number(value)
        taken = None
        if should_sample_exemplar and keeps:
            given, when = measurement.value, measurement.time_unix_nano
            taken = sampled(given, measurement.context, always=True, left_out=attributes, when=when)
        bucket = bisect_left(deltas.bounds, value)
        while True:
            table = self._attributes_aggregation
            series = self.series_of(measurement, table)
            with self._lock:
                if self._attributes_aggregation is not table:
                    continue
                series.sum += value
                series.bucket_counts[bucket] += 1
                if has_extremes:
                    if value < series.min:
                        series.min = value
                    if value > series.max:
                        series.max = value
                if taken is not None:
                    if series._reservoir is None:
                        series._reservoir = {}
                    series._reservoir[bucket] = taken
                elif should_sample_exemplar and not keeps:
                    self._offer(series, measurement)
                return


class Deltas(sdk.Aggregation):
    """Makes series like ``example``. ``reservoirs`` is what the View says of them."""

    def __init__(self, example: Any, reservoirs: Any) -> None:
        self._series, self.match = _KINDS[type(example)]
        self.bounds: tuple[float, ...] = getattr(example, "_boundaries", ())
        self.has_extremes: bool = getattr(example, "_record_min_max", False)
        self.keeps_newest = are_usual(reservoirs)
        self._made = None if reservoirs is None else partial(reservoirs, type(example))

    def _create_aggregation(self, instrument: Any, attributes: Any, reservoirs: object, start: int) -> Any:
        return self._series(self, attributes, start)

    def reservoir(self) -> ExemplarReservoir:
        """A new one of the View's."""
        assert self._made is not None  # a View that has none keeps the newest
        options = {"boundaries": self.bounds} if self._series is HistogramDelta else {}
        result: ExemplarReservoir = self._made()(**options)
        if hasattr(result, "_lock"):
            result._lock = RLock()  # a signal handler may record, too
        return result


# What records, and in which series, by the SDK's class.
_KINDS: Mapping[object, tuple[type[Delta], type[DeltaMatch]]] = {
    private_class(".aggregation", "_SumAggregation"): (SumDelta, SumMatch),
    private_class(".aggregation", "_ExplicitBucketHistogramAggregation"): (
        HistogramDelta,
        HistogramMatch,
    ),
}


def deltas_for(match: Any) -> Deltas | None:
    """What makes series like those of this match; None if we do not know such series."""
    if not is_known(match) or type(match._aggregation) not in _KINDS:
        return None
    return Deltas(match._aggregation, getattr(match._view, "_exemplar_reservoir_factory", None))
