"""What a reader says about itself, through real scrapes: self-metrics and the report of cardinality."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from urllib.request import Request, urlopen

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS, samples
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from otel_prom_bridge import ExportView, MetricsServer, PrometheusMetricReader, Tenants, start_http_server
from otel_prom_bridge.cli import main
from otel_prom_bridge.rules import Allow, First, StatusClass

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]
Make = Callable[..., "Scraped"]


class Scraped:
    """A reader with an endpoint."""

    def __init__(self, registry: CollectorRegistry | None, options: dict[str, object]) -> None:
        self.reader = PrometheusMetricReader(
            registry=registry,
            scope_info_enabled=False,
            **options,  # type: ignore[arg-type]
        )
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("test")
        self.server: MetricsServer = start_http_server(self.reader, port=0)

    def get(self, accept: str = "text/plain", encoding: str = "gzip") -> tuple[str, bytes, bytes]:
        """Content type, body as sent, and body."""
        headers = {"Accept": accept, "Accept-Encoding": encoding}
        with urlopen(Request(self.server.url, headers=headers), timeout=10) as answer:
            sent = answer.read()
            plain = gzip.decompress(sent) if answer.headers["Content-Encoding"] == "gzip" else sent
            return answer.headers["Content-Type"], sent, plain

    def scrape(self) -> Found:
        """The samples of a scrape."""
        content_type, _, body = self.get()
        return samples(content_type, body)


@pytest.fixture
def scraped() -> Iterator[Make]:
    """Make readers with endpoints."""
    made: list[Scraped] = []

    def make(registry: CollectorRegistry | None = None, **options: object) -> Scraped:
        made.append(Scraped(registry, options))
        return made[-1]

    yield make
    for item in made:
        item.provider.shutdown()


def value(found: Found, name: str, **labels: str) -> float:
    """The one sample of this name that has these labels among its own."""
    [result] = [
        number
        for (sample, pairs), number in found.items()
        if sample == name and frozenset(labels.items()) <= pairs
    ]
    return result


def test_scrapes_are_counted_by_status(scraped: Make) -> None:
    """Each scrape is counted when it is over, so the third one tells of two."""
    it = scraped()
    it.scrape()
    it.scrape()
    assert value(it.scrape(), "otel_prom_bridge_scrapes_total", status="200") == 2
    it.provider.shutdown()
    assert it.server.url  # the endpoint closes with the reader: nothing counts 503s for anybody


def test_the_parts_of_a_scrape_are_timed(scraped: Make) -> None:
    """The collection, apply, encode and compress are observed once per scrape; the whole is the longest."""
    it = scraped()
    histogram = it.meter.create_histogram("h")
    for number in range(50):
        histogram.record(number, {"k": str(number)})
    for _ in range(3):
        it.scrape()
    found = it.scrape()
    phase = "otel_prom_bridge_scrape_phase_duration_seconds"
    parts = {name: value(found, f"{phase}_sum", phase=name) for name in ("apply", "encode", "compress")}
    # The scrape that shows it has collected and applied already, and has yet to encode.
    assert value(found, f"{phase}_count", phase="apply") == 4
    assert value(found, f"{phase}_count", phase="encode") == 3
    assert value(found, f"{phase}_count", phase="compress") == 3
    assert value(found, "otel_sdk_metric_reader_collection_duration_seconds_count") == 4
    whole = value(found, "otel_sdk_exporter_operation_duration_seconds_sum")
    assert value(found, "otel_sdk_exporter_operation_duration_seconds_count") == 3
    assert 0 < parts["encode"] + parts["compress"] < whole


def test_the_size_of_the_body_by_format(scraped: Make) -> None:
    """The sizes are those of the last bodies that were sent, plain and compressed."""
    it = scraped()
    _, sent, text = it.get()
    _, sent_openmetrics, openmetrics = it.get(OPENMETRICS)
    found = it.scrape()
    sizes = {
        (encoding, kind): value(found, "otel_prom_bridge_body_size_bytes", encoding=encoding, format=kind)
        for encoding in ("identity", "gzip")
        for kind in ("text", "openmetrics")
    }
    assert sizes == {
        ("identity", "text"): len(text),
        ("gzip", "text"): len(sent),
        ("identity", "openmetrics"): len(openmetrics),
        ("gzip", "openmetrics"): len(sent_openmetrics),
    }


def test_series_of_each_metric_and_in_all(scraped: Make) -> None:
    """Series are counted as they are shown; the total is that of the application's metrics."""
    it = scraped()
    for name, count in (("a", 3), ("b", 5)):
        counter = it.meter.create_counter(name)
        for number in range(count):
            counter.add(1, {"k": str(number)})
    found = it.scrape()
    series = "otel_prom_bridge_metric_series"
    assert [value(found, series, metric=name) for name in ("a_total", "b_total")] == [3, 5]
    assert value(found, "otel_prom_bridge_series") == 8


