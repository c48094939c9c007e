"""Living with prometheus_client: our families in its registry, its collectors on our endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader as PeerReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS, samples
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Metric,
    Summary,
    generate_latest,
)
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from promtool import promtool_complaint
from registries import collectors
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.exposition import Exposition

Make = Callable[..., Setup]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of its own."""
    return CollectorRegistry(auto_describe=True)


def test_the_default_registry_shows_our_families_until_shutdown() -> None:
    """By default the reader is a collector of REGISTRY; shutdown takes it out."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("bridge_hits").add(1)
    assert b"bridge_hits_total{" in generate_latest(REGISTRY)
    assert b"process_cpu_seconds_total" in reader.expose().body
    provider.shutdown()
    assert b"bridge_hits_total" not in generate_latest(REGISTRY)


def test_a_collector_that_was_taken_out_by_hand_does_not_disturb_shutdown(
    bridge: Make, registry: CollectorRegistry
) -> None:
    """If the application unregistered our collector, shutdown does not mind."""
    setup = bridge(registry=registry)
    for collector in collectors(registry):
        registry.unregister(collector)
    setup.reader.shutdown()


def test_what_the_registry_yields_is_what_we_expose(bridge: Make, registry: CollectorRegistry) -> None:
    """prometheus_client's own writers, fed by our collector, show the samples of our exposition."""
    setup = bridge(registry=registry, resource=Resource({"service.name": "s"}), scope_info_enabled=True)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work"):
        setup.meter.create_counter("c", unit="By", description="bytes").add(2, {"k": "v"})
        setup.meter.create_histogram("h", unit="s").record(7, {"k": 'a"b'})
    setup.meter.create_histogram("n", explicit_bucket_boundaries_advisory=[-1, 1]).record(0.5)
    setup.meter.create_up_down_counter("u", description="ups").add(-3)
    ours = setup.reader.expose(OPENMETRICS)
    theirs = generate_openmetrics(registry)
    assert samples("application/openmetrics-text", theirs) == samples(ours.content_type, ours.body)
    assert theirs.count(b"# {") == ours.body.count(b"# {") == 2
    assert b"# UNIT c_bytes bytes" in theirs
    text = generate_latest(registry).decode()
    assert {family.name for family in text_string_to_metric_families(text)} >= {"c_bytes", "u", "target_info"}


def test_options_reach_the_registry(bridge: Make, registry: CollectorRegistry) -> None:
    """Start times and the bounds of exponential histograms are the same by way of prometheus_client."""
    exponential = ExponentialBucketHistogramAggregation()
    setup = bridge(
        registry=registry,
        created_timestamps=True,
        exponential_histogram_bounds=[1, 10],
        views=(View(instrument_name="h", aggregation=exponential),),
    )
    setup.meter.create_histogram("h").record(3)
    setup.meter.create_counter("c").add(1)
    ours = setup.reader.expose(OPENMETRICS)
    assert b"h_created " in ours.body
    found = samples(ours.content_type, ours.body)
    theirs = samples("application/openmetrics-text", generate_openmetrics(registry))
    assert {key: pytest.approx(value, abs=0.001) for key, value in found.items()} == theirs


def test_registering_describes_without_collecting(bridge: Make, registry: CollectorRegistry) -> None:
    """describe() says what is known so far, and neither registering nor describing touches the SDK."""
    setup = bridge(registry=registry)
    calls: list[int] = []
    setup.meter.create_observable_gauge("g", [lambda _: calls.append(1) or []])
    setup.meter.create_counter("c").add(1)
    (collector,) = collectors(registry)
    assert list(collector.describe()) == []  # type: ignore[attr-defined]
    setup.text()
    assert len(calls) == 1
    described = list(collector.describe())  # type: ignore[attr-defined]
    assert [(metric.name, metric.type, metric.samples) for metric in described] == [("c", "counter", [])]
    assert len(calls) == 1


