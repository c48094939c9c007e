"""`opentelemetry-instrument`: an endpoint without a line of code, and no way to break the application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from urllib.error import URLError

import pytest
from instrumented import EXPORTERS, instrumented
from opentelemetry.sdk.metrics import MeterProvider
from oracles import parse
from servers import free_port, get

from otel_prom_bridge import (
    ConfigurationError,
    EndpointError,
    MetricsServer,
    PrometheusMetricReader,
    start_http_server,
)
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader
from otel_prom_bridge.configuration import serving

HOST, PORT = "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT"
# It knows nothing of the bridge: it records through the API, and looks at its metrics from outside (the
# URL that it is given) and from inside (prometheus_client's registry).
APP = """
import sys
from urllib.request import ProxyHandler, build_opener

import prometheus_client
from opentelemetry import metrics

jobs = metrics.get_meter("app").create_counter("jobs")
jobs.add(5)
for url in sys.argv[1:]:
    with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
        print(response.read().decode())
jobs.add(2)
print(prometheus_client.generate_latest().decode())
print("the application ran to its end")
"""


@pytest.fixture
def auto() -> Iterator[Callable[[], AutoPrometheusMetricReader]]:
    """Make readers as the SDK does, without arguments; shut them down in the end."""
    readers: list[AutoPrometheusMetricReader] = []

    def make() -> AutoPrometheusMetricReader:
        readers.append(AutoPrometheusMetricReader())
        return readers[-1]

    yield make
    for reader in readers:
        reader.shutdown()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses and ports that the reader wants to serve at; it gets a free port instead."""
    found: list[tuple[str, int]] = []

    def elsewhere(reader: PrometheusMetricReader, *, port: int, addr: str, **_: object) -> MetricsServer:
        found.append((addr, port))
        return start_http_server(reader, port=0, addr="127.0.0.1")

    monkeypatch.setattr(serving, "start_http_server", elsewhere)
    return found


# What only a test asks: the server of the reader that was made on the application's behalf.
IS_SERVING = """
import gc
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader
(reader,) = [found for found in gc.get_objects() if isinstance(found, AutoPrometheusMetricReader)]
print(f"is_serving={reader.server.is_serving}")
"""


def value(text: str, name: str) -> list[str]:
    """The values of a metric in a text exposition, in the order in which they were printed."""
    return [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(f"{name}{{")]


def test_an_application_gets_an_endpoint_without_a_line_of_code(tmp_path: Path) -> None:
    """Host and port come from the environment, the entry point brings the reader, nothing is logged."""
    port = free_port()
    where = {HOST: "127.0.0.1", PORT: str(port)}
    url = f"http://127.0.0.1:{port}/metrics"
    result = instrumented(tmp_path, APP + IS_SERVING, url, by_command=True, **EXPORTERS, **where)
    assert (result.returncode, result.stderr) == (0, "")
    assert value(result.stdout, "jobs_total") == ["5", "7.0"]
    assert "is_serving=True" in result.stdout
    assert 'telemetry_auto_version="' in result.stdout


def test_a_port_in_use_does_not_stop_the_application(tmp_path: Path) -> None:
    """The application runs to its end and goes on recording; one line says why nothing is served."""
    reader = PrometheusMetricReader(registry=None)
    with start_http_server(reader, port=0, addr="127.0.0.1") as taken:
        port = str(taken.port)
        environment = {HOST: "127.0.0.1", PORT: port, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}
        result = instrumented(tmp_path, APP + IS_SERVING, **EXPORTERS, **environment)
    assert result.returncode == 0, result.stderr
    assert value(result.stdout, "jobs_total") == ["7.0"]
    assert "the application ran to its end\nis_serving=False" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("metrics are recorded but not served: ")
    assert f"address '127.0.0.1', port {port}" in line


def test_a_wrong_guard_does_not_stop_the_application(tmp_path: Path) -> None:
    """Nobody listens, one line says why, and the application runs to its end and goes on recording."""
    environment = {HOST: "127.0.0.1", PORT: str(free_port()), "OTEL_PROM_BRIDGE_ALLOW": "10.0.0.0/33"}
    result = instrumented(tmp_path, APP + IS_SERVING, **EXPORTERS, **environment)
    assert result.returncode == 0, result.stderr
    assert value(result.stdout, "jobs_total") == ["7.0"]
    assert "the application ran to its end\nis_serving=False" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("OTEL_PROM_BRIDGE_ALLOW[0]: '10.0.0.0/33' is not allowed, expected networks like")
    assert line.endswith("; metrics are recorded but not served")


def test_the_entry_point_is_the_reader() -> None:
    """`OTEL_METRICS_EXPORTER=prometheus_bridge` finds the class."""
    (found,) = entry_points(group="opentelemetry_metrics_exporter", name="prometheus_bridge")
    assert found.load() is AutoPrometheusMetricReader


def test_it_serves_until_it_is_shut_down(
    auto: Callable[[], AutoPrometheusMetricReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint opens with the reader and closes with it."""
    monkeypatch.setenv(HOST, "127.0.0.1")
    monkeypatch.setenv(PORT, str(free_port()))
    reader = auto()
    assert reader.server.is_serving
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("work").add(1)
    assert "work" in [family.name for family in parse(*get(reader.server.url))]
    provider.shutdown()
    with pytest.raises(URLError, match="refused"):
        get(reader.server.url)


def test_it_asks_for_what_the_environment_says(
    auto: Callable[[], AutoPrometheusMetricReader],
    asked: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variables' host and port reach the server."""
    monkeypatch.setenv(HOST, "metrics.internal")
    monkeypatch.setenv(PORT, "1234")
    auto()
    assert asked == [("metrics.internal", 1234)]


def test_a_bad_port_is_logged_and_the_default_used(
    auto: Callable[[], AutoPrometheusMetricReader],
    asked: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line says which variable, which value, what is allowed and what is used instead."""
    monkeypatch.setenv(PORT, "70000")
    reader = auto()
    assert asked == [("localhost", 9464)]
    assert reader.server.is_serving
    assert caplog.messages == [
        f"{PORT}: '70000' is not allowed, expected a whole number from 0 to 65535; using 9464"
    ]


@pytest.mark.parametrize(
    "error",
    [
        EndpointError(98, "the port is in use"),
        ConfigurationError("port", 0, "another one"),
        OSError(24, "too many open files"),
        UnicodeError("no host name"),
        RuntimeError("can't start new thread"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_its_constructor_never_raises(
    auto: Callable[[], AutoPrometheusMetricReader],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """Whatever keeps the endpoint from opening is logged once, and the reader collects all the same."""

    def fail(*_: object, **__: object) -> MetricsServer:
        raise error

    monkeypatch.setattr(serving, "start_http_server", fail)
    reader = auto()
    assert not reader.server.is_serving
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "metrics are recorded but not served" in caplog.text
    assert str(error) in caplog.text
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("work").add(1)
    assert "work_total" in reader.expose().body.decode()
    provider.shutdown()
