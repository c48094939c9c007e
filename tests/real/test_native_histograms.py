"""A real Prometheus that asks for protobuf: native histograms, and everything else as over text."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, Summary
from servers import Prometheus, prometheus, wait_for
from watched import PROTOBUF, Watched

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.arithmetic.histograms import upper_bound
from otel_prom_bridge.endpoint.server.server import start_http_server
from otel_prom_bridge.families import NativeHistogramPoint

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(40)]

DURATION = "request_duration_seconds"
NATIVE = 'otel_scope_name="native"'
ROUTES = ("/a", "/b")


class Application:
    """Something that records every kind of metric; the values of its durations are known."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        exponential = ExponentialBucketHistogramAggregation()
        self.reader = PrometheusMetricReader(registry=registry, self_metrics=False)
        self.provider = MeterProvider(
            [self.reader],
            resource=Resource({"service.name": "native"}),
            views=[
                View(instrument_name="request.duration", aggregation=exponential),
                View(instrument_name="mixed.size", meter_name="native", aggregation=exponential),
            ],
            shutdown_on_exit=False,
        )
        meter = self.provider.get_meter("native")
        self.durations: dict[str, list[float]] = {route: [] for route in ROUTES}
        self._duration = meter.create_histogram("request.duration", unit="s")
        self._random = random.Random(7)
        # A summary without quantiles, as prometheus_client has them.
        Summary("foreign_seconds", "A summary", registry=registry).observe(2.5)
        self.record(0.0, 1.0)
        self._record_others(meter)

    def record(self, mean: float, spread: float) -> None:
        """Record 500 durations per route, and two that are zero; collect between, as a scraper would."""
        for number in range(500):
            for route in ROUTES:
                self._one(route, self._random.lognormvariate(mean, spread))
            if number % 100 == 0:
                self.reader.families()
        for route in ROUTES:
            self._one(route, 0.0)
            self._one(route, 0.0)

    def _one(self, route: str, value: float) -> None:
        self._duration.record(value, {"route": route})
        self.durations[route].append(value)

    def _record_others(self, meter: Meter) -> None:
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
        counter = meter.create_counter("http.requests", unit="{request}", description='Requests, "all"')
        sizes = meter.create_histogram("body.size", unit="By")
        for number, size in enumerate((0.5, 3, 70, 800, 1e6, 80)):
            with tracer.start_as_current_span("work"):
                counter.add(1.5, {"route": ROUTES[number % 2], "ünï.código": 'a "b"\n'})
                sizes.record(size, {"route": "/a"})
        meter.create_counter("bytes.sent", unit="By").add(2**60)
        meter.create_gauge("temperature", unit="Cel").set(-3.5)
        meter.create_up_down_counter("queue.length").add(-4)
        for scope in ("native", "classic"):  # one family, of which one series is native and one is not
            mixed: Histogram = self.provider.get_meter(scope).create_histogram("mixed.size")
            for value in (0.25, 1.5, 1.5, 100):
                mixed.record(value, {"k": "v"})

    def native_point(self, name: str, **labels: str) -> NativeHistogramPoint:
        """The point of a series with these labels."""
        for family in self.reader.families():
            for point in family.points:
                if family.name == name and labels.items() <= dict(point.labels).items():
                    assert isinstance(point, NativeHistogramPoint)
                    return point
        raise AssertionError(f"no {name} with {labels}")


class Scraped:
    """The application and two servers that have scraped it: by protobuf and by OpenMetrics text."""

    def __init__(
        self, application: Application, watched: Watched, native: Prometheus, text: Prometheus
    ) -> None:
        self.application = application
        self.watched = watched
        self.native = native
        self.text = text


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[ExitStack, list[Scraped]]]:
    """What the first test starts, for all of them to use: a first scrape takes five seconds."""
    with ExitStack() as stack:
        yield stack, []


