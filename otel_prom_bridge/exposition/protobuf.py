"""The protobuf format: a sequence of ``io.prometheus.client.MetricFamily`` messages, each after its length.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto

This format has native histograms. One ``Metric`` stands for all samples of a series, and whoever reads it
adds the suffixes to the names. Its messages are put together field by field (``protobuf_fields.py``), with
tags that are constants below. Lengths and counts come from tables, since most of them are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, compress
from operator import not_
from typing import Any

from otel_prom_bridge.arithmetic.histograms import layout
from otel_prom_bridge.exposition.rendered import Rendered
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    SummaryPoint,
    UnknownPoint,
)
from otel_prom_bridge.protobuf_fields import (
    SMALL,
    VARINTS,
    double,
    encoded,
    field,
    int64,
    pack,
    varint,
    zigzag,
)

# The enumeration MetricType. It has neither info nor stateset. The specification has gauges stand for infos.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#resource-attributes-1
_TYPES = {
    Kind.COUNTER: 0,
    Kind.GAUGE: 1,
    Kind.INFO: 1,
    Kind.STATESET: 1,
    Kind.SUMMARY: 2,
    Kind.UNKNOWN: 3,
    Kind.HISTOGRAM: 4,
    Kind.GAUGE_HISTOGRAM: 5,
}

# Tags, by message. The tag of a first field depends only on its type, so it is the same in every message.
_TEXT_1, _DOUBLE_1, _VARINT_1 = b"\x0a", b"\x09", b"\x08"
_HELP, _TYPE, _METRIC, _UNIT = b"\x12", b"\x18", b"\x22", b"\x2a"  # MetricFamily 2 to 5
_GAUGE, _COUNTER, _SUMMARY, _UNTYPED = b"\x12", b"\x1a", b"\x22", b"\x2a"  # Metric 2 to 5
_TIMESTAMP, _HISTOGRAM = b"\x30", b"\x3a"  # Metric 6 and 7
_DOUBLE_2, _MESSAGE_2, _MESSAGE_3 = b"\x11", b"\x12", b"\x1a"
_SCHEMA, _ZERO_THRESHOLD, _ZERO_COUNT = b"\x28", b"\x31", b"\x38"  # Histogram 5 to 7
_NEGATIVE, _POSITIVE = (b"\x4a", b"\x52"), (b"\x62", b"\x6a")  # Histogram: span and delta, 9, 10, 12, 13
_HISTOGRAM_START, _HISTOGRAM_EXEMPLAR = b"\x7a", b"\x82\x01"  # Histogram 15 and 16
_SUMMARY_START = b"\x22"  # Summary 4

_HISTOGRAMS = (Kind.HISTOGRAM, Kind.GAUGE_HISTOGRAM)
_METRICS = tuple(_METRIC + size for size in VARINTS)


def _metric(content: bytes, timestamp: float | None) -> bytes:
    if timestamp is not None:
        content += _TIMESTAMP + int64(round(timestamp * 1000))
    size = len(content)
    return (_METRICS[size] if size < SMALL else _METRIC + varint(size)) + content


@lru_cache(maxsize=1024)  # There are few names and many series.
def _label_name(name: str) -> bytes:
    """The name of a LabelPair and the tag of its value."""
    return field(_TEXT_1, name.encode()) + _MESSAGE_2


def _label_pairs(labels: Labels) -> bytes:
    pairs: list[bytes] = []
    for name, value in labels:
        text = value.encode()
        pair = _label_name(name) + varint(len(text)) + text
        pairs += (_TEXT_1, varint(len(pair)), pair)
    return b"".join(pairs)


def _timestamp(tag: bytes, seconds: float) -> bytes:
    # Rounded to the nearest millisecond, as in text. Prometheus cuts at the millisecond, and an exemplar that
    # it gets in both formats should be the same one.
    whole, millis = divmod(round(seconds * 1000), 1000)
    content = _VARINT_1 + int64(whole)
    return field(tag, content + b"\x10" + encoded(millis * 1_000_000))


# Many series begin at the same time, and each of them keeps its start while its value changes.
@lru_cache(maxsize=1024)
def _start(tag: bytes, created: float | None) -> bytes:
    return b"" if created is None else _timestamp(tag, created)


def _exemplar(tag: bytes, exemplar: Exemplar) -> bytes:
    content = _label_pairs(exemplar.labels) + _DOUBLE_2 + double(exemplar.value)
    if exemplar.timestamp is not None:
        content += _timestamp(_MESSAGE_3, exemplar.timestamp)
    return field(tag, content)


@dataclass(frozen=True, slots=True)
class ProtobufWriter:
    """Writes delimited ``io.prometheus.client.MetricFamily`` messages."""

    trailer: bytes = b""

    def header(self, family: MetricFamily) -> bytes:
        """The fields of the family besides its metrics. The order of fields within a message is free."""
        fields = [field(_TEXT_1, family.name.encode()), _TYPE, varint(_TYPES[family.kind])]
        if family.help:
            fields.append(field(_HELP, family.help.encode()))
        # Prometheus 2.50 to 3.5 fail the scrape if the name does not end with `_` and the unit. The `_total`
        # of a counter does not count.
        # https://github.com/prometheus/prometheus/blob/v3.5.0/model/textparse/protobufparse.go
        base = family.name.removesuffix("_total") if family.kind is Kind.COUNTER else family.name
        if family.unit and base.endswith(f"_{family.unit}"):
            fields.append(field(_UNIT, family.unit.encode()))
        return b"".join(fields)

    def labels(self, labels: Labels) -> bytes:
        """The labels as fields of a Metric."""
        return _label_pairs(labels)

    def renderer(self, family: MetricFamily) -> Callable[[Any, bytes], bytes]:
        """A function from a point of this family and its rendered labels to a ``metric`` field."""
        match family.kind:
            case Kind.COUNTER:
                return _counter
            case Kind.GAUGE | Kind.STATESET:
                return _single(_GAUGE)
            case Kind.UNKNOWN:
                return _single(_UNTYPED)
            case Kind.INFO:
                return _info
            case Kind.SUMMARY:
                return _summary
            case Kind.HISTOGRAM | Kind.GAUGE_HISTOGRAM:
                return _histogram()

    def page(self, header: bytes, family: MetricFamily, rendered: Rendered) -> Iterable[bytes]:
        """The message of the family after its length. A family without points, which readers skip, has none.

        If some points are native histograms and others are classic ones, these are two messages: Prometheus
        decides by the first metric of a message how it reads the others.
        https://github.com/prometheus/prometheus/blob/v3.5.0/model/textparse/protobufparse.go
        """
        native = list(map(_is_native, family.points)) if family.kind in _HISTOGRAMS else []
        if not any(native) or all(native):
            return _message(header, rendered.pieces)
        each = rendered.each
        return chain(
            _message(header, tuple(compress(each, map(not_, native)))),
            _message(header, tuple(compress(each, native))),
        )


def _is_native(point: Any) -> bool:
    """Whether a histogram is written with native buckets."""
    return isinstance(point, NativeHistogramPoint) or point.native is not None


def _message(header: bytes, metrics: Sequence[bytes]) -> Iterable[bytes]:
    return (varint(len(header) + sum(map(len, metrics))), header, *metrics) if metrics else ()


def _single(tag: bytes) -> Callable[[GaugePoint | UnknownPoint, bytes], bytes]:
    head = tag + b"\x09" + _DOUBLE_1  # The message is nine bytes long: a tag and the value.

    def render(point: GaugePoint | UnknownPoint, labels: bytes) -> bytes:
        return _metric(labels + head + double(point.value), point.timestamp)

    return render


_INFO = field(_GAUGE, _DOUBLE_1 + pack(1))


def _info(point: InfoPoint, labels: bytes) -> bytes:
    return _metric(labels + _INFO, point.timestamp)


def _counter(point: CounterPoint, labels: bytes) -> bytes:
    content = _DOUBLE_1 + double(point.value) + _start(_MESSAGE_3, point.created)
    if point.exemplar is not None:
        content += _exemplar(_MESSAGE_2, point.exemplar)
    return _metric(labels + field(_COUNTER, content), point.timestamp)


def _summary(point: SummaryPoint, labels: bytes) -> bytes:
    fields = [] if point.observations is None else [_VARINT_1, varint(int(point.observations))]
    fields.append(_sum(point.sum))
    fields += [
        field(_MESSAGE_3, _DOUBLE_1 + double(quantile) + _DOUBLE_2 + double(value))
        for quantile, value in point.quantiles
    ]
    fields.append(_start(_SUMMARY_START, point.created))
    return _metric(labels + field(_SUMMARY, b"".join(fields)), point.timestamp)


def _sum(value: float | None) -> bytes:
    # Without the field, Prometheus would show a sum of 0. NaN says that the sum is not known, and no average
    # that is made of it can look right.
    return _DOUBLE_2 + (pack(math.nan) if value is None else double(value))


def _histogram() -> Callable[[HistogramPoint | NativeHistogramPoint, bytes], bytes]:
    limits: dict[tuple[float, ...], list[bytes]] = {}  # A family seldom has more than one set of bounds.

    def render(point: HistogramPoint | NativeHistogramPoint, labels: bytes) -> bytes:
        if isinstance(point, NativeHistogramPoint):
            content = _count_and_sum(point) + _native(point)
            return _metric(labels + field(_HISTOGRAM, content), point.timestamp)
        ends = limits.get(point.bounds)
        if ends is None:
            ends = [_DOUBLE_2 + double(bound) for bound in (*point.bounds, math.inf)]
            limits[point.bounds] = ends
        counts = list(accumulate(point.counts))
        buckets = _explained_buckets(point, counts, ends) if point.exemplars else _buckets(counts, ends)
        start = _start(_HISTOGRAM_START, point.created)
        content = b"".join((_VARINT_1, varint(counts[-1]), _sum(point.sum), *buckets, start))
        if point.native is not None:
            content += _native(point.native._replace(created=None))
        return _metric(labels + field(_HISTOGRAM, content), point.timestamp)

    return render


# How a bucket begins, by the number of bytes of its count. Its bound takes nine bytes more.
_BUCKET_HEADS = tuple(_MESSAGE_3 + VARINTS[1 + size + 9] + _VARINT_1 for size in range(11))


def _bucket(count: int) -> bytes:
    """A bucket up to its bound."""
    number = encoded(count)
    return _BUCKET_HEADS[len(number)] + number


_BUCKETS = tuple(map(_bucket, range(SMALL)))


def _buckets(counts: list[int], ends: list[bytes]) -> Iterator[bytes]:
    heads = [_BUCKETS[count] if 0 <= count < SMALL else _bucket(count) for count in counts]
    return chain.from_iterable(zip(heads, ends, strict=True))


def _explained_buckets(point: HistogramPoint, counts: list[int], ends: list[bytes]) -> Iterator[bytes]:
    for count, end, exemplar in zip(counts, ends, point.exemplars, strict=True):
        if exemplar is None:
            yield _bucket(count) + end
        else:
            example = _exemplar(_MESSAGE_3, exemplar)
            yield field(_MESSAGE_3, _VARINT_1 + varint(count) + end + example)


def _count_and_sum(point: NativeHistogramPoint) -> bytes:
    return _VARINT_1 + varint(point.observations) + _DOUBLE_2 + double(point.sum)


def _native(point: NativeHistogramPoint) -> bytes:
    """https://github.com/prometheus/docs/blob/main/docs/specs/native_histograms.md"""
    fields = [
        *(_SCHEMA, zigzag(point.schema)),
        *(_ZERO_THRESHOLD, double(point.zero_threshold), _ZERO_COUNT, varint(point.zero_count)),
        *_side(_NEGATIVE, point.negative),
        *_side(_POSITIVE, point.positive),
        _start(_HISTOGRAM_START, point.created),
        # "Each exemplar MUST have a timestamp." Readers drop those that have none.
        *(_exemplar(_HISTOGRAM_EXEMPLAR, item) for item in point.exemplars if item.timestamp is not None),
    ]
    if not (point.negative or point.positive or point.zero_threshold > 0 or point.zero_count):
        # "A no-op span (offset 0, length 0)", without which nothing tells it from a classic histogram.
        fields.append(field(_POSITIVE[0], b""))
    return b"".join(fields)


def _side(tags: tuple[bytes, bytes], buckets: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    span, delta = tags
    spans, deltas = layout(buckets)
    for offset, length in spans:
        yield field(span, _VARINT_1 + zigzag(offset) + b"\x10" + varint(length))
    if deltas:
        # Packed; readers take both forms of a repeated number.
        yield field(delta, b"".join(map(zigzag, deltas)))