def test_overflow_and_folds_are_counted(scraped: Make) -> None:
    """Points past the limit are counted, and points of which a rule took a value for another."""
    views = [ExportView(instrument_name="calls", rules={"op": Allow(["chat"]), "status": StatusClass()})]
    it = scraped(views=views, max_series_per_metric=2)
    calls, other = it.meter.create_counter("calls"), it.meter.create_counter("other")
    for _ in range(2):
        for op in ("chat", "embeddings", "rerank"):
            calls.add(1, {"op": op, "status": "200"})
        for number in range(5):
            other.add(1, {"k": str(number)})
        found = it.scrape()
    folded = "otel_prom_bridge_folded_points_total"
    assert value(found, folded, metric="calls_total", label="op", rule="Allow") == 4
    assert not any("StatusClass" in dict(labels).values() for _, labels in found)
    assert value(found, "otel_prom_bridge_overflowed_points_total", metric="other_total") == 6
    assert ("otel_prom_bridge_overflowed_points_total", frozenset({("metric", "calls_total")})) not in found


def test_failures_are_counted(scraped: Make) -> None:
    """Callbacks and collectors that raise are counted at every scrape, by name."""

    class Broken(Collector):
        def collect(self) -> Iterator[object]:  # type: ignore[override]
            raise RuntimeError("broken")

        def describe(self) -> list[Metric]:
            return []  # asked when it is registered, instead of collecting

    registry = CollectorRegistry()
    it = scraped(registry)
    registry.register(Broken())

    def failing(_: CallbackOptions) -> Iterator[Observation]:
        raise RuntimeError("broken")

    it.meter.create_observable_gauge("g", [failing])
    it.scrape()
    found = it.scrape()
    assert value(found, "otel_prom_bridge_callback_failures_total", instrument="g") == 2
    collectors = "otel_prom_bridge_collector_failures_total"
    assert [number for (name, _), number in found.items() if name == collectors] == [2]


def test_conflicts_and_dropped_metrics(scraped: Make) -> None:
    """A metric that is not shown because its name is another's is counted."""
    it = scraped()
    it.meter.create_counter("x").add(1)
    it.meter.create_gauge("x.total").set(1)
    found = it.scrape()
    assert value(found, "otel_prom_bridge_dropped_metrics") == 1
    assert value(found, "otel_prom_bridge_conflicting_metrics") == len(it.reader.conflicts()) == 1


def test_exemplars_held(scraped: Make) -> None:
    """As many exemplars are held as an OpenMetrics scrape shows."""
    it = scraped()
    histogram = it.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
    with TracerProvider().get_tracer("t").start_as_current_span("s"):
        for number in (0, 1.5, 1.6, 3):
            histogram.record(number)
    _, _, body = it.get(OPENMETRICS)
    assert body.count(b' # {trace_id="') == 3
    assert value(it.scrape(), "otel_prom_bridge_exemplars") == 3


def test_the_switch(scraped: Make) -> None:
    """Switched off there is nothing of the bridge in a scrape."""
    it = scraped(self_metrics=False)
    it.meter.create_counter("c").add(1)
    it.scrape()
    assert not any("otel_" in name for name, _ in it.scrape())


def test_the_report_counts_what_a_scrape_shows(scraped: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """The report of the reader is what the command line counts in the exposition, and knows more."""
    views = [
        ExportView(
            instrument_name="calls",
            keep=["op", "model"],
            rules={"op": Allow(["chat"]), "model": First(3)},
        )
    ]
    it = scraped(views=views, max_series_per_metric=10)
    calls, flood = it.meter.create_counter("calls"), it.meter.create_counter("flood")
    for number in range(30):
        calls.add(1, {"op": f"op-{number % 4}", "model": f"m{number % 5}", "secret": str(number)})
        flood.add(1, {"path": f"/{number}"})
    report = {item.metric: item for item in it.reader.cardinality()}

    assert main(["cardinality", it.server.url, "--json", "--match", "*_total"]) == 0
    counted = {item["metric"]: item for item in json.loads(capsys.readouterr().out)["metrics"]}
    for name in ("calls_total", "flood_total"):
        assert report[name].series == counted[name]["series"]
        labels = {label.name: label.values for label in report[name].labels}
        assert labels == {label["name"]: label["values"] for label in counted[name]["labels"]}
    flooded = report["flood_total"]
    assert (flooded.series, flooded.overflow_series, flooded.overflowed, flooded.maximum) == (11, 1, 20, 11)
    # Two values of op and four of model, and each may be missing: (2 + 1) * (4 + 1), but not past the limit.
    assert (report["calls_total"].series, report["calls_total"].maximum) == (4, 11)


def test_the_maximum_follows_from_the_rules(scraped: Make) -> None:
    """It is the product of what each label can say, missing included; the limit where that is smaller."""
    views = [
        ExportView(instrument_name="bounded", keep=["op", "tenant"], rules={"op": Allow(["a", "b"])}),
        ExportView(instrument_name="open", keep=["op", "path"], rules={"op": Allow(["a", "b"])}),
    ]
    it = scraped(views=views, tenant=Tenants("tenant", {"x": 5, "y": 5}))
    for name in ("bounded", "open"):
        it.meter.create_counter(name).add(1)
    report = {item.metric: item.maximum for item in it.reader.cardinality()}
    overflow = 1 + 3  # nobody's, and those of three tenants
    assert report["bounded_total"] == (3 + 1) * (3 + 1) + overflow
    assert report["open_total"] == 2000 + 5 + 5 + overflow
