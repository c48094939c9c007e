"""Real scrapers, in every format they speak: their databases hold what we expose, series by series."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import prometheus_client
import pytest
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from promtool import promtool_complaint
from servers import Prometheus, get, prometheus, running, victoria_metrics, wait_for
from watched import PROTOBUF, Watched

from otel_prom_bridge import PrometheusMetricReader, TranslationStrategy, start_http_server

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(120)]

TEXT = "text/plain"
FORMATS = {"text": TEXT, "openmetrics": "application/openmetrics-text", "protobuf": PROTOBUF}
INTERVAL = 1.5
TIMEOUT = 0.9 * INTERVAL  # of a scrape; nearly always a busy machine is able to keep it
SCRAPES = 10  # that must come one after the other, all on one connection, without a loss

Series = tuple[tuple[str, str], ...]  # the name as the label __name__, and the labels

ADDED = ("job", "instance")  # by a scraper, to every series
DESCRIPTION = 'Jobs\n"done" \\ finished'
HOSTILE = [
    'say "hi"',
    "back\\slash",
    "ends with \\",
    "two\nlines",
    "carriage\rreturn\ttab",
    "nul\x00byte",
    "ünï.código 日本語",
    "\U0001f600\u200d\u2028\x85\ufeff",
    "half \ud83d of a pair",
    '"} 1\nfake_total{a="b',
    "# EOF",
    " spaces ",
    "x" * 1000,
    "",
]
VALUES = [0, -0.0, 1.5, -273.15, 0.1 + 0.2, 2**53 + 1, 2**60, 1e21, 1e-300, sys.float_info.max, 5e-324]


class Application:
    """One of everything; nothing changes by itself, so that every scrape can be compared with every other."""

    def __init__(self, process: int) -> None:
        registry = prometheus_client.CollectorRegistry()
        self.reader = PrometheusMetricReader(registry=registry, self_metrics=False, collect_interval=0)
        self.provider = MeterProvider(
            [self.reader],
            resource=Resource({"service.name": 'the "app"', "service.version": "1", "host.arch": "x\\y"}),
            views=[
                View(instrument_name="queue.wait", aggregation=ExponentialBucketHistogramAggregation()),
                View(
                    instrument_name="temperature.*",
                    aggregation=ExplicitBucketHistogramAggregation((-10, 0, 10)),
                ),
            ],
            shutdown_on_exit=False,
        )
        # Two scopes share a name, and differ in their version.
        meter = self.provider.get_meter("app", "1.0", "https://example.org/schema", {"scope.attribute": "a"})
        self._jobs = meter.create_counter("jobs.done", unit="{job}", description=DESCRIPTION)
        self.done = 0
        self.increase()
        _counters(meter)
        _counters(self.provider.get_meter("app", "2.0"))
        _gauges(meter)
        _histograms(meter)
        _asynchronous(meter)
        _others(registry, process)

    def increase(self) -> int:
        """One more job; gives the number of all."""
        self._jobs.add(1)
        self.done += 1
        return self.done


def _counters(meter: Meter) -> None:
    requests = meter.create_counter("http.requests", unit="By")
    for number, value in enumerate(HOSTILE):
        requests.add(number + 0.5, {"text": value, "http.route": "/"})
    # Keys that become one label, and series that become one.
    requests.add(1, {"a.b": "x", "a_b": "y"})
    requests.add(2, {"a-b": "z"})
    requests.add(4, {"a b": "z"})
    # Labels that mean something to a scraper.
    reserved = ("job", "instance", "le", "quantile", "__name__", "1", "é")
    requests.add(8, dict.fromkeys(reserved, "v"))
    meter.create_counter("big", unit="1").add(2**60)


def _gauges(meter: Meter) -> None:
    meter.create_up_down_counter("queue.length").add(-4)
    meter.create_up_down_counter("queue.bytes", unit="By").add(-0.25, {"queue": "q"})
    gauge = meter.create_gauge("value", unit="s")
    for number, value in enumerate(VALUES):
        gauge.set(value, {"number": number})


def _histograms(meter: Meter) -> None:
    bounds = [*range(1, 100), 1e6, 1e7, 123456789]
    many = meter.create_histogram("many.buckets", explicit_bucket_boundaries_advisory=bounds)
    for value in (0.5, 1, 1.5, 99, 1e6, 1e9):
        many.record(value, {"k": "v"})
        many.record(value, {"le": "3", "k": 'say "hi"'})
    small = meter.create_histogram("size", unit="KiBy", explicit_bucket_boundaries_advisory=[1e-9, 0.1, 2.5])
    small.record(0.3)
    meter.create_histogram("temperature", unit="Cel").record(
        20
    )  # OpenMetrics: no sum beside a negative bound
    meter.create_histogram("unbounded", explicit_bucket_boundaries_advisory=[]).record(7)
    exponential = meter.create_histogram("queue.wait", unit="s")
    for value in (0, 0.001, 0.0011, 0.5, 3, 3, 1e4):
        exponential.record(value, {"queue": "q"})


def _asynchronous(meter: Meter) -> None:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(12.5, {"cpu": "0"}), Observation(3, {"cpu": "1"})]

    meter.create_observable_counter("cpu.time", [observe], unit="s")
    meter.create_observable_up_down_counter("cpu.balance", [observe], unit="{thing}/s")
    meter.create_observable_gauge("cpu.utilization", [observe], unit="1")


def _others(registry: prometheus_client.CollectorRegistry, process: int) -> None:
    """The collectors of another library: those of a process (one that sleeps), and one of each type."""
    prometheus_client.ProcessCollector(registry=registry, pid=lambda: process)
    prometheus_client.PlatformCollector(registry=registry)
    counter = prometheus_client.Counter("old", "Counter", ["text"], registry=registry)
    for value in HOSTILE[:4]:
        counter.labels(value).inc(2)
    prometheus_client.Gauge("old_gauge", "Gauge", registry=registry).set(-1.5)
    limits = prometheus_client.Gauge("old_limits", "Gauge", ["which"], registry=registry)
    for value in (math.inf, -math.inf, math.nan):
        limits.labels(value).set(value)
    prometheus_client.Summary("old_summary", "Summary", registry=registry).observe(2.5)
    prometheus_client.Histogram("old_histogram", "Histogram", registry=registry).observe(2.5)
    prometheus_client.Info("old_build", "Info", registry=registry).info({"version": 'a "b"'})
    prometheus_client.Enum("old_state", "State", states=["up", "down"], registry=registry).state("up")
    registry.register(_Timed())


class _Timed(Collector):
    """A collector that says when its values were taken."""

    def __init__(self) -> None:
        self._taken = time.time()

    def collect(self) -> Iterator[prometheus_client.Metric]:
        gauge = GaugeMetricFamily("old_level", "Level", labels=["tank"])
        gauge.add_metric(["a"], 7.5, timestamp=self._taken)
        yield gauge


def _untranslated() -> tuple[PrometheusMetricReader, MeterProvider]:
    """A reader that translates no names; what an old scraper cannot read is escaped for it alone."""
    reader = PrometheusMetricReader(
        self_metrics=False,
        registry=None,
        scope_info_enabled=False,
        translation_strategy=TranslationStrategy.NO_TRANSLATION,
    )
    provider = MeterProvider([reader], resource=Resource({"service.name": "u"}), shutdown_on_exit=False)
    meter = provider.get_meter("app")
    meter.create_counter("http.requests", unit="By").add(3, {"http.route": "/", "ünï": "ü"})
    meter.create_histogram("wait.time", unit="s", explicit_bucket_boundaries_advisory=[5]).record(2)
    meter.create_gauge("disk/usage-now").set(-1)
    return reader, provider


@dataclass(frozen=True)
class Targets:
    """Applications with their endpoints: ``plain`` answers everybody with text 0.0.4, the others as asked."""

    application: Application
    untranslated: PrometheusMetricReader
    watched: Mapping[str, Watched]  # by the name of the target
    addresses: Mapping[str, str]


@dataclass(frozen=True)
class Scraper:
    """A server, and the job by which it scrapes the application in one format."""

    api: Prometheus
    server: str
    job: str
    format: str
    watched: Watched

    @property
    def scrapes(self) -> int:
        """How many scrapes in this format the application has answered."""
        return sum(count for (_, kind), count in self.watched.answers.items() if kind.startswith(self.format))

    def is_same(self, found: float, exposed: float) -> bool:
        """Equal, as far as the database can hold the value: VictoriaMetrics stores decimal fractions."""
        if self.server == "victoria":
            return math.isclose(found, exposed, rel_tol=1e-14, abs_tol=sys.float_info.min)
        return found == exposed or (math.isnan(found) and math.isnan(exposed))

    def series(self, job: str) -> dict[Series, float]:
        """What the database has of a job, but for what it adds itself; of native histograms the count."""
        found: dict[Series, float] = {}
        ignored = "up|scrape_.*"
        if self.format == PROTOBUF:
            ignored += "|old_waiting.*"  # Read since 2.45: prometheus pull request 12350.
        for series in self.api.query(f'{{job="{job}", __name__!~"{ignored}"}}'):
            metric = {name: text for name, text in series["metric"].items() if name not in ADDED}
            value = series["value"][1] if "value" in series else series["histogram"][1]["count"]
            key = _series(metric.pop("__name__"), metric.items())
            assert key not in found
            found[key] = float(value)
        return found

    def samples(self, expr: str) -> list[float]:
        """The raw samples of the one series that an expression selects, in the last two minutes."""
        return list(self.timed(expr).values())

    def timed(self, expr: str) -> dict[float, float]:
        """The same by their times."""
        (series,) = self.api.query(f"{expr}[2m]")
        return {float(at): float(value) for at, value in series["values"]}


def _series(name: str, labels: Iterable[tuple[str, str]]) -> Series:
    """A series as a database keys it: a label without a value is no label, and bounds are numbers."""
    found = {key: value for key, value in labels if value}
    if name.endswith("_bucket"):
        found["le"] = repr(float(found["le"]))
    return tuple(sorted({**found, "__name__": name}.items()))


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    """The applications, and their endpoints."""
    log = tmp_path_factory.mktemp("process") / "log"
    sleep = [sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(600)"]
    with ExitStack() as stack:
        sleeping = stack.enter_context(running(sleep, log=log))
        sleeping.until("asleep", 10)
        application = Application(sleeping.process.pid)
        stack.callback(application.provider.shutdown)
        untranslated, provider = _untranslated()
        stack.callback(provider.shutdown)
        watched = {
            "app": Watched(application.reader),
            "plain": Watched(application.reader, accept=TEXT),
            "untranslated": Watched(untranslated),
        }
        addresses = {}
        for name, source in watched.items():
            server = stack.enter_context(start_http_server(source, port=0, addr="127.0.0.1"))
            addresses[name] = f"127.0.0.1:{server.port}"
        yield Targets(application, untranslated, watched, addresses)


@pytest.fixture(scope="module")
def prometheuses(
    real_prometheus: str, targets: Targets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Prometheus]]:
    """Two of them, by the format that they prefer; started together, as a first scrape takes seconds."""
    with ExitStack() as stack:
        yield {
            wanted: stack.enter_context(
                prometheus(
                    real_prometheus,
                    tmp_path_factory.mktemp("prometheus"),
                    addresses,
                    features=features,
                    interval=INTERVAL,
                )
            )
            for wanted, features, addresses in (
                ("openmetrics", (), targets.addresses),
                ("protobuf", ("native-histograms",), _without_plain(targets)),
            )
        }


@pytest.fixture(scope="module")
def victoria(
    real_victoria_metrics: str, targets: Targets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A VictoriaMetrics, which asks for text 0.0.4."""
    folder = tmp_path_factory.mktemp("victoria")
    with victoria_metrics(
        real_victoria_metrics, folder, _without_plain(targets), interval=INTERVAL
    ) as server:
        yield server


