"""Series with one value."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import CounterPoint, Exemplar, GaugePoint, Kind, Labels, Point, made
from otel_prom_bridge.points import CountedPoint, NumberPoint, SourcePoint
from otel_prom_bridge.store.series.base import MOST, TOO_LARGE, Series, Traits, plain, total_of

_COUNTER = Kind.COUNTER  # Python 3.11 calls a function of its own for each look into an enumeration


class NumberSeries(Series):
    """A sum or a current value, with one exemplar."""

    __slots__ = ("exemplar", "value")

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self.value: float = 0
        self.exemplar: Exemplar | None = None

    @property
    def exemplars_held(self) -> int:
        """One or none."""
        return 0 if self.exemplar is None else 1

    @property
    def is_level(self) -> bool:
        """Whether this is an up-down counter to which more was added than was taken away again, or less."""
        meaning = self.traits.stream.meaning
        return meaning.accumulates and meaning.kind is Kind.GAUGE and self.value != 0

    def add(self, point: NumberPoint) -> None:
        """Add a delta."""
        value = point.value
        if type(value) is int or type(value) is float:  # as nearly always: this runs for every changed series
            value += self.value
            if not -MOST <= value <= MOST:
                raise OverflowError(TOO_LARGE)
            self.value = value
        else:
            self.value = total_of(self.value, plain(value))
        if point.exemplars:
            self._keep_exemplar(point)

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a counter or gauge."""
        if kind is _COUNTER:
            return made(CounterPoint, (labels, self.value, self.exemplar, self.created, None))
        # "Exemplars on gauges SHOULD be dropped": OpenMetrics 1.0 has no place for them.
        return made(GaugePoint, (labels, self.value, self.updated, None))

    def _keep_exemplar(self, point: SourcePoint) -> None:
        items, intake = self._taken(point), self.traits.intake
        if items and intake is not None:
            intake.held += self.exemplar is None
            items = items if self.exemplar is None else [self.exemplar, *items]
            self.exemplar = max(reversed(items), key=intake.order(items))  # of equal ones the last


class SetSeries(NumberSeries):
    """A gauge of which only that is said which was set since the last time."""

    __slots__ = ()

    @property
    def is_level(self) -> bool:
        """It says how much there is until it is set again."""
        return True

    def add(self, point: NumberPoint) -> None:
        """Take what was set; of several points the last one stands."""
        value = plain(point.value)
        float(value)  # it raises if no float can hold it
        self.value = value

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, which is as new as its last point."""
        return GaugePoint(labels, self.value, self.seen)


class CountSeries(NumberSeries):
    """The number of observations of histograms."""

    __slots__ = ()

    def add(self, point: CountedPoint) -> None:  # type: ignore[override]
        """Add a delta."""
        self.value += point.count
        if point.exemplars:
            self._keep_exemplar(point)


class SumSeries(NumberSeries):
    """The sum of the observations of histograms."""

    __slots__ = ()

    def add(self, point: CountedPoint) -> None:  # type: ignore[override]
        """Add a delta."""
        self.value = total_of(self.value, plain(point.sum))
        if point.exemplars:
            self._keep_exemplar(point)
