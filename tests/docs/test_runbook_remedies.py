"""The remedies of docs/runbooks.md help: in that state the symptom is there, and after the remedy it is gone.

Those that are done to a machine, a network or a provider of models are not tried here; ``TRIED`` says which.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import ssl
import sys
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from certificates import CA, write_authority, write_pair
from exported import Application
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS
from pages import DOCS, blocks
from promtool import approved
from servers import Prometheus, free_port, get, newer, prometheus, running, wait_for

from otel_prom_bridge import (
    ExportView,
    PrometheusMetricReader,
    Tenants,
    Tls,
    TlsSettings,
    start,
    start_http_server,
)
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.endpoint.served import Served
from otel_prom_bridge.rules import First, PathTemplate
from otel_prom_bridge.testing import Clock

TESTS = Path(__file__).parents[1]
PAGE = DOCS / "runbooks.md"
MOST = 20  # series of a metric, where its limit does not matter
MANY = 100
COLLECTED = "otel_prom_bridge_last_collection_successful"
OVERFLOW = 'otel_metric_overflow="true"'

RUN = [sys.executable, "-m", "otel_prom_bridge", "run", "--"]

Make = Callable[..., Application]

# For each row of the page's tables the tests that try its remedy, in this file or in another one; or, in
# words, why none does.
TRIED: dict[str, list[str]] = {
    "Scrapes are slow": [
        "test_a_value_that_a_thread_found_out test_more_time",
        "another section",
        "test_without_compression",
        "what is done to a network or a container",
    ],
    "Too many series": [
        "test_the_view_of_the_page",
        "test_remedies_of_too_many_series",
        "test_remedies_of_too_many_series",
        "test_a_limit_for_each_tenant",
    ],
    "The endpoint is down": [
        "docs/test_docs_production.py::test_every_line_of_the_log_is_one",
        "test_another_host",
        "what is done to a network",
        "another page",
        "what is done to the platform",
        "test_more_targets",
    ],
    "Values are wrong": [
        "hub/test_programs.py::test_gunicorn test_a_target_for_each",
        "test_another_name",
        "another section",
        "another section",
        "test_rates_before_sums",
        "another page",
    ],
    "Memory grows": [
        "test_a_limit_for_the_whole_process",
        "test_series_that_nobody_touches",
        "test_two_snapshots_of_memory",
        "what is done by installing another release of the SDK",
    ],
    "Workers are missing": [
        "what is done to the platform",
        "test_a_server_that_ends_workers_that_hang",
        "nothing is lost, so there is no remedy",
        "test_an_environment_that_nobody_clears",
        "what is done depends on what the log says",
    ],
    "Exemplars are missing": [
        "test_within_a_span",
        "test_within_a_span",
        "each Prometheus of this suite has the feature",
        "test_a_format_with_exemplars",
    ],
    "A certificate is about to end": [
        "test_a_new_certificate",
        "another row",
        "configuration/test_serving.py::test_a_file_that_was_broken_is_seen",
    ],
    "A callback fails or hangs": [
        "test_the_traceback_of_a_callback_that_fails",
        "test_a_timeout_of_a_callback test_callbacks_that_cannot_hold_up_others",
        "test_a_timeout_of_a_collector",
    ],
}


def test_every_remedy_is_accounted_for() -> None:
    """Each row of the tables is tried by tests that exist, or it is said why not."""
    rows: dict[str, int] = {}
    for section in PAGE.read_text().partition("## The application")[0].split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        rows[heading] = len(re.findall(r"^\|", text, re.MULTILINE)) - 2
    assert rows == {heading: len(tried) for heading, tried in TRIED.items()}
    for name in " ".join(chain.from_iterable(TRIED.values())).split():
        file, _, test = name.rpartition("::")
        if test.startswith("test_"):
            text = (TESTS / file if file else Path(__file__)).read_text()
            assert f"def {test}(" in text, name


@pytest.fixture
def application() -> Iterator[Make]:
    """Applications with such views and options, which say what the bridge does."""
    with ExitStack() as stack:

        def make(*views: ExportView, **options: Any) -> Application:
            made = Application(*views, **{"self_metrics": True, **options})
            stack.callback(made.provider.shutdown)
            return made

        yield make


def value(reader: Served, name: str) -> float:
    """The sum of all samples of this name; 0 if there is none."""
    text = reader.expose().body.decode()
    return sum(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)))


def flood(provider: MeterProvider, *, many: int = MANY, **attributes: str) -> None:
    """So many orders, each with a path of its own."""
    orders = provider.get_meter("test").create_counter("orders")
    for number in range(many):
        orders.add(1, {"path": f"/orders/{number}", **attributes})


# --- Scrapes are slow ---------------------------------------------------------------------------------------


def test_a_value_that_a_thread_found_out(application: Make) -> None:
    """A callback that only returns it takes no time; one that finds it out itself takes as long as that."""

    def found_out() -> int:
        time.sleep(0.3)
        return 7

    def took(callback: Callable[[CallbackOptions], list[Observation]]) -> float:
        setup = application()
        setup.meter.create_observable_gauge("stock", [callback])
        setup.text()
        assert value(setup.reader, "stock") == 7
        return value(setup.reader, "otel_sdk_metric_reader_collection_duration_seconds_sum")

    known: list[int] = []
    thread = threading.Thread(target=lambda: known.append(found_out()))
    thread.start()
    thread.join()
    assert took(lambda _: [Observation(found_out())]) > 0.3
    assert took(lambda _: [Observation(known[-1])]) < 0.3


def test_without_compression() -> None:
    """With ``compression_threshold=False`` no time goes into it, and the body is as it is."""
    for threshold, compressed in ((0, 1), (False, 0)):
        with ExitStack() as stack:
            bridge = stack.enter_context(start(set_global=False, port=0, compression_threshold=threshold))
            assert bridge.server is not None
            request = urllib.request.Request(bridge.server.url, headers={"Accept-Encoding": "gzip"})
            with urllib.request.urlopen(request, timeout=5) as response:
                assert (response.headers["Content-Encoding"] == "gzip") is bool(compressed)
            shown = bridge.reader.expose().body.decode()
        count = r'otel_prom_bridge_scrape_phase_duration_seconds_count{phase="compress"} 1'
        assert shown.count(count) == compressed


# --- Too many series ----------------------------------------------------------------------------------------


def test_the_view_of_the_page(tmp_path: Path) -> None:
    """It takes the label off, and the sum is exact."""
    (block,) = (block for block in blocks(PAGE) if block.language == "toml")
    (tmp_path / "bridge.toml").write_text(block.text)
    with start(config_file=tmp_path / "bridge.toml", set_global=False, port=0) as bridge:
        flood(bridge.meter_provider, many=2500)
        assert value(bridge.reader, "otel_prom_bridge_overflowed_points_total") == 0
        assert re.search(r"^orders_total{[^}]*} 2500$", bridge.reader.expose().body.decode(), re.MULTILINE)


@pytest.mark.parametrize(
    ("views", "options", "series"),
    [
        ((), {}, MOST + 1),  # which is the state
        ([ExportView(instrument_name="orders", rules={"path": PathTemplate()})], {}, 1),
        ([ExportView(instrument_name="orders", rules={"path": First(5)})], {}, 6),
        ((), {"max_series_per_metric": MANY}, MANY),
        ([ExportView(instrument_name="orders", max_series=MANY)], {}, MANY),
    ],
    ids=["none", "a template", "the first", "a higher limit", "a higher limit of a view"],
)
def test_remedies_of_too_many_series(
    application: Make, views: Sequence[ExportView], options: dict[str, Any], series: int
) -> None:
    """Nothing is lumped together any more, and the sum is what it was."""
    setup = application(*views, **{"max_series_per_metric": MOST, **options})
    flood(setup.provider)
    assert value(setup.reader, "orders_total") == MANY
    text = setup.text()
    assert (OVERFLOW in text) == (not options and not views)
    assert text.count("\norders_total{") + text.count("\norders_total ") == series


def test_a_limit_for_each_tenant(application: Make) -> None:
    """A tenant that floods is lumped together; another one is not."""
    tenants = Tenants("tenant.id", {"quiet": MOST, "flooding": MOST})
    for options, others in (({}, False), ({"tenant": tenants}, True)):
        setup = application(max_series=MOST, **options)
        flood(setup.provider, **{"tenant.id": "flooding"})
        setup.meter.create_counter("orders").add(1, {"path": "/", "tenant.id": "quiet"})
        assert ('path="/",tenant_id="quiet"} 1' in setup.text()) is others
        assert value(setup.reader, "orders_total") == MANY + 1


# --- The endpoint is down -----------------------------------------------------------------------------------


def test_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint of this machine alone is not reached through another of its addresses; on 0.0.0.0 it is."""
    for host, reached in (("127.0.0.1", False), ("0.0.0.0", True)):
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", host)
        with start(set_global=False, port=0) as bridge:
            assert bridge.server is not None
            url = f"http://127.0.0.2:{bridge.server.port}/health"
            if reached:
                assert get(url)[1].startswith(b"alive")
            else:
                with pytest.raises(OSError, match="refused"):
                    get(url)