def _without_plain(targets: Targets) -> dict[str, str]:
    return {job: address for job, address in targets.addresses.items() if job != "plain"}


@pytest.fixture(params=["prometheus-text", "prometheus-openmetrics", "prometheus-protobuf", "victoria-text"])
def scraper(request: pytest.FixtureRequest, targets: Targets) -> Scraper:
    """Each scraper and format, after its first scrapes."""
    server, wanted = request.param.split("-")
    if server == "victoria":
        api = request.getfixturevalue("victoria")
    else:
        api = request.getfixturevalue("prometheuses")["protobuf" if wanted == "protobuf" else "openmetrics"]
    job = "plain" if request.param == "prometheus-text" else "app"
    wait_for(api.has_scraped, seconds=30, what="the first scrapes")
    return Scraper(api, server, job, FORMATS[wanted], targets.watched[job])


def exposed(reader: PrometheusMetricReader, kind: str) -> dict[Series, float]:
    """Every series of our exposition in text 0.0.4 or OpenMetrics, as an independent parser reads it."""
    exposition = reader.expose(OPENMETRICS if kind == FORMATS["openmetrics"] else None)
    if kind == TEXT:
        assert promtool_complaint(exposition.body) is None
    found: dict[Series, float] = {}
    for (name, labels), value in samples(exposition.content_type, exposition.body).items():
        # The labels that a scraper sets itself: ours make way for them.
        renamed = [(f"exported_{label}" if label in ADDED else label, text) for label, text in labels]
        key = _series(name, renamed)
        assert key not in found, f"two series that are one in a database: {key}"
        found[key] = float(value)
    return found