@pytest.fixture
def scraped(
    real_prometheus: str,
    opened: tuple[ExitStack, list[Scraped]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Scraped:
    """Two running servers that have scraped the application."""
    stack, existing = opened
    if not existing:
        application = Application()
        stack.callback(application.provider.shutdown)
        watched = Watched(application.reader)
        server = stack.enter_context(start_http_server(watched, port=0, addr="127.0.0.1"))
        targets = {"app": f"127.0.0.1:{server.port}"}
        both = [
            stack.enter_context(
                prometheus(real_prometheus, tmp_path_factory.mktemp("prom"), targets, features=features)
            )
            for features in (("native-histograms",), ())
        ]
        for api in both:
            wait_for(lambda api=api: api.query("queue_length"), seconds=30, what="the first scrape")
        existing.append(Scraped(application, watched, *both))
    return existing[0]


def plain_series(api: Prometheus, *excluded: str) -> dict[tuple[tuple[str, str], ...], str]:
    """The values of all series that are not native histograms, without what Prometheus adds."""
    names = "|".join(("up", "scrape_.*", *excluded))
    return {
        tuple(sorted(series["metric"].items())): series["value"][1]
        for series in api.query(f'{{job="app", __name__!~"{names}"}}')
        if "value" in series
    }


def exemplars(api: Prometheus, selector: str) -> set[tuple[Any, ...]]:
    """Every exemplar, with the labels of its series."""
    return {
        (
            tuple(sorted(series["seriesLabels"].items())),
            tuple(sorted(item["labels"].items())),
            item["value"],
            item["timestamp"],
        )
        for series in api.query_exemplars(selector)
        for item in series["exemplars"]
    }


def test_protobuf_is_what_prometheus_asked_for_and_got(scraped: Scraped) -> None:
    """With the feature it prefers protobuf and without it OpenMetrics; both targets are up."""
    found = {
        (accept.split(";")[0].split(",")[0], kind.split(";")[0]) for accept, kind in scraped.watched.answers
    }
    assert found == {(PROTOBUF, PROTOBUF), ("application/openmetrics-text", "application/openmetrics-text")}
    for api in (scraped.native, scraped.text):
        assert [(target["health"], target["lastError"]) for target in api.targets()] == [("up", "")]


def test_counts_sums_and_buckets_of_native_histograms_are_exact(scraped: Scraped) -> None:
    """Prometheus shows every bucket as it was recorded, with its limits, and the sum and count of all."""
    durations = scraped.application.durations
    counts = scraped.native.values(f"histogram_count({DURATION})", "route")
    assert counts == {(route,): len(values) for route, values in durations.items()}
    sums = scraped.native.values(f"histogram_sum({DURATION})", "route")
    for route, values in durations.items():
        assert sums[route,] == pytest.approx(math.fsum(values), rel=1e-12)
        (series,) = scraped.native.query(f'{DURATION}{{route="{route}"}}')
        point = scraped.application.native_point(DURATION, route=route)
        found = [
            (float(lower), float(upper), int(count))
            for _, lower, upper, count in series["histogram"][1]["buckets"]
        ]
        assert found == [
            (-1e-128, 1e-128, point.zero_count),
            *(
                (
                    pytest.approx(upper_bound(i - 1, point.schema)),
                    pytest.approx(upper_bound(i, point.schema)),
                    count,
                )
                for i, count in point.positive
            ),
        ]


@pytest.mark.parametrize("quantile", [0.01, 0.25, 0.5, 0.9, 0.99, 0.999])
def test_quantiles_are_within_the_error_of_a_bucket(scraped: Scraped, quantile: float) -> None:
    """`histogram_quantile` is off by at most the width of a bucket at the schema that was exposed."""
    found = scraped.native.values(f"histogram_quantile({quantile}, {DURATION})", "route")
    for route, values in scraped.application.durations.items():
        schema = scraped.application.native_point(DURATION, route=route).schema
        base = 2**2**-schema
        exact = sorted(values)[math.ceil(quantile * len(values)) - 1]
        assert base < 1.1, "the recorded values need a high resolution, or the test is worth nothing"
        assert exact / base <= found[route,] <= exact * base


def test_everything_else_arrives_as_it_does_over_text(scraped: Scraped) -> None:
    """Counters, gauges, summaries, info and classic histograms: the same names, labels and values."""
    over_protobuf = plain_series(scraped.native)
    # Text has the native histograms converted, and what prometheus_client says of start times as series.
    over_text = plain_series(scraped.text, f"{DURATION}_.*", "mixed_size_.*", "foreign_.*_created")
    mixed = {key for key in over_protobuf if dict(key)["__name__"].startswith("mixed_size_")}
    assert {key: value for key, value in over_protobuf.items() if key not in mixed} == over_text
    names = {dict(key)["__name__"] for key in over_text}
    assert names >= {
        "http_requests_total",
        "bytes_sent_bytes_total",
        "temperature_celsius",
        "queue_length",
        "target_info",
        "body_size_bytes_bucket",
        "body_size_bytes_count",
        "body_size_bytes_sum",
        "foreign_seconds_count",
        "foreign_seconds_sum",
    }


def test_a_family_may_have_native_and_classic_series(scraped: Scraped) -> None:
    """Each series of the family is read as what it is, and both have the same count and sum."""
    query = scraped.native.values
    assert query(f"histogram_count(mixed_size{{{NATIVE}}})", "k") == {("v",): 4}
    assert query(f"histogram_sum(mixed_size{{{NATIVE}}})", "k") == {("v",): 103.25}
    classic = 'otel_scope_name="classic"'
    assert query(f"mixed_size_count{{{classic}}}", "k") == {("v",): 4}
    assert query(f"mixed_size_sum{{{classic}}}", "k") == {("v",): 103.25}
    buckets = query(f"mixed_size_bucket{{{classic}}}", "le")
    assert {le: buckets[le,] for le in ("0.0", "5.0", "75.0", "100.0", "+Inf")} == {
        "0.0": 0,
        "5.0": 3,
        "75.0": 3,
        "100.0": 4,
        "+Inf": 4,
    }


@pytest.mark.parametrize(("selector", "count"), [("http_requests_total", 2), ("body_size_bytes_bucket", 5)])
def test_exemplars_arrive_as_they_do_over_text(scraped: Scraped, selector: str, count: int) -> None:
    """Of counters and of buckets, with trace ids, values and times to the millisecond."""
    found = exemplars(scraped.native, selector)
    assert found == exemplars(scraped.text, selector)
    assert len(found) == count
    assert all(dict(item[1]).keys() == {"trace_id", "span_id"} for item in found)


def test_a_resolution_that_falls_between_scrapes_keeps_counts_exact(scraped: Scraped) -> None:
    """Values of another magnitude lower the schema; counts and sums stay exact, and the target is up."""
    application = scraped.application
    before = application.native_point(DURATION, route="/a").schema
    application.record(-20.0, 6.0)
    assert application.native_point(DURATION, route="/a").schema < before
    expected = {(route,): len(values) for route, values in application.durations.items()}

    def has_arrived() -> bool:
        return scraped.native.values(f"histogram_count({DURATION})", "route") == expected

    wait_for(has_arrived, seconds=20, what="the next scrape")
    sums = scraped.native.values(f"histogram_sum({DURATION})", "route")
    for route, values in application.durations.items():
        assert sums[route,] == pytest.approx(math.fsum(values), rel=1e-12)
    assert [target["lastError"] for target in scraped.native.targets()] == [""]
