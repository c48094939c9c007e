"""The doors where there is a hub: the application's code stays as it is."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_hub import fake_hub
from instrumented import EXPORTERS, NO_OTHERS
from opentelemetry.sdk.metrics import Counter, MeterProvider
from pushing import HEAD, Program, run

from otel_prom_bridge import (
    ConfigurationError,
    ExportView,
    MetricsServer,
    PrometheusMetricReader,
    PushReader,
    make_wsgi_app,
    start,
)
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader, DeclarativePrometheusMetricReader

NOWHERE = "unix:/tmp/otel-prom-bridge-none/hub.sock"


@pytest.fixture
def _sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No direct recording, also where all tests of this folder run with it."""
    monkeypatch.delenv("OTEL_PROM_BRIDGE_RECORDING", raising=False)


by_the_sdk = pytest.mark.usefixtures("_sdk")


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process keeps what handles its signals."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_FLUSH_ON_SIGTERM", "false")


def test_how_programs_of_these_tests_record(tmp_path: Path) -> None:
    """With the SDK. `make slow` says `RECORDING=direct`, and then it is so for all that do not say it."""
    expected = "DirectPushReader" if os.environ.get("RECORDING") == "direct" else "PushReader"
    with fake_hub(tmp_path) as hub:
        assert run("say(reader=type(bridge.reader).__name__)", tmp_path, hub) == ({"reader": expected}, "")


@by_the_sdk
@pytest.mark.parametrize("way", ["argument", "variable", "file"])
def test_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The option says where the hub is, as any option: then the bridge pushes, and serves nothing."""
    with fake_hub(tmp_path) as hub:
        options: dict[str, Any] = {"hub": hub.address} if way == "argument" else {}
        if way == "variable":
            monkeypatch.setenv("OTEL_PROM_BRIDGE_HUB", hub.address)
        if way == "file":
            (tmp_path / "bridge.toml").write_text(f'hub = "{hub.address}"\npush_interval = 60\n')
            options["config_file"] = tmp_path / "bridge.toml"
        with start(set_global=False, port=1, resource={"service.name": "shop"}, **options) as bridge:
            bridge.meter_provider.get_meter("shop").create_counter("jobs").add(2)
            assert isinstance(bridge.reader, PushReader)
            assert isinstance(bridge.server, MetricsServer)
            assert not bridge.server.is_serving
            bridge.server.close()
            assert bridge.reader.hub == hub.address
            assert bridge.meter_provider.force_flush()
            assert hub.total("jobs") == 2
            assert hub.pushes[-1].resource["service.name"] == "shop"
        assert hub.ended == hub.sources()


def test_where_the_metrics_are(tmp_path: Path) -> None:
    """Who shows the reader by themselves shows where to look, and a scrape of that fails."""
    with fake_hub(tmp_path) as hub, start(set_global=False, hub=hub.address) as bridge:
        text = bridge.reader.expose().body.decode()
        where = f"pushes its metrics to the hub at {hub.address}. Scrape the hub.\n"
        assert text == f"# Process {os.getpid()} {where}"
        answers: list[str] = []
        app = make_wsgi_app(bridge.reader)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "SERVER_PROTOCOL": "HTTP/1.1"}
        body = b"".join(app(environ, lambda status, _: answers.append(status)))  # type: ignore[arg-type]
        assert answers[0].startswith("503")
        assert hub.address in body.decode()


def test_options_of_the_endpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are no mistake; what was to protect the metrics and stands in code is said, and that once."""
    caplog.set_level(logging.INFO, "otel_prom_bridge")
    for _ in range(2):
        start(
            set_global=False,
            hub=NOWHERE,
            port=9464,
            allow=["10.0.0.0/8"],
            bearer_tokens_file=tmp_path / "none",
            prefix="shop",
            views=[ExportView(instrument_name="a")],
        ).reader.on_shutdown(lambda: None)
    guards, others = (record for record in caplog.records if "given in code" in record.message)
    assert guards.levelno == logging.WARNING
    assert "'allow', 'bearer_tokens_file', given in code, do nothing here" in guards.message
    assert NOWHERE in guards.message
    assert others.levelno == logging.INFO
    assert "'port', 'prefix', 'views'" in others.message


@by_the_sdk
def test_what_the_sdk_leaves_out(tmp_path: Path) -> None:
    """Views still say what the SDK need not keep, and how histograms are counted."""
    views = [
        ExportView(instrument_name="jobs", keep=["kind"]),
        ExportView(instrument_name="sizes", buckets=[1, 2]),
        ExportView(instrument_name="secret", name=None),
    ]
    with fake_hub(tmp_path) as hub:
        own = PrometheusMetricReader(registry=None, views=views)
        for options in ({"views": views}, {"reader": own}):
            hub.pushes.clear()
            with start(set_global=False, hub=hub.address, **options) as bridge:  # type: ignore[arg-type]
                meter = bridge.meter_provider.get_meter("shop")
                for name in ("jobs", "secret"):
                    meter.create_counter(name).add(1, {"kind": "a", "user": "b"})
                meter.create_histogram("sizes").record(1)
                assert bridge.reader.force_flush()
            metrics = hub.pushes[0].metrics
            assert set(metrics) == {"jobs", "sizes"}
            assert hub.total("jobs", kind="a") == hub.total("jobs") > 0
            assert not any(dict(attributes).get("user") for _, attributes in hub.totals)
            assert list(metrics["sizes"].histogram.data_points[0].explicit_bounds) == [1, 2]


