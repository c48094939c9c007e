"""Which measurements become exemplars, and what keeps them until a collection."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider, SimpleFixedSizeExemplarReservoir
from opentelemetry.sdk.metrics.view import View

from otel_prom_bridge import ExportView, PrometheusMetricReader
from otel_prom_bridge.sdk.reservoirs import NewestReservoir
from otel_prom_bridge.sdk.versions import HAS_LIMITS

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def span(number: int) -> trace.Span:
    """A sampled span of this number."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.NonRecordingSpan(trace.SpanContext(number, 2, is_remote=False, trace_flags=flags))


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
        with trace.use_span(span(1)):
            counter.add(value, {"k": "a"})
            histogram.record(value, {"k": "a"})
            histogram.record(20, {"k": "a"})
        bodies.append(reader.expose(OPENMETRICS).body.decode())
    provider.shutdown()
    assert [body.count(" # {") for body in bodies] == [3, 4, 4]


@pytest.mark.parametrize("with_views", [True, False])
@pytest.mark.skipif(not HAS_LIMITS, reason="here the series of deltas are the SDK's, which choose by chance")
def test_of_a_sum_it_is_the_newest(with_views: bool) -> None:
    """However many there are, and of the span in which it was recorded; what a View left out comes along."""
    reader = PrometheusMetricReader(
        registry=None, self_metrics=False, views=[ExportView(instrument_name="*", drop=["request"])]
    )
    views = reader.policy.sdk_views() if with_views else []
    provider = MeterProvider([reader], views=views, shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    for number in range(1, 30):
        with trace.use_span(span(number)):
            counter.add(number, {"k": "a", "request": f"r{number}"})
    counter.add(1, {"k": "a", "request": "in no span"})
    [line] = [line for line in reader.expose(OPENMETRICS).body.decode().splitlines() if " # {" in line]
    assert f'trace_id="{29:032x}"' in line
    assert 'request="r29"} 29 ' in line
    provider.shutdown()


def test_a_reservoir_of_the_newest() -> None:
    """It has as many as it may, once, and says which attributes the series does not have."""
    reservoir = NewestReservoir(size=2)
    for number in range(1, 5):
        context = trace.set_span_in_context(span(number))
        reservoir.offer(number, number * 10, {"k": "a", "n": number}, context)
    found = reservoir.collect({"k": "a"})
    assert [tuple(each) for each in found] == [(3, 30, 3, 2, {"n": 3}), (4, 40, 4, 2, {"n": 4})]
    assert reservoir.collect({"k": "a"}) == []
    reservoir.offer(5, 50, None, trace.set_span_in_context(trace.INVALID_SPAN))
    assert [tuple(each) for each in reservoir.collect(None)] == [(5, 50, None, None, None)]


def test_views_with_reservoirs_of_their_own() -> None:
    """Each series gets one, with its first exemplar, and is shown with what that chooses."""
    made: list[Any] = []

    class First(SimpleFixedSizeExemplarReservoir):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

        def _find_bucket_index(self, value: float, *_: Any) -> int:
            return 0 if not self._reservoir_storage else 1  # which nobody reads

        def collect(self, point_attributes: Any) -> list[Any]:
            return super().collect(point_attributes)[:1]

    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    view = View(instrument_name="*", exemplar_reservoir_factory=lambda kind: First)
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    counter = provider.get_meter("m").create_counter("c")
    counter.add(1)
    made.clear()  # the SDK makes one series of each instrument, in which nothing is recorded
    for number in range(1, 4):
        with trace.use_span(span(number)):
            counter.add(number)
    assert len(made) == (1 if HAS_LIMITS else 0)
    assert f'trace_id="{1:032x}"' in reader.expose(OPENMETRICS).body.decode()
    provider.shutdown()


class Plain:
    """A reservoir that is of no class of the SDK's, and keeps nothing."""

    def __init__(self, **_: Any) -> None:
        pass

    def offer(self, *measurement: Any) -> None:
        """Take a measurement."""

    def collect(self, attributes: Any) -> list[Any]:
        """Nothing."""
        return []


class FailsToOffer(Plain):
    """One that takes nothing."""

    def offer(self, *measurement: Any) -> None:
        """Take a measurement."""
        raise ValueError("of the application")


class FailsToCollect(Plain):
    """One that gives nothing."""

    def collect(self, attributes: Any) -> list[Any]:
        """Nothing."""
        raise KeyError("of the application")


@pytest.mark.parametrize("reservoir", [Plain, FailsToOffer, FailsToCollect])
@pytest.mark.skipif(not HAS_LIMITS, reason="here the series of deltas are the SDK's")
def test_a_reservoir_that_fails_costs_exemplars_alone(reservoir: type, caplog: Any) -> None:
    """Whoever records hears nothing of it, and no number is lost, of no instrument."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False, disable_target_info=True)
    view = View(instrument_name="own", exemplar_reservoir_factory=lambda kind: reservoir)
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    meter = provider.get_meter("m")
    own, other = meter.create_counter("own"), meter.create_counter("other")
    for _ in range(2):
        with trace.use_span(span(1)):
            own.add(1)
            other.add(1)
        body = reader.expose().body.decode()
    provider.shutdown()
    values = [line.rpartition(" ")[2] for line in body.splitlines() if not line.startswith("#")]
    assert values == ["2", "2"]
    said = [each for each in caplog.records if "exemplar reservoir" in each.message]
    assert len(said) == (reservoir is not Plain)
