"""The checks on expositions of other libraries: as they are installed here, and as their tests keep them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry.exporter.prometheus import PrometheusMetricReader as Original
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_fastapi_instrumentator import Instrumentator
from promtool import agrees

from otel_prom_bridge.audit import check
from otel_prom_bridge.snapshots import Finding, Snapshot
from otel_prom_bridge.testing import assert_valid_exposition

GOLDEN = Path(__file__).parent / "golden"
TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def found(body: bytes, content_type: str) -> set[tuple[str, str]]:
    """The metrics that are complained of, and why; none of it is an error."""
    assert_valid_exposition(body, content_type)
    findings: tuple[Finding, ...] = check(Snapshot.of(body, content_type=content_type))
    return {(item.metric, item.rule) for item in findings}


@pytest.fixture
def registry() -> CollectorRegistry:
    """One of prometheus_client, with everything that it has."""
    registry = CollectorRegistry()
    Counter("orders", "Orders.", ["method"], registry=registry).labels("card").inc(
        exemplar={"trace_id": "abc"}
    )
    Gauge("queue_length", "Waiting.", registry=registry).set(3)
    Histogram("latency_seconds", "Latency.", registry=registry).observe(0.2, {"trace_id": "abc"})
    Summary("size_bytes", "Sizes.", registry=registry).observe(10)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    Enum("state", "State.", states=["on", "off"], registry=registry)
    return registry


def test_prometheus_client(registry: CollectorRegistry) -> None:
    """Nothing is wrong with what it writes, in text and in OpenMetrics."""
    assert found(generate_openmetrics(registry), OPENMETRICS) == set()
    assert found(generate_latest(registry), TEXT) == set()
    agrees(generate_latest(registry))


def test_its_collectors_of_the_process() -> None:
    """Nor with its own metrics of the process, the platform and the garbage collector."""
    body = generate_latest(REGISTRY)
    assert {rule for _, rule in found(body, TEXT)} <= {"collision", "cardinality"}
    agrees(body)


def test_the_original_exporter() -> None:
    """opentelemetry-exporter-prometheus writes what it should, but for help texts that nobody gave."""
    reader = Original()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("shop")
    meter.create_counter("orders", unit="1", description="Orders.").add(1, {"payment.method": "card"})
    meter.create_histogram("latency", unit="ms", description="Latency.").record(3)
    meter.create_gauge("temperature", unit="Cel").set(20)
    try:
        body = generate_latest(REGISTRY)
    finally:
        reader.shutdown()
    assert {("latency_milliseconds", "unit"), ("temperature_celsius", "help")} <= found(body, TEXT)
    agrees(body)


def test_prometheus_fastapi_instrumentator() -> None:
    """What it writes has no fault either."""
    registry, app = CollectorRegistry(), FastAPI()
    Instrumentator(registry=registry).instrument(app).expose(app)
    with TestClient(app) as client:
        assert client.get("/missing").status_code == 404
        answer = client.get("/metrics")
    assert {rule for _, rule in found(answer.content, answer.headers["Content-Type"])} <= {"collision"}
    agrees(answer.content)


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("client_java_debug-openmetrics", OPENMETRICS, set()),
        ("opentelemetry-go_histogram", "text/plain; version=1.0.0; escaping=allow-utf-8", set()),
        ("opentelemetry-go_sanitized_names", "text/plain; version=1.0.0; escaping=allow-utf-8", set()),
        (
            "node_exporter_e2e-output",
            TEXT,
            {
                ("http_request_duration_microseconds", "unit"),
                ("node_context_switches", "naming"),
                ("node_cpu", "naming"),
                ("node_disk_io_time_ms", "naming"),
                ("node_disk_io_time_ms", "unit"),
                ("go_memstats_alloc_bytes_total", "collision"),
            },
        ),
    ],
)
def test_golden_files(name: str, content_type: str, expected: set[tuple[str, str]]) -> None:
    """What their projects expect is valid, and what is complained of is what promtool says, too."""
    body = (GOLDEN / f"{name}.txt").read_bytes()
    assert found(body, content_type) == expected
    if content_type == TEXT:
        agrees(body)
