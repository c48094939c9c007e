"""What other collectors of a registry say reaches the scraper as it is.

The oracle is what prometheus_client itself writes of the same registry, read by its own parsers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from metrics_messages import decode, seconds
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, Summary, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Timestamp
from promtool import promtool_complaint
from setups import Setup

Make = Callable[..., Setup]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
STARTED, TAKEN, LATER = 1520430000.125, 1520879607.5, 1520879667.5

# What a collector reads that forwards the exposition of somebody else: prometheus_client 0.26 writes and
# reads native histograms in this form.
NATIVE = (
    "# TYPE nh histogram\n"
    "nh {count:24,sum:100,schema:0,zero_threshold:0.001,zero_count:4,"
    "positive_spans:[0:2,1:2],negative_spans:[0:2,1:2],"
    "positive_deltas:[2,1,-2,3],negative_deltas:[2,1,-2,3]}\n"
    'nh{k="v"} {count:4,sum:9,schema:3,zero_threshold:0.5,zero_count:1,'
    "positive_spans:[2:1,1:2],positive_deltas:[1,0,0]}\n"
    "# EOF\n"
)


class Yields:
    """A collector that yields these metrics."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def every_kind(time: float | Timestamp | None) -> list[Metric]:
    """Every kind of metric that a collector can make, with start times, exemplars and this timestamp."""
    exemplar = Exemplar({"trace_id": "ab"}, 0.5, 1520879606.25)
    counter = CounterMetricFamily("jobs", "Jobs", labels=["k"])
    counter.add_metric(["a"], 17.5, created=STARTED, timestamp=time, exemplar=exemplar)
    counter.add_metric(["b"], 3, timestamp=time)
    gauge = GaugeMetricFamily("temp_celsius", "Temperature", unit="celsius")
    gauge.add_metric([], 21.5, timestamp=time)
    unknown = UnknownMetricFamily("odd", "Odd")
    unknown.add_metric([], -1, timestamp=time)
    info = InfoMetricFamily("build", "Build")
    info.add_metric([], {"version": "1"}, timestamp=time)
    states = StateSetMetricFamily("state", "State", labels=["host"])
    states.add_metric(["h"], {"up": True, "down": False}, timestamp=time)
    summary = SummaryMetricFamily("rpc", "Rpc", labels=["k"])
    summary.add_metric(["a"], 4, 9.5, timestamp=time)
    summary.add_sample("rpc", {"k": "a", "quantile": "0.5"}, 2.5, timestamp=time)
    summary.add_sample("rpc_created", {"k": "a"}, STARTED, timestamp=time)
    histogram = HistogramMetricFamily("lat", "Lat", labels=["k"])
    histogram.add_metric(["a"], [("1.0", 2, exemplar), ("+Inf", 3, None)], 4.5, timestamp=time)  # type: ignore[list-item]
    histogram.add_sample("lat_created", {"k": "a"}, STARTED, timestamp=time)
    sizes = GaugeHistogramMetricFamily("sizes", "Sizes", labels=["k"])
    sizes.add_metric(["a"], [("-1.0", 1), ("1.0", 2), ("+Inf", 3)], -5.5, timestamp=time)
    return [counter, gauge, unknown, info, states, summary, histogram, sizes]


def said(families: Any) -> dict[tuple[str, str, str, frozenset[tuple[str, str]], float | None], Any]:
    """What an exposition says: each sample by its family, type, name, labels and timestamp."""
    return {
        (
            family.name,
            family.type,
            sample.name,
            frozenset(sample.labels.items()),
            None if sample.timestamp is None else round(float(sample.timestamp), 3),
        ): (sample.value, sample.exemplar)
        for family in families
        for sample in family.samples
    }


def text_of(body: bytes) -> Any:
    """What a text says, by the reader of prometheus_client, which knows its timestamps as seconds."""
    return said(parse_text(body.decode()))


