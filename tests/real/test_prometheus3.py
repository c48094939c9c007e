"""The newest Prometheus that Debian has, and whatever it can ask for: one process scrapes us in every way."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from servers import free_port, newer, prometheus, running, scrape_config, victoria_metrics, wait_for

from otel_prom_bridge import PrometheusMetricReader, TranslationStrategy
from otel_prom_bridge.endpoint.server.server import start_http_server

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(120)]

PROTOCOLS = (
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
# What Prometheus takes: a scheme that leaves names as they are needs names that may be anything.
SCHEMES = (
    ("utf8", "allow-utf-8"),
    *itertools.product(("utf8", "legacy"), ("underscores", "dots", "values")),
)
# A counter `orders.made`, a histogram `request.duration` in seconds, and a histogram `body.size`, by the
# specification's table.
NAMES = {
    TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES: (
        "orders_made_total",
        "request_duration_seconds",
        "body_size",
    ),
    TranslationStrategy.UNDERSCORE_ESCAPING_WITHOUT_SUFFIXES: (
        "orders_made",
        "request_duration",
        "body_size",
    ),
    TranslationStrategy.NO_UTF8_ESCAPING_WITH_SUFFIXES: (
        "orders.made_total",
        "request.duration_seconds",
        "body.size",
    ),
    TranslationStrategy.NO_TRANSLATION: ("orders.made", "request.duration", "body.size"),
}
FEATURES = ("native-histograms", "created-timestamp-zero-ingestion")
ORDERS, DURATIONS = 7.5, (0.5, 1.5, 1.5, 3.0)


def escaped(name: str, scheme: str) -> str:
    """A name by https://prometheus.io/docs/instrumenting/escaping_schemes/."""
    if scheme == "allow-utf-8":
        return name
    if scheme == "underscores":
        return re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    if scheme == "dots":
        special = {".": "_dot_", "_": "__"}
        return re.sub(r"[^a-zA-Z0-9:]", lambda found: special.get(found[0], "__"), name)
    if re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):
        return name
    return "U__" + re.sub(r"[^a-zA-Z0-9:]", lambda m: "__" if m[0] == "_" else f"_{ord(m[0]):x}_", name)


class Application:
    """One provider, and a reader for each strategy."""

    def __init__(self) -> None:
        self.readers = {
            strategy: PrometheusMetricReader(
                registry=None, self_metrics=False, translation_strategy=strategy, created_timestamps=True
            )
            for strategy in NAMES
        }
        exponential = View(instrument_name="body.size", aggregation=ExponentialBucketHistogramAggregation())
        self.provider = MeterProvider(
            list(self.readers.values()), resource=Resource({}), views=[exponential], shutdown_on_exit=False
        )
        meter = self.provider.get_meter("app")
        self.orders = meter.create_counter("orders.made")
        durations = meter.create_histogram(
            "request.duration", unit="s", explicit_bucket_boundaries_advisory=[1, 2]
        )
        sizes = meter.create_histogram("body.size")
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("app")
        with tracer.start_as_current_span("work") as span:
            self.trace_id = f"{span.get_span_context().trace_id:032x}"
            self.orders.add(ORDERS, {"kéy.x": "v"})
            for duration in DURATIONS:
                durations.record(duration)
                sizes.record(duration)


