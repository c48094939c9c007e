"""What an OTLP request says is what the SDK said in this process, whatever was recorded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hubs import (
    CUMULATIVE,
    DELTA,
    OPENMETRICS,
    any_value,
    counter,
    gauge,
    histogram,
    pairs,
    partial_success,
    push,
    request_of,
    shown,
    total,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from properties import examples

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.hub.hub import Hub
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.pipeline.pipeline import Collected, Pipeline
from otel_prom_bridge.points import Source
from otel_prom_bridge.sdk.batches import TEMPORALITY, streams_of

Make = Callable[..., Hub]

VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.integers(-9, 9), max_size=3),
    st.lists(st.text("ab", max_size=2), max_size=3),
)
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b.c", "d"]), VALUES, max_size=3)
NUMBERS = st.one_of(st.integers(0, 2**40), st.floats(0, 1e9))
RECORDINGS = st.lists(
    st.tuples(
        st.sampled_from(["counter", "up_down", "histogram", "exponential", "gauge"]), NUMBERS, ATTRIBUTES
    ),
    max_size=12,
)
BATCHES = st.lists(RECORDINGS, min_size=1, max_size=3)
FORMATS = [None, OPENMETRICS, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"]


class Recorder:
    """Instruments of all kinds, and what the SDK hands over of them."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=TEMPORALITY)
        view = View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())
        self.provider = MeterProvider(metric_readers=[self.reader], views=[view])
        meter = self.provider.get_meter("shop", "1.0", "https://example.com/schema", {"scope.attribute": 1})
        self.tracer = TracerProvider().get_tracer("shop")
        self._record: dict[str, Callable[..., None]] = {
            "counter": meter.create_counter("counter", "By", "Bytes").add,
            "up_down": meter.create_up_down_counter("up.down").add,
            "histogram": meter.create_histogram("histogram", "s").record,
            "exponential": meter.create_histogram("exponential", "ms").record,
            "gauge": meter.create_gauge("gauge", "%").set,
        }

    def record(self, name: str, value: float, attributes: dict[str, Any]) -> None:
        """Record within a span, so that there are exemplars with ids."""
        if name in ("histogram", "exponential"):
            value = float(value)  # which the sums of OTLP's histograms are; the text of an integer is shorter
        with self.tracer.start_as_current_span("call"):
            self._record[name](value, attributes)


@given(BATCHES)
@settings(max_examples=examples(40))
def test_a_request_is_what_the_sdk_said(batches: list[list[tuple[str, float, dict[str, Any]]]]) -> None:
    """Through the SDK's own encoder and this decoder, everything is shown as if it had never left."""
    options: dict[str, Any] = {"self_metrics": False, "gauges": "newest", "disable_target_info": True}
    recorder, source = Recorder(), Source()
    hub, here = Hub(options), Pipeline(PipelineOptions(**options))
    try:
        for batch in batches:
            for recording in batch:
                recorder.record(*recording)
            if (data := recorder.reader.get_metrics_data()) is None:
                continue
            for resource in data.resource_metrics:
                here.take(source, streams_of(resource, Findings()), resource=resource.resource.attributes)
            response = push(hub, encode_metrics(data).SerializeToString())
            assert partial_success(response) == (0, "")
        for accept in FORMATS:
            expected = here.expose(
                accept, names=(), timeout=None, collect=lambda seconds: Collected(None, whole=True)
            )
            assert hub.expose(accept) == expected
    finally:
        hub.shutdown()
        recorder.provider.shutdown()


def test_exemplars_keep_their_ids(hub: Hub) -> None:
    """An exemplar leads to its span; ids of zeroes or of another length are none."""
    metric = counter("orders", 1)
    point = metric.sum.data_points[0]
    good = point.exemplars.add(as_double=1, time_unix_nano=10**18, trace_id=b"\1" * 16, span_id=b"\2" * 8)
    good.filtered_attributes.extend(pairs({"user": "ann"}))
    assert push(hub, request_of(metric)).status == 200
    text = hub.expose(OPENMETRICS).body.decode()
    assert f'trace_id="{"01" * 16}"' in text
    assert f'span_id="{"02" * 8}"' in text
    for trace, span in ((b"\0" * 16, b"\0" * 8), (b"\1" * 3, b""), (b"", b"\1" * 99)):
        odd = counter("other", 1)
        odd.sum.data_points[0].exemplars.add(as_int=1, trace_id=trace, span_id=span)
        odd.sum.data_points[0].exemplars.add()  # without a value
        assert partial_success(push(hub, request_of(odd))) == (0, "")
    assert "other_total" in (text := hub.expose(OPENMETRICS).body.decode())
    assert text.count("trace_id=") == 1


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("text", "text"),
        (True, "true"),
        (-5, "-5"),
        (2.5, "2.5"),
        (b"\1\2", "AQI="),
        ([1, "a", None], '[1,"a",null]'),
        ({"a": {"b": [1]}}, '{"a":{"b":[1]}}'),
        (None, ""),
    ],
    ids=repr,
)
def test_attribute_values_of_all_kinds(hub: Hub, value: object, label: str) -> None:
    """A label says what the specification has for each kind of value."""
    assert push(hub, request_of(counter("orders", 1, attributes={"key": value}))).status == 200
    labels = {
        key: text.replace(", ", ",").replace(": ", ":")
        for key, text in next(iter(shown(hub, "orders_total")))
    }
    assert labels.get("key", "") == label