def openmetrics_of(body: bytes) -> Any:
    """What an OpenMetrics text says, by the reader of prometheus_client."""
    return said(parse_openmetrics(body.decode()))


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of its own."""
    return CollectorRegistry()


@pytest.mark.parametrize("time", [None, TAKEN, Timestamp(1520879607, 500_000_000)], ids=repr)
def test_every_kind_is_written_as_prometheus_client_writes_it(
    bridge: Make, registry: CollectorRegistry, time: float | Timestamp | None
) -> None:
    """Types, samples, start times, timestamps and exemplars are the same, in text and in OpenMetrics."""
    registry.register(Yields(*every_kind(time)))  # type: ignore[arg-type]
    theirs, their_openmetrics = generate_latest(registry), generate_openmetrics(registry)
    reader = bridge(registry=registry).reader
    text = reader.expose().body
    assert text_of(text) == text_of(theirs)
    assert type_lines(text) == type_lines(theirs)
    assert promtool_complaint(text) is None
    openmetrics = reader.expose(OPENMETRICS).body
    assert openmetrics_of(openmetrics) == openmetrics_of(their_openmetrics)
    assert type_lines(openmetrics) == type_lines(their_openmetrics)
    assert openmetrics.count(b"# {") == 2


def type_lines(body: bytes) -> list[str]:
    """The TYPE and HELP lines, sorted."""
    return sorted(line for line in body.decode().splitlines() if line.startswith(("# TYPE", "# HELP")))


def test_the_library_s_own_metrics_keep_their_start_times(bridge: Make, registry: CollectorRegistry) -> None:
    """A counter, a summary and a histogram of prometheus_client begin when they say that they began."""
    Counter("hits", "Hits", ["k"], registry=registry).labels("v").inc()
    Summary("rpc", "Rpc", registry=registry).observe(2)
    Histogram("lat", "Lat", registry=registry).observe(2)
    theirs = generate_latest(registry)
    assert theirs.count(b"_created gauge") == 3
    reader = bridge(registry=registry).reader
    assert text_of(reader.expose().body) == text_of(theirs)
    starts = [key for key in openmetrics_of(reader.expose(OPENMETRICS).body) if key[2].endswith("_created")]
    assert len(starts) == 3
    assert reader.expose(f"{PROTOBUF};escaping=underscores").body.count(b"_created") == 0


def test_a_histogram_of_negative_values_keeps_its_count(bridge: Make, registry: CollectorRegistry) -> None:
    """It has no sum. OpenMetrics has a count "if and only if a Sum value is present", and text always."""
    Histogram("lat", "Lat", buckets=(-1, 1), registry=registry).observe(-2)
    reader = bridge(registry=registry).reader
    assert text_of(reader.expose().body) == text_of(generate_latest(registry))
    assert b"\nlat_count 1\n" in reader.expose().body
    assert b"\nlat_count" not in reader.expose(OPENMETRICS).body


def test_protobuf_says_what_it_can(bridge: Make, registry: CollectorRegistry) -> None:
    """Gauge histograms, timestamps and start times have fields of their own; state sets are gauges."""
    registry.register(Yields(*every_kind(TAKEN)))  # type: ignore[arg-type]
    messages = {
        message.name: message for message in decode(bridge(registry=registry).reader.expose(PROTOBUF).body)
    }
    assert {name: message.type for name, message in messages.items()} == {
        **{"jobs_total": 0, "temp_celsius": 1, "odd": 3, "build_info": 1},
        **{"state": 1, "rpc": 2, "lat": 4, "sizes": 5},
    }
    for message in messages.values():
        assert {metric.timestamp_ms for metric in message.metric} == {1520879607500}
    started = [
        messages["jobs_total"].metric[0].counter,
        messages["rpc"].metric[0].summary,
        messages["lat"].metric[0].histogram,
    ]
    assert [seconds(item.start_timestamp) for item in started] == [STARTED] * 3
    sizes = messages["sizes"].metric[0].histogram
    assert (sizes.sample_count, sizes.sample_sum) == (3, -5.5)
    assert [(b.upper_bound, b.cumulative_count) for b in sizes.bucket][:2] == [(-1, 1), (1, 2)]
    assert not sizes.HasField("start_timestamp")


def test_several_timestamps_of_one_series_are_all_shown(bridge: Make, registry: CollectorRegistry) -> None:
    """A series that says what it was at two times is not shortened to one of them."""
    gauge = GaugeMetricFamily("late", "Late", labels=["a.b"])
    for time in (TAKEN, LATER):
        gauge.add_metric(["x"], time - TAKEN, timestamp=time)
    registry.register(Yields(gauge))  # type: ignore[arg-type]
    reader = bridge(registry=registry).reader
    lines = [f'late{{a_b="x"}} 0.0 {int(TAKEN * 1000)}', f'late{{a_b="x"}} 60.0 {int(LATER * 1000)}']
    assert reader.expose().body.decode().splitlines()[-2:] == lines
    (message,) = decode(reader.expose(PROTOBUF).body)
    assert [metric.timestamp_ms for metric in message.metric] == [1520879607500, 1520879667500]


def test_native_histograms_stay_native(bridge: Make, registry: CollectorRegistry) -> None:
    """Their buckets arrive over protobuf; formats without native histograms get explicit buckets of them."""
    registry.register(Yields(*parse_openmetrics(NATIVE)))  # type: ignore[arg-type]
    reader = bridge(registry=registry).reader
    (message,) = decode(reader.expose(PROTOBUF).body)
    first, second = (metric.histogram for metric in message.metric)
    assert (first.sample_count, first.sample_sum, first.schema) == (24, 100, 0)
    assert (first.zero_threshold, first.zero_count) == (0.001, 4)
    for spans, deltas in (
        (first.positive_span, first.positive_delta),
        (first.negative_span, first.negative_delta),
    ):
        # The gap of one is written out, which is how Prometheus itself writes it.
        assert [(span.offset, span.length) for span in spans] == [(0, 5)]
        assert list(deltas) == [2, 1, -3, 1, 3]
    assert (second.sample_count, second.schema) == (4, 3)
    openmetrics = openmetrics_of(reader.expose(OPENMETRICS).body)
    assert openmetrics["nh", "histogram", "nh_bucket", frozenset({("le", "+Inf")}), None] == (24, None)
    assert openmetrics["nh", "histogram", "nh_sum", frozenset({("k", "v")}), None] == (9, None)


def test_a_histogram_may_be_classic_and_native_at_once(bridge: Make, registry: CollectorRegistry) -> None:
    """Text shows its explicit buckets, and protobuf both."""
    (both,) = parse_openmetrics(NATIVE)
    both.samples = both.samples[:1]
    for limit, count in (("1.0", 12), ("+Inf", 24)):
        both.add_sample("nh_bucket", {"le": limit}, count)
    both.add_sample("nh_count", {}, 24)
    both.add_sample("nh_sum", {}, 100)
    registry.register(Yields(both))  # type: ignore[arg-type]
    reader = bridge(registry=registry).reader
    body = reader.expose().body.decode()
    assert body.splitlines()[1:] == [
        'nh_bucket{le="1.0"} 12',
        'nh_bucket{le="+Inf"} 24',
        "nh_count 24",
        "nh_sum 100",
    ]
    (message,) = decode(reader.expose(PROTOBUF).body)
    (metric,) = message.metric
    assert [bucket.cumulative_count for bucket in metric.histogram.bucket] == [12, 24]
    assert list(metric.histogram.positive_delta) == [2, 1, -3, 1, 3]


def test_a_sample_that_does_not_belong_to_its_type_is_not_lost(
    bridge: Make, registry: CollectorRegistry
) -> None:
    """A counter that says `x` where `x_total` belongs is shown under the name that it says."""
    metric = Metric("x", "X", "counter")
    metric.add_sample("x", {}, 5, timestamp=TAKEN)
    registry.register(Yields(metric))  # type: ignore[arg-type]
    body = bridge(registry=registry).reader.expose().body.decode()
    assert body == f"# HELP x X\n# TYPE x untyped\nx 5 {int(TAKEN * 1000)}\n"


@pytest.mark.parametrize("escaping", ["underscores", "dots", "values", "allow-utf-8"])
def test_foreign_names_keep_their_companions(
    bridge: Make, registry: CollectorRegistry, escaping: str
) -> None:
    """Start times and timestamps survive the escaping of names."""
    counter = CounterMetricFamily("jobs.done", "Jobs", labels=["a.b"])
    counter.add_metric(["x"], 3, created=STARTED, timestamp=TAKEN)
    registry.register(Yields(counter))  # type: ignore[arg-type]
    reader = bridge(registry=registry).reader
    for accept in ("text/plain;version=1.0.0", OPENMETRICS):
        exposition = reader.expose(f"{accept};escaping={escaping}")
        parse = parse_openmetrics if "openmetrics" in accept else parse_text
        found = [sample for family in parse(exposition.body.decode()) for sample in family.samples]
        assert sorted(sample.value for sample in found) == [3, STARTED]
        assert {float(cast(Any, sample.timestamp)) for sample in found} == {TAKEN}