@by_the_sdk
def test_limits_of_the_sdk() -> None:
    """They are those of the options, as without a hub."""
    bridge = start(set_global=False, hub=NOWHERE, cardinality_limits={"counter": 30_000})
    assert (
        bridge.reader._instrument_class_cardinality_limit[
            next(
                kind
                for kind in bridge.reader._instrument_class_cardinality_limit
                if issubclass(kind, Counter)
            )
        ]
        == 300_000
    )


@by_the_sdk
def test_a_hub_that_is_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong address is an error of `start()`; without code it is logged, and the process serves itself."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_HUB", "hub.sock")
    with pytest.raises(ConfigurationError, match=r"OTEL_PROM_BRIDGE_HUB: 'hub\.sock' is not allowed"):
        start()
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    reader = AutoPrometheusMetricReader()
    assert isinstance(reader, PrometheusMetricReader)
    assert "OTEL_PROM_BRIDGE_HUB: 'hub.sock' is not allowed" in caplog.text
    reader.shutdown()


@by_the_sdk
@pytest.mark.parametrize("way", ["variable", "launcher", "yaml"])
def test_without_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What auto-instrumentation and the declarative configuration make is a reader that pushes."""
    with fake_hub(tmp_path) as hub:
        if way != "yaml":
            monkeypatch.setenv("OTEL_PROM_BRIDGE_HUB", hub.address)
        made: Any = (
            AutoPrometheusMetricReader()
            if way == "variable"
            else DeclarativePrometheusMetricReader(**({"hub": hub.address} if way == "yaml" else {"port": 1}))
        )
        assert isinstance(made, PushReader)
        provider = MeterProvider([made], shutdown_on_exit=False)
        provider.get_meter("shop").create_counter("jobs").add(4)
        provider.shutdown()
        assert hub.total("jobs") == 4
        assert not made.server.is_serving  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"OTEL_PROM_BRIDGE_RECORDING": "sdk"}, "MeterProvider"),
        *(
            pytest.param(how, "DirectMeterProvider", marks=pytest.mark.slow)
            for how in (
                {"OTEL_PROM_BRIDGE_RECORDING": "direct"},
                {"OTEL_PYTHON_METER_PROVIDER": "prometheus_bridge"},
            )
        ),
    ],
)
def test_under_opentelemetry_instrument(tmp_path: Path, how: dict[str, str], kind: str) -> None:
    """A program that knows nothing of us, and its children, each by itself."""
    code = """
import json, os
from opentelemetry import metrics
print(json.dumps({"kind": type(metrics.get_meter_provider()).__name__}), flush=True)
jobs = metrics.get_meter("shop").create_counter("jobs")
jobs.add(1)
pid = os.fork()
if pid == 0:
    jobs.add(10)
    metrics.get_meter_provider().force_flush()
    os._exit(0)
os.waitpid(pid, 0)
jobs.add(100)
"""
    with fake_hub(tmp_path) as hub:
        (tmp_path / "program.py").write_text(code)
        instrument = str(Path(sys.executable).with_name("opentelemetry-instrument"))
        command = [instrument, sys.executable, "program.py"]
        program = Program(code, tmp_path, hub, *command, head="", **EXPORTERS, **NO_OTHERS, **how)
        found, said, log = program.end()
        assert (found, said, log) == (0, {"kind": kind}, "")
        assert hub.total("jobs") == 111
        assert len(hub.sources()) == 2


def test_a_second_start(tmp_path: Path) -> None:
    """It is refused as without a hub; after a shutdown it is another source."""
    code = """
from otel_prom_bridge import ConfigurationError
work(3)
try:
    start()
except ConfigurationError as error:
    text = str(error)
bridge.shutdown()
bridge = start()
work(4)
say(text=text)
"""
    with fake_hub(tmp_path) as hub:
        found, said, log = Program(code, tmp_path, hub).end()
        assert (found, log) == (0, "")
        assert "one bridge is running already" in said["text"]
        assert hub.total("jobs") == 7
        assert len(hub.ended) == 2


@pytest.mark.parametrize(
    "older", ["", "del MeterProvider.add_metric_reader, MeterProvider.remove_metric_reader"]
)
def test_start_in_a_forked_child(tmp_path: Path, older: str) -> None:
    """It works with every SDK, also before 1.43; a second one in the same child is refused as everywhere."""
    code = """
from otel_prom_bridge import ConfigurationError
jobs.add(1)
pid = os.fork()
if pid == 0:
    bridge = start()
    work(10)
    try:
        start()
    except ConfigurationError as error:
        assert "one bridge is running already" in str(error)
        work(5)
    assert bridge.meter_provider.force_flush()
    os._exit(0)
say(code=os.waitpid(pid, 0)[1], total=16)
"""
    if not hasattr(MeterProvider, "add_metric_reader"):
        older = ""
    head = f"from opentelemetry.sdk.metrics import MeterProvider\n{older}\n{HEAD}"
    with fake_hub(tmp_path) as hub:
        found, said, log = Program(code, tmp_path, hub, head=head).end()
        assert (found, log, said["code"]) == (0, "", 0)
        assert hub.total("jobs") == said["total"]
        assert len(hub.sources()) == 2
