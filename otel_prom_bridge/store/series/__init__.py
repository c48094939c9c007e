"""The state of series: what one view of one stream has said so far about one attribute set."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import Kind, Labels, Point
from otel_prom_bridge.points import Meaning, Shape
from otel_prom_bridge.store.series.base import Folded, Series, Slot, Target, Traits
from otel_prom_bridge.store.series.current import (
    Current,
    CurrentCount,
    CurrentExponential,
    CurrentHistogram,
    CurrentNumber,
    CurrentSum,
    GaugeSeries,
)
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import CountSeries, NumberSeries, SumSeries
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


# By what a view takes and, of values, by the shape of the points: the class that adds up deltas, and the one
# that has current values.
_CLASSES: Mapping[Take | Shape, tuple[type[Series], type[Current]]] = {
    "count": (CountSeries, CurrentCount),
    "sum": (SumSeries, CurrentSum),
    Shape.NUMBER: (NumberSeries, CurrentNumber),
    Shape.BUCKETS: (HistogramSeries, CurrentHistogram),
    Shape.EXPONENTIAL: (ExponentialSeries, CurrentExponential),
}
_PLAIN: tuple[type[Series], ...] = (*(each for both in _CLASSES.values() for each in both), GaugeSeries)

# Classes of their own, so that a series without a scale does not look for one whenever it is shown.
_SCALED: Mapping[type[Series], type[Series]] = {
    plain: type(f"Scaled{plain.__name__}", (_Scaled, plain), {"__slots__": ()}) for plain in _PLAIN
}


def series_class(meaning: Meaning, take: Take, *, scaled: bool) -> type[Series]:
    """The class of the series of a stream of this meaning, of which a view takes this."""
    adding, current = _CLASSES[meaning.shape if take == "value" else take]
    plain: type[Series] = adding if meaning.accumulates else current
    if plain is CurrentNumber and not meaning.additive:
        plain = GaugeSeries
    return _SCALED[plain] if scaled else plain
