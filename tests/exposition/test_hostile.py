"""Whatever an application records, every exposition parses and loses no value."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metrics_messages import decode
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from oracles import parse, samples
from properties import examples

from otel_prom_bridge import PrometheusMetricReader, TranslationStrategy

FORMATS = [
    f"{kind};escaping={escaping}"
    for kind in ("text/plain;version=1.0.0", "application/openmetrics-text;version=1.0.0")
    for escaping in ("underscores", "dots", "values", "allow-utf-8")
]

# Hostile and plausible characters in equal parts, so that names collide often.
# The SDK drops empty keys, with a warning each.
texts = st.text(max_size=12) | st.text(st.sampled_from('aA_.-:1é"\\\n{}# \ud800'), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
attributes = st.dictionaries(texts.filter(bool), values, max_size=4)
strategies = st.sampled_from(TranslationStrategy)
hostile = settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])


def provider_with(
    strategy: TranslationStrategy, *views: View, resource: dict[str, Any] | None = None, **options: Any
) -> tuple[PrometheusMetricReader, MeterProvider]:
    """A reader and a provider that samples every measurement as an exemplar."""
    reader = PrometheusMetricReader(
        registry=None, self_metrics=False, translation_strategy=strategy, **options
    )
    return reader, MeterProvider(
        [reader],
        resource=Resource(resource or {}),
        views=views,
        exemplar_filter=AlwaysOnExemplarFilter(),
        shutdown_on_exit=False,
    )


@hostile
@given(
    texts.filter(bool),
    st.text("sBy/{}1%ém ", max_size=6),
    texts,
    st.lists(st.tuples(st.integers(1, 9), attributes), min_size=1, max_size=6),
    strategies,
    attributes,
)
def test_a_counter_of_any_name_loses_nothing(
    name: str,
    unit: str,
    description: str,
    recordings: list[tuple[int, dict[str, Any]]],
    strategy: TranslationStrategy,
    resource: dict[str, Any],
) -> None:
    """In every format the samples of a counter add up to what was recorded, whatever it is called."""
    view = View(instrument_name="c", name=name, description=description or None)
    reader, provider = provider_with(strategy, view)
    meter = provider.get_meter("scope", attributes=resource)
    counter = meter.create_counter("c", unit if unit.isascii() else "")
    for value, labels in recordings:
        counter.add(value, labels)
    total = sum(value for value, _ in recordings)
    for accept in FORMATS:
        exposition = reader.expose(accept)
        assert sum(samples(exposition.content_type, exposition.body).values()) == total


@hostile
@given(
    texts.filter(bool),
    st.lists(st.tuples(st.floats(0, 1e300), attributes), min_size=1, max_size=6),
    strategies,
    st.booleans(),
)
def test_a_histogram_of_any_name_loses_nothing(
    name: str,
    recordings: list[tuple[float, dict[str, Any]]],
    strategy: TranslationStrategy,
    exponential: bool,
) -> None:
    """In every format count and sum of a histogram, classic or exponential, are what was recorded."""
    aggregation = ExponentialBucketHistogramAggregation() if exponential else None
    reader, provider = provider_with(strategy, View(instrument_name="h", name=name, aggregation=aggregation))
    histogram = provider.get_meter("scope").create_histogram("h")
    for value, labels in recordings:
        histogram.record(value, labels)
    for accept in FORMATS:
        exposition = reader.expose(accept)
        (family,) = parse(exposition.content_type, exposition.body)
        ends = {
            end: [sample.value for sample in family.samples if sample.name == family.name + end]
            for end in ("_count", "_sum")
        }
        assert sum(ends["_count"]) == len(recordings)
        assert math.isclose(sum(ends["_sum"]), sum(value for value, _ in recordings), abs_tol=1e-9)


instruments = st.sampled_from(["counter", "up_down_counter", "gauge", "histogram"])


@hostile
@given(
    st.lists(st.tuples(instruments, texts.filter(bool), attributes), min_size=1, max_size=8),
    strategies,
    attributes,
)
def test_any_mixture_of_instruments_parses(
    recordings: list[tuple[str, str, dict[str, Any]]],
    strategy: TranslationStrategy,
    resource: dict[str, Any],
) -> None:
    """Colliding names, types and labels never give an exposition that a strict parser refuses."""
    views = [View(instrument_name=f"i{n}", name=name) for n, (_, name, _) in enumerate(recordings)]
    reader, provider = provider_with(strategy, *views, resource=resource)
    for number, (kind, _, labels) in enumerate(recordings):
        meter = provider.get_meter(f"scope {number % 2}")
        instrument = getattr(meter, f"create_{kind}")(f"i{number}")
        record = next(
            getattr(instrument, method) for method in ("add", "set", "record") if hasattr(instrument, method)
        )
        record(1, labels)
    for accept in FORMATS:
        exposition = reader.expose(accept)
        assert parse(exposition.content_type, exposition.body)
    protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    assert decode(reader.expose(protobuf).body)


@pytest.mark.parametrize("strategy", TranslationStrategy)
def test_an_integer_beyond_any_float_does_not_fail_the_scrape(strategy: TranslationStrategy) -> None:
    """What no float holds is left out of a sum, and attribute values that cannot be printed are written."""
    reader, provider = provider_with(strategy, max_label_value_length=0)
    counter = provider.get_meter("scope").create_counter("u")
    for amounts in ([3], [10**308] * 10, [4]):
        for amount in amounts:
            counter.add(amount, {"n": 10**5000, "m": (10**5000,)})
        reader.force_flush()
    for accept in FORMATS:
        exposition = reader.expose(accept)
        found = samples(exposition.content_type, exposition.body)
        assert list(found.values()) == [7]
        assert {("n", hex(10**5000)), ("m", "<tuple>")} <= {pair for _, pairs in found for pair in pairs}