def test_other_collectors_appear_beside_ours(bridge: Make, registry: CollectorRegistry) -> None:
    """Every kind of prometheus_client metric is served in both formats, with its values and exemplars."""
    setup = bridge(registry=registry)
    setup.meter.create_counter("ours").add(1)
    Counter("jobs", "Jobs", ["k"], registry=registry).labels("v").inc(3, exemplar={"trace_id": "ab"})
    Gauge("load", "Load", registry=registry).set(1.5)
    Info("build", "Build", registry=registry).info({"version": "1"})
    Enum("state", "State", states=["up", "down"], registry=registry).state("up")
    Summary("rpc", "Rpc", registry=registry).observe(2)
    Histogram("lat", "Lat", ["k"], registry=registry, buckets=(1, 2)).labels("v").observe(1.5)
    exposition = setup.reader.expose(OPENMETRICS)
    found = without_start_times(exposition)
    expected = {
        ("ours_total", frozenset()): 1,
        ("jobs_total", frozenset({("k", "v")})): 3,
        ("load", frozenset()): 1.5,
        ("build_info", frozenset({("version", "1")})): 1,
        ("state", frozenset({("state", "up")})): 1,
        ("state", frozenset({("state", "down")})): 0,
        ("rpc_count", frozenset()): 1,
        ("rpc_sum", frozenset()): 2,
        ("lat_bucket", frozenset({("k", "v"), ("le", "1.0")})): 0,
        ("lat_bucket", frozenset({("k", "v"), ("le", "2.0")})): 1,
        ("lat_bucket", frozenset({("k", "v"), ("le", "+Inf")})): 1,
        ("lat_count", frozenset({("k", "v")})): 1,
        ("lat_sum", frozenset({("k", "v")})): 1.5,
    }
    assert found == expected
    assert b'jobs_total{k="v"} 3.0 # {trace_id="ab"} 3 ' in exposition.body
    text = setup.reader.expose()
    assert without_start_times(text) == expected
    assert b"# TYPE build_info gauge" in text.body


def without_start_times(exposition: Exposition) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples, except for start times, which differ in every run."""
    found = samples(exposition.content_type, exposition.body)
    return {key: value for key, value in found.items() if not key[0].endswith("_created")}


class _Custom:
    """A collector that yields what it was given, or raises."""

    def __init__(self, metrics: Sequence[Metric | Exception]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            if isinstance(metric, Exception):
                raise metric
            yield metric


def test_hostile_collectors_harm_nobody(
    bridge: Make, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that raises is left out; foreign names are escaped; unknown types keep their samples."""
    setup = bridge(registry=registry)
    setup.meter.create_counter("ours").add(1)
    foreign = Metric("my.metric", "\ud800", "gauge")
    foreign.add_sample("my.metric", {"a.b": "\ud800"}, 1)
    untyped = Metric("free", "", "untyped")
    untyped.add_sample("free", {}, 4)
    sizes = GaugeHistogramMetricFamily("sizes", "", buckets=[("1.0", 2.0), ("+Inf", 3.0)], gsum_value=5.0)
    no_infinity = Metric("half", "", "histogram")
    no_infinity.add_sample("half_bucket", {"le": "1"}, 1)
    no_infinity.add_sample("half_count", {}, 3)
    registry.register(_Custom([RuntimeError("broken today")]))
    registry.register(_Custom([foreign, untyped, sizes, no_infinity]))
    for _ in range(2):
        body = setup.text()
    assert body == (
        "# TYPE ours_total counter\nours_total 1\n"
        '# HELP my_metric \ufffd\n# TYPE my_metric gauge\nmy_metric{a_b="\ufffd"} 1\n'
        "# TYPE free untyped\nfree 4\n"
        '# TYPE sizes histogram\nsizes_bucket{le="1.0"} 2\nsizes_bucket{le="+Inf"} 3\n'
        "# TYPE sizes_gcount gauge\nsizes_gcount 3\n# TYPE sizes_gsum gauge\nsizes_gsum 5.0\n"
        '# TYPE half histogram\nhalf_bucket{le="1.0"} 1\nhalf_bucket{le="+Inf"} 3\n'
        "half_count 3\n"
    )
    assert [r.getMessage() for r in caplog.records if "broken today" in r.getMessage()].__len__() == 1


