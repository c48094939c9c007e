"""Our bytes of OTLP are what OpenTelemetry's own exporter says, as the official messages read them."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from fake_hub import number
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from properties import examples

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import AttributeSet
from otel_prom_bridge.push.encoding import OtlpEncoder
from otel_prom_bridge.sdk.batches import streams_of

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SCALARS = st.one_of(TEXT, st.booleans(), INT64, st.floats(allow_nan=False), st.binary(max_size=9))
VALUES = st.recursive(
    SCALARS,
    lambda item: st.lists(item, max_size=3).map(tuple) | st.dictionaries(TEXT, item, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)
NANOS = st.integers(0, (1 << 64) - 1)
COUNTS = st.integers(0, (1 << 64) - 1)
NUMBERS = st.one_of(INT64, st.floats(allow_nan=False))
FLOATS = st.floats(allow_nan=False)
EXEMPLARS = st.lists(
    st.builds(
        Exemplar,
        filtered_attributes=ATTRIBUTES,
        value=NUMBERS,
        time_unix_nano=NANOS,
        span_id=st.none() | st.integers(1, (1 << 64) - 1),
        trace_id=st.none() | st.integers(1, (1 << 128) - 1),
    ),
    max_size=2,
)
NUMBER_POINTS = st.builds(
    NumberDataPoint,
    attributes=ATTRIBUTES,
    start_time_unix_nano=NANOS,
    time_unix_nano=NANOS,
    value=NUMBERS,
    exemplars=EXEMPLARS,
)
HISTOGRAM_POINTS = st.builds(
    HistogramDataPoint,
    attributes=ATTRIBUTES,
    start_time_unix_nano=NANOS,
    time_unix_nano=NANOS,
    count=COUNTS,
    sum=FLOATS,
    bucket_counts=st.lists(COUNTS, max_size=5),
    explicit_bounds=st.lists(FLOATS, max_size=4),
    min=FLOATS,
    max=FLOATS,
    exemplars=EXEMPLARS,
)


def made(data: Any, **resource: Any) -> MetricsData:
    """A batch with this data in it."""
    scope = InstrumentationScope("shop", "1.2", "https://example.com/schema", {"a": 1})
    metric = Metric("jobs", "What is done", "{job}", data)
    scopes = [ScopeMetrics(scope, [metric], scope.schema_url or "")]
    return MetricsData([ResourceMetrics(Resource({"service.name": "shop", **resource}, "x"), scopes, "x")])


def read(data: MetricsData, encoder: OtlpEncoder | None = None) -> ExportMetricsServiceRequest:
    """What the official messages make of our bytes."""
    (found,) = data.resource_metrics
    streams = streams_of(found, findings := Findings())
    encoder = encoder or OtlpEncoder(findings)
    body, _ = encoder.request(found.resource.attributes, streams, schema_url=found.schema_url)
    return ExportMetricsServiceRequest.FromString(body)


def points(data: MetricsData, encoder: OtlpEncoder) -> list[float]:
    """The values of a sum."""
    (metric,) = read(data, encoder).resource_metrics[0].scope_metrics[0].metrics
    assert metric.sum.aggregation_temporality == DELTA.value
    return [number(point) for point in metric.sum.data_points]


@given(
    st.one_of(
        st.builds(Gauge, st.lists(NUMBER_POINTS, max_size=3)),
        st.builds(Sum, st.lists(NUMBER_POINTS, max_size=3), st.just(DELTA), st.booleans()),
        st.builds(Sum, st.lists(NUMBER_POINTS, max_size=3), st.just(CUMULATIVE), st.just(False)),
        st.builds(Histogram, st.lists(HISTOGRAM_POINTS, max_size=3), st.just(DELTA)),
    ),
    ATTRIBUTES.filter(lambda attributes: "" not in attributes),  # which no resource takes
)
def test_it_is_what_the_exporter_says(data: Any, resource: dict[str, Any]) -> None:
    """For any points, and any attributes."""
    batch = made(data, **resource)
    if data.data_points:  # without any, we write the kind of the metric all the same
        assert read(batch) == encode_metrics(batch)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(2, 160))
@settings(max_examples=examples(50))
def test_exponential_histograms(values: list[float], size: int) -> None:
    """As the SDK makes them."""
    reader = InMemoryMetricReader()
    views = [View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation(max_size=size))]
    provider = MeterProvider([reader], views=views, shutdown_on_exit=False)
    histogram = provider.get_meter("shop").create_histogram("sizes")
    for value in values:
        histogram.record(value, {"a": True})
    data = reader.get_metrics_data()
    if data is not None:
        assert read(data) == encode_metrics(data)
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        assert isinstance(metric.data, ExponentialHistogram)
        assert isinstance(metric.data.data_points[0], ExponentialHistogramDataPoint)


def test_equal_values_of_different_types() -> None:
    """True, 1 and 1.0 are equal, and are three values."""
    data = [NumberDataPoint({"a": value}, 1, 2, 3) for value in (True, 1, 1.0, "1", -0.0, 0.0)]
    assert read(made(Gauge(data))) == encode_metrics(made(Gauge(data)))


@given(
    st.lists(st.dictionaries(TEXT, st.one_of(TEXT, st.booleans(), INT64, st.binary(max_size=9)), max_size=4))
)
@settings(max_examples=examples(50))
def test_attributes_that_are_their_key(sets: list[dict[str, Any]]) -> None:
    """They are what they are as dictionaries, in each kind of point, the first time and later."""
    encoder = OtlpEncoder(Findings())

    def batch(attributes: Any) -> Iterator[MetricsData]:
        yield made(Gauge([NumberDataPoint(attributes, 1, 2, 3)]))
        yield made(Histogram([HistogramDataPoint(attributes, 1, 2, 3, 4.0, [1, 2], [1.0], 1, 1)], DELTA))

    for attributes in (*sets, *sets):
        keyed = AttributeSet.of(attributes, (*attributes.values(),))
        for ours, theirs in zip(batch(keyed), batch(attributes), strict=True):
            assert read(ours, encoder) == encode_metrics(theirs)


def test_attributes_are_kept_within_bounds() -> None:
    """Neither many attribute sets nor long texts are held for the next push."""
    encoder = OtlpEncoder(Findings())
    ((gauge, _),) = streams_of(made(Gauge([])).resource_metrics[0], Findings())
    sizes = (*[300] * 10_000, *[1_000_000] * 10)
    keys: Any = (AttributeSet(("a", f"{number:0{size}}")) for number, size in enumerate(sizes))
    tracemalloc.start()
    try:
        encoder.request({}, [(gauge, (NumberDataPoint(key, 1, 2, 3) for key in keys))])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 6_000_000


@pytest.mark.parametrize("value", [1 << 70, -(1 << 70), math.nan, math.inf, 10**400])
def test_numbers_that_fit_nowhere(value: float) -> None:
    """An integer that is too large becomes a double."""
    batch = made(Sum([NumberDataPoint({"a": value}, 1, 2, value)], DELTA, True))
    (point,) = read(batch).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    assert point.as_double == pytest.approx(math.inf if value == 10**400 else float(value), nan_ok=True)


def test_texts_that_are_no_text() -> None:
    """Half of a surrogate pair is written as a question mark, rather than refused with all the rest."""
    batch = made(Sum([NumberDataPoint({"a\ud800": "b\udfff"}, 1, 2, 3)], DELTA, True))
    (point,) = read(batch).resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    assert [(pair.key, pair.value.string_value) for pair in point.attributes] == [("a?", "b?")]


def test_what_cannot_be_encoded(caplog: pytest.LogCaptureFixture) -> None:
    """A point or a metric that makes no sense is said, and takes nothing along."""
    good, bad = NumberDataPoint({}, 1, 2, 3), NumberDataPoint({}, 1, 2, "x")  # type: ignore[arg-type]
    batch = made(Gauge([bad, good]))
    metrics = batch.resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(metrics, list)
    metrics.append(Metric("odd", "", "", "nothing"))  # type: ignore[arg-type]
    (metric,) = read(batch).resource_metrics[0].scope_metrics[0].metrics
    assert [point.as_int for point in metric.gauge.data_points] == [3]
    assert "a point of 'jobs' is not sent" in caplog.text
    assert "not exported: metric 'odd' of scope 'shop'" in caplog.text


def total(*values: float) -> MetricsData:
    """What an asynchronous counter says."""
    return made(
        Sum(
            [NumberDataPoint({"a": str(key)}, 1, 2, value) for key, value in enumerate(values)],
            CUMULATIVE,
            True,
        )
    )


def test_totals_become_deltas() -> None:
    """An asynchronous counter says its total. What comes less begins anew; what was silent goes on."""
    encoder = OtlpEncoder(Findings())
    assert points(total(5, 1.5), encoder) == [5, 1.5]
    assert points(total(7), encoder) == [2]
    assert points(total(3, 2.0), encoder) == [3, 0.5]


def test_totals_in_a_forked_child() -> None:
    """What it says first there was counted by the parent; what it says later for the first time was not."""
    encoder = OtlpEncoder(Findings())
    assert points(total(5), encoder) == [5]
    encoder.begin_anew()
    assert points(total(9), encoder) == [0]
    assert points(total(10, 4), encoder) == [1, 4]