class Scraped:
    """The application, and a Prometheus that has scraped it in every way; ``jobs`` says how each does."""

    def __init__(self, stack: ExitStack, executable: str, folder: Path) -> None:
        self.application = Application()
        stack.callback(self.application.provider.shutdown)
        ports = {
            strategy: stack.enter_context(start_http_server(reader, port=0, addr="127.0.0.1")).port
            for strategy, reader in self.application.readers.items()
        }
        self.jobs: dict[str, tuple[str, str, TranslationStrategy]] = {}
        targets: dict[str, str] = {}
        settings: dict[str, dict[str, object]] = {}
        for protocol, (validation, scheme), strategy in itertools.product(PROTOCOLS, SCHEMES, NAMES):
            job = f"{protocol} {validation} {scheme} {strategy.value}"
            self.jobs[job] = protocol, scheme, strategy
            targets[job] = f"127.0.0.1:{ports[strategy]}"
            settings[job] = {
                "scrape_protocols": [protocol],
                "metric_name_validation_scheme": validation,
                "metric_name_escaping_scheme": scheme,
            }
        first = f"127.0.0.1:{next(iter(ports.values()))}"
        targets["both"] = first
        settings["both"] = {
            "always_scrape_classic_histograms": True,
            "scrape_protocols": ["PrometheusProto"],
        }
        self._restarting = ExitStack()
        stack.callback(self._restarting.close)
        self._port = free_port()
        self._start(5)
        targets["restarting"] = f"127.0.0.1:{self._port}"
        self.api = stack.enter_context(
            prometheus(executable, folder, targets, features=FEATURES, interval=3, settings=settings)
        )
        wait_for(self.api.has_scraped, seconds=40, what="a scrape of every job")

    def _start(self, value: float) -> None:
        reader = PrometheusMetricReader(registry=None, self_metrics=False)
        provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
        self._restarting.callback(provider.shutdown)
        provider.get_meter("t").create_counter("restarted").add(value)
        self._restarting.enter_context(start_http_server(reader, port=self._port, addr="127.0.0.1"))

    def restart(self) -> None:
        """The process that counted to 5 is a new one, which counts to 2."""
        self._restarting.close()
        self._start(2)

    def names(self) -> dict[str, set[str]]:
        """The names of the series of each job, but Prometheus' own."""
        found: dict[str, set[str]] = {job: set() for job in self.jobs}
        for job, name in self.api.values('count by (job, __name__) ({job=~".+ .+"})', "job", "__name__"):
            if not name.startswith(("up", "scrape_", "ALERTS")):
                found[job].add(name)
        return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Started once, for all tests."""
    with ExitStack() as stack:
        yield Scraped(
            stack, newer("sid", "prometheus", required=True), tmp_path_factory.mktemp("prometheus3")
        )


def applied(protocol: str, scheme: str) -> str:
    """The scheme that an answer has: Prometheus 3.5 asks for one in the formats that know about it."""
    return scheme if protocol in {"OpenMetricsText1.0.0", "PrometheusText1.0.0"} else "underscores"


def test_every_scrape_succeeds(scraped: Scraped) -> None:
    """Prometheus takes each of our answers whole."""
    targets = {target["labels"]["job"]: target for target in scraped.api.targets()}
    assert targets.keys() == {*scraped.jobs, "both", "restarting"}
    assert {job: t["lastError"] for job, t in targets.items() if t["health"] != "up"} == {}


def test_names(scraped: Scraped) -> None:
    """Protocol by scheme by strategy: the names are what the documentation of the schemes says."""
    found = scraped.names()
    for job, (protocol, scheme, strategy) in scraped.jobs.items():
        counter, durations, sizes = (escaped(name, applied(protocol, scheme)) for name in NAMES[strategy])
        expected = {counter} | {durations + suffix for suffix in ("_bucket", "_count", "_sum")}
        # The exponential one is native where the format has that.
        native = protocol == "PrometheusProto"
        expected |= {sizes} if native else {sizes + suffix for suffix in ("_bucket", "_count", "_sum")}
        assert found[job] == expected, job


def test_values_and_labels(scraped: Scraped) -> None:
    """The same is scraped in every way."""
    found = scraped.api.query(f'{{job=~".+ .+"}} == {ORDERS}')
    series = {s["metric"]["job"]: s["metric"] for s in found if "v" in s["metric"].values()}
    assert series.keys() == scraped.jobs.keys()
    for job, (protocol, scheme, strategy) in scraped.jobs.items():
        kept = "." in NAMES[strategy][0]
        label = escaped("kéy.x" if kept else "k_y_x", applied(protocol, scheme))
        assert series[job][label] == "v", job


def test_exemplars(scraped: Scraped) -> None:
    """They come along in every format that has them, whatever the names are."""
    with_trace = {
        series["seriesLabels"]["job"]
        for series in scraped.api.query_exemplars('{job=~".+ .+"}')
        if any(e["labels"]["trace_id"] == scraped.application.trace_id for e in series["exemplars"])
    }
    assert with_trace == {job for job in scraped.jobs if not job.startswith("PrometheusText")}


@pytest.mark.parametrize("protocol", ["PrometheusProto", "OpenMetricsText1.0.0"])
def test_created_timestamps_are_zeros(scraped: Scraped, protocol: str) -> None:
    """Created-timestamp zero ingestion: what was counted before the first scrape is an increase."""
    job = f"{protocol} utf8 underscores UnderscoreEscapingWithSuffixes"
    for name, value in (("orders_made_total", ORDERS), ("request_duration_seconds_count", len(DURATIONS))):
        selector = f'{name}{{job="{job}"}}'
        assert scraped.api.values(f"min_over_time({selector}[2m])") == {(): 0}
        assert scraped.api.values(selector) == {(): value}


def test_classic_histograms_beside_native_ones(scraped: Scraped) -> None:
    """``always_scrape_classic_histograms`` loses neither."""
    assert scraped.api.values('histogram_count(body_size{job="both"})') == {(): len(DURATIONS)}
    assert scraped.api.values('request_duration_seconds_bucket{job="both"}', "le") == {
        ("1.0",): 1,
        ("2.0",): 3,
        ("+Inf",): 4,
    }


def test_a_restart_is_a_reset(scraped: Scraped) -> None:
    """A process that begins anew at a lower value: Prometheus sees a reset, and adds what is new."""
    assert scraped.api.values("restarted_total", "job") == {("restarting",): 5}
    scraped.restart()
    wait_for(
        lambda: 2 in scraped.api.values("restarted_total", "job").values(), seconds=15, what="the new process"
    )
    # The first sample is the zero at which the old process began, so all of both is increase.
    samples = [float(value) for _, value in scraped.api.query("restarted_total[2m]")[0]["values"]]
    increase = sum(new - old if new >= old else new for old, new in itertools.pairwise(samples))
    assert (samples[0], increase) == (0, 5 + 2)
    assert scraped.api.values("resets(restarted_total[2m])", "job") == {("restarting",): 1}


def test_classic_histograms_become_native_ones(tmp_path: Path) -> None:
    """``convert_classic_histograms_to_nhcb``: custom buckets, with our bounds, counts and sum.

    Prometheus does not combine it with created timestamps.
    """
    executable = newer("sid", "prometheus", required=True)
    application = Application()
    reader = next(iter(application.readers.values()))
    with ExitStack() as stack:
        stack.callback(application.provider.shutdown)
        server = stack.enter_context(start_http_server(reader, port=0, addr="127.0.0.1"))
        targets = dict.fromkeys(PROTOCOLS, f"127.0.0.1:{server.port}")
        settings: dict[str, dict[str, object]] = {
            protocol: {"convert_classic_histograms_to_nhcb": True, "scrape_protocols": [protocol]}
            for protocol in PROTOCOLS
        }
        api = stack.enter_context(
            prometheus(executable, tmp_path, targets, features=("native-histograms",), settings=settings)
        )
        wait_for(api.has_scraped, seconds=30, what="the first scrapes")
        for ask, value in (
            ("histogram_count({})", len(DURATIONS)),
            ("histogram_sum({})", sum(DURATIONS)),
            ("histogram_fraction(1, 2, {})", 0.5),
        ):
            found = api.values(ask.format("request_duration_seconds"), "job")
            assert found == {(protocol,): value for protocol in PROTOCOLS}, ask
        assert api.query("request_duration_seconds_bucket") == []


def defaults(server: Any, executable: str, folder: Path) -> None:
    """A server as it comes scrapes an application."""
    application = Application()
    reader = next(iter(application.readers.values()))
    with (
        start_http_server(reader, port=0, addr="127.0.0.1") as endpoint,
        server(executable, folder, {"app": f"127.0.0.1:{endpoint.port}"}) as api,
    ):
        wait_for(lambda: api.query("orders_made_total"), seconds=30, what="the first scrape")
        assert api.values("up") == {(): 1}
        assert api.values("orders_made_total") == {(): ORDERS}
        assert api.values("request_duration_seconds_count") == {(): len(DURATIONS)}
    application.provider.shutdown()


@pytest.mark.parametrize("suite", [pytest.param("trixie", marks=pytest.mark.slow), "sid"])
def test_prometheus_as_it_comes(suite: str, tmp_path: Path) -> None:
    """2.53 and 3.5, with nothing configured."""
    defaults(prometheus, newer(suite, "prometheus"), tmp_path)


def test_victoria_metrics_as_it_comes(tmp_path: Path) -> None:
    """1.145, with nothing configured."""
    defaults(victoria_metrics, newer("sid", "victoria-metrics"), tmp_path)


@pytest.mark.slow
def test_vmagent_hands_on_what_it_scrapes(tmp_path: Path) -> None:
    """It scrapes, and writes to a VictoriaMetrics."""
    agent = newer("sid", "vmagent")
    application = Application()
    reader = next(iter(application.readers.values()))
    with ExitStack() as stack:
        stack.callback(application.provider.shutdown)
        server = stack.enter_context(start_http_server(reader, port=0, addr="127.0.0.1"))
        store, other = tmp_path / "store", tmp_path / "agent"
        store.mkdir()
        other.mkdir()
        itself = {"itself": f"127.0.0.1:{server.port}"}
        api = stack.enter_context(victoria_metrics(newer("sid", "victoria-metrics"), store, itself))
        config = scrape_config(other, {"agent": f"127.0.0.1:{server.port}"})
        command = [
            agent,
            f"-promscrape.config={config}",
            f"-remoteWrite.url={api.url}/api/v1/write",
            f"-remoteWrite.tmpDataPath={other}",
            f"-httpListenAddr=127.0.0.1:{free_port()}",
        ]
        stack.enter_context(running(command, log=other / "server.log"))
        expected = {("itself",): ORDERS, ("agent",): ORDERS}
        wait_for(
            lambda: api.values("orders_made_total", "job") == expected, seconds=30, what="what vmagent wrote"
        )
