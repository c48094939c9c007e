"""The state of series: what one view of one stream has said so far about one attribute set."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.families import Kind, Labels, Point
from otel_prom_bridge.points import Meaning, Shape
from otel_prom_bridge.store.series.base import (
    Folded,
    Room,
    Series,
    Slot,
    Target,
    Targets,
    Traits,
    each,
)
from otel_prom_bridge.store.series.current import (
    Current,
    CurrentExponential,
    CurrentHistogram,
    CurrentNumber,
    GaugeSeries,
)
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import CountSeries, NumberSeries, SetSeries, SumSeries
from otel_prom_bridge.views.pricing import PRICE_KEY
from otel_prom_bridge.views.view import Take

__all__ = [
    "Current",
    "ExponentialSeries",
    "Folded",
    "HistogramSeries",
    "NumberSeries",
    "Room",
    "Series",
    "Slot",
    "Target",
    "Targets",
    "Traits",
    "each",
    "priced",
    "series_class",
]


class _Scaled(Series):
    """A series that is shown in another unit. It accumulates what was recorded, as the plain one does."""

    __slots__ = ()

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, multiplied."""
        point = super().freeze(labels, kind)  # type: ignore[safe-super]
        scale = self.traits.scale
        return point if scale is None else scale.point(point)


class _Priced(NumberSeries):
    """Tokens that are shown as what they cost. They add up as tokens, so that nothing is rounded before."""

    __slots__ = ()

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, multiplied by the price of a token."""
        return _price(str(self.attributes[PRICE_KEY])).point(super().freeze(labels, kind))

    @property
    def takes_away(self) -> bool:
        """Whether it takes tokens out of another price again."""
        return str(self.attributes[PRICE_KEY]).startswith("-")


@lru_cache(1024)
def _price(text: str) -> Scale:
    return Scale(Fraction(text))


# Of what adds up deltas, and of what has current values, by the shape of the points.
_ADDING: Mapping[Shape, type[Series]] = {
    Shape.NUMBER: NumberSeries,
    Shape.BUCKETS: HistogramSeries,
    Shape.EXPONENTIAL: ExponentialSeries,
}
_CURRENT: Mapping[Shape, type[Series]] = {
    Shape.NUMBER: CurrentNumber,
    Shape.BUCKETS: CurrentHistogram,
    Shape.EXPONENTIAL: CurrentExponential,
}
# Of a part of histograms that add up; views select no others for that.
_TAKEN: Mapping[Take, type[Series]] = {"count": CountSeries, "sum": SumSeries}
_GAUGES: tuple[type[Series], ...] = (GaugeSeries, SetSeries)
_PLAIN: tuple[type[Series], ...] = (*_ADDING.values(), *_CURRENT.values(), *_TAKEN.values(), *_GAUGES)

# Classes of their own, so that a series without a scale does not look for one whenever it is shown.
_SCALED: Mapping[type[Series], type[Series]] = {
    plain: type(f"Scaled{plain.__name__}", (_Scaled, plain), {"__slots__": ()}) for plain in _PLAIN
}
# What shows tokens as costs, by what shows them as they are.
_PRICED: Mapping[type[Series], type[Series]] = {
    plain: type(f"Priced{plain.__name__}", (_Priced, plain), {"__slots__": ()})
    for plain in (NumberSeries, CurrentNumber, SumSeries)
}


def priced(plain: type[Series]) -> type[Series]:
    """The class of series that are shown as costs, given that of those that are not."""
    return _PRICED.get(plain, plain)


def series_class(meaning: Meaning, take: Take, *, scaled: bool) -> type[Series]:
    """The class of the series of a stream of this meaning, of which a view takes this."""
    if not meaning.additive:
        plain: type[Series] = SetSeries if meaning.accumulates else GaugeSeries
    else:
        plain = _TAKEN.get(take) or (_ADDING if meaning.accumulates else _CURRENT)[meaning.shape]
    return _SCALED[plain] if scaled else plain
