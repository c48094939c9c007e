"""The protobuf format, decoded by Google's protobuf: every kind, and whatever families say."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import pytest
from any_families import any_families, sides
from google.protobuf import text_format
from hypothesis import given
from metrics_messages import MetricFamily as Message
from metrics_messages import buckets, decode, labels, seconds

from otel_prom_bridge.arithmetic.histograms import layout, spread
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, protobuf
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.protobuf import ProtobufWriter
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    UnknownPoint,
)

ACCEPT = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
EXEMPLAR = Exemplar((("span_id", "cd"), ("trace_id", "ab")), 0.25, 1700000000.124)
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM = range(5)


class Recorded(Findings):
    """Findings to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def report(self, finding: object, message: str, *args: object) -> None:
        """Keep the message instead of logging it."""
        self.texts.append(message % args)


def encoded(*families: MetricFamily) -> bytes:
    """The exposition of these families; fails the test if one was left out."""
    findings = Recorded()
    body = Encoder(ProtobufWriter(), findings=findings).encode(families).body
    assert not findings.texts
    return body


def one(kind: Kind, *points: Point, name: str = "n", unit: str = "", text: str = "") -> Any:
    """A family's message, decoded."""
    (message,) = decode(encoded(MetricFamily(name, kind, text, unit, points)))
    return message


def native(**changes: Any) -> NativeHistogramPoint:
    """A native histogram with some of its fields changed; without changes it has no observations."""
    return NativeHistogramPoint((), 3, 1e-128, 0, (), (), 0.0)._replace(**changes)


def same(left: float, right: float) -> bool:
    """Equal, or both not a number."""
    return left == right or (math.isnan(left) and math.isnan(right))


# --- every kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "unit", "point", "expected"),
    [
        (
            Kind.COUNTER,
            "work_seconds_total",
            "seconds",
            CounterPoint((("k", "v"),), 3, EXEMPLAR, 1600000000.5),
            'name: "work_seconds_total" help: "H" type: COUNTER unit: "seconds" metric { '
            'label { name: "k" value: "v" } counter { value: 3 exemplar { '
            'label { name: "span_id" value: "cd" } label { name: "trace_id" value: "ab" } '
            "value: 0.25 timestamp { seconds: 1700000000 nanos: 124000000 } } "
            "start_timestamp { seconds: 1600000000 nanos: 500000000 } } }",
        ),
        (
            Kind.GAUGE,
            "t_celsius",
            "celsius",
            GaugePoint((), -2.5),
            'name: "t_celsius" help: "H" type: GAUGE unit: "celsius" metric { gauge { value: -2.5 } }',
        ),
        (
            Kind.UNKNOWN,
            "odd",
            "",
            UnknownPoint((), 7),
            'name: "odd" help: "H" type: UNTYPED metric { untyped { value: 7 } }',
        ),
        (
            Kind.INFO,
            "target_info",
            "",
            InfoPoint((("service_name", "s"),)),
            'name: "target_info" help: "H" type: GAUGE metric { '
            'label { name: "service_name" value: "s" } gauge { value: 1 } }',
        ),
        (
            Kind.SUMMARY,
            "rpc",
            "",
            SummaryPoint((), ((0.5, 1.0), (0.99, 2.0)), 9.5, 4.0),
            'name: "rpc" help: "H" type: SUMMARY metric { summary { sample_count: 4 sample_sum: 9.5 '
            "quantile { quantile: 0.5 value: 1 } quantile { quantile: 0.99 value: 2 } } }",
        ),
        (
            Kind.HISTOGRAM,
            "h",
            "",
            HistogramPoint((), (0.5, 1.0), (1, 0, 2), 4.5, (EXEMPLAR, None, None), 1600000000.0),
            'name: "h" help: "H" type: HISTOGRAM metric { histogram { sample_count: 3 sample_sum: 4.5 '
            "bucket { cumulative_count: 1 upper_bound: 0.5 exemplar { "
            'label { name: "span_id" value: "cd" } label { name: "trace_id" value: "ab" } '
            "value: 0.25 timestamp { seconds: 1700000000 nanos: 124000000 } } } "
            "bucket { cumulative_count: 1 upper_bound: 1 } bucket { cumulative_count: 3 upper_bound: inf } "
            "start_timestamp { seconds: 1600000000 nanos: 0 } } }",
        ),
        (
            Kind.HISTOGRAM,
            "h",
            "",
            native(
                schema=-1,
                zero_count=2,
                positive=((-3, 1), (0, 4), (9, 2)),
                negative=((2, 5),),
                sum=7.5,
                exemplars=(EXEMPLAR,),
                created=1600000000.0,
            ),
            'name: "h" help: "H" type: HISTOGRAM metric { histogram { sample_count: 14 sample_sum: 7.5 '
            "schema: -1 zero_threshold: 1e-128 zero_count: 2 negative_span { offset: 2 length: 1 } "
            "negative_delta: 5 positive_span { offset: -3 length: 4 } positive_span { offset: 8 length: 1 } "
            "positive_delta: [1, -1, 0, 4, -2] start_timestamp { seconds: 1600000000 nanos: 0 } exemplars { "
            'label { name: "span_id" value: "cd" } label { name: "trace_id" value: "ab" } '
            "value: 0.25 timestamp { seconds: 1700000000 nanos: 124000000 } } } }",
        ),
    ],
)
def test_a_family_of_every_kind(kind: Kind, name: str, unit: str, point: Point, expected: str) -> None:
    """Name, help, type, unit, labels, value, exemplar and start time are where readers look for them."""
    assert one(kind, point, name=name, unit=unit, text="H") == text_format.Parse(expected, Message())


