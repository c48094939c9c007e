"""The series of one stream, and how a point finds its own.

Every changed point of every scrape is looked up here by its raw attributes, so the look-up has a fast way for
what was seen before, and a slow one that decides what a series *is*.
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.accumulators import ExponentialSeries, HistogramSeries, NumberSeries, Series
from otel_prom_bridge.catalog import Family
from otel_prom_bridge.translate import Attributes
from otel_prom_bridge.translate.labels import label_value
from otel_prom_bridge.translate.points import Shape, SourcePoint, Stream

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#overflow-attribute
OVERFLOW_ATTRIBUTES: Mapping[str, object] = {"otel.metric.overflow": True}

# Values of these types make an attribute set's items a safe dictionary key (together with the types:
# 1 == True). Floats do not (NaN != NaN), and containers may hold anything.
_PLAIN = frozenset({str, bool, int, bytes, type(None)})
_TEXT = frozenset({str})

_SERIES: Mapping[Shape, type[Series]] = {
    Shape.NUMBER: NumberSeries,
    Shape.BUCKETS: HistogramSeries,
    Shape.EXPONENTIAL: ExponentialSeries,
}


class StreamRecord:
    """The series of one stream, found by attributes."""

    __slots__ = ("by_items", "by_texts", "common", "escape", "family", "key", "limit", "rejected", "series")

    def __init__(self, key: Stream, limit: int, common: Attributes, escape: bool) -> None:
        self.key = key
        self.limit = limit
        self.common = common
        self.escape = escape  # whether exemplars' label names are made legacy names, too
        self.family: Family | None = None
        self.rejected = False
        self.series: dict[str, Series] = {}
        # The fast way to a series: its keys, values and their types, in the order in which they come. It
        # only holds what `resolve` found the slow way.
        self.by_items: dict[tuple[object, ...], Series] = {}
        # Faster still, and nearly always enough: where all values are strings, their types need no mention.
        self.by_texts: dict[tuple[object, ...], Series] = {}

    def find(self, point: SourcePoint) -> Series:
        """The series of a point's attribute set."""
        attributes = point.attributes
        try:
            values = attributes.values()  # type: ignore[union-attr]
            series = self.by_texts.get((*attributes, *values))  # type: ignore[misc]
            return self.by_items[(*attributes, *values, *map(type, values))] if series is None else series  # type: ignore[misc]
        except (KeyError, TypeError, AttributeError):  # new, not hashable, or no attributes at all
            return self.resolve(point)

    def resolve(self, point: SourcePoint) -> Series:
        """The series of an attribute set, made if there is none; past the limit, the overflow series."""
        attributes = point.attributes or {}
        key = _identity(attributes)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= self.limit:
                return self._overflow(point)
            series = self.series[key] = self._new_series(attributes, point)
        values = attributes.values()
        types = tuple(map(type, values))
        if _TEXT.issuperset(types):
            self.by_texts[(*attributes, *values)] = series
        elif _PLAIN.issuperset(types):
            self.by_items[(*attributes, *values, *types)] = series
        return series

    def forget_unseen(self, collection: int) -> list[Series]:
        """Drop the series that this collection had no point for, and return them."""
        gone = {key: series for key, series in self.series.items() if series.seen != collection}
        for key, series in gone.items():
            del self.series[key]
            series.gone = True
        if gone:
            self.by_items = {key: series for key, series in self.by_items.items() if not series.gone}
            self.by_texts = {key: series for key, series in self.by_texts.items() if not series.gone}
        return list(gone.values())

    def _overflow(self, point: SourcePoint) -> Series:
        key = _identity(OVERFLOW_ATTRIBUTES)
        if key not in self.series:
            self.series[key] = self._new_series(OVERFLOW_ATTRIBUTES, point)
        return self.series[key]

    def _new_series(self, attributes: Mapping[str, object], point: SourcePoint) -> Series:
        series = _SERIES[self.key.meaning.shape](self, dict(attributes))
        if point.start_time_unix_nano is not None:
            series.created = point.start_time_unix_nano / 1_000_000_000
        return series


def _identity(attributes: Mapping[str, object]) -> str:
    items = sorted(attributes.items(), key=lambda item: item[0])
    try:
        # repr() tells 1, True, 1.0 and "1" apart, as the SDK does, and gives NaN one identity.
        return repr(items)
    except Exception:  # an integer of too many digits, an object whose repr() fails
        return repr([(key, label_value(value)) for key, value in items])
