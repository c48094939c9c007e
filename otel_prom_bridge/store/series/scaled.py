"""Series that are shown in another unit; they accumulate as the plain ones do.

Classes of their own, so that a series without a factor does not look for one whenever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import Kind, Labels, Point
from otel_prom_bridge.store.series.base import Series
from otel_prom_bridge.store.series.histograms import ExponentialSeries, HistogramSeries
from otel_prom_bridge.store.series.numbers import GaugeSeries, NumberSeries, SumSeries


class _Scaled(Series):
    __slots__ = ()

    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state, multiplied."""
        point = super().freeze(labels, kind)  # type: ignore[safe-super]
        scale = self.projection.scale
        return point if scale is None else scale.point(point)


class ScaledNumberSeries(_Scaled, NumberSeries):
    """A sum in another unit."""

    __slots__ = ()


class ScaledGaugeSeries(_Scaled, GaugeSeries):
    """A current value in another unit."""

    __slots__ = ()


class ScaledSumSeries(_Scaled, SumSeries):
    """The sum of observations in another unit."""

    __slots__ = ()


class ScaledHistogramSeries(_Scaled, HistogramSeries):
    """A histogram in another unit."""

    __slots__ = ()


class ScaledExponentialSeries(_Scaled, ExponentialSeries):
    """An exponential histogram in another unit."""

    __slots__ = ()


SCALED: Mapping[type[Series], type[Series]] = {
    NumberSeries: ScaledNumberSeries,
    GaugeSeries: ScaledGaugeSeries,
    SumSeries: ScaledSumSeries,
    HistogramSeries: ScaledHistogramSeries,
    ExponentialSeries: ScaledExponentialSeries,
}