@pytest.mark.parametrize(
    ("kind", "name", "unit", "shown"),
    [
        (Kind.COUNTER, "work_seconds_total", "seconds", "seconds"),
        (Kind.COUNTER, "work_seconds", "seconds", "seconds"),
        (Kind.COUNTER, "work_total", "seconds", ""),
        (Kind.COUNTER, "seconds_total", "seconds", ""),
        (Kind.COUNTER, "workseconds_total", "seconds", ""),
        (Kind.GAUGE, "work_seconds", "seconds", "seconds"),
        (Kind.GAUGE, "work_seconds_total", "seconds", ""),
        (Kind.GAUGE, "work", "seconds", ""),
    ],
)
def test_units_are_named_only_where_prometheus_accepts_them(
    kind: Kind, name: str, unit: str, shown: str
) -> None:
    """The unit must be the name's end after an underscore, a counter's `_total` not counted.

    Source: prometheus/prometheus v2.50 to v3.5, model/textparse/protobufparse.go.
    """
    point = CounterPoint((), 1) if kind is Kind.COUNTER else GaugePoint((), 1)
    assert one(kind, point, name=name, unit=unit).unit == shown


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**53 + 1, -(2**70), 1e300, 5e-324, -0.0, math.inf, -math.inf, math.nan, True],
)
def test_values(value: float) -> None:
    """Every number arrives as the float that it is."""
    shown = one(Kind.GAUGE, GaugePoint((), value)).metric[0].gauge.value
    assert same(shown, float(value))
    assert math.copysign(1, shown) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("value", "shown"), [(10**400, math.inf), (-(10**400), -math.inf)], ids=["positive", "negative"]
)
def test_integers_that_no_float_holds_are_infinite(value: int, shown: float) -> None:
    """As in the text formats, and without failing the family."""
    assert one(Kind.COUNTER, CounterPoint((), value)).metric[0].counter.value == shown


@pytest.mark.parametrize("count", [0, 1, 127, 128, 1023, 1024, 16383, 16384, 2**21 - 1, 2**21, 2**64 - 1])
def test_counts_of_every_size(count: int) -> None:
    """Counts are right at each length that a varint can have."""
    histogram = one(Kind.HISTOGRAM, HistogramPoint((), (1.0,), (count, 0), 1.0)).metric[0].histogram
    assert [bucket.cumulative_count for bucket in histogram.bucket] == [count, count]
    assert histogram.sample_count == count


