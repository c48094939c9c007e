"""Streams of points, as the bytes of an ``ExportMetricsServiceRequest`` of OTLP.

https://github.com/open-telemetry/opentelemetry-proto/blob/v1.5.0/opentelemetry/proto/metrics/v1/metrics.proto

The exporter of OpenTelemetry makes an object for each message first: 27 µs for a point with three attributes,
where this takes 2 to 4. It also loads traces, logs and protobuf, which a worker need not have.

Asynchronous counters come as totals, and leave as deltas. The SDK could make those, too. But in a forked
child it would take the difference to what the parent had said, and a callback that begins anew there, as the
CPU time of a process does, would count less than nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import Kind
from otel_prom_bridge.points import AttributeSet, Shape, SourcePoint, Stream
from otel_prom_bridge.protobuf_fields import double, field, int64, varint, zigzag

# Tags, by message.
_MESSAGE_1, _TEXT_1, _TEXT_2, _TEXT_3 = b"\x0a", b"\x0a", b"\x12", b"\x1a"
_SCOPE_METRICS, _METRIC, _SCHEMA_URL = b"\x12", b"\x12", b"\x1a"
_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL = b"\x2a", b"\x3a", b"\x4a", b"\x52"  # Metric
_DELTA, _CUMULATIVE, _MONOTONIC = b"\x10\x01", b"\x10\x02", b"\x18\x01"
_RESOURCE_ATTRIBUTE, _SCOPE_ATTRIBUTE, _NUMBER_ATTRIBUTE = b"\x0a", b"\x1a", b"\x3a"
_HISTOGRAM_ATTRIBUTE, _EXPONENTIAL_ATTRIBUTE, _EXEMPLAR_ATTRIBUTE = b"\x4a", b"\x0a", b"\x3a"
_NUMBER_EXEMPLAR, _HISTOGRAM_EXEMPLAR, _EXPONENTIAL_EXEMPLAR = b"\x2a", b"\x42", b"\x5a"
_STRING, _BOOL, _INT, _DOUBLE = b"\x0a", b"\x10", b"\x18", b"\x21"  # AnyValue
_ARRAY, _TABLE, _BYTES = b"\x2a", b"\x32", b"\x3a"

# Start and time, which have the numbers 2 and 3 in every kind of point.
_times = struct.Struct("<cQcQ").pack
_as_double, _as_int = struct.Struct("<cd").pack, struct.Struct("<cq").pack
_fixed = struct.Struct("<Q").pack
_min_and_max = struct.Struct("<cdcd").pack
_LONGEST_KEPT = 128  # characters of a value whose bytes are kept
_SETS_KEPT, _LONGEST_SET_KEPT = 4096, 512  # attribute sets whose bytes are kept, and how many of each


class OtlpEncoder:
    """Encodes the batches of one reader, in the order in which they were collected.

    ``findings`` hears of what cannot be encoded. That never takes anything else along.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        # The attributes of points, by their tag and their key. Most of them come with each push.
        self._sets: dict[tuple[bytes, tuple[object, ...]], bytes] = {}
        self._said: dict[Stream, dict[bytes, float]] = {}  # by asynchronous counters
        # In a forked child: the counters of which only the next total says what the parent has counted. None
        # stands for all of them.
        self._inherited: frozenset[str] | None = frozenset()
        self._failing: frozenset[str] = frozenset()  # of the batch that is encoded
        self.has_news = False  # the last batch had something to add up

    def begin_anew(self) -> None:
        """In a forked child: what asynchronous counters say next is what the parent has counted."""
        self._said.clear()
        self._inherited = None

    def request(
        self,
        resource: Mapping[str, Any],
        streams: Iterable[tuple[Stream, Iterable[SourcePoint]]],
        failing: frozenset[str] = frozenset(),
        *,
        schema_url: str = "",
    ) -> tuple[bytes, int]:
        """The request, and the number of its points; no bytes if there is nothing to say.

        ``resource`` has the attributes of what the streams are a part of, and ``schema_url`` is that of their
        names. ``failing`` are the instruments of which something is missing.
        """
        scopes: dict[InstrumentationScope, list[bytes]] = {}
        count, self.has_news, self._failing = 0, False, failing
        for stream, points in streams:
            try:
                encoded = self._metric(stream, points)
            except Exception as error:
                name = stream.name
                self._findings.report(("encode", name), "metric %r is not sent: %r", name, error)
                continue
            if encoded is not None:
                scopes.setdefault(stream.scope, []).append(field(_METRIC, encoded[0]))
                count += encoded[1]
        self._inherited = failing if self._inherited is None else self._inherited & failing
        if not scopes:
            return b"", 0
        parts = [field(_MESSAGE_1, self._attributes(_RESOURCE_ATTRIBUTE, resource))]
        for scope, metrics in scopes.items():
            content = [field(_MESSAGE_1, self._scope(scope)), *metrics, _text(_SCHEMA_URL, scope.schema_url)]
            parts.append(field(_SCOPE_METRICS, b"".join(content)))
        parts.append(_text(_SCHEMA_URL, schema_url))
        return field(_MESSAGE_1, b"".join(parts)), count

    def _scope(self, scope: InstrumentationScope) -> bytes:
        name = _text(_TEXT_1, scope.name) + _text(_TEXT_2, scope.version)
        return name + self._attributes(_SCOPE_ATTRIBUTE, scope.attributes)

    def _metric(self, stream: Stream, points: Iterable[SourcePoint]) -> tuple[bytes, int] | None:
        kind, accumulates, additive, shape = stream.meaning
        encode: Callable[[Any], bytes] = self._number
        tag, end = _SUM, _DELTA if accumulates else _CUMULATIVE
        if kind is Kind.HISTOGRAM and shape is Shape.EXPONENTIAL:
            tag, encode = _EXPONENTIAL, self._exponential
        elif kind is Kind.HISTOGRAM:
            tag, encode = _HISTOGRAM, self._histogram
        elif not additive:
            tag, encode, end = _GAUGE, self._gauge, b""
        elif kind is Kind.COUNTER:
            encode = self._number if accumulates else self._difference(stream)
            end = _DELTA + _MONOTONIC
        encoded = self._points(stream.name, encode, points)
        if not encoded:
            return None
        self.has_news = self.has_news or accumulates
        head = _text(_TEXT_1, stream.name) + _text(_TEXT_2, stream.description) + _text(_TEXT_3, stream.unit)
        return head + field(tag, b"".join(encoded) + end), len(encoded)

    def _points(self, name: str, encode: Callable[[Any], bytes], points: Iterable[Any]) -> list[bytes]:
        encoded = []
        for point in points:
            try:
                encoded.append(field(_MESSAGE_1, encode(point)))
            except Exception as error:
                self._findings.report(("encode", name), "a point of %r is not sent: %r", name, error)
        return encoded

    # Points.

    def _number(self, point: Any) -> bytes:
        content = self._attributes(_NUMBER_ATTRIBUTE, point.attributes)
        content += _times(b"\x11", point.start_time_unix_nano, b"\x19", point.time_unix_nano)
        content += _value(point.value, b"\x21")
        return content + self._exemplars(_NUMBER_EXEMPLAR, point) if point.exemplars else content

    def _gauge(self, point: Any) -> bytes:
        # Without a start, which says nothing of a gauge.
        content = self._attributes(_NUMBER_ATTRIBUTE, point.attributes)
        content += struct.pack("<cQ", b"\x19", point.time_unix_nano) + _value(point.value, b"\x21")
        return content + self._exemplars(_NUMBER_EXEMPLAR, point)

    def _difference(self, stream: Stream) -> Callable[[Any], bytes]:
        """Encodes points of an asynchronous counter as what was added since it was last asked."""
        said = self._said.setdefault(stream, {})
        is_inherited = self._inherited is None or stream.name in self._inherited
        is_part = stream.name in self._failing

        def encode(point: Any) -> bytes:
            attributes, value = self._attributes(_NUMBER_ATTRIBUTE, point.attributes), point.value
            before = said.get(attributes, value if is_inherited else 0)
            if is_part and value < before:  # what it has not said may be a part of this sum
                value = before
            # "resets": less than before means that what it counts began anew.
            added = value - before if value >= before else value
            said[attributes] = value
            self.has_news = self.has_news or added != 0
            content = attributes + _times(b"\x11", point.start_time_unix_nano, b"\x19", point.time_unix_nano)
            return content + _value(added, b"\x21") + self._exemplars(_NUMBER_EXEMPLAR, point)

        return encode

    def _histogram(self, point: Any) -> bytes:
        counts = point.bucket_counts
        return b"".join(
            (
                self._attributes(_HISTOGRAM_ATTRIBUTE, point.attributes),
                _times(b"\x11", point.start_time_unix_nano, b"\x19", point.time_unix_nano),
                b"\x21" + _fixed(point.count) + b"\x29" + double(point.sum),
                field(b"\x32", struct.pack(f"<{len(counts)}Q", *counts)) if counts else b"",
                _bounds(tuple(point.explicit_bounds)),
                self._exemplars(_HISTOGRAM_EXEMPLAR, point),
                _extremes(b"\x59", b"\x61", point),
            )
        )

    def _exponential(self, point: Any) -> bytes:
        return b"".join(
            (
                self._attributes(_EXPONENTIAL_ATTRIBUTE, point.attributes),
                _times(b"\x11", point.start_time_unix_nano, b"\x19", point.time_unix_nano),
                b"\x21" + _fixed(point.count) + b"\x29" + double(point.sum),
                b"\x30" + zigzag(point.scale),
                b"\x39" + _fixed(point.zero_count),
                _side(b"\x42", point.positive),
                _side(b"\x4a", point.negative),
                self._exemplars(_EXPONENTIAL_EXEMPLAR, point),
                _extremes(b"\x61", b"\x69", point),
            )
        )

    def _exemplars(self, tag: bytes, point: Any) -> bytes:
        return b"".join(field(tag, self._exemplar(exemplar)) for exemplar in point.exemplars)

    def _exemplar(self, exemplar: Any) -> bytes:
        content = self._attributes(_EXEMPLAR_ATTRIBUTE, exemplar.filtered_attributes)
        content += struct.pack("<cQ", b"\x11", exemplar.time_unix_nano) + _value(exemplar.value, b"\x19")
        if exemplar.span_id is not None and exemplar.trace_id is not None:
            content += field(b"\x22", exemplar.span_id.to_bytes(8, "big"))
            content += field(b"\x2a", exemplar.trace_id.to_bytes(16, "big"))
        return content

    # Attributes.

    def _attributes(self, tag: bytes, attributes: Mapping[str, Any] | None) -> bytes:
        if type(attributes) is not AttributeSet:
            return _joined(tag, attributes)
        key = tag, attributes.key
        encoded = self._sets.get(key)
        if encoded is None:
            encoded = _joined(tag, attributes)
            if len(encoded) <= _LONGEST_SET_KEPT:
                if len(self._sets) >= _SETS_KEPT:
                    self._sets.clear()
                self._sets[key] = encoded
        return encoded


