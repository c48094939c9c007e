"""Reservoirs that are made with their first exemplar."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.sdk.reservoirs import LazyReservoir

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SPAN = trace.NonRecordingSpan(
    trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
)


@pytest.mark.parametrize("with_views", [True, False])
def test_exemplars_are_those_that_the_sdk_keeps(with_views: bool) -> None:
    """One of each bucket, one of a counter, and after a collection those that are new."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    views = reader.policy.sdk_views() if with_views else []
    provider = MeterProvider([reader], views=views, shutdown_on_exit=False)
    meter = provider.get_meter("m")
    counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
    bodies = []
    for value in (3, 7, 3):
        with trace.use_span(SPAN):
            counter.add(value, {"k": "a"})
            histogram.record(value, {"k": "a"})
            histogram.record(20, {"k": "a"})
        bodies.append(reader.expose(OPENMETRICS).body.decode())
    provider.shutdown()
    assert [body.count(" # {") for body in bodies] == [3, 4, 4]


def test_a_series_without_an_exemplar_has_no_reservoir(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once, when something is offered."""
    made: list[Any] = []
    monkeypatch.setattr(LazyReservoir, "KIND", lambda **options: made.append(options) or original(**options))
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    provider = MeterProvider([reader], views=reader.policy.sdk_views(), shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    counter.add(1, {"k": "a"})
    assert not made
    for _ in range(3):
        with trace.use_span(SPAN):
            counter.add(1, {"k": "a"})
    assert len(made) == 1
    assert reader.expose(OPENMETRICS).body.count(b" # {") == 1
    provider.shutdown()


original = LazyReservoir.KIND
