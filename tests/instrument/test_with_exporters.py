"""The instruments with this bridge, without any SDK, in threads and in forked children."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgi_requests import ask
from genai_points import Recorded
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS
from setups import Setup

from otel_prom_bridge.instrument import (
    AsgiMetrics,
    Cache,
    ComponentErrors,
    Database,
    IncidentTracker,
    Queue,
    Storage,
    instrument_build,
    instrument_process,
)
from otel_prom_bridge.instrument.grpc import RpcMetrics


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Says hello."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def record_everything(provider: Any) -> None:
    """Something of each kind."""
    ask(AsgiMetrics(hello, meter_provider=provider), "/v1/users/17")
    ask(AsgiMetrics(hello, meter_provider=provider, sample=0), "/v1/users/17")
    with RpcMetrics("server", meter_provider=provider).call("s.S", "M", streams=True):
        pass
    database = Database("postgresql", namespace="shop", meter_provider=provider)
    with database.query("SELECT", "orders"):
        pass
    database.connections(used=1, idle=2, most=5)
    Cache("sessions", meter_provider=provider).hit()
    Queue("jobs", meter_provider=provider).size(3)
    with Storage("s3", meter_provider=provider).operation("put") as operation:
        operation.moved(10)
    with IncidentTracker("critical", meter_provider=provider) as incident:
        incident.escalated("level-2")
    ComponentErrors("correlator", meter_provider=provider).record("timeout")
    instrument_process(provider)
    instrument_build(version="1.2", commit="abc", timestamp="today", meter_provider=provider)


LINES = [
    'http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",'
    'http_route="/v1/users/{number}",network_protocol_version="1.1",url_scheme="http"} 1',
    'http_server_unsampled_requests_total{http_request_method="GET",http_response_status_code="200",'
    'http_route="/v1/users/{number}",network_protocol_version="1.1",url_scheme="http"} 1',
    'http_server_active_requests{http_request_method="GET",url_scheme="http"} 0',
    'http_server_active_connections{url_scheme="http"} 0',
    'rpc_server_call_duration_seconds_count{rpc_method="s.S/M",rpc_response_status_code="OK",'
    'rpc_system_name="grpc"} 1',
    'rpc_server_active_streams{rpc_method="s.S/M",rpc_system_name="grpc"} 0',
    'db_client_operation_duration_seconds_count{db_collection_name="orders",db_namespace="shop",'
    'db_operation_name="SELECT",db_system_name="postgresql"} 1',
    'db_client_connection_count{db_client_connection_pool_name="shop",db_client_connection_state="idle"} 2',
    'cache_hits_total{cache_name="sessions"} 1',
    'queue_size{queue_name="jobs"} 3',
    'storage_operation_size_bytes_sum{backend="s3",operation="put"} 10',
    'incident_processing_duration_seconds_count{severity="critical",status="success"} 1',
    'incidents_escalated_total{level="level-2"} 1',
    'errors_total{component="correlator",error_type="timeout"} 1',
    'build_info{commit="abc",timestamp="today",version="1.2"} 1',
]


def test_with_this_bridge(bridge: Callable[..., Setup]) -> None:
    """The families that a scrape shows, by their names, labels and units."""
    setup = bridge()
    record_everything(setup.provider)
    shown = setup.text().splitlines()
    assert [line for line in LINES if line not in shown] == []
    assert any(line.startswith("process_memory_usage_bytes ") for line in shown)


def test_exemplars_with_this_bridge(bridge: Callable[..., Setup]) -> None:
    """Histograms lead to the span in which they were recorded."""
    setup = bridge()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with tracer.start_as_current_span("all") as span:
        record_everything(setup.provider)
    trace = f'trace_id="{span.get_span_context().trace_id:032x}"'
    lines = [line for line in setup.text(OPENMETRICS).splitlines() if trace in line]
    for family in (
        "http_server_request_duration",
        "http_server_response_body_size",
        "rpc_server_call_duration",
        "db_client_operation_duration",
        "storage_operation_duration",
        "incident_processing_duration",
    ):
        assert any(line.startswith(family) for line in lines), family


def test_without_an_sdk() -> None:
    """Nothing happens, and nothing fails."""
    code = (
        "import asyncio, sys\n"
        "sys.path.insert(0, 'tests/support'); sys.path.insert(0, 'tests/instrument')\n"
        "from otel_prom_bridge.instrument import *\n"
        "from otel_prom_bridge.instrument.grpc import RpcMetrics\n"
        "with Tracker('a') as t: t.success()\n"
        "with Database('sqlite').query('SELECT'): pass\n"
        "with RpcMetrics('client').call('s', 'm'): pass\n"
        "Cache('c').hit(); Cache('c').size(1); instrument_process(); instrument_build('x')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')]\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_an_sdk_that_comes_later() -> None:
    """What is made before there is a provider records into the one that comes, and what goes on is known."""
    code = (
        "from opentelemetry import metrics\n"
        "from otel_prom_bridge.instrument import Tracker, Cache, instrument_process\n"
        "cache, tracker = Cache('c'), Tracker('work').start()\n"
        "instrument_process()\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from otel_prom_bridge import PrometheusMetricReader\n"
        "reader = PrometheusMetricReader(registry=None, scope_info_enabled=False)\n"
        "metrics.set_meter_provider(MeterProvider([reader]))\n"
        "cache.hit()\n"
        "body = reader.expose().body.decode()\n"
        "assert 'work_active 1' in body and 'process_uptime_seconds' in body, body\n"
        "tracker.success()\n"
        "body = reader.expose().body.decode()\n"
        "assert 'work_active 0' in body, body\n"
        "assert 'work_duration_seconds_count{status=\"success\"} 1' in body, body\n"
        "assert 'cache_hits_total{cache_name=\"c\"} 1' in body, body\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(("module", "missing"), [("grpc", "grpc"), ("sqlalchemy", "sqlalchemy")])
def test_a_missing_package(module: str, missing: str) -> None:
    """The error says what to install."""
    code = f"import sys\nsys.modules[{missing!r}] = None\nimport otel_prom_bridge.instrument.{module}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'otel-prom-bridge[{module}]'" in result.stderr


def test_threads(recorded: Recorded) -> None:
    """Many threads at once: every request is counted, and none goes on at the end."""
    app = AsgiMetrics(hello, meter_provider=recorded.provider)

    def work() -> None:
        for _ in range(50):
            ask(app)
            with IncidentTracker("low", meter_provider=recorded.provider):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        recorded.metrics()  # collect meanwhile
    assert recorded.count("http.server.request.duration") == 400
    assert recorded.count("incident.processing.duration") == 400
    assert recorded.point("http.server.active_requests").value == 0
    assert recorded.point("incidents.active").value == 0


def test_a_forked_child(recorded: Recorded) -> None:
    """What goes on in the parent does not go on in the child, and ends in the parent once."""
    tracker = IncidentTracker("low", meter_provider=recorded.provider).start()
    child = os.fork()
    if not child:
        active = [point.value for point in recorded.points("incidents.active")]
        with IncidentTracker("low", meter_provider=recorded.provider):
            inside = recorded.point("incidents.active").value
        os._exit(0 if active in ([], [0]) and inside == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recorded.point("incidents.active").value == 1
    tracker.success()
    assert recorded.count("incident.processing.duration") == 1