@pytest.mark.parametrize("counts", [(-1, 1), (2**64, 0), (3, -4)])
def test_counts_that_cannot_be_leave_only_their_family_out(counts: tuple[int, ...]) -> None:
    """A count below zero or beyond 64 bits ends neither in a hang nor in a body that cannot be read."""
    wrong = MetricFamily("w", Kind.HISTOGRAM, "", "", (HistogramPoint((), (1.0,), counts, 1.0),))
    good = MetricFamily("g", Kind.GAUGE, "", "", (GaugePoint((), 1),))
    findings = Recorded()
    body = Encoder(ProtobufWriter(), findings=findings).encode((wrong, good)).body
    assert [family.name for family in decode(body)] == ["g"]
    assert len(findings.texts) == 1


def test_a_name_or_text_may_be_any_unicode_and_of_any_length() -> None:
    """UTF-8 names, label names, values and help texts arrive as they are, long ones too."""
    labels_ = (("clé.ü", '\x00\n"\\' + "😀" * 3000), ("k", ""))
    message = one(Kind.GAUGE, GaugePoint(labels_, 1), name="größe.メートル", text="h\n" * 5000)
    assert (message.name, message.help) == ("größe.メートル", "h\n" * 5000)
    assert labels(message.metric[0]) == labels_


def test_names_are_escaped_as_the_scraper_asks() -> None:
    """Without an escaping parameter (what Prometheus sends) UTF-8 names are escaped, with allow-utf-8 not."""
    family = MetricFamily("a.b", Kind.GAUGE, "", "", (GaugePoint((("k.x", "v"),), 1),), foreign=True)
    found = {}
    for escaping in ("", ";escaping=allow-utf-8"):
        exposition = Exposer(findings=Findings()).expose([family], accept=ACCEPT + escaping)
        (message,) = decode(exposition.body)
        found[exposition.content_type.split("=")[-1]] = (message.name, labels(message.metric[0]))
    assert found == {"underscores": ("a_b", (("k_x", "v"),)), "allow-utf-8": ("a.b", (("k.x", "v"),))}


def test_families_without_points_are_not_written() -> None:
    """Readers skip a message without metrics, or refuse it; an exposition without families is empty."""
    empty = MetricFamily("e", Kind.COUNTER, "H", "", ())
    full = MetricFamily("f", Kind.GAUGE, "", "", (GaugePoint((), 1),))
    assert [message.name for message in decode(encoded(empty, full, empty))] == ["f"]
    assert encoded(empty) == encoded() == b""


# --- histograms ---------------------------------------------------------------------------------------


def test_a_classic_histogram_without_bounds_has_the_infinite_bucket() -> None:
    """The +Inf bucket is always written."""
    histogram = one(Kind.HISTOGRAM, HistogramPoint((), (), (2,), 3.0)).metric[0].histogram
    assert [(b.upper_bound, b.cumulative_count) for b in histogram.bucket] == [(math.inf, 2)]


def test_an_unknown_sum_is_not_a_number() -> None:
    """Prometheus reads a missing sum as 0, which would be wrong; NaN is visibly no sum."""
    histogram = one(Kind.HISTOGRAM, HistogramPoint((), (1.0,), (1, 1), None)).metric[0].histogram
    summary = one(Kind.SUMMARY, SummaryPoint((), (), None, None)).metric[0].summary
    assert math.isnan(histogram.sample_sum)
    assert math.isnan(summary.sample_sum)
    assert not summary.HasField("sample_count")


def test_a_native_histogram_without_observations_is_recognised() -> None:
    """It has a zero threshold, or else a span without buckets, as the specification asks."""
    usual = one(Kind.HISTOGRAM, native()).metric[0].histogram
    assert (usual.zero_threshold, len(usual.positive_span)) == (1e-128, 0)
    without = one(Kind.HISTOGRAM, native(zero_threshold=0.0)).metric[0].histogram
    assert [(span.offset, span.length) for span in without.positive_span] == [(0, 0)]


def test_native_exemplars_have_timestamps() -> None:
    """One without a timestamp is left out, since readers drop it."""
    timeless = EXEMPLAR._replace(timestamp=None)
    histogram = one(Kind.HISTOGRAM, native(exemplars=(timeless, EXEMPLAR))).metric[0].histogram
    assert [exemplar.timestamp.seconds for exemplar in histogram.exemplars] == [1700000000]