def _joined(tag: bytes, attributes: Mapping[str, Any] | None) -> bytes:
    return tag + tag.join(_pairs(attributes.items())) if attributes else b""


def _pairs(items: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    """Each as a message after its length."""
    for key, value in items:
        if type(value) is str and len(value) <= _LONGEST_KEPT:
            yield _kept_pair(key, value)
        else:
            yield _pair(key, value)


def _pair(key: object, value: Any) -> bytes:
    content = _text(_TEXT_1, str(key)) + field(_TEXT_2, _any(value))
    return varint(len(content)) + content


_kept_pair = lru_cache(maxsize=4096)(_pair)  # There are few values and many points.


def _any(value: Any) -> bytes:
    if isinstance(value, str):
        return field(_STRING, _utf8(value))
    if isinstance(value, bool):
        return _BOOL + varint(value)
    if isinstance(value, int):
        return _INT + int64(value) if -(1 << 63) <= value < 1 << 63 else _any(str(value))
    if isinstance(value, float):
        return _DOUBLE + double(value)
    if isinstance(value, bytes):
        return field(_BYTES, value)
    if isinstance(value, Mapping):
        return field(_TABLE, b"".join(_MESSAGE_1 + pair for pair in _pairs(value.items())))
    if isinstance(value, Sequence):
        return field(_ARRAY, b"".join(field(_MESSAGE_1, _any(item)) for item in value))
    return b"" if value is None else _any(str(value))


def _text(tag: bytes, text: str | None) -> bytes:
    return field(tag, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which protobuf would refuse with all the rest
        return text.encode(errors="replace")


# Numbers.


def _value(value: float, tag: bytes) -> bytes:
    """As a double with this tag, or as an integer, whose tag is 6 in each message."""
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return _as_int(b"\x31", value)
    try:
        return _as_double(tag, value)
    except (struct.error, OverflowError):  # an integer that no float can hold
        return tag + double(value)


@lru_cache(maxsize=256)  # Instruments have few sets of bounds.
def _bounds(bounds: tuple[float, ...]) -> bytes:
    return field(b"\x3a", struct.pack(f"<{len(bounds)}d", *bounds)) if bounds else b""


def _side(tag: bytes, buckets: Any) -> bytes:
    if not buckets.bucket_counts:
        return b""
    counts = field(b"\x12", b"".join(map(varint, buckets.bucket_counts)))
    return field(tag, b"\x08" + zigzag(buckets.offset) + counts)


def _extremes(lowest: bytes, highest: bytes, point: Any) -> bytes:
    """The least and the largest value, with these tags, where they are known."""
    return _min_and_max(lowest, point.min, highest, point.max) if hasattr(point, "min") else b""
