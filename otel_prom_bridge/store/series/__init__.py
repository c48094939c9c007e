"""The state of series: what one view of one stream has said so far about one attribute set."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import Kind, Labels, Point
from otel_prom_bridge.points import Meaning, Shape
from otel_prom_bridge.store.series.base import Folded, Series, Slot, Target, Traits
from otel_prom_bridge.store.series.current import (
    Current,
    CurrentExponential,
    CurrentHistogram,
    CurrentNumber,
    GaugeSeries,
)
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import CountSeries, NumberSeries, SetSeries, SumSeries
from otel_prom_bridge.views.view import Take

__all__ = [
    "Current",
    "ExponentialSeries",
    "Folded",
    "HistogramSeries",
    "NumberSeries",
    "Series",
    "Slot",
    "Target",
    "Traits",
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


def series_class(meaning: Meaning, take: Take, *, scaled: bool) -> type[Series]:
    """The class of the series of a stream of this meaning, of which a view takes this."""
    if not meaning.additive:
        plain: type[Series] = SetSeries if meaning.accumulates else GaugeSeries
    else:
        plain = _TAKEN.get(take) or (_ADDING if meaning.accumulates else _CURRENT)[meaning.shape]
    return _SCALED[plain] if scaled else plain