def test_deep_attributes_are_cut(hub: Hub) -> None:
    """Lists within lists are read to a depth that a label may have, and the point counts."""
    value: object = "bottom"
    for _ in range(30):
        value = [value]
    assert partial_success(push(hub, request_of(counter("orders", 1, attributes={"key": value})))) == (0, "")
    [labels] = shown(hub, "orders_total")
    assert dict(labels)["key"] == "[" * 8 + '"…"' + "]" * 8
    assert total(hub, "orders_total") == 1


def test_no_recorded_value_is_no_point(hub: Hub) -> None:
    """Such a point says that something is gone. It is not zero, and it is not rejected."""
    metric = gauge("temperature", 1)
    metric.gauge.data_points[0].flags = 1
    assert partial_success(push(hub, request_of(metric))) == (0, "")
    assert shown(hub, "temperature") == {}


def summary() -> Metric:
    """A metric of a kind that cannot be added up."""
    metric = Metric(name="odd")
    metric.summary.data_points.add(count=1, sum=1)
    return metric


def number(value: float | None, *, monotonic: bool = True) -> Metric:
    """A sum of this value, or of none."""
    metric = counter("odd", 0.0 if value is None else value, monotonic=monotonic)
    if value is None:
        metric.sum.data_points[0].ClearField("as_double")
    return metric


def exponential(**fields: Any) -> Metric:
    """An exponential histogram with one point."""
    metric = Metric(name="odd")
    metric.exponential_histogram.aggregation_temporality = DELTA
    point = metric.exponential_histogram.data_points.add(scale=fields.get("scale", 0), count=1)
    point.positive.bucket_counts.extend(fields.get("counts", [1]))
    return metric


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (summary(), "a summary cannot be added up"),
        (Metric(name="odd"), "no data that is known"),
        (number(None), "no value"),
        (number(-1), "below zero"),
        (number(float("nan")), "nan cannot be added up"),
        (number(float("inf"), monotonic=False), "inf cannot be added up"),
        (counter("odd", 1, temporality=0), "temporality"),
        (counter("", 1), "a name has"),
        (counter("n" * 2000, 1), "a name has"),
        (histogram("odd", [1, 2], [1.0, 2.0]), "one bucket more than bounds"),
        (histogram("odd", [1, 2, 3], [2.0, 1.0]), "do not ascend"),
        (histogram("odd", [1, 2], [float("nan")]), "do not ascend"),
        (histogram("odd", [1] * 5001, range(5000)), "more than 4096 buckets"),
        (exponential(scale=21), "scale"),
        (exponential(scale=-(2**31)), "scale"),
        (exponential(counts=[1] * 5000), "more than 4096 buckets"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_rejected_alone(hub: Hub, metric: Metric, reason: str) -> None:
    """The rest of the request counts, and the answer says why one point does not."""
    points, message = partial_success(push(hub, request_of(metric, counter("orders", 1))))
    assert reason in message
    assert points == (1 if metric.WhichOneof("data") else 0)
    assert total(hub, "orders_total") == 1
    assert shown(hub, "odd_total") == shown(hub, "odd_count") == {}
    assert total(hub, "otel_prom_bridge_rejected_points_total") == points


def test_odd_histograms_that_can_be_read(hub: Hub) -> None:
    """A last bound of +Inf is the bucket that there is anyway, and without bounds there is one bucket."""
    assert partial_success(push(hub, request_of(histogram("a", [1, 2, 3], [1.0, float("inf")], 4.0)))) == (
        0,
        "",
    )
    assert shown(hub, "a_bucket") == {(("le", "1.0"),): 1, (("le", "+Inf"),): 6}
    metric = histogram("b", [], [], 7.0)
    metric.histogram.data_points[0].count = 5
    assert partial_success(push(hub, request_of(metric))) == (0, "")
    assert shown(hub, "b_count") == {(): 5}


@pytest.mark.slow
def test_a_request_of_millions_is_read_in_part(hub: Hub) -> None:
    """It is small when it is compressed, and would keep everybody else waiting for a minute."""
    request = ExportMetricsServiceRequest.FromString(request_of(counter("orders", 1)))
    scope = request.resource_metrics[0].scope_metrics[0]
    scope.metrics.extend([Metric(name="odd")] * 300_000)
    began = time.monotonic()
    points, message = partial_success(push(hub, request.SerializeToString()))
    assert "more than 250000 points" in message
    assert points == 50_002
    assert total(hub, "orders_total") == 1
    assert time.monotonic() - began < 20


@given(st.binary(max_size=200))
@settings(max_examples=examples(200))
def test_any_bytes_have_an_answer(body: bytes) -> None:
    """Bytes that are no request get 400; no bytes get anything but 200 or 400."""
    hub = SHARED
    assert push(hub, body).status in (200, 400)


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=examples(100))
def test_broken_requests_have_an_answer(seed: int, changes: int) -> None:
    """A request of which some bytes were changed, which is often still one."""
    chance = random.Random(seed)
    body = bytearray(
        request_of(
            counter("orders", 3, attributes={"a": [1, {"b": 2.5}]}),
            gauge("temperature", 4.5, room="1"),
            histogram("latency", [1, 2], [0.5], 3.0, temporality=CUMULATIVE),
            exponential(),
        )
    )
    for _ in range(changes):
        body[chance.randrange(len(body))] = chance.randrange(256)
    assert push(SHARED, bytes(body)).status in (200, 400)
    assert SHARED.expose().complete


SHARED = Hub({"self_metrics": False})


def test_any_value_is_what_it_says() -> None:
    """The helper of these tests knows all kinds."""
    assert {any_value(value).WhichOneof("value") for value in ("", True, 1, 1.0, b"", {}, [])} == {
        "string_value",
        "bool_value",
        "int_value",
        "double_value",
        "bytes_value",
        "kvlist_value",
        "array_value",
    }
