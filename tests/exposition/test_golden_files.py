"""What named cases look like in every format: one file per case and format in tests/golden.

`UPDATE_GOLDEN=1 pytest tests/test_golden_files.py` writes them anew; read the diff before you commit. Every
body also goes through the strict parsers and promtool (see conftest), which do not read our files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.text_format import MessageToString
from metrics_messages import decode
from opentelemetry import trace
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Enum, Gauge, Info, Summary
from setups import Setup

GOLDEN = Path(__file__).parent / "golden"
FORMATS = {
    "text": "text/plain;version=0.0.4",
    "openmetrics": "application/openmetrics-text;version=1.0.0",
    "openmetrics-utf8": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
    "protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
}
Make = Callable[..., Setup]
Case = Callable[[Make], Setup]
CASES: dict[str, Case] = {}


def case(record: Case) -> Case:
    """Register a case under its function's name."""
    CASES[record.__name__] = record
    return record


@case
def empty(bridge: Make) -> Setup:
    """Nothing was recorded."""
    return bridge()


@case
def every_instrument(bridge: Make) -> Setup:
    """One of each kind, with units, descriptions, scope and resource."""
    setup = bridge(scope_info_enabled=True, resource=Resource({"service.name": "shop", "host.name": "h"}))
    meter = setup.provider.get_meter("shop.orders", "1.2", "https://schema", {"team": "a b", "name": "x"})
    meter.create_counter("orders", "{order}", "Orders taken").add(3, {"payment.method": "card"})
    meter.create_up_down_counter("carts.open", description="Open carts").add(-2)
    meter.create_histogram(
        "checkout.duration", "s", 'How "long"\nit took', explicit_bucket_boundaries_advisory=[0.1, 1]
    ).record(0.25, {"ok": True})
    meter.create_gauge("temperature", "Cel").set(21.5)
    meter.create_observable_counter("read", [lambda _: [Observation(2**40)]], "By")
    meter.create_observable_up_down_counter("queue", [lambda _: [Observation(-1.5, {"n": 1})]])
    meter.create_observable_gauge("load", [lambda _: [Observation(0.5, {"cpu": 0})]], "1")
    return setup


@case
def histograms(bridge: Make) -> Setup:
    """Negative and integer bounds, no bounds, big bounds."""
    views = [
        View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(bounds))
        for name, bounds in {"negative": [-1, 1], "none": [], "wide": [1e-05, 1, 1000000, 1e21]}.items()
    ]
    setup = bridge(views=tuple(views))
    for name in ("negative", "none", "wide"):
        histogram = setup.meter.create_histogram(name)
        for value in (0, 1, 2.5):
            histogram.record(value)
    return setup


@case
def exponential_histogram(bridge: Make) -> Setup:
    """Exponential buckets, zero, and many populated buckets, as explicit ones."""
    setup = bridge(views=(View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation()),))
    few, many = setup.meter.create_histogram("few", "s"), setup.meter.create_histogram("many")
    for value in (0, 1, 1.5, 4):
        few.record(value, {"k": "v"})
    for value in range(1, 200):
        many.record(value)
    return setup


@case
def exemplars(bridge: Make) -> Setup:
    """Trace ids and filtered attributes on counters and buckets."""
    setup = bridge(
        views=(View(instrument_name="c", attribute_keys={"k"}),),
    )
    span = trace.NonRecordingSpan(
        trace.SpanContext(0xABC, 0xDEF, False, trace.TraceFlags(trace.TraceFlags.SAMPLED))
    )
    with trace.use_span(span):
        setup.meter.create_counter("c").add(1, {"k": "v", "request.id": "r-1", "long": "x" * 60})
        histogram = setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
        histogram.record(1)
        histogram.record(5)
    return setup


@case
def start_times(bridge: Make) -> Setup:
    """Start times of counters and histograms, which OpenMetrics shows."""
    setup = bridge(created_timestamps=True)
    setup.meter.create_counter("c").add(1, {"k": "v"})
    setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(1)
    setup.meter.create_up_down_counter("u").add(1)
    return setup


@case
def collisions(bridge: Make) -> Setup:
    """Labels that become one, values that look alike, names that are taken, comments that differ."""
    setup = bridge()
    setup.meter.create_counter("c", description="first").add(1, {"a.b": "x", "a-b": "y"})
    setup.meter.create_counter("c", description="second").add(2, {"a_b": "y;x"})
    setup.meter.create_gauge("c.total").set(9)
    setup.meter.create_counter("types").add(1, {"k": 1})
    setup.meter.create_counter("types").add(1, {"k": "1"})
    setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(1, {"le": "mine"})
    setup.meter.create_gauge("h.count").set(9)
    return setup


@case
def attribute_values(bridge: Make) -> Setup:
    """Every type of value, and characters that must be escaped."""
    setup = bridge()
    values = (
        "",
        'q"\\\n',
        True,
        -1,
        1.5,
        float("inf"),
        b"bytes",
        ["a", "b"],
        {"m": [1, None]},
        None,
        "é\ud800",
    )
    counter = setup.meter.create_counter("c")
    for number, value in enumerate(values):
        counter.add(1, {"v": value, "n": number})  # type: ignore[dict-item]
    return setup


@case
def utf8_names(bridge: Make) -> Setup:
    """Names that are not translated: quoted where the scraper can read them, else escaped and merged."""
    setup = bridge(translation_strategy="NoTranslation", resource=Resource({"service.name": "s"}))
    setup.meter.create_counter("http.requests").add(1, {"http.method": "GET", "http-method": "x"})
    setup.meter.create_counter("http/requests").add(2, {"http.method": "PUT"})
    setup.meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1]).record(2, {"a.b": "c"})
    return setup


@case
def overflow(bridge: Make) -> Setup:
    """More attribute sets than allowed."""
    setup = bridge(max_series_per_metric=2)
    for number in range(5):
        setup.meter.create_counter("c").add(number, {"k": number})
    return setup


@case
def other_collectors(bridge: Make) -> Setup:
    """The kinds of prometheus_client that the SDK does not have."""
    registry = CollectorRegistry()
    setup = bridge(registry=registry)
    setup.meter.create_counter("ours").add(1)
    Info("build", "The build", registry=registry).info({"version": "1"})
    Enum("state", "", states=["up", "down"], registry=registry).state("up")
    Summary("rpc", "", registry=registry).observe(2)
    Gauge("my.gauge", "", ["a.b"], registry=registry).labels("v").set(float("nan"))
    return setup


def readable(body: bytes, format: str) -> str:
    """The body as text, without what differs in every run."""
    if format != "protobuf":
        return re.sub(r"\b1\d{9}\.\d+\b", "TIME", body.decode())
    text = "\n".join(map(MessageToString, decode(body)))
    return re.sub(r"seconds: 1\d{9}(\s+nanos: \d+)?", "TIME", text)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, format: str, bridge: Make) -> None:
    """The case looks as its file says; times, which are never the same, are written TIME."""
    body = readable(CASES[name](bridge).reader.expose(FORMATS[format]).body, format)
    file = GOLDEN / f"{name}.{format}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(body)
    assert body == file.read_text()


def test_every_file_belongs_to_a_case() -> None:
    """No file is left over from a case that is gone."""
    expected = {f"{name}.{format}.txt" for name in CASES for format in FORMATS}
    assert {file.name for file in GOLDEN.iterdir()} == expected
