"""Series with one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from otel_prom_bridge.arithmetic.histograms import total
from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.families import CounterPoint, Exemplar, GaugePoint, Kind, Labels, Point
from otel_prom_bridge.points import CountedPoint, NumberPoint, SourcePoint
from otel_prom_bridge.store.series.base import Series, Traits, added, plain
from otel_prom_bridge.translate.labels import attribute_identity
from otel_prom_bridge.views.pricing import PRICE_KEY


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
            try:
                self.value += value
            except OverflowError:
                self.value = added(self.value, value)
        else:
            self.value = added(self.value, plain(value))
        if point.exemplars:
            self._keep_exemplar(point)

    def replace(self, points: Sequence[NumberPoint]) -> bool:
        """Take the current values, which add up; say whether anything changed."""
        before, self.value = self.value, plain(points[-1].value)
        if len(points) > 1:
            self.value = total(plain(point.value) for point in points)
        if self.value < before:
            # Only a counter shows when it began, and a counter that falls has begun again.
            self.created = points[-1].time_unix_nano / 1e9
        return self._keep_exemplars(points) or before != self.value

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a counter or gauge."""
        if kind is Kind.COUNTER:
            return CounterPoint(labels, self.value, self.exemplar, self.created)
        # "Exemplars on gauges SHOULD be dropped": OpenMetrics 1.0 has no place for them.
        return GaugePoint(labels, self.value, self.updated)

    def _keep_exemplars(self, points: Iterable[SourcePoint]) -> bool:
        having = [point for point in points if point.exemplars]
        for point in having:
            self._keep_exemplar(point)
        return bool(having)

    def _keep_exemplar(self, point: SourcePoint) -> None:
        items, intake = self._taken(point), self.traits.intake
        if items and intake is not None:
            intake.held += self.exemplar is None
            items = items if self.exemplar is None else [self.exemplar, *items]
            self.exemplar = max(reversed(items), key=intake.order(items))  # of equal ones the last


class GaugeSeries(NumberSeries):
    """A current value. Where several attribute sets became one series it is the value of the newest.

    The SDK reports a gauge at every collection, whether it was set since the last one or not, in the order
    in which attribute sets were seen first. So the newest is one of those whose value differs from the one
    before. Among these it is the latest by the times of the points, and then by their order. A gauge that
    was set to the value that it had already cannot be told from one that was not set.
    """

    __slots__ = ("_before", "_newest")

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self._before: dict[str, float] = {}
        self._newest = ""

    def replace(self, points: Sequence[NumberPoint]) -> bool:
        """Take the newest of the current values; say whether anything changed."""
        return super().replace(points if len(points) == 1 else (self._newest_of(points),))

    def _newest_of(self, points: Sequence[NumberPoint]) -> NumberPoint:
        before, keys = self._before, [attribute_identity(point.attributes or {}) for point in points]
        self._before = {key: point.value for key, point in zip(keys, points, strict=True)}
        found = dict(zip(keys, points, strict=True))
        new = [key for key, point in found.items() if not _is_same(before.get(key), point.value)]
        if new or self._newest not in found:
            self._newest = max(reversed(new or keys), key=lambda key: found[key].time_unix_nano)
        return found[self._newest]


def _is_same(one: float | None, other: float) -> bool:
    return one is other or one == other  # NaN is no news


class CountSeries(NumberSeries):
    """The number of observations of histograms."""

    __slots__ = ()

    def add(self, point: CountedPoint) -> None:  # type: ignore[override]
        """Add a delta."""
        self.value += point.count
        if point.exemplars:
            self._keep_exemplar(point)

    def replace(self, points: Sequence[CountedPoint]) -> bool:  # type: ignore[override]
        """Take the current values; say whether anything changed."""
        before, self.value = self.value, sum(point.count for point in points)
        return self._keep_exemplars(points) or before != self.value


class SumSeries(NumberSeries):
    """The sum of the observations of histograms."""

    __slots__ = ()

    def add(self, point: CountedPoint) -> None:  # type: ignore[override]
        """Add a delta."""
        self.value = added(self.value, plain(point.sum))
        if point.exemplars:
            self._keep_exemplar(point)

    def replace(self, points: Sequence[CountedPoint]) -> bool:  # type: ignore[override]
        """Take the current values; say whether anything changed."""
        before, self.value = self.value, total(plain(point.sum) for point in points)
        return self._keep_exemplars(points) or before != self.value


class PricedNumberSeries(NumberSeries):
    """Tokens that are shown as what they cost. They add up as tokens, so that nothing is rounded before."""

    __slots__ = ("_price",)

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__(traits, attributes)
        self._price = Scale(Fraction(str(attributes[PRICE_KEY])))

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, multiplied by the price of a token."""
        return self._price.point(super().freeze(labels, kind))

    @property
    def takes_away(self) -> bool:
        """Whether it takes tokens out of another price again."""
        return str(self.attributes[PRICE_KEY]).startswith("-")


class PricedSumSeries(SumSeries, PricedNumberSeries):
    """Tokens of a histogram."""

    __slots__ = ()