def expected(scraper: Scraper, targets: Targets) -> dict[Series, float]:
    """What the scraper's database is to hold: our exposition, but for what is known of the scraper."""
    series = exposed(targets.application.reader, scraper.format)
    if scraper.server == "victoria":  # "NaN values are skipped"
        return {key: value for key, value in series.items() if not math.isnan(value)}
    if scraper.format == PROTOBUF:  # an exponential histogram arrives as what it is, and so does a start time
        native = {
            _series("queue_wait_seconds", (label for label in key if label[0] != "__name__")): value
            for key, value in series.items()
            if dict(key)["__name__"] == "queue_wait_seconds_count"
        }
        assert native
        names = {key: dict(key)["__name__"] for key in series}
        others = {
            key: value for key, value in series.items() if not re.search("queue_wait|_created$", names[key])
        }
        return {**others, **native}
    return series


def differences(scraper: Scraper, job: str, wanted: Mapping[Series, float]) -> list[str]:
    """Where the scraper's database still differs after five seconds."""
    deadline = time.monotonic() + 5
    while True:
        found = scraper.series(job)
        different = [f"missing: {key} {wanted[key]}" for key in wanted.keys() - found.keys()]
        different += [f"too much: {key} {found[key]}" for key in found.keys() - wanted.keys()]
        different += [
            f"{found[key]} instead of {wanted[key]}: {key}"
            for key in found.keys() & wanted.keys()
            if not scraper.is_same(found[key], wanted[key])
        ]
        if not different or time.monotonic() > deadline:
            return different
        time.sleep(0.1)


