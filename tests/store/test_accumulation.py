"""Deltas that we add up equal what a cumulative SDK reader shows on the same recordings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, MetricsData, Sum
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples
from properties import examples

from otel_prom_bridge import PrometheusMetricReader

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

BOUNDS = (0.0, 1.0, 8.0)
ATTRIBUTES = ({}, {"k": "a"}, {"k": "b"}, {"k": "a", "n": 1}, {"n": 1, "k": "a"}, {"k": True}, {"n": (1, 2)})
OBSERVED = (None, {"k": "a"}, {"k": "b"})

# Sums of such numbers are exact in any order, so both readers must agree to the last bit.
numbers = st.integers(-64, 64).map(lambda value: value / 4) | st.integers(-64, 64)
positive = numbers.map(abs)


class Application:
    """A provider with our reader and a cumulative one of the SDK, and one instrument of every kind."""

    def __init__(self) -> None:
        self.ours = PrometheusMetricReader(
            registry=None, self_metrics=False, collect_interval=0, scope_info_enabled=False
        )
        self.reference = InMemoryMetricReader()
        self.provider = MeterProvider(
            [self.ours, self.reference], resource=Resource({}), shutdown_on_exit=False
        )
        meter = self.provider.get_meter("test")
        self.counter = meter.create_counter("counter")
        self.updown = meter.create_up_down_counter("updown")
        self.gauge = meter.create_gauge("gauge")
        self.histogram = meter.create_histogram("histogram", explicit_bucket_boundaries_advisory=list(BOUNDS))
        self.levels: Samples = {}  # what the gauge was set to
        self.observed: dict[str, dict[int, float]] = {"ocounter": {}, "oupdown": {}, "ogauge": {}}
        meter.create_observable_counter("ocounter", [self._callback("ocounter")])
        meter.create_observable_up_down_counter("oupdown", [self._callback("oupdown")])
        meter.create_observable_gauge("ogauge", [self._callback("ogauge")])

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(v, OBSERVED[index]) for index, v in self.observed[name].items()]

        return observe

    def play(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("counter", value, index):
                self.counter.add(value, ATTRIBUTES[index])
            case ("updown", value, index):
                self.updown.add(value, ATTRIBUTES[index])
            case ("gauge", value, index):
                self.gauge.set(value, ATTRIBUTES[index])
                self.levels["gauge", labels_of(ATTRIBUTES[index])] = value
            case ("histogram", value, index):
                self.histogram.record(value, ATTRIBUTES[index])
            case ("observe", name, index, None):
                self.observed[name] = {k: v for k, v in self.observed[name].items() if k != index}
            case ("observe", name, index, value):
                self.observed[name] = {**self.observed[name], index: value}
            case ("scrape", accept):
                self.ours.expose(accept)
            case ("flush",):
                self.provider.force_flush()

    def exposed(self) -> Samples:
        exposition = self.ours.expose(OPENMETRICS)
        return samples(exposition.content_type, exposition.body)

    def expected(self) -> Samples:
        # Where nothing is there to collect, the in-memory reader hands out what the last flush left in it.
        self.reference.get_metrics_data()
        found = dict(reference_samples(self.reference.get_metrics_data()))
        # SDKs before 1.45 forget a gauge when they have collected it.
        return found | self.levels


def labels_of(attributes: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """As the rules of the data model write them."""
    return frozenset(
        (key, value if isinstance(value, str) else json.dumps(value)) for key, value in attributes.items()
    )


def reference_samples(data: MetricsData | None) -> Iterator[tuple[Any, float]]:
    """Samples of a cumulative collection, by the rules of the data model and nothing of ours."""
    found: dict[Any, float] = {}
    for metric in (
        (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics) if data else ()
    ):
        for point in metric.data.data_points:
            labels = {key: str(value) for key, value in point.attributes.items()}
            if "k" in labels and point.attributes["k"] is True:
                labels["k"] = "true"
            if "n" in labels and not isinstance(point.attributes["n"], int):
                labels["n"] = "[1, 2]"
            if isinstance(metric.data, (Sum, Gauge)):
                counter = isinstance(metric.data, Sum) and metric.data.is_monotonic
                name = metric.name + ("_total" if counter else "")
                found[name, frozenset(labels.items())] = point.value
                continue
            limits = [*map(str, point.explicit_bounds), "+Inf"]
            for limit, total in zip(limits, accumulate(point.bucket_counts), strict=True):
                found["histogram_bucket", frozenset({**labels, "le": limit}.items())] = total
            found["histogram_count", frozenset(labels.items())] = point.count
            found["histogram_sum", frozenset(labels.items())] = point.sum
    return iter(found.items())


indexes = st.integers(0, len(ATTRIBUTES) - 1)
observed_indexes = st.integers(0, len(OBSERVED) - 1)
steps = st.one_of(
    st.tuples(st.just("counter"), positive, indexes),
    st.tuples(st.just("updown"), numbers, indexes),
    st.tuples(st.just("gauge"), numbers, indexes),
    st.tuples(st.just("histogram"), positive, indexes),
    st.tuples(st.just("observe"), st.just("ocounter"), observed_indexes, st.none() | positive),
    st.tuples(
        st.just("observe"),
        st.sampled_from(["oupdown", "ogauge"]),
        observed_indexes,
        st.none() | numbers,
    ),
    st.tuples(st.just("scrape"), st.sampled_from([None, OPENMETRICS])),
    st.tuples(st.just("flush")),
)


@settings(max_examples=examples(150))
@given(st.lists(steps, max_size=60))
def test_any_interleaving_equals_a_cumulative_reader(script: list[tuple[Any, ...]]) -> None:
    """Whatever is recorded, scraped and flushed in whatever order, both readers show the same samples."""
    application = Application()
    for step in script:
        application.play(step)
        if step[0] == "scrape":
            assert application.exposed() == application.expected()
    assert application.exposed() == application.expected()


@contextmanager
def scraping(application: Application, threads: int) -> Iterator[None]:
    """Scrape from several threads at once for as long as the block runs."""
    stop = threading.Event()

    def scrape(accept: str | None) -> int:
        count = 0
        while not stop.is_set() or count == 0:
            application.ours.expose(accept)
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(scrape, OPENMETRICS if n % 2 else None) for n in range(threads)]
        try:
            yield
        finally:
            stop.set()
        assert all(scraper.result() > 0 for scraper in running)


@settings(max_examples=examples(30))
@given(st.lists(steps, min_size=20, max_size=80))
def test_scrapes_from_several_threads_lose_and_repeat_nothing(script: list[tuple[Any, ...]]) -> None:
    """With three scrapers running all the time, every delta is applied exactly once."""
    application = Application()
    with scraping(application, threads=3):
        for step in script:
            application.play(step)
    assert application.exposed() == application.expected()


def test_recording_and_scraping_threads_agree_on_the_total() -> None:
    """Four recording threads, three scrapers and a flusher: the totals are what was recorded."""
    application = Application()

    def record(worker: int) -> None:
        for number in range(500):
            application.counter.add(1, {"k": str(number % 50)})
            application.histogram.record(number % 10, {"k": str(worker)})
            if number % 100 == 0:
                application.provider.force_flush()

    with scraping(application, threads=3), ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))
    exposed = application.exposed()
    assert exposed == application.expected()
    assert sum(value for (name, _), value in exposed.items() if name == "counter_total") == 2000
    assert sum(value for (name, _), value in exposed.items() if name == "histogram_count") == 2000
