"""`start()`: one call between recording and scraping."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from urllib.error import URLError

import programs
import pytest
from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource
from oracles import parse
from prometheus_client import REGISTRY
from registries import collectors
from servers import free_port, get

from otel_prom_bridge import (
    ConfigurationError,
    EndpointError,
    ExportView,
    MetricsServer,
    PrometheusMetricReader,
    start,
    start_http_server,
)
from otel_prom_bridge.configuration import serving


@pytest.fixture
def taken() -> Iterator[MetricsServer]:
    """Another endpoint, on a port that nobody else can have."""
    reader = PrometheusMetricReader(registry=None)
    with start_http_server(reader, port=0, addr="127.0.0.1") as server:
        yield server


def record(provider: MeterProvider, name: str = "work") -> None:
    """Record three of something."""
    provider.get_meter("test").create_counter(name).add(3, {"kind": "a", "id": "7"})


def scrape(url: str) -> dict[str, dict[str, str]]:
    """The labels of the first sample of every name."""
    found: dict[str, dict[str, str]] = {}
    for family in parse(*get(url)):
        for sample in family.samples:
            found.setdefault(sample.name, dict(sample.labels))
    return found


def registered() -> set[object]:
    """The collectors of prometheus_client's registry."""
    return set(collectors(REGISTRY))


def test_it_serves_what_its_provider_records() -> None:
    """What a meter of the provider recorded is at the URL, beside prometheus_client's own metrics."""
    with start(port=0, set_global=False) as bridge:
        record(bridge.meter_provider)
        names = scrape(bridge.server.url)
    assert "work_total" in names
    assert "python_info" in names


def test_without_set_global_the_global_provider_stays() -> None:
    """A bridge of its own does not become what the API uses."""
    before = metrics.get_meter_provider()
    with start(port=0, set_global=False) as bridge:
        assert metrics.get_meter_provider() is before
        assert metrics.get_meter_provider() is not bridge.meter_provider


def test_with_set_global_the_api_records_into_it() -> None:
    """A meter of the OpenTelemetry API, even one made before, records into the started bridge."""
    # The global provider can be set once per process, so this takes a process of its own.
    script = """
from urllib.request import ProxyHandler, build_opener
from opentelemetry import metrics
from otel_prom_bridge import start

early = metrics.get_meter("early").create_counter("early")
with start(port=0) as bridge:
    assert metrics.get_meter_provider() is bridge.meter_provider
    early.add(1)
    metrics.get_meter("late").create_counter("late").add(2)
    with build_opener(ProxyHandler({})).open(bridge.server.url, timeout=5) as response:
        print(response.read().decode())
"""
    result = programs.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    for name, value in (("early", 1), ("late", 2)):
        assert re.search(
            rf'^{name}_total{{otel_scope_name="{name}".*}} {value}$', result.stdout, re.MULTILINE
        )
    assert result.stderr == ""


def test_resource_mapping_is_added_to_the_sdks_own() -> None:
    """Attributes given as a mapping are in target_info, beside the SDK's."""
    with start(port=0, set_global=False, resource={"service.name": "shop", "rank": 3}) as bridge:
        record(bridge.meter_provider)
        labels = scrape(bridge.server.url)["target_info"]
    assert (labels["service_name"], labels["rank"]) == ("shop", "3")
    assert labels["telemetry_sdk_language"] == "python"


def test_resource_object_is_taken_as_it_is() -> None:
    """A Resource is what target_info says, and nothing is added."""
    with start(port=0, set_global=False, resource=Resource({"service.name": "shop"})) as bridge:
        record(bridge.meter_provider)
        assert scrape(bridge.server.url)["target_info"] == {"service_name": "shop"}


def test_sdk_views_reach_the_provider() -> None:
    """An SDK View renames a stream and drops an attribute, and none of ours makes another stream of it."""
    view = View(instrument_name="work", name="jobs", attribute_keys={"kind"})
    reader = PrometheusMetricReader(scope_info_enabled=False)
    with start(port=0, set_global=False, sdk_views=[view], reader=reader) as bridge:
        record(bridge.meter_provider)
        names = scrape(bridge.server.url)
    assert names["jobs_total"] == {"kind": "a"}
    assert "work_total" not in names


def test_views_reach_the_reader_and_the_sdk() -> None:
    """What no view shows is left out by the SDK already, also for a reader of the application's own."""
    view = ExportView(instrument_name="work", name="jobs_total", keep=["kind"])
    reader = PrometheusMetricReader(scope_info_enabled=False, views=[view])
    for given in ({"views": [view], "scope_info_enabled": False}, {"reader": reader}):
        with start(port=0, set_global=False, **given) as bridge:  # type: ignore[arg-type]
            other = InMemoryMetricReader()
            assert bridge.reader.policy.views == (view,)
            bridge.meter_provider.add_metric_reader(other)
            record(bridge.meter_provider)
            names = scrape(bridge.server.url)
            data = other.get_metrics_data()
        assert names["jobs_total"] == {"kind": "a"}
        assert "work_total" not in names
        assert data is not None
        (metric,) = (
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "work"
        )
        (point,) = metric.data.data_points
        assert point.attributes == {"kind": "a"}