def test_every_series_arrives(scraper: Scraper, targets: Targets) -> None:
    """The database has the series that we expose under the same labels with the same values, and no other."""
    wanted = expected(scraper, targets)
    assert len(wanted) > 300
    assert differences(scraper, scraper.job, wanted) == []
    assert scraper.scrapes > 0, f"never asked for {scraper.format}: {scraper.watched.answers}"
    assert {(target["health"], target["lastError"]) for target in scraper.api.targets()} == {("up", "")}
    (scraped,) = scraper.api.values(f'scrape_samples_scraped{{job="{scraper.job}"}}').values()
    assert scraped == len(wanted) + (scraper.server == "victoria")  # the one NaN


@pytest.mark.parametrize("scraper", ["prometheus-protobuf"], indirect=True)
def test_an_exponential_histogram_arrives_native(scraper: Scraper) -> None:
    """Over protobuf it has its own buckets, count and sum."""
    (series,) = scraper.api.query('queue_wait_seconds{queue="q"}')
    assert series["histogram"][1]["count"] == "7"
    assert float(series["histogram"][1]["sum"]) == pytest.approx(10006.5021)
    assert [bucket[3] for bucket in series["histogram"][1]["buckets"]] == ["1", "2", "1", "2", "1"]


@pytest.mark.parametrize(
    "scraper", ["prometheus-text", "prometheus-openmetrics", "prometheus-protobuf"], indirect=True
)
def test_descriptions_and_types_arrive(scraper: Scraper) -> None:
    """Prometheus knows each family's type and, unharmed by any escaping, its description."""
    found = scraper.api.metadata(scraper.job)
    openmetrics = scraper.format == FORMATS["openmetrics"]
    total = "" if openmetrics else "_total"  # a part of the family's name in the other formats
    unit = "bytes" if openmetrics else ""  # the other formats have none, or Prometheus 2.42 does not read it
    info = "info" if openmetrics else "gauge"
    assert found[f"jobs_done{total}"] == ("counter", DESCRIPTION, "")
    assert found[f"http_requests_bytes{total}"] == ("counter", "", unit)
    assert found["queue_bytes"] == ("gauge", "", unit)
    assert found["many_buckets"] == ("histogram", "", "")
    assert found["queue_wait_seconds"][0] == "histogram"
    assert found["old_summary"] == ("summary", "Summary", "")
    assert found["target" if openmetrics else "target_info"] == (info, "Target metadata", "")


