"""The state of series: what one view of one stream has said so far about one attribute set."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import Kind, Labels, Point
from otel_prom_bridge.store.series.base import Folded, Series, Slot, Target, Traits
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import (
    CountSeries,
    GaugeSeries,
    NumberSeries,
    PricedNumberSeries,
    PricedSumSeries,
    SumSeries,
)

__all__ = [
    "PRICED",
    "SCALED",
    "CountSeries",
    "ExponentialSeries",
    "Folded",
    "GaugeSeries",
    "HistogramSeries",
    "NumberSeries",
    "Series",
    "Slot",
    "SumSeries",
    "Target",
    "Traits",
]


class _Scaled(Series):
    """A series that is shown in another unit. It accumulates what was recorded, as the plain one does."""

    __slots__ = ()

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, multiplied."""
        point = super().freeze(labels, kind)  # type: ignore[safe-super]
        scale = self.traits.scale
        return point if scale is None else scale.point(point)


# Classes of their own, so that a series without a scale does not look for one whenever it is shown.
SCALED: Mapping[type[Series], type[Series]] = {
    plain: type(f"Scaled{plain.__name__}", (_Scaled, plain), {"__slots__": ()})
    for plain in (NumberSeries, GaugeSeries, SumSeries, HistogramSeries, ExponentialSeries)
}

# What shows tokens as costs, by what shows them as they are.
PRICED: Mapping[type[Series], type[Series]] = {NumberSeries: PricedNumberSeries, SumSeries: PricedSumSeries}
