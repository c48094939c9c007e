"""The state of series: what one view of one stream has said so far about one attribute set."""

from otel_prom_bridge.store.series.base import Folded, Series, Target
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import CountSeries, GaugeSeries, NumberSeries, SumSeries
from otel_prom_bridge.store.series.scaled import SCALED

__all__ = [
    "SCALED",
    "CountSeries",
    "ExponentialSeries",
    "Folded",
    "GaugeSeries",
    "HistogramSeries",
    "NumberSeries",
    "Series",
    "SumSeries",
    "Target",
]