def test_untranslated_names_arrive_with_underscores(scraper: Scraper) -> None:
    """Neither Prometheus 2.42 nor this VictoriaMetrics asks for UTF-8 names, so they get legacy ones."""
    wanted = {
        _series("target_info", [("service_name", "u")]): 1,
        _series("http_requests", [("http_route", "/"), ("_n_", "ü")]): 3,
        _series("wait_time_bucket", [("le", "5")]): 1,
        _series("wait_time_bucket", [("le", "+Inf")]): 1,
        _series("wait_time_count", []): 1,
        _series("wait_time_sum", []): 2,
        _series("disk_usage_now", []): -1,
    }
    assert differences(scraper, "untranslated", wanted) == []


@pytest.mark.parametrize(
    "scraper",
    [
        *(pytest.param(f"prometheus-{name}", marks=pytest.mark.slow) for name in ("text", "openmetrics")),
        "prometheus-protobuf",
        "victoria-text",
    ],
    indirect=True,
)
def test_a_counter_only_grows(scraper: Scraper, targets: Targets) -> None:
    """Every step arrives, the last value is right, and neither rises nor resets are seen that were none."""
    application = targets.application
    series = f'jobs_done_total{{job="{scraper.job}"}}'
    steps = [application.done]
    for _ in range(3):
        steps.append(application.increase())
        wait_for(
            lambda: scraper.api.values(series) == {(): application.done}, seconds=20, what="the new value"
        )
    found = scraper.samples(series)
    assert found == sorted(found)
    assert set(found) >= set(steps)
    assert max(found) == application.done
    assert scraper.api.values(f"resets({series}[2m])") == {(): 0}
    (increase,) = scraper.api.values(f"increase({series}[2m])").values()
    growth = found[-1] - found[0]
    if scraper.server == "prometheus":  # it adds what may have happened before and after: up to 1.6 intervals
        assert growth <= increase <= growth * (1 + 2 / (len(found) - 1))
    else:  # it takes a first value for the growth from 0, if that is not too much
        assert increase in (growth, application.done)


def test_no_scrape_is_lost(scraper: Scraper) -> None:
    """Ten scrapes succeed, each with every sample, and Prometheus uses one connection for all.

    On a busy machine one may come to the timeout; then it was not refused, and only that connection is gone.
    """
    wait_for(lambda: scraper.scrapes >= SCRAPES, seconds=50, what=f"{SCRAPES} scrapes")
    job = f'{{job="{scraper.job}"}}'
    wait_for(lambda: len(scraper.samples(f"up{job}")) >= SCRAPES, seconds=20, what="their samples")
    took = scraper.timed(f"scrape_duration_seconds{job}")
    failed = [at for at, up in scraper.timed(f"up{job}").items() if up != 1]
    assert [took[at] for at in failed if took.get(at, TIMEOUT) < TIMEOUT] == []
    assert len(failed) <= SCRAPES / 3
    assert len({count for count in scraper.samples(f"scrape_samples_scraped{job}") if count}) == 1
    lost = f"sum_over_time(up{job}[2m]) - on (job) count_over_time(jobs_done_total{job}[2m])"
    wait_for(lambda: scraper.api.values(lost, "job") == {(scraper.job,): 0}, seconds=20, what="nothing lost")
    if scraper.server == "prometheus":
        lines = get(f"{scraper.api.url}/metrics")[1].decode().splitlines()
        own = dict(line.rsplit(" ", 1) for line in lines)
        opened = own[f'net_conntrack_dialer_conn_established_total{{dialer_name="{scraper.job}"}}']
        assert 1 <= int(opened) <= 1 + len(failed)
        for fault in ("sample_duplicate_timestamp", "sample_out_of_order", "sample_out_of_bounds"):
            assert own[f"prometheus_target_scrapes_{fault}_total"] == "0"
