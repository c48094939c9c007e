"""Hubs for tests: their answers to requests without a port, what they show, and requests made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_prom_bridge.endpoint.messages import Link, Request, Response
from otel_prom_bridge.hub.hub import Hub

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

_moments = itertools.count(1_700_000_000_000_000_000, 1_000_000_000)


def any_value(value: object) -> AnyValue:
    """A value as OTLP has it."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case Mapping():
            result = AnyValue()
            result.kvlist_value.values.extend(pairs(value))
            return result
        case Iterable():
            result = AnyValue()
            result.array_value.values.extend(map(any_value, value))
            return result
    raise TypeError(value)


def pairs(attributes: Mapping[str, object]) -> list[KeyValue]:
    """Attributes as OTLP has them."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def request_of(*metrics: Metric, resource: Mapping[str, object] | None = None) -> bytes:
    """A request with these metrics."""
    request = ExportMetricsServiceRequest()
    found = request.resource_metrics.add()
    found.resource.attributes.extend(pairs(resource or {"service.name": "shop"}))
    scope = found.scope_metrics.add()
    scope.scope.name = "by.hand"
    scope.metrics.extend(metrics)
    return request.SerializeToString()


def counter(
    name: str,
    value: float,
    *,
    attributes: Mapping[str, object] | None = None,
    temporality: Any = DELTA,
    monotonic: bool = True,
    start: int = 0,
    time: int | None = None,
) -> Metric:
    """A sum with one point."""
    metric = Metric(name=name)
    metric.sum.aggregation_temporality = temporality
    metric.sum.is_monotonic = monotonic
    point = metric.sum.data_points.add(start_time_unix_nano=start, time_unix_nano=time or next(_moments))
    point.attributes.extend(pairs(attributes or {}))
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    return metric


def gauge(name: str, value: float, **attributes: object) -> Metric:
    """A gauge with one point."""
    metric = Metric(name=name)
    point = metric.gauge.data_points.add(as_double=value, time_unix_nano=next(_moments))
    point.attributes.extend(pairs(attributes))
    return metric


def histogram(
    name: str,
    counts: Iterable[int],
    bounds: Iterable[float],
    total: float = 0.0,
    *,
    temporality: Any = DELTA,
    start: int = 0,
) -> Metric:
    """A histogram with one point."""
    counts = list(counts)
    metric = Metric(name=name)
    metric.histogram.aggregation_temporality = temporality
    metric.histogram.data_points.add(
        bucket_counts=counts,
        explicit_bounds=bounds,
        sum=total,
        count=sum(counts),
        start_time_unix_nano=start,
        time_unix_nano=next(_moments),
    )
    return metric


def push(hub: Hub, body: bytes, *, link: Link | None = None, **headers: str) -> Response:
    """What a hub answers to a push by a process of its user. ``_`` in names of headers stand for ``-``."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return hub.receiver.respond(
        Request(
            method="POST",
            path="/v1/metrics",
            headers={"content-type": "application/x-protobuf", **named},
            body=body,
            link=link or Link(is_local=True),
        )
    )


def own(source: str, number: int, **more: str) -> dict[str, str]:
    """The headers of a worker of ours."""
    named = {f"x_otel_prom_bridge_{name}": value for name, value in more.items()}
    return {"x_otel_prom_bridge_source": source, "x_otel_prom_bridge_number": str(number), **named}


def partial_success(response: Response) -> tuple[int, str]:
    """How many points were rejected, and why."""
    assert response.status == 200, response
    found = ExportMetricsServiceResponse.FromString(response.body).partial_success
    return found.rejected_data_points, found.error_message


def shown(hub: Hub, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of a name, by their labels without those of the scope."""
    text = hub.expose(OPENMETRICS).body.decode()
    return {
        tuple(
            sorted((key, value) for key, value in sample.labels.items() if not key.startswith("otel_scope"))
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def total(hub: Hub, name: str) -> float:
    """The sum of all samples of a name."""
    return sum(shown(hub, name).values())