@pytest.mark.parametrize(
    "timestamp", [0.0, -1.25, 0.0004, 0.9996, 1700000000.124, 1700000000.1246, 1700000000.9996]
)
def test_timestamps_are_the_millisecond_that_text_shows(timestamp: float) -> None:
    """Prometheus cuts at the millisecond; it must get the one that is nearest to the float."""
    point = CounterPoint((), 1, EXEMPLAR._replace(timestamp=timestamp))
    found = one(Kind.COUNTER, point).metric[0].counter.exemplar.timestamp
    assert 0 <= found.nanos < 10**9
    assert f"{(found.seconds * 1000 + found.nanos // 10**6) / 1000:.3f}" == f"{timestamp:.3f}"


def test_classic_and_native_histograms_of_one_family_are_in_messages_of_their_own() -> None:
    """Prometheus reads all metrics of a message as the first one; so each flavour gets its own."""
    points = [
        HistogramPoint((("k", "1"),), (1.0,), (1, 2), 3.0),
        native(labels=(("k", "2"),), zero_count=1),
        HistogramPoint((("k", "3"),), (1.0,), (0, 2), 3.0),
        native(labels=(("k", "4"),)),
    ]
    messages = decode(encoded(MetricFamily("h", Kind.HISTOGRAM, "H", "", tuple(points))))
    found = [(m.name, m.help, [labels(metric)[0][1] for metric in m.metric]) for m in messages]
    assert found == [("h", "H", ["1", "3"]), ("h", "H", ["2", "4"])]


def test_only_changed_points_are_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through an encoder, what did not change is not rendered again, and series may change their flavour."""
    rendered: list[Any] = []
    original = protobuf._metric

    def counting(content: bytes, timestamp: float | None) -> bytes:
        rendered.append(content)
        return original(content, timestamp)

    monkeypatch.setattr(protobuf, "_metric", counting)
    encoder = Encoder(ProtobufWriter(), findings=Findings())
    points: list[Point] = [HistogramPoint((("k", str(n)),), (1.0,), (n, n), 1.0) for n in range(9)]
    body = b""
    for change in (None, 4, 8):
        rendered.clear()
        if change is not None:
            points[change] = native(labels=points[change].labels, zero_count=change)
        family = MetricFamily("h", Kind.HISTOGRAM, "", "", tuple(points))
        body = encoder.encode((family,)).body
        assert encoder.encode((family,)).body is body
        assert len(rendered) == (9 if change is None else 1)
    assert body == encoded(family)
    assert [len(message.metric) for message in decode(body)] == [7, 2]


# --- whatever families say ----------------------------------------------------------------------------


@given(any_families())
def test_families_decode_to_what_they_say(families: list[MetricFamily]) -> None:
    """Every family, point, exemplar and start time can be read back, by Google's protobuf."""
    messages = decode(encoded(*families))
    merged: dict[str, list[Any]] = {}
    for message in messages:
        merged.setdefault(message.name, []).append(message)
    assert list(merged) == [family.name for family in families if family.points]
    types = {"counter": 0, "gauge": 1, "info": 1, "stateset": 1, "summary": 2, "unknown": 3}
    types |= {"histogram": 4, "gaugehistogram": 5}
    for family in families:
        metrics = {}
        for message in merged.get(family.name, []):
            assert (message.help, message.type) == (family.help, types[family.kind.value])
            metrics.update({labels(metric): metric for metric in message.metric})
        assert set(metrics) == {point.labels for point in family.points}
        for point in family.points:
            check(point, metrics[point.labels])


def check(point: Any, metric: Any) -> None:
    """A decoded metric says what the point says."""
    assert metric.HasField("timestamp_ms") == (point.timestamp is not None)
    if point.timestamp is not None:
        assert metric.timestamp_ms == pytest.approx(point.timestamp * 1000, abs=1, rel=0)
    match point:
        case CounterPoint():
            assert same(metric.counter.value, as_float(point.value))
            check_exemplar(metric.counter, "exemplar", point.exemplar)
            check_start(metric.counter, point.created)
        case GaugePoint():
            assert same(metric.gauge.value, as_float(point.value))
        case UnknownPoint():
            assert same(metric.untyped.value, as_float(point.value))
        case InfoPoint():
            assert metric.gauge.value == 1
        case SummaryPoint():
            assert metric.summary.sample_count == point.observations
            assert same(metric.summary.sample_sum, point.sum)
            found = [(item.quantile, item.value) for item in metric.summary.quantile]
            assert repr(found) == repr(list(point.quantiles))
            check_start(metric.summary, point.created)
        case HistogramPoint():
            check_classic(point, metric.histogram)
            check_start(metric.histogram, point.created)
            if point.native is not None:
                check_native_buckets(point.native, metric.histogram)
        case NativeHistogramPoint():
            check_native(point, metric.histogram)
            check_start(metric.histogram, point.created)


