"""A clock that stands: everything of the bridge that goes by time goes by it, whenever it was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from exported import in_span
from opentelemetry.sdk.trace import TracerProvider
from wsgi_requests import ask

from otel_prom_bridge import Guards, RateLimit, clocks, make_wsgi_app, start
from otel_prom_bridge.endpoint.cache import Cache
from otel_prom_bridge.endpoint.files.watching import Watched
from otel_prom_bridge.genai import LLMRecorder, SpanMetrics, timer
from otel_prom_bridge.instrument import Tracker, WsgiMetrics
from otel_prom_bridge.testing import Clock, MetricsProbe


def test_series_expire(metrics_clock: Clock) -> None:
    """The store of a probe that is made while it stands obeys it."""
    with MetricsProbe(expire_after=60) as probe:
        expires(probe, metrics_clock)


def test_series_of_before_expire() -> None:
    """So does the store of one that was there before, and afterwards it goes on where it stood."""
    with MetricsProbe(expire_after=60) as probe:
        before = clocks.monotonic()
        with Clock().standing() as clock:
            expires(probe, clock)
            probe.meter().create_counter("d").add(1)
        assert clocks.monotonic() >= before + 122
        assert probe.value("d_total") == 1


def expires(probe: MetricsProbe, clock: Clock) -> None:
    """A series that nobody touches is gone after two scrapes."""
    probe.meter().create_counter("c").add(1)
    assert probe.value("c_total") == 1
    clock.advance(61)
    probe.families()
    clock.advance(61)
    assert probe.get_metric("c_total") is None


def test_clocks_in_clocks() -> None:
    """The inner one counts; a clock that is set back sets nothing back afterwards."""
    began = clocks.monotonic()
    with Clock().standing() as outer:
        outer.advance(10)
        with Clock(5).standing() as inner:
            inner.advance(100)
            assert clocks.monotonic() == pytest.approx(began + 110, abs=1)
            inner.set(0)
        outer.advance(1)
        assert clocks.monotonic() == pytest.approx(began + 11, abs=1)
    assert clocks.monotonic() == pytest.approx(began + 11, abs=1)


@pytest.mark.parametrize("is_before", [True, False])
def test_rates_of_guards(metrics: MetricsProbe, is_before: bool) -> None:
    """A client that asked too often may ask again when the clock says so."""

    def application() -> Callable[..., object]:
        guards = Guards(peer_rate_limit=RateLimit(interval=60, burst=1))
        return make_wsgi_app(metrics.reader, guards=guards, cache_ttl=0)

    made = application() if is_before else None
    with Clock().standing() as clock:
        app = made or application()
        statuses = [ask(app, "/metrics").status for _ in range(2)]
        clock.advance(59)
        statuses.append(ask(app, "/metrics").status)
        clock.advance(1)
        statuses.append(ask(app, "/metrics").status)
    assert [status[:3] for status in statuses] == ["200", "429", "429", "200"]


def test_files_and_kept_answers(tmp_path: Path) -> None:
    """They are looked at again when the clock says so."""
    file = tmp_path / "token"
    file.write_text("a")
    watched = Watched([str(file)], file.read_text)
    kept: Cache[str] = Cache(60)
    with Clock().standing() as clock:
        kept.put("k", "v", kept.now())
        file.write_text("other")
        assert (watched.get(), kept.get("k")) == ("a", "v")
        clock.advance(61)
        assert (watched.get(), kept.get("k")) == ("other", None)


def test_timers_of_recorders(metrics: MetricsProbe, metrics_clock: Clock) -> None:
    """Whatever is measured lasts as long as the clock says, and exemplars have its time of day."""
    with in_span(trace_id=1), LLMRecorder(metrics.provider).call(model="m", provider="p"):
        metrics_clock.advance(2.5)
    name = "gen_ai_client_operation_duration_seconds"
    assert metrics.value(f"{name}_sum") == 2.5
    assert [item.timestamp for item in metrics.exemplars(name)] == [
        pytest.approx(metrics_clock.time_ns() / 1e9, abs=0.001)
    ]
    with timer(metrics.meter().create_histogram("h", unit="s")):
        metrics_clock.advance(3)
    assert metrics.value("h_seconds_sum") == 3
    with Tracker("report", meter_provider=metrics.provider):
        metrics_clock.advance(4)
    assert metrics.value("report_duration_seconds_sum") == 4

    def application(environ: object, start_response: Callable[..., object]) -> list[bytes]:
        metrics_clock.advance(5)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    ask(WsgiMetrics(application, meter_provider=metrics.provider), "/")
    assert metrics.value("http_server_request_duration_seconds_sum") == 5


def test_spans(metrics: MetricsProbe, metrics_clock: Clock) -> None:
    """Metrics that are made of spans have its durations."""
    tracers = TracerProvider()
    tracers.add_span_processor(SpanMetrics(metrics.provider))
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.provider.name": "p"}
    with tracers.get_tracer("t").start_as_current_span("chat m", attributes=attributes):
        metrics_clock.advance(7)
    assert metrics.value("gen_ai_client_operation_duration_seconds_sum") == pytest.approx(7)


def test_direct_recording(metrics_clock: Clock) -> None:
    """It gives exemplars the time of the clock."""
    with start(port=0, set_global=False, recording="direct") as bridge:
        probe = MetricsProbe(bridge.reader)
        counter = bridge.meter_provider.get_meter("m").create_counter("c")
        with in_span():
            counter.add(1)
        (exemplar,) = probe.exemplars("c_total")
        assert exemplar.timestamp == pytest.approx(metrics_clock.time_ns() / 1e9, abs=0.001)
