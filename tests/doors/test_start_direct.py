"""``start(recording="direct")``, and the same without code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
from instrumented import EXPORTERS, instrumented
from opentelemetry.sdk.metrics.view import View
from oracles import samples
from servers import free_port

from otel_prom_bridge import ConfigurationError, PrometheusMetricReader, start
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

# Instruments of the API that were made before there was a provider, and one bridge after the other.
STARTED = """
import json
import time
from opentelemetry import metrics
early = metrics.get_meter("early").create_counter("early")
import otel_prom_bridge

def shown(bridge):
    lines = bridge.reader.expose().body.decode().splitlines()
    return [line.rsplit(" ", 1)[1] for line in lines if line.startswith("early_total{")]

bridge = otel_prom_bridge.start(recording="direct", port=0)
early.add(3)
first = shown(bridge)
try:
    otel_prom_bridge.start(recording="direct", port=0)
except otel_prom_bridge.ConfigurationError as error:
    twice = str(error)
bridge.shutdown()
bridge.shutdown()
early.add(5)
bridge = otel_prom_bridge.start(recording="direct", port=0)
early.add(7)
second = shown(bridge)
bridge.shutdown()
otel_prom_bridge.start(recording="direct", port=0).shutdown()
early.add(9)  # nobody serves it, as was asked for: the log says nothing
time.sleep(0.2)  # in a thread, if at all
try:
    otel_prom_bridge.start(port=0)
except otel_prom_bridge.ConfigurationError as error:
    otherwise = str(error)
print(json.dumps([first, twice, second, otherwise]))
"""
# An application that asks the API, which looks for a provider by its entry point.
APP = """
import sys
from urllib.request import ProxyHandler, build_opener
from opentelemetry import metrics
jobs = metrics.get_meter("app").create_counter("jobs")
jobs.add(5)
print(type(metrics.get_meter_provider()).__name__)
print(build_opener(ProxyHandler({})).open(sys.argv[1], timeout=5).read().decode())
import otel_prom_bridge
try:
    otel_prom_bridge.start()
except otel_prom_bridge.ConfigurationError as error:
    print(error)
"""


def printed(code: str, *arguments: str, **environment: str) -> str:
    """What a program prints."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = programs.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


ENDS = """
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

def provider(name, **options):
    reader = DirectReader(registry=None)
    reader.on_shutdown(lambda: print(name))
    return DirectMeterProvider(reader, **options)

before, then, never = provider("before"), provider("then"), provider("never", shutdown_on_exit=False)
before.shutdown()
print("the end")
"""


def test_a_provider_is_shut_down_when_the_interpreter_ends() -> None:
    """Not if it was before, of which the log says nothing, nor if it is not to be."""
    assert printed(ENDS).split("\n") == ["before", "the end", "then", ""]


def test_one_bridge_after_the_other() -> None:
    """Instruments go on with the next one, from nothing; two at a time and two ways are refused."""
    first, twice, second, otherwise = json.loads(printed(STARTED))
    assert (first, second) == (["3"], ["7"])
    assert "one bridge is running already" in twice
    assert "keep the `recording`" in otherwise


def test_it_serves_what_its_provider_records() -> None:
    """Also if that is not the global one."""
    with start(recording="direct", port=0, set_global=False, resource={"service.name": "x"}) as bridge:
        assert isinstance(bridge.meter_provider, DirectMeterProvider)
        assert isinstance(bridge.reader, DirectReader)
        bridge.meter_provider.get_meter("m").create_counter("c").add(1)
        assert bridge.server.is_serving
        assert b"c_total" in bridge.reader.expose().body
    assert bridge.reader.is_shut_down


@pytest.mark.parametrize(
    "given", [{"reader": PrometheusMetricReader(registry=None)}, {"sdk_views": [View(instrument_name="x")]}]
)
def test_what_only_the_sdk_has_is_refused(given: dict[str, Any]) -> None:
    """A reader or Views of the SDK's."""
    with pytest.raises(
        ConfigurationError, match=r"recording: 'direct' is not allowed, expected 'sdk', or no"
    ):
        start(recording="direct", port=0, set_global=False, **given)


def test_the_name_that_was_meant_is_in_the_message() -> None:
    """As for all options."""
    with pytest.raises(ConfigurationError, match="recording"):
        start(recording="drect", port=0, set_global=False)  # type: ignore[arg-type]


def test_the_api_finds_the_provider(tmp_path: Path) -> None:
    """By its entry point, in an application that nobody instruments, which may then not start another one."""
    metadata = tmp_path / "ours-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    entry = "prometheus_bridge = otel_prom_bridge.autoconfigure:meter_provider"
    (metadata / "entry_points.txt").write_text(f"[opentelemetry_meter_provider]\n{entry}\n")
    port = str(free_port())
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    text = printed(
        APP,
        f"http://localhost:{port}/metrics",
        PYTHONPATH=path,
        OTEL_PYTHON_METER_PROVIDER="prometheus_bridge",
        OTEL_EXPORTER_PROMETHEUS_PORT=port,
    )
    assert text.startswith("DirectMeterProvider\n")
    assert "jobs_total{" in text
    assert (
        "OTEL_PYTHON_METER_PROVIDER has started a bridge already; leave out start(), or the variable" in text
    )