def check_classic(point: HistogramPoint, histogram: Any) -> None:
    """A decoded classic histogram says what the point says."""
    assert same(histogram.sample_sum, math.nan if point.sum is None else as_float(point.sum))
    assert histogram.sample_count == sum(point.counts)
    found = [(bucket.upper_bound, bucket.cumulative_count) for bucket in histogram.bucket]
    assert found == list(zip((*point.bounds, math.inf), accumulate(point.counts), strict=True))
    examples = point.exemplars or (None,) * len(point.counts)
    for bucket, exemplar in zip(histogram.bucket, examples, strict=True):
        check_exemplar(bucket, "exemplar", exemplar)


def check_native(point: NativeHistogramPoint, histogram: Any) -> None:
    """A decoded native histogram says what the point says; `decode` has checked its counts and spans."""
    scalars = (histogram.schema, histogram.zero_threshold, histogram.zero_count)
    assert scalars == (point.schema, point.zero_threshold, point.zero_count)
    assert same(histogram.sample_sum, point.sum)
    assert histogram.sample_count == point.observations
    check_native_buckets(point, histogram)
    timed = [exemplar for exemplar in point.exemplars if exemplar.timestamp is not None]
    for found, exemplar in zip(histogram.exemplars, timed, strict=True):
        check_one_exemplar(found, exemplar)


def check_native_buckets(point: NativeHistogramPoint, histogram: Any) -> None:
    """The decoded buckets are those of the point."""
    assert buckets(histogram.positive_span, histogram.positive_delta) == dict(point.positive)
    assert buckets(histogram.negative_span, histogram.negative_delta) == dict(point.negative)


def check_exemplar(owner: Any, field: str, exemplar: Exemplar | None) -> None:
    """The owner has this exemplar, or none."""
    assert owner.HasField(field) == (exemplar is not None)
    if exemplar is not None:
        check_one_exemplar(getattr(owner, field), exemplar)


def check_one_exemplar(found: Any, exemplar: Exemplar) -> None:
    """A decoded exemplar says what ours says."""
    assert labels(found) == exemplar.labels
    assert same(found.value, exemplar.value)
    assert found.HasField("timestamp") == (exemplar.timestamp is not None)
    if exemplar.timestamp is not None:
        assert seconds(found.timestamp) == pytest.approx(exemplar.timestamp, abs=1e-5, rel=0)


def check_start(owner: Any, created: float | None) -> None:
    """The owner has this start time, or none."""
    assert owner.HasField("start_timestamp") == (created is not None)
    if created is not None:
        assert seconds(owner.start_timestamp) == pytest.approx(created, abs=1e-5, rel=0)


def as_float(value: float) -> float:
    """The value as a float; infinite where none can hold it."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# --- spans --------------------------------------------------------------------------------------------


@given(sides)
def test_spans_hold_what_the_buckets_hold(found: tuple[tuple[int, int], ...]) -> None:
    """Lengths add up to the number of deltas, gaps over two open a new span, smaller ones never do."""
    spans, deltas = layout(found)
    assert spread(spans, deltas) == found
    assert sum(length for _, length in spans) == len(deltas)
    assert all(offset > 2 for offset, _ in spans[1:])
    filled = len(deltas) - len(found)
    gaps = [after - before - 1 for (before, _), (after, _) in pairwise(found)]
    assert filled == sum(gap for gap in gaps if gap <= 2)
    assert len(spans) == sum(gap > 2 for gap in gaps) + bool(found)
    assert sum(accumulate(deltas)) == sum(count for _, count in found)
