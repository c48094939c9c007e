"""The keys by which series are found: they tell apart what the SDK tells apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics._internal import _view_instrument_match as sdk
from opentelemetry.sdk.metrics.view import View

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.sdk.series_keys import QuickMatch, key_of

pytestmark = pytest.mark.skipif(not hasattr(sdk, "_hash_attributes"), reason="its own key costs little")

SCALARS = st.sampled_from(["", "1", "a", 0, 1, 2, True, False, 0.0, 1.0, 1.5])
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2).map(tuple))
ATTRIBUTES = st.dictionaries(st.sampled_from(["1", "a", "b"]), VALUES, max_size=3)


@given(ATTRIBUTES, ATTRIBUTES)
def test_keys_are_equal_where_those_of_the_sdk_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """For attributes in one order: it knows 1, 1.0 and True apart, also in a sequence."""
    one, other = dict(sorted(one.items())), dict(sorted(other.items()))
    assert (key_of(one) == key_of(other)) == (sdk._hash_attributes(one) == sdk._hash_attributes(other))


@given(ATTRIBUTES)
def test_recorders_make_the_same_keys(attributes: dict[str, Any]) -> None:
    """Of what they hand over with a key, that is the one by which its series is found."""
    cleaned = clean(attributes)
    is_simple = not any(isinstance(value, tuple) for value in attributes.values())
    assert cleaned.key == (key_of(cleaned) if is_simple else None)
    assert cleaned.also("more", 1).key == (key_of({**cleaned, "more": 1}) if is_simple else None)


def test_what_is_recorded_with_it() -> None:
    """Attributes in any order are one series, and what a View of the SDK leaves out tells nothing apart."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False, disable_target_info=True)
    views = [View(instrument_name="kept", attribute_keys={"a"})]
    provider = MeterProvider([reader], shutdown_on_exit=False, views=views)
    meter = provider.get_meter("t")
    for name in ("plain", "kept"):
        counter = meter.create_counter(name)
        counter.add(1, {"a": "x", "b": 1})
        counter.add(2, {"b": 1, "a": "x"})
        counter.add(4, {"a": "x", "b": ["1", "2"]})
        counter.add(8)
    consumer: Any = provider._measurement_consumer
    matches = consumer._reader_storages[reader]._instrument_view_instrument_matches.values()
    assert all(isinstance(match, QuickMatch) for [match] in matches)
    text = reader.expose().body.decode()
    lines = (line.partition(",otel_scope")[0].partition("{otel")[0] for line in text.splitlines())
    values = (line.rpartition(" ")[2] for line in text.splitlines())
    shown = [pair for pair in zip(lines, values, strict=True) if not pair[0].startswith("#")]
    assert shown == [
        ('plain_total{a="x",b="1"', "3"),
        (r'plain_total{a="x",b="[\"1\", \"2\"]"', "4"),
        ("plain_total", "8"),
        ('kept_total{a="x"', "7"),
        ("kept_total", "8"),
    ]
    provider.shutdown()