# --- Values are wrong ---------------------------------------------------------------------------------------


def test_a_target_for_each(application: Make) -> None:
    """Two processes behind one address go back and forth; each at its own only goes up."""
    workers = [application(), application()]
    counters = [worker.meter.create_counter("orders") for worker in workers]
    counters[1].add(1000)
    shown: list[list[float]] = [[], []]
    for scrape in range(6):
        counters[scrape % 2].add(1)
        for worker, values in zip(workers, shown, strict=True):
            values.append(value(worker.reader, "orders_total"))
    behind_one = [shown[scrape % 2][scrape] for scrape in range(6)]
    assert behind_one != sorted(behind_one)
    assert all(values == sorted(values) for values in shown)


def test_another_name(application: Make) -> None:
    """Of two metrics that want one name both are shown, once a view gives one of them another."""
    for views, dropped in (((), 1), ((ExportView(instrument_name="orders.total", name="orders_now"),), 0)):
        setup = application(*views)
        setup.meter.create_counter("orders").add(3)
        setup.meter.create_gauge("orders.total").set(5)
        assert value(setup.reader, "otel_prom_bridge_dropped_metrics") == dropped
        assert bool(setup.reader.conflicts()) is bool(dropped)
    assert (value(setup.reader, "orders_total"), value(setup.reader, "orders_now")) == (3, 5)