def test_a_collector_that_raises_shows_what_it_said_last(
    bridge: Make, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """What it said before it raised is new, the rest as it was; such an answer is not complete."""
    setup = bridge(registry=registry)
    said: list[Metric | Exception] = [GaugeMetricFamily("one", "", 1), GaugeMetricFamily("two", "", 1)]
    registry.register(_Custom(said))
    whole = setup.reader.expose()
    said[:] = [GaugeMetricFamily("one", "", 2), RuntimeError("no disk"), GaugeMetricFamily("two", "", 2)]
    for _ in range(2):
        half = setup.reader.expose()
        assert (value(half, "one"), value(half, "two")) == (2, 1)
    said[:] = [GaugeMetricFamily("one", "", 3)]
    after = setup.reader.expose()
    assert (value(after, "one"), value(after, "two")) == (3, None)
    assert (whole.complete, half.complete, after.complete) == (True, False, True)
    (line,) = (text for text in caplog.messages if "no disk" in text)
    assert "shows what it said last" in line


def test_a_collector_that_always_raises_fills_no_memory(bridge: Make, registry: CollectorRegistry) -> None:
    """Beside what it says there is what it said when it did not raise, not all that it ever said."""
    setup = bridge(registry=registry)
    said: list[Metric | Exception] = [GaugeMetricFamily("first", "", 1)]
    registry.register(_Custom(said))
    setup.text()
    for number in range(3):
        said[:] = [GaugeMetricFamily(f"job_{number}", "", 1), RuntimeError("no disk")]
        assert setup.text().count("# TYPE") == 2
    assert "job_2 1" in setup.text()


def value(exposition: Exposition, name: str) -> float | None:
    """The sample without labels."""
    return samples(exposition.content_type, exposition.body).get((name, frozenset()))


def test_a_name_that_is_taken_is_left_out_once(
    bridge: Make, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the application's own metric has a name of ours, ours is served and one warning says so."""
    setup = bridge(registry=registry)
    setup.meter.create_counter("jobs").add(1)
    Gauge("jobs", "clash", registry=registry).set(5)
    for _ in range(2):
        assert setup.text() == "# TYPE jobs_total counter\njobs_total 1\n"
    assert [r.getMessage() for r in caplog.records if "its name is taken" in r.getMessage()].__len__() == 1


def test_two_bridges_in_one_registry_each_show_their_own(registry: CollectorRegistry) -> None:
    """A reader's endpoint shows its own families; a scrape of the registry shows both readers'."""
    readers = []
    for name in ("one", "two"):
        reader = PrometheusMetricReader(registry=registry, disable_target_info=True)
        MeterProvider([reader], shutdown_on_exit=False).get_meter("t").create_counter(name).add(1)
        readers.append(reader)
    assert [b"one_total" in r.expose().body for r in readers] == [True, False]
    assert b"one_total" in generate_latest(registry)
    assert b"two_total" in generate_latest(registry)


def test_two_bridges_in_one_registry_have_each_family_once(registry: CollectorRegistry) -> None:
    """Families of one name become one, with the series of both; of equal series the first reader's stands."""
    readers, providers = [], []
    for number, name in enumerate(("one", "two"), 1):
        reader = PrometheusMetricReader(registry=registry, scope_info_enabled=False, created_timestamps=True)
        resource = Resource({"service.name": name})
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = provider.get_meter("t")
        meter.create_counter("hits").add(number, {"by": name})
        meter.create_counter("hits").add(number, {"by": "both"})
        histogram = meter.create_histogram("lat", explicit_bucket_boundaries_advisory=[number])
        histogram.record(1)
        (meter.create_counter if number == 1 else meter.create_up_down_counter)("mixed").add(1)
        readers.append(reader)
        providers.append(provider)
    text, openmetrics = generate_latest(registry), generate_openmetrics(registry)
    assert sorted(line for line in text.decode().splitlines() if line.startswith("# TYPE")) == [
        "# TYPE hits_created gauge",
        "# TYPE hits_total counter",
        "# TYPE lat histogram",
        "# TYPE lat_created gauge",
        "# TYPE mixed_created gauge",
        "# TYPE mixed_total counter",
        "# TYPE target_info gauge",
    ]
    assert promtool_complaint(text) is None
    found = samples("application/openmetrics-text", openmetrics)
    assert {labels: value for (name, labels), value in found.items() if name == "hits_total"} == {
        frozenset({("by", "one")}): 1,
        frozenset({("by", "two")}): 2,
        frozenset({("by", "both")}): 1,
    }
    assert {labels for name, labels in found if name == "lat_bucket"} == {
        frozenset({("le", "1.0")}),
        frozenset({("le", "+Inf")}),
    }
    assert len([labels for name, labels in found if name == "target_info"]) == 2
    providers[0].shutdown()
    assert b'hits_total{by="both"} 2.0' in generate_latest(registry)
    providers[1].shutdown()
    assert collectors(registry) == []


def test_the_families_have_the_shape_of_the_peers(registry: CollectorRegistry) -> None:
    """For ordinary metrics the registry yields what opentelemetry-exporter-prometheus yields."""
    registries = (registry, CollectorRegistry())
    resource = Resource({"service.name": "s"})
    for reader_class, target in zip((PrometheusMetricReader, PeerReader), registries, strict=True):
        provider = MeterProvider([reader_class(registry=target)], resource=resource, shutdown_on_exit=False)
        meter = provider.get_meter("m", "1", "http://schema", {"a": "b"})
        meter.create_counter("hits", unit="1", description="Hits").add(1, {"k": "v", "n": 2})
        meter.create_up_down_counter("level", unit="By").add(-2, {"k": "v"})
        histogram = meter.create_histogram("lat", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.5])
        histogram.record(1, {"k": "v"})
        meter.create_gauge("temp", unit="Cel").set(3.5, {"k": True})
    ours, theirs = (
        {
            (metric.name, metric.type, metric.documentation, metric.unit, sample.name): (
                sample.labels,
                sample.value,
            )
            for metric in target.collect()
            for sample in metric.samples
        }
        for target in registries
    )
    assert ours == theirs
