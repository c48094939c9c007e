"""What an OTLP request says, as streams of points.

A request may come from any SDK in any language, and from anybody who may push at all. So nothing in it is
taken for granted. What cannot be read is rejected point by point: the rest counts, and the answer says what
does not (``partial_success``). Only bytes that are no request at all are an error.

https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto
https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.families import Kind
from otel_prom_bridge.points import Meaning, Shape, Stream

# How deep lists and maps of an attribute are read. Nothing deeper can be read in a label, and protobuf itself
# goes to 100 levels.
_DEEPEST = 8
_TOO_DEEP = "…"
# The most buckets of a histogram. It is 25 times what SDKs make, and keeps a request of a few megabytes from
# becoming gigabytes of series.
_MOST_BUCKETS = 4096
# "Use of scales outside of [-10, 20] ...": SDKs do not make them.
# https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponential-scale
_SCALES = range(-10, 21)
_LONGEST_NAME = 1024
# The most metrics and points of a request, together. A few kilobytes of zeroes may be unpacked to millions of
# them, for which everybody else would wait.
_MOST_POINTS = 250_000
# Scopes and resources are few and come with every request, so the last ones are remembered.
_MOST_REMEMBERED = 1024
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_MOST_REASONS = 5


class RequestError(Exception):
    """The bytes are no request."""


@dataclass(slots=True)
class OtlpExemplar:
    """An exemplar. Ids are integers, or None where there was no span."""

    filtered_attributes: Mapping[str, object]
    value: float
    time_unix_nano: int
    trace_id: int | None
    span_id: int | None


@dataclass(slots=True)
class _Point:
    """What all points say."""

    attributes: dict[str, object]
    start_time_unix_nano: int | None
    time_unix_nano: int
    exemplars: Sequence[OtlpExemplar]


@dataclass(slots=True)
class OtlpNumberPoint(_Point):
    """A point with one value."""

    value: float


@dataclass(slots=True)
class OtlpBucketPoint(_Point):
    """A histogram with explicit bounds."""

    count: int
    sum: float
    explicit_bounds: tuple[float, ...]
    bucket_counts: Sequence[int]


@dataclass(slots=True)
class OtlpBuckets:
    """One side of an exponential histogram."""

    offset: int
    bucket_counts: Sequence[int]


@dataclass(slots=True)
class OtlpExponentialPoint(_Point):
    """A histogram with exponential buckets."""

    count: int
    sum: float
    scale: int
    zero_count: int
    positive: OtlpBuckets
    negative: OtlpBuckets


@dataclass(frozen=True, slots=True)
class Reading:
    """A stream and its points. If they are ``totals``, they have to become deltas before they accumulate.

    If they are ``steps`` of a level (deltas of a sum that may go down), they have to become levels.
    """

    stream: Stream
    points: Sequence[Any]
    totals: bool = False
    steps: bool = False


@dataclass(slots=True)
class Rejected:
    """What of a request does not count, and why."""

    points: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def add(self, points: int, reason: str) -> None:
        """So many points do not count. Only the first few reasons are kept."""
        self.points += points
        if len(self.reasons) < _MOST_REASONS:
            self.reasons[reason] = None

    @property
    def text(self) -> str:
        """All reasons."""
        return "; ".join(self.reasons)

    def response(self) -> bytes:
        """The answer to a request of which this does not count."""
        response = ExportMetricsServiceResponse()
        if self.reasons:
            response.partial_success.rejected_data_points = self.points
            response.partial_success.error_message = self.text
        result: bytes = response.SerializeToString()
        return result


class _OddError(Exception):
    """A point or a metric that cannot be read."""


class Decoder:
    """Reads requests. It must not be used by several threads at a time."""

    def __init__(self) -> None:
        self._scopes: dict[tuple[bytes, str], InstrumentationScope] = {}
        self._resources: dict[bytes, Mapping[str, object]] = {}
        self._room = 0  # for so many points of the request that is being read

    def resources(self, body: bytes, rejected: Rejected) -> list[tuple[Mapping[str, object], list[Reading]]]:
        """The resources of a request, each with its readings. Equal resources are the same object.

        Raises:
            RequestError: the body is no request.
        """
        try:
            request = ExportMetricsServiceRequest.FromString(body)
        except (DecodeError, ValueError, RecursionError) as error:
            raise RequestError(f"this is no ExportMetricsServiceRequest in protobuf: {error}") from None
        self._room = _MOST_POINTS
        found: dict[int, tuple[Mapping[str, object], list[Reading]]] = {}
        for item in request.resource_metrics:
            resource = self._resource(item.resource)
            readings = found.setdefault(id(resource), (resource, []))[1]
            for scope_metrics in item.scope_metrics:
                readings += self._readings(scope_metrics, rejected)
        return list(found.values())

    def _readings(self, scope_metrics: Any, rejected: Rejected) -> Iterator[Reading]:
        scope = self._scope(scope_metrics.scope, scope_metrics.schema_url)
        for number, metric in enumerate(scope_metrics.metrics):
            if self._room <= 0:
                left = len(scope_metrics.metrics) - number
                rejected.add(left, f"more than {_MOST_POINTS} points in one request")
                return
            try:
                reading = _reading(scope, metric, rejected)
                self._room -= 1 + len(reading.points)
                yield reading
            except _OddError as odd:
                self._room -= 1
                data = getattr(metric, metric.WhichOneof("data") or "", None)
                points = 0 if data is None else len(data.data_points)
                rejected.add(points, f"metric {_shown(metric.name)}: {odd}")

    def _resource(self, resource: Any) -> Mapping[str, object]:
        key = resource.SerializeToString(deterministic=True)
        if (known := self._resources.get(key)) is None:
            _make_room(self._resources)
            known = self._resources[key] = attributes_of(resource.attributes)
        return known

    def _scope(self, scope: Any, schema_url: str) -> InstrumentationScope:
        key = scope.SerializeToString(deterministic=True), schema_url
        if (known := self._scopes.get(key)) is None:
            _make_room(self._scopes)
            known = self._scopes[key] = InstrumentationScope(
                scope.name,
                scope.version,
                schema_url,
                attributes_of(scope.attributes),  # type: ignore[arg-type]  # the SDK takes no maps yet
            )
        return known


def _make_room(remembered: dict[Any, Any]) -> None:
    while len(remembered) >= _MOST_REMEMBERED:
        del remembered[next(iter(remembered))]


def _reading(scope: InstrumentationScope, metric: Any, rejected: Rejected) -> Reading:
    if not metric.name or len(metric.name) > _LONGEST_NAME:
        raise _OddError(f"a name has at least one character and at most {_LONGEST_NAME}")
    match metric.WhichOneof("data"):
        case "sum":
            return _sum(scope, metric, rejected)
        case "gauge":
            meaning = Meaning(Kind.GAUGE, accumulates=False, additive=False)
            points = _points(metric, metric.gauge, rejected, _number)
            return Reading(_stream(scope, metric, meaning), points)
        case "histogram":
            return _histogram(scope, metric, metric.histogram, Shape.BUCKETS, rejected)
        case "exponential_histogram":
            return _histogram(scope, metric, metric.exponential_histogram, Shape.EXPONENTIAL, rejected)
        case "summary":
            raise _OddError("a summary cannot be added up over processes; record a histogram instead")
    raise _OddError("it has no data that is known here")


def _sum(scope: InstrumentationScope, metric: Any, rejected: Rejected) -> Reading:
    data = metric.sum
    is_delta = _is_delta(data)
    if data.is_monotonic:
        meaning = Meaning(Kind.COUNTER, accumulates=True, additive=True)
        points = _points(metric, data, rejected, _count)
        return Reading(_stream(scope, metric, meaning), points, totals=not is_delta)
    # "cumulative and non-monotonic → Gauge". What an ended process has added to a level ends with it, so its
    # steps become levels of it.
    meaning = Meaning(Kind.GAUGE, accumulates=False, additive=True)
    points = _points(metric, data, rejected, _step if is_delta else _number)
    return Reading(_stream(scope, metric, meaning), points, steps=is_delta)


def _histogram(
    scope: InstrumentationScope, metric: Any, data: Any, shape: Shape, rejected: Rejected
) -> Reading:
    is_delta = _is_delta(data)
    meaning = Meaning(Kind.HISTOGRAM, accumulates=True, additive=True, shape=shape)
    points = _points(metric, data, rejected, _buckets if shape is Shape.BUCKETS else _exponential)
    return Reading(_stream(scope, metric, meaning), points, totals=not is_delta)


def _stream(scope: InstrumentationScope, metric: Any, meaning: Meaning) -> Stream:
    return Stream(scope, metric.name, metric.unit, metric.description, meaning)


def _is_delta(data: Any) -> bool:
    if data.aggregation_temporality not in (_DELTA, _CUMULATIVE):
        raise _OddError("its aggregation temporality is neither delta nor cumulative")
    return bool(data.aggregation_temporality == _DELTA)


def _points(metric: Any, data: Any, rejected: Rejected, read: Any) -> list[Any]:
    points = []
    for point in data.data_points:
        # "This DataPoint is valid but has no recorded value."
        if point.flags & _NO_VALUE:
            continue
        try:
            points.append(read(point))
        except _OddError as odd:
            rejected.add(1, f"metric {_shown(metric.name)}: {odd}")
    return points


def _number(point: Any) -> OtlpNumberPoint:
    match point.WhichOneof("value"):
        case "as_double":
            value = point.as_double
        case "as_int":
            value = point.as_int
        case _:
            raise _OddError("a point has no value")
    return OtlpNumberPoint(
        attributes_of(point.attributes),
        point.start_time_unix_nano or None,
        point.time_unix_nano,
        _exemplars(point),
        value,
    )


def _step(point: Any) -> OtlpNumberPoint:
    found = _number(point)
    if not math.isfinite(found.value):  # it would be in the sum for ever, that of all processes
        raise _OddError(f"{found.value} cannot be added up")
    return found


def _count(point: Any) -> OtlpNumberPoint:
    found = _number(point)
    if not 0 <= found.value < math.inf:
        what = "is below zero, where it only goes up" if found.value < 0 else "cannot be added up"
        raise _OddError(f"{found.value} {what}")
    return found


def _buckets(point: Any) -> OtlpBucketPoint:
    bounds, counts = tuple(point.explicit_bounds), list(point.bucket_counts)
    if bounds and bounds[-1] == math.inf and len(counts) == len(bounds) + 1:
        bounds, counts = bounds[:-1], [*counts[:-2], counts[-2] + counts[-1]]
    if not counts and not bounds:
        counts = [point.count]
    if len(bounds) >= _MOST_BUCKETS:
        raise _OddError(f"a histogram has more than {_MOST_BUCKETS} buckets")
    if len(counts) != len(bounds) + 1:
        raise _OddError("a histogram does not have one bucket more than bounds")
    if not all(map(math.isfinite, bounds)) or any(a >= b for a, b in pairwise(bounds)):
        raise _OddError("the bounds of a histogram do not ascend")
    return OtlpBucketPoint(
        attributes_of(point.attributes),
        point.start_time_unix_nano or None,
        point.time_unix_nano,
        _exemplars(point),
        sum(counts),
        point.sum,
        bounds,
        counts,
    )


def _exponential(point: Any) -> OtlpExponentialPoint:
    if point.scale not in _SCALES:
        raise _OddError(f"the scale {point.scale} is not from {_SCALES[0]} to {_SCALES[-1]}")
    if max(len(point.positive.bucket_counts), len(point.negative.bucket_counts)) > _MOST_BUCKETS:
        raise _OddError(f"a histogram has more than {_MOST_BUCKETS} buckets")
    positive, negative = (
        OtlpBuckets(side.offset, list(side.bucket_counts)) for side in (point.positive, point.negative)
    )
    return OtlpExponentialPoint(
        attributes_of(point.attributes),
        point.start_time_unix_nano or None,
        point.time_unix_nano,
        _exemplars(point),
        point.zero_count + sum(positive.bucket_counts) + sum(negative.bucket_counts),
        point.sum,
        point.scale,
        point.zero_count,
        positive,
        negative,
    )


def _exemplars(point: Any) -> Sequence[OtlpExemplar]:
    if not point.exemplars:
        return ()
    return [
        OtlpExemplar(
            attributes_of(item.filtered_attributes),
            getattr(item, kind),
            item.time_unix_nano,
            _id(item.trace_id, 16),
            _id(item.span_id, 8),
        )
        for item in point.exemplars
        if (kind := item.WhichOneof("value")) is not None
    ]


def _id(data: bytes, length: int) -> int | None:
    # "An ID which contains all zeroes is invalid."
    return int.from_bytes(data, "big") or None if len(data) == length else None


def attributes_of(pairs: Iterable[Any], depth: int = _DEEPEST) -> dict[str, object]:
    """The attributes, as the SDK would have them. Of two with one key, the last one counts."""
    # Nearly all values are texts, and one that has another kind is the empty text here.
    return {pair.key: (value := pair.value).string_value or _value(value, depth) for pair in pairs}


def _value(value: Any, depth: int) -> object:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(_value(item, depth - 1) for item in value.array_value.values) if depth else _TOO_DEEP
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values, depth - 1) if depth else _TOO_DEEP
    return getattr(value, kind)


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:99]}…")