def test_an_sdk_view_among_the_views_is_refused() -> None:
    """The error says where SDK Views belong."""
    with pytest.raises(ConfigurationError, match=r"^views\[0\]: .* expected an ExportView; .*`sdk_views` of"):
        start(port=0, set_global=False, views=[View(instrument_name="work")])  # type: ignore[list-item]


def test_reader_with_options_of_its_own() -> None:
    """A reader that the application configured is the one that serves."""
    reader = PrometheusMetricReader(prefix="app", registry=None, self_metrics=False)
    with start(port=0, set_global=False, reader=reader) as bridge:
        record(bridge.meter_provider)
        names = scrape(bridge.server.url)
    assert bridge.reader is reader
    assert names.keys() == {"target_info", "app_work_total"}


def test_port_in_use_leaves_nothing_behind(taken: MetricsServer) -> None:
    """The error names address and port, and nothing stays registered."""
    before = registered()
    with pytest.raises(EndpointError, match=rf"'127\.0\.0\.1', port {taken.port}.*choose another port"):
        start(port=taken.port, addr="127.0.0.1", set_global=False)
    assert registered() == before


def test_reader_survives_a_port_in_use(taken: MetricsServer) -> None:
    """After an EndpointError, the same reader can be started on another port."""
    reader = PrometheusMetricReader(registry=None)
    with pytest.raises(EndpointError):
        start(port=taken.port, addr="127.0.0.1", reader=reader, set_global=False)
    with start(port=0, reader=reader, set_global=False) as bridge:
        record(bridge.meter_provider)
        assert "work_total" in scrape(bridge.server.url)


def test_reader_that_was_shut_down_is_refused() -> None:
    """A reader serves once; the error says so before anything is opened."""
    reader = PrometheusMetricReader(registry=None)
    reader.shutdown()
    with pytest.raises(ConfigurationError, match=r"reader: .* expected a reader that was not shut down"):
        start(port=0, reader=reader, set_global=False)


def test_provider_that_cannot_be_made_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the SDK refuses its own settings, the endpoint that was open already is closed again."""
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "nonsense")
    before, port = registered(), free_port()
    with pytest.raises(ValueError, match="nonsense"):
        start(port=port, addr="127.0.0.1", set_global=False)
    assert registered() == before
    start_http_server(PrometheusMetricReader(registry=None), port=port, addr="127.0.0.1").close()


def test_shutdown_closes_everything_and_twice_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    """After a shutdown nobody listens and nothing is registered; a second one does and logs nothing."""
    before = registered()
    bridge = start(port=0, addr="127.0.0.1", set_global=False)
    assert len(registered() - before) == 1
    get(bridge.server.url)
    bridge.shutdown()
    bridge.shutdown()
    assert registered() == before
    with pytest.raises(URLError, match="refused"):
        get(bridge.server.url)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_shutdown_after_the_provider_was_shut_down(caplog: pytest.LogCaptureFixture) -> None:
    """An application that shuts its provider down itself has shut the bridge down."""
    bridge = start(port=0, addr="127.0.0.1", set_global=False)
    bridge.meter_provider.shutdown()
    bridge.shutdown()
    with pytest.raises(URLError, match="refused"):
        get(bridge.server.url)
    assert caplog.records == []


def test_with_block_ends_in_a_shutdown() -> None:
    """Leaving the block closes the endpoint, after an exception as well."""
    with pytest.raises(KeyError), start(port=0, addr="127.0.0.1", set_global=False) as bridge:
        raise KeyError("anything")
    assert bridge.reader.is_shut_down
    with pytest.raises(URLError, match="refused"):
        get(bridge.server.url)


def test_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments the specification's variables decide."""
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    with start(set_global=False) as bridge:
        assert bridge.server.url == f"http://127.0.0.1:{port}/metrics"
        record(bridge.meter_provider)
        assert "work_total" in scrape(bridge.server.url)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are for what the code leaves open."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "no-such-host.invalid")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "nonsense")
    with start(port=0, addr="127.0.0.1", set_global=False) as bridge:
        get(bridge.server.url)


def test_without_anything_it_is_localhost_9464(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults are the specification's."""
    asked: list[object] = []

    def elsewhere(reader: PrometheusMetricReader, *, port: int, addr: str, **_: object) -> MetricsServer:
        asked.extend([addr, port])
        return start_http_server(reader, port=0, addr=addr)

    monkeypatch.setattr(serving, "start_http_server", elsewhere)
    start(set_global=False).shutdown()
    assert asked == ["localhost", 9464]


@pytest.mark.parametrize("value", ["nonsense", "65536", "-1", "9464.0", "٩٤٦٤"])
def test_bad_port_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The error says which variable, which value and what is allowed; nothing was started."""
    before = registered()
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", value)
    with pytest.raises(ConfigurationError) as caught:
        start(set_global=False)
    assert str(caught.value) == (
        f"OTEL_EXPORTER_PROMETHEUS_PORT: {value!r} is not allowed, expected a whole number from 0 to 65535"
    )
    assert registered() == before


def test_bad_port_argument_is_refused() -> None:
    """A port that is none is an error that leaves nothing registered."""
    before = registered()
    with pytest.raises(ConfigurationError, match=r"port: 70000 is not allowed"):
        start(port=70000, set_global=False)
    assert registered() == before