# It asks from outside and from inside, as any application could.
INSTRUMENTED = """
import sys
from urllib.request import ProxyHandler, build_opener
from opentelemetry import metrics
jobs = metrics.get_meter("app").create_counter("jobs")
jobs.add(5)
print(type(metrics.get_meter_provider()).__name__)
print(build_opener(ProxyHandler({})).open(sys.argv[1], timeout=5).read().decode())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{"OTEL_PROM_BRIDGE_RECORDING": "direct"}, {"OTEL_PYTHON_METER_PROVIDER": "prometheus_bridge"}],
    ids=["recording", "provider"],
)
def test_an_instrumented_application_records_directly(tmp_path: Path, how: dict[str, str]) -> None:
    """Nothing is logged, and the resource is that of auto-instrumentation."""
    port = str(free_port())
    where = {"OTEL_EXPORTER_PROMETHEUS_PORT": port}
    url = f"http://localhost:{port}/metrics"
    result = instrumented(tmp_path, INSTRUMENTED, url, **EXPORTERS, **where, **how)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("DirectMeterProvider\n")
    assert "jobs_total{" in result.stdout
    assert 'telemetry_auto_version="' in result.stdout


# An application as anybody would write it: it serves, and it calls itself.
SERVING = """
import sys
import threading
import requests
import uvicorn
from fastapi import FastAPI
from opentelemetry import metrics

app = FastAPI()
app.get("/users/{user}")(lambda user: {"user": user})
server = uvicorn.Server(uvicorn.Config(app, port=int(sys.argv[2]), log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    pass
with requests.Session() as session:
    session.trust_env = False
    for path in ("users/1", "users/2", "nowhere"):
        session.get(f"http://127.0.0.1:{sys.argv[2]}/{path}", timeout=10)
    server.should_exit = True
    thread.join()
    print(type(metrics.get_meter_provider()).__name__)
    print(session.get(sys.argv[1], timeout=10).text)
"""
OTHERS = {
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,genai_openai,django,sqlalchemy,system_metrics,httpx"
}


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_instrumented_frameworks_and_clients_show_the_same(tmp_path: Path) -> None:
    """FastAPI and requests, without a line of code: through the SDK, and directly in both ways."""
    port, own = str(free_port()), str(free_port())
    ways = {"MeterProvider": {}, "DirectMeterProvider": {"OTEL_PROM_BRIDGE_RECORDING": "direct"}}
    shown = []
    for provider, how in [
        *ways.items(),
        ("DirectMeterProvider", {"OTEL_PYTHON_METER_PROVIDER": "prometheus_bridge"}),
    ]:
        where = {"OTEL_EXPORTER_PROMETHEUS_PORT": port}
        url = f"http://localhost:{port}/metrics"
        result = instrumented(tmp_path, SERVING, url, own, **EXPORTERS, **OTHERS, **where, **how)
        assert result.returncode == 0, result.stderr[-2000:]
        kind, _, body = result.stdout.partition("\n")
        assert kind == provider
        found = samples("text/plain; version=0.0.4", body.encode())
        ours = {key: value for key, value in found.items() if key[0].startswith("http_")}
        shown.append({key: value for key, value in ours.items() if key[0].endswith(("_count", "_requests"))})
        assert (
            sum(
                value
                for (name, _), value in ours.items()
                if name.startswith("http_server_duration") and name.endswith("_count")
            )
            == 3
        )
        assert (
            sum(
                value
                for (name, _), value in ours.items()
                if name.startswith("http_client_duration") and name.endswith("_count")
            )
            >= 3
        )
    assert shown[0] == shown[1] == shown[2]


def test_beside_other_exporters_the_sdk_records(tmp_path: Path) -> None:
    """They must not stay empty; one line says why."""
    port = str(free_port())
    variables = {
        **EXPORTERS,
        "OTEL_METRICS_EXPORTER": "prometheus_bridge,console",
        "OTEL_EXPORTER_PROMETHEUS_PORT": port,
        "OTEL_PROM_BRIDGE_RECORDING": "direct",
    }
    result = instrumented(tmp_path, INSTRUMENTED, f"http://localhost:{port}/metrics", **variables)
    assert result.returncode == 0
    assert result.stdout.startswith("MeterProvider\n")
    assert "OTEL_METRICS_EXPORTER names console: recording with the SDK" in result.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [("otlp,prometheus_bridge", "otlp"), ("console, otlp", "console, otlp"), ("none", ""), ("", "")],
)
def test_start_beside_other_exporters(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str, said: str
) -> None:
    """Nobody hands them anything, which the log says, and direct recording goes on."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", named)
    with start(recording="direct", port=0, set_global=False) as bridge:
        bridge.meter_provider.get_meter("m").create_counter("c").add(1)
        assert b"c_total{" in bridge.reader.expose().body
    found = [line for line in caplog.messages if "OTEL_METRICS_EXPORTER" in line]
    assert [line.split(", where")[0] for line in found] == [f"OTEL_METRICS_EXPORTER names {said}"] * bool(
        said
    )
