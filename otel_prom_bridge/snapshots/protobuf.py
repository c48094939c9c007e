"""Delimited ``io.prometheus.client.MetricFamily`` messages → families.

The messages are few and fixed, so they are read field by field, without a library that would have to be a
dependency; ``exposition/protobuf.py`` writes them in the same way.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

from otel_prom_bridge.arithmetic.histograms import spread
from otel_prom_bridge.families import (
    EXEMPLAR_CHARACTERS,
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    UnknownPoint,
    identity,
)
from otel_prom_bridge.snapshots.assembly import is_foreign
from otel_prom_bridge.snapshots.findings import Faults

_Fields: TypeAlias = dict[int, list[Any]]
_KINDS = (
    Kind.COUNTER,
    Kind.GAUGE,
    Kind.SUMMARY,
    Kind.UNKNOWN,
    Kind.HISTOGRAM,
    Kind.GAUGE_HISTOGRAM,
)
_VALUE_FIELDS = (3, 2, 4, 5, 7, 7)  # of a Metric, by the type of its family
_double = struct.Struct("<d").unpack


class _MalformedError(ValueError):
    """The bytes are no message."""


def looks_like_protobuf(body: bytes) -> bool:
    """Whether the bytes begin as a delimited MetricFamily does: a length, and a message of this length."""
    try:
        size, start = _varint(body, 0)
        return (
            0 < size <= len(body) - start
            and body[start] == 0x0A
            and bool(_fields(body[start : start + size]))
        )
    except _MalformedError:
        return False


def read_protobuf(body: bytes, faults: Faults) -> list[MetricFamily]:
    """The families of a body. Nothing behind a malformed message is read."""
    found: dict[str, MetricFamily] = {}
    position = 0
    while position < len(body):
        try:
            size, start = _varint(body, position)
            if start + size > len(body):
                raise _MalformedError(
                    f"a message of {size:,} bytes, of which {len(body) - start:,} are there"
                )
            family = _family(_fields(body[start : start + size]), faults)
        except (_MalformedError, UnicodeDecodeError, struct.error, TypeError, IndexError) as error:
            faults.error("syntax", "", f"at byte {position:,}: {error}")
            break
        # A family whose points are classic and native histograms comes as two messages.
        found[family.name] = _joined(found.get(family.name), family, faults)
        position = start + size
    return list(found.values())


def _joined(first: MetricFamily | None, second: MetricFamily, faults: Faults) -> MetricFamily:
    if first is None:
        return second
    if second.kind is not first.kind:
        faults.error("duplicate", first.name, "the family is there twice, with different types")
        return first
    known = {(identity(point.labels), point.timestamp) for point in first.points}
    points = [item for item in second.points if (identity(item.labels), item.timestamp) not in known]
    if len(points) < len(second.points):
        faults.error("duplicate", first.name, "a series is there twice")
    return replace(first, points=(*first.points, *points), foreign=first.foreign or second.foreign)


def _family(fields: _Fields, faults: Faults) -> MetricFamily:
    name = _text(fields, 1)
    number = _one(fields, 3, 0)
    if not name or not 0 <= number < len(_KINDS):
        raise _MalformedError("a family without a name" if not name else f"{name}: there is no type {number}")
    kind = _KINDS[number]
    points: dict[tuple[Labels, float | None], Point] = {}
    for metric in fields.get(4, ()):
        point = _point(name, kind, _fields(metric), _VALUE_FIELDS[number], faults)
        key = identity(point.labels), point.timestamp
        if key in points:
            faults.error("duplicate", name, f"the series {dict(point.labels)} is there twice")
        points[key] = point
    if not points:
        faults.error("syntax", name, "a family without metrics")
    unit = _text(fields, 5)
    if unit and not name.removesuffix("_total").endswith(f"_{unit}"):
        faults.error("unit", name, f"the unit {unit} is not the end of its name")
    shown = tuple(points.values())
    return MetricFamily(
        name,
        kind,
        _text(fields, 2),
        unit,
        shown,
        foreign=is_foreign(name, shown),
        shows_created=True,
    )


def _point(name: str, kind: Kind, metric: _Fields, field: int, faults: Faults) -> Any:
    labels = _labels(name, metric.get(1, ()), faults)
    milliseconds = _one(metric, 6, None)
    time = None if milliseconds is None else _signed(milliseconds) / 1000
    if field not in metric:
        faults.error("value", name, f"a {kind.value} without its value")
    value = _fields(_one(metric, field, b""))
    match kind:
        case Kind.COUNTER:
            return _counter(name, labels, value, time, faults)
        case Kind.GAUGE:
            return GaugePoint(labels, _number(value, 1), timestamp=time)
        case Kind.UNKNOWN:
            return UnknownPoint(labels, _number(value, 1), time)
        case Kind.SUMMARY:
            pairs = (_fields(item) for item in value.get(3, ()))
            quantiles = tuple((_number(pair, 1), _number(pair, 2)) for pair in pairs)
            created = _when(_one(value, 4, None))
            return SummaryPoint(labels, quantiles, _number(value, 2), _one(value, 1, 0), created, time)
        case _:
            return _histogram(name, labels, value, time, faults)


def _counter(name: str, labels: Labels, value: _Fields, time: float | None, faults: Faults) -> CounterPoint:
    number = _number(value, 1)
    if not number >= 0:
        faults.error("value", name, f"a counter of {number}")
    exemplar = _exemplar(name, value[2][-1], faults) if 2 in value else None
    return CounterPoint(labels, number, exemplar, _when(_one(value, 3, None)), time)


def _histogram(
    name: str, labels: Labels, value: _Fields, time: float | None, faults: Faults
) -> HistogramPoint | NativeHistogramPoint:
    count = _one(value, 1, None)
    if count is None:
        count = int(_number(value, 4))
    created = _when(_one(value, 15, None))
    native = None
    if 12 in value or 9 in value or _number(value, 6) > 0 or _one(value, 7, 0):
        native = _native(name, labels, value, time, faults)
        if native.observations != count and not math.isnan(native.sum):
            faults.error("buckets", name, f"the count is {count}, and the buckets have {native.observations}")
        if 3 not in value:
            return native
    buckets = [_fields(item) for item in value.get(3, ())]
    limits = [_number(bucket, 2) for bucket in buckets]
    totals = [_one(bucket, 1, None) or int(_number(bucket, 4)) for bucket in buckets]
    if any(a >= b for a, b in pairwise(limits)) or any(a > b for a, b in pairwise([*totals, count])):
        faults.error("buckets", name, "buckets that are not cumulative in the order of their bounds")
    found = [_exemplar(name, bucket[3][-1], faults) if 3 in bucket else None for bucket in buckets]
    if not limits or limits[-1] != math.inf:  # "The +Inf bucket may be left out."
        limits, totals, found = [*limits, math.inf], [*totals, count], [*found, None]
    counts = tuple(after - before for before, after in zip([0, *totals], totals, strict=False))
    exemplars = tuple(found) if any(found) else ()
    total = _number(value, 2)
    return HistogramPoint(labels, tuple(limits[:-1]), counts, total, exemplars, created, time, native)


def _native(
    name: str, labels: Labels, value: _Fields, time: float | None, faults: Faults
) -> NativeHistogramPoint:
    negative, positive = _side(name, value, 9, faults), _side(name, value, 12, faults)
    exemplars = tuple(_exemplar(name, item, faults) for item in value.get(16, ()))
    return NativeHistogramPoint(
        labels,
        _zigzag(_one(value, 5, 0)),
        _number(value, 6),
        _one(value, 7, None) or int(_number(value, 8)),
        positive,
        negative,
        _number(value, 2),
        exemplars,
        _when(_one(value, 15, None)),
        time,
    )


def _side(name: str, value: _Fields, field: int, faults: Faults) -> tuple[tuple[int, int], ...]:
    spans = [(_zigzag(_one(span, 1, 0)), _one(span, 2, 0)) for span in map(_fields, value.get(field, ()))]
    deltas = [_zigzag(item) for item in _packed(value.get(field + 1, ()))]
    if not deltas and field + 2 in value:  # float counts, which are absolute
        totals = [int(item) for item in _doubles(value[field + 2])]
        deltas = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    if sum(length for _, length in spans) != len(deltas):
        faults.error("buckets", name, "the spans of native buckets are not as many as the buckets")
        return ()
    if any(total < 0 for total in accumulate(deltas)):
        faults.error("buckets", name, "a native bucket with fewer than no observations")
    return spread(spans, deltas)


def _exemplar(name: str, message: bytes, faults: Faults) -> Exemplar:
    fields = _fields(message)
    labels = _labels(name, fields.get(1, ()), faults)
    if (size := sum(len(key) + len(value) for key, value in labels)) > EXEMPLAR_CHARACTERS:
        faults.error("exemplar", name, f"an exemplar of {size} characters; {EXEMPLAR_CHARACTERS} are allowed")
    return Exemplar(labels, _number(fields, 2), _when(_one(fields, 3, None)))


def _labels(name: str, messages: list[bytes] | tuple[()], faults: Faults) -> Labels:
    pairs = [(_text(pair, 1), _text(pair, 2)) for pair in map(_fields, messages)]
    if len(dict(pairs)) != len(pairs):
        faults.error("label", name, f"a label twice in {pairs}")
    return tuple(sorted(dict(pairs).items()))


def _when(message: bytes | None) -> float | None:
    if message is None:
        return None
    fields = _fields(message)
    return float(_signed(_one(fields, 1, 0)) + _one(fields, 2, 0) / 1e9)


def _fields(message: bytes) -> _Fields:
    """The values of each field, by its number: integers, or the bytes of everything else."""
    found: _Fields = {}
    value: int | bytes
    position, size = 0, len(message)
    while position < size:
        tag, position = _varint(message, position)
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 1:
                value, position = message[position : position + 8], position + 8
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case 5:
                value, position = message[position : position + 4], position + 4
            case wire:
                raise _MalformedError(f"there is no wire type {wire}")
        if position > size:
            raise _MalformedError("a message ends within a field")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise _MalformedError("a number does not end")


def _one(fields: _Fields, field: int, default: Any) -> Any:
    return fields[field][-1] if field in fields else default  # the last one counts


def _text(fields: _Fields, field: int) -> str:
    return str(_one(fields, field, b""), "utf-8")


def _number(fields: _Fields, field: int) -> float:
    return float(_double(fields[field][-1])[0]) if field in fields else 0.0


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _zigzag(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _packed(values: Any) -> Iterator[int]:
    for value in values:
        if isinstance(value, int):
            yield value
        else:
            position = 0
            while position < len(value):
                number, position = _varint(value, position)
                yield number


def _doubles(values: list[bytes]) -> Iterator[float]:
    return (float(number) for value in values for (number,) in struct.iter_unpack("<d", value))
