"""The state of series: what one view of one stream has said so far about one attribute set."""

from otel_prom_bridge.accumulators.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.accumulators.numbers import CountSeries, GaugeSeries, NumberSeries, SumSeries
from otel_prom_bridge.accumulators.scaled import SCALED
from otel_prom_bridge.accumulators.series import Folded, Series, Target

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
