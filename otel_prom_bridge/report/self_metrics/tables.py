"""The points of one family of the bridge itself, by the values of their labels. Their number is bounded.

A point is made anew when its value changes, and a family when one of its points did. So the same object means
"unchanged" here, as it does in the store. Nothing here takes a lock, because the owner of a table does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from otel_prom_bridge.families import CounterPoint, GaugePoint, HistogramPoint, Labels, MetricFamily

# The parts of a scrape differ by orders of magnitude, so two bounds for each power of ten tell which of them
# is slow. Averages come from the sum and are exact. Prometheus gives up after 10 s by default.
BOUNDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

# How many series a family of ours may have. What comes later shares one, which has the label that the SDK
# gives to its own overflow.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#overflow-attribute
MAX_SERIES = 1000
_OVERFLOW: Labels = (("otel_metric_overflow", "true"),)

LabelValues: TypeAlias = str | tuple[str, ...]
"""The values of the labels in the order of their names, or the value itself if there is one label."""

_REST: LabelValues = ()  # what found no room in a family that has labels


class Table:
    """The points of one family by the values of their labels, in the order in which they came.

    There are at most ``limit`` of them, and one more for what found no room.

    A label whose value is empty is left out.
    """

    def __init__(self, family: MetricFamily, *labels: str, created: float, limit: int = MAX_SERIES) -> None:
        self.shown = family  # as it was when it was asked for last
        self.is_stale = False  # it has other points now
        self._names = labels
        self._created = created
        self._limit = limit
        self._points: dict[LabelValues, Any] = {}

    def rename(self, name: str) -> None:
        """Give the family another name."""
        self.shown = replace(self.shown, name=name)

    def family(self) -> MetricFamily:
        """The family as it is now. It is the same object as before if all of its points are."""
        if self.is_stale:
            self.is_stale = False  # first: a signal handler may change it meanwhile
            self.shown = self.shown.with_points(tuple(self._points.values()))
        return self.shown

    def _put(self, key: LabelValues, point: Any) -> None:
        self._points[key] = point
        self.is_stale = True

    def _room(self, key: LabelValues) -> LabelValues:
        return key if key in self._points or len(self._points) < self._limit else _REST

    def _labels(self, key: LabelValues) -> Labels:
        if key == _REST and self._names:
            return _OVERFLOW
        values = (key,) if isinstance(key, str) else key
        pairs = zip(self._names, values, strict=True)
        return tuple(sorted((name, value) for name, value in pairs if value))


class Counters(Table):
    """Sums that never go down."""

    def add(self, key: LabelValues, more: int = 1) -> None:
        """Count one more, or so many."""
        key = self._room(key)
        point = self._points.get(key)
        if point is None or more:
            self._set(key, more if point is None else point.value + more)

    def raise_all(self, totals: Mapping[Any, int]) -> None:
        """Take over these totals, except those that are lower than before.

        Such a total comes from a scrape that another one has overtaken.
        """
        points, rest = self._points, 0
        for key, value in totals.items():
            point = points.get(key)
            if point is None and self._room(key) == _REST:
                rest += value
            elif point is None or value > point.value:
                self._set(key, value)
        if rest and (_REST not in points or rest > points[_REST].value):
            self._set(_REST, rest)

    def _set(self, key: LabelValues, value: int) -> None:
        point = self._points.get(key)
        labels = self._labels(key) if point is None else point.labels
        self._put(key, CounterPoint(labels, value, None, self._created))


class Gauges(Table):
    """Current values."""

    def set(self, key: LabelValues, value: float) -> None:
        """Set one value."""
        self._set(self._room(key), value)

    def set_all(self, values: Mapping[Any, int]) -> None:
        """Set all values. A point of which none is given goes."""
        before, rest = self._points, 0
        if before.keys() == values.keys() and all(before[key].value == values[key] for key in before):
            return  # as nearly always
        points = {key: point for key, point in before.items() if key in values}
        for key, value in values.items():
            point = points.get(key)
            if point is None and len(points) >= self._limit:
                rest += value
            elif point is None or point.value != value:
                points[key] = GaugePoint(self._labels(key) if point is None else point.labels, value)
        if rest:
            known = before.get(_REST)
            points[_REST] = known if known and known.value == rest else GaugePoint(_OVERFLOW, rest)
        if points != self._points:  # a signal handler that scrapes sees all of the old ones or all of the new
            self._points = points
            self.is_stale = True

    def _set(self, key: LabelValues, value: float) -> None:
        point = self._points.get(key)
        if point is None or point.value != value:
            self._put(key, GaugePoint(self._labels(key) if point is None else point.labels, value))


class Durations(Table):
    """Histograms of seconds."""

    def observe(self, key: LabelValues, seconds: float) -> None:
        """Add one observation."""
        key = self._room(key)
        point = self._points.get(key)
        if point is None:
            point = HistogramPoint(
                self._labels(key), BOUNDS, (0,) * (len(BOUNDS) + 1), 0.0, (), self._created
            )
        counts = list(point.counts)
        counts[bisect_left(BOUNDS, seconds)] += 1
        total = (point.sum or 0.0) + seconds
        self._put(key, HistogramPoint(point.labels, BOUNDS, tuple(counts), total, (), self._created))