@pytest.mark.real_server
@pytest.mark.usefixtures("real_prometheus")  # promtool comes with it
def test_rates_before_sums(tmp_path: Path) -> None:
    """When one of two processes begins anew, a rate of the sum is wrong and the sum of rates is not."""
    test = {
        "interval": "1m",
        "input_series": [
            {"series": 'orders_total{instance="a"}', "values": "60000+60x9 0+60x20"},
            {"series": 'orders_total{instance="b"}', "values": "120000+120x30"},
        ],
        "promql_expr_test": [
            {
                "expr": "sum(rate(orders_total[5m])) < 3.1 > 2",
                "eval_time": "12m",
                "exp_samples": [{"labels": "{}", "value": 2.8}],
            },
            {
                "expr": "rate(sum(orders_total)[5m:1m]) > bool 100",
                "eval_time": "12m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            },
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": [], "tests": [test]}))
    approved("test", "rules", tmp_path / "test.yml")


# --- Memory grows -------------------------------------------------------------------------------------------


def test_a_limit_for_the_whole_process(application: Make) -> None:
    """With ``max_series`` there are no more, however many metrics there are."""
    setup = application(max_series=MOST)
    for metric in range(MANY):
        setup.meter.create_counter(f"orders.{metric}").add(1, {"path": "/"})
    setup.text()
    overflows = setup.text().count(OVERFLOW)
    assert value(setup.reader, "otel_prom_bridge_series") - overflows <= MOST


def test_series_that_nobody_touches(application: Make, clock: Clock) -> None:
    """With ``expire_after`` they go, without it they stay."""
    for options, left in (({}, MANY), ({"expire_after": 60}, 0)):
        setup = application(**options)
        flood(setup.provider)
        assert value(setup.reader, "otel_prom_bridge_metric_series") == MANY
        clock.advance(61)
        setup.text()
        assert value(setup.reader, "otel_prom_bridge_metric_series") == left


def test_two_snapshots_of_memory() -> None:
    """Their difference names the line that keeps it."""
    tracemalloc.start(10)
    try:
        before = tracemalloc.take_snapshot()
        kept = [bytes(1000) for _ in range(1000)]
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    (most, *_) = after.compare_to(before, "lineno")
    assert most.size_diff > 1000 * len(kept)
    assert most.traceback[0].filename == __file__


# --- Workers are missing ------------------------------------------------------------------------------------

WORKERS = """
import os, time
from multiprocessing import Process
from opentelemetry import metrics
import otel_prom_bridge

def work(parent):
    otel_prom_bridge.start()
    metrics.get_meter("shop").create_counter("orders").add(1)
    while os.getppid() == parent:
        time.sleep(0.2)

if __name__ == "__main__":
    if CLEARED:
        del os.environ["OTEL_PROM_BRIDGE_HUB"]
    for _ in range(2):
        Process(target=work, args=(os.getpid(),), daemon=True).start()
    time.sleep(600)
"""


@pytest.mark.slow  # two programs with a hub
def test_an_environment_that_nobody_clears(tmp_path: Path) -> None:
    """Workers that do not have the hub's address do not reach it; those under ``run`` that keep it do."""

    def sources(cleared: bool) -> str:
        port, program = free_port(), tmp_path / "program.py"
        program.write_text(WORKERS.replace("CLEARED", str(cleared)))
        command = [*RUN, sys.executable, program]
        environment = {"OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}

        def shown() -> str:
            try:
                text = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
            except OSError:
                return ""
            found = re.search(r"^otel_prom_bridge_sources (\d)$", text, re.MULTILINE)
            return found[1] if found and (cleared or found[1] == "2") else ""

        with running(command, log=tmp_path / "log", env=environment):
            first = wait_for(shown, seconds=60, what=f"the hub, {tmp_path / 'log'}")
            if cleared:
                time.sleep(3)
            return shown() or first

    assert sources(cleared=True) == "0"
    assert sources(cleared=False) == "2"


HANGING = """
import time
from opentelemetry import metrics
import otel_prom_bridge

otel_prom_bridge.start()
metrics.get_meter("shop").create_counter("orders").add(1)

def app(environ, start_response):
    time.sleep(600)
"""


@pytest.mark.slow  # a gunicorn with a hub
def test_a_server_that_ends_workers_that_hang(tmp_path: Path) -> None:
    """With gunicorn's ``--timeout`` a worker that hangs is ended, and a new one pushes in its place."""
    (tmp_path / "shop.py").write_text(HANGING)
    port, metrics_port = free_port(), free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-b", f"127.0.0.1:{port}"]
    command = [*RUN, *gunicorn, "--timeout", "2", "shop:app"]
    environment = {
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port),
        "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path)),
    }

    def shown() -> list[str]:
        with suppress(OSError):
            text = get(f"http://127.0.0.1:{metrics_port}/metrics")[1].decode()
            return re.findall(r"^otel_prom_bridge_sources(?:_ended_total{.*})? (\d+)$", text, re.MULTILINE)
        return []

    with running(command, log=tmp_path / "log", env=environment) as server:
        wait_for(lambda: shown() == ["1"], seconds=30, what=f"a worker that pushes, {server.output}")
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wait_for(lambda: shown() == ["1", "1"], seconds=30, what="another worker in its place")


# --- Exemplars are missing ----------------------------------------------------------------------------------


def test_within_a_span(application: Make) -> None:
    """What is recorded within a sampled span has one, in OpenMetrics; what comes after it has none."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    setup = application()
    orders = setup.meter.create_counter("orders")
    with tracer.start_as_current_span("order"):
        pass
    orders.add(1)
    setup.text()
    assert value(setup.reader, "otel_prom_bridge_exemplars") == 0
    with tracer.start_as_current_span("order"):
        orders.add(1)
    setup.text()
    assert value(setup.reader, "otel_prom_bridge_exemplars") == 1
    assert ("trace_id" in setup.text(), "trace_id" in setup.text(OPENMETRICS)) == (False, True)


# --- A certificate is about to end --------------------------------------------------------------------------


def test_a_new_certificate(tmp_path: Path) -> None:
    """A new pair in the place of the old one is served without a restart, and the metric says its end."""
    soon = datetime.now(UTC) + timedelta(days=5)
    cert, key = write_pair(tmp_path, CA.issue_cert("localhost", not_after=soon))
    context = ssl.create_default_context(cafile=write_authority(tmp_path))
    reader = PrometheusMetricReader(registry=None)
    MeterProvider([reader], shutdown_on_exit=False)
    with start_http_server(
        reader, port=0, cache_ttl=0, tls=Tls(TlsSettings(cert_file=cert, key_file=key))
    ) as server:

        def days() -> float:
            text = get(f"https://localhost:{server.port}/metrics", context=context)[1].decode()
            found = re.search(r"^otel_prom_bridge_certificate_expiry_\w+ (\S+)$", text, re.MULTILINE)
            assert found, text
            return (float(found[1]) - time.time()) / 86400

        assert 4.9 < days() < 5
        write_pair(tmp_path, CA.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=90)))
        wait_for(lambda: days() > 89, seconds=10, what="the new certificate")


# --- A callback fails or hangs ------------------------------------------------------------------------------


def test_the_traceback_of_a_callback_that_fails(application: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the SDK's log; once the callback is mended, no failure is counted any more."""
    broken = [True]

    def failing(_: object) -> list[Observation]:
        if broken:
            raise RuntimeError("no database")
        return [Observation(4)]

    setup = application()
    setup.meter.create_observable_gauge("stock", [failing])
    with caplog.at_level(logging.ERROR, "opentelemetry.sdk.metrics"):
        setup.text()
    assert "no database" in caplog.text
    assert "in failing" in caplog.text
    broken.clear()
    before = value(setup.reader, "otel_prom_bridge_callback_failures_total")
    assert value(setup.reader, "stock") == 4
    assert value(setup.reader, "otel_prom_bridge_callback_failures_total") == before


def test_a_timeout_of_a_callback(application: Make) -> None:
    """What hangs makes all values stand still; what gives up after a time does not."""
    ends = threading.Event()

    def shown(seconds: float) -> tuple[float, float]:
        setup = application(scrape_timeout=0.3)
        orders = setup.meter.create_counter("orders")
        orders.add(1)
        setup.text()

        def asking(_: object) -> list[Observation]:
            ends.wait(seconds)
            return []

        setup.meter.create_observable_gauge("queue", [asking])
        orders.add(1)
        setup.text()
        return value(setup.reader, "orders_total"), value(setup.reader, COLLECTED)

    try:
        assert shown(60) == (1, 0)
        assert shown(0.01) == (2, 1)
    finally:
        ends.set()


def test_a_timeout_of_a_collector() -> None:
    """The same for collectors of ``prometheus_client``."""
    ends = threading.Event()
    for seconds, stuck in ((60.0, 1), (0.01, 0)):

        class Asking:
            def collect(self, seconds: float = seconds) -> list[object]:
                ends.wait(seconds)
                return []

        registry = prometheus_client.CollectorRegistry(auto_describe=False)
        registry.register(Asking())  # type: ignore[arg-type]
        reader = PrometheusMetricReader(registry=registry, scrape_timeout=0.3)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        reader.expose()
        assert value(reader, "otel_prom_bridge_stuck_collectors") == stuck
        provider.shutdown()
    ends.set()


def test_callbacks_that_cannot_hold_up_others() -> None:
    """With direct recording, what hangs holds up its own series only."""
    ends = threading.Event()
    reader = DirectReader(registry=None, scrape_timeout=0.3)
    provider = DirectMeterProvider(reader)
    meter = provider.get_meter("shop")
    meter.create_observable_gauge("queue", [lambda _: [Observation(int(ends.wait(60)))]])
    orders = meter.create_counter("orders")
    for expected in (1, 2):
        orders.add(1)
        assert value(reader, "orders_total") == expected
    ends.set()
    provider.shutdown()


# --- what is changed in Prometheus --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with pairs of jobs: one is in the state, the other one has the remedy."""
    executable = newer("trixie", "prometheus")
    with ExitStack() as stack:

        def served(seconds: float = 0.0) -> str:
            reader = PrometheusMetricReader(registry=None)
            provider = MeterProvider([reader], shutdown_on_exit=False)
            stack.callback(provider.shutdown)
            meter, tracer = (
                provider.get_meter("shop"),
                TracerProvider(shutdown_on_exit=False).get_tracer("shop"),
            )
            with tracer.start_as_current_span("order"):
                meter.create_counter("orders").add(1)

            def stock(_: object) -> list[Observation]:
                time.sleep(seconds)
                return [Observation(1)]

            meter.create_observable_gauge("stock", [stock])
            server = stack.enter_context(start_http_server(reader, port=0, addr="127.0.0.1"))
            return f"127.0.0.1:{server.port}"

        quick = served()
        targets = {
            **dict.fromkeys(("text", "openmetrics", "few targets", "more targets"), quick),
            **{job: served(1.3) for job in ("short timeout", "long timeout")},
        }
        others = {"static_configs": [{"targets": [quick, served()]}]}
        settings: dict[str, dict[str, object]] = {
            "text": {"scrape_protocols": ["PrometheusText0.0.4"]},
            "openmetrics": {"scrape_protocols": ["OpenMetricsText1.0.0", "PrometheusText0.0.4"]},
            "few targets": {**others, "target_limit": 1},
            "more targets": {**others, "target_limit": 2},
            "long timeout": {"scrape_interval": "5s", "scrape_timeout": "5s"},
        }
        folder = tmp_path_factory.mktemp("prometheus")
        api = stack.enter_context(prometheus(executable, folder, targets, settings=settings))
        twice = "sum by (job) (count_over_time(otel_prom_bridge_series[1m])) > 1"
        wait_for(lambda: len(api.query(twice)) == 5, seconds=40, what="two scrapes of each job but one")
        yield api


@pytest.mark.slow
@pytest.mark.real_server
def test_more_targets(scraped: Prometheus) -> None:
    """A job past its ``target_limit`` is not scraped at all; with a higher one it is."""
    up = scraped.values('sum by (job) (up{job=~".* targets"})', "job")
    assert up == {("few targets",): 0, ("more targets",): 2}


@pytest.mark.slow
@pytest.mark.real_server
def test_more_time(scraped: Prometheus) -> None:
    """With a longer ``scrape_timeout`` a slow scrape shows values of now, not the last known ones."""
    shown = scraped.values(f'min_over_time({COLLECTED}{{job=~".* timeout"}}[1m])', "job")
    assert shown == {("short timeout",): 0, ("long timeout",): 1}


@pytest.mark.slow
@pytest.mark.real_server
def test_a_format_with_exemplars(scraped: Prometheus) -> None:
    """A Prometheus that asks for text gets none; one that asks for OpenMetrics first has them."""
    jobs = {series["seriesLabels"]["job"] for series in scraped.query_exemplars("orders_total")}
    assert "openmetrics" in jobs
    assert "text" not in jobs
