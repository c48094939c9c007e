"""What recorders hand over to the SDK's instruments is what these make of it, only sooner."""

from __future__ import annotations

from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import metrics
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from properties import examples

from otel_prom_bridge.genai import conventions
from otel_prom_bridge.instruments import METHODS, InstrumentKind, Record, recording
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.quick import CleanAttributes, quick
from otel_prom_bridge.sdk import versions

CLEANS = tuple(map(int, versions.RELEASE.split(".")[:2])) >= (1, 45)


class Word(str):
    """A text that is of a class of its own."""


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


SCALARS = st.one_of(
    st.text(max_size=3),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([Word("a"), Colour.RED, Number.ONE]),
)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.none(), st.builds(object), st.binary(max_size=2)
)
ATTRIBUTES = st.dictionaries(
    st.one_of(st.text(max_size=3), st.sampled_from([Word("b"), 1])), VALUES, max_size=4
)
VALUE: dict[InstrumentKind, float] = {"counter": 2, "up_down_counter": -2, "gauge": 2.5, "histogram": 1e300}


class Heard:
    """A consumer of measurements that keeps them."""

    def __init__(self, instrument: Any) -> None:
        self.measurements: list[Any] = []
        instrument._measurement_consumer = self

    def consume_measurement(self, measurement: Any) -> None:
        self.measurements.append(measurement)


def made(kind: InstrumentKind) -> tuple[Record, Any]:
    """What records with an instrument of the SDK, and the instrument."""
    record = recording(MeterProvider(shutdown_on_exit=False).get_meter("a"), kind, "b")
    return record, record.__self__  # type: ignore[attr-defined]


def typed(attributes: Any) -> Any:
    """Attributes with the types of everything, as NaN is not equal to itself and 1 is to True."""
    return type(attributes), [(key, type(key), repr(value), type(value)) for key, value in attributes.items()]


@given(given_attributes=ATTRIBUTES, kind=st.sampled_from(list(METHODS)))
@settings(max_examples=examples(200), deadline=None)
def test_the_same_is_handed_over(given_attributes: dict[Any, Any], kind: InstrumentKind) -> None:
    """The time apart, what the SDK's instrument makes of clean attributes is what we make."""
    record, instrument = made(kind)
    heard = Heard(instrument)
    attributes, context = clean(given_attributes), Context({"c": 1})
    for each in (record, quick(record)):
        each(VALUE[kind], attributes, context)
        each(VALUE[kind], attributes, None)
    usual, ours = heard.measurements[:2], heard.measurements[2:]
    assert len(ours) == 2
    for theirs, own in zip(usual, ours, strict=True):
        assert isinstance(own, type(theirs))
        assert vars(own).keys() == vars(theirs).keys()
        assert (own.value, own.instrument, own.context) == (theirs.value, theirs.instrument, theirs.context)
        assert typed(own.attributes) == typed(theirs.attributes)
        assert own.time_unix_nano >= theirs.time_unix_nano
    assert [each.context for each in ours] == [context, get_current()]


@pytest.mark.skipif(not CLEANS, reason="this SDK takes attributes as they are")
@pytest.mark.parametrize("kind", METHODS)
def test_it_is_in_use(kind: InstrumentKind) -> None:
    """Instruments of this SDK are known, so that recorders are as quick as docs/performance.md says."""
    record, _ = made(kind)
    assert quick(record) is not record


def test_exporters_may_change_what_they_get() -> None:
    """Each measurement has attributes of its own; those of the recorder stay."""
    record, instrument = made("counter")
    heard = Heard(instrument)
    attributes = clean({"a": "b"})
    if not CLEANS:
        assert quick(record) is record
        return
    quick(record)(1, attributes, None)
    heard.measurements[0].attributes["a"] = "c"
    assert attributes == {"a": "b"}


@pytest.mark.parametrize("attributes", [{"a": object()}, {"": "b"}, CleanAttributes({"": "b"}), None])
def test_what_is_not_clean_is_looked_at(attributes: Any) -> None:
    """The SDK gets it as it is given."""
    record, instrument = made("counter")
    heard = Heard(instrument)
    for each in (record, quick(record)):
        each(1, attributes, None)
    usual, ours = (each.attributes for each in heard.measurements)
    assert str(usual) == str(ours)


def test_a_meter_that_is_turned_off_records_nothing() -> None:
    """The configuration of a provider may say so at any time."""
    record, instrument = made("counter")
    heard = Heard(instrument)
    instrument._meter_config = SimpleNamespace(is_enabled=False)
    quick(record)(1, clean({"a": "b"}), None)
    assert len(heard.measurements) == (0 if hasattr(instrument, "_is_enabled") else 1)


def test_instruments_that_are_none_of_the_sdk_are_left_alone() -> None:
    """Those that there are before there is an SDK, those of nobody, and functions."""
    proxy = metrics._internal._ProxyMeterProvider().get_meter("a")
    for record in (recording(proxy, "counter", "b"), recording(metrics.NoOpMeter("a"), "histogram", "c")):
        assert quick(record) is record
    assert quick(print) is print  # type: ignore[arg-type]


def test_a_reader_of_the_sdk_shows_the_same() -> None:
    """Recorders work with any exporter."""
    reader = InMemoryMetricReader()
    measurements = Measurements(MeterProvider([reader], shutdown_on_exit=False), scope="a", schema_url="")
    for value, key in ((1, "a"), (2, "a"), (4, "b")):
        measurements.record(conventions.TOKEN_USAGE, value, clean({"key": key, "n": 1, "more": ["x", 1]}))
    (resource,) = reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
    points: Any = resource.scope_metrics[0].metrics[0].data.data_points
    assert [(point.sum, dict(point.attributes)) for point in points] == [
        (3, {"key": "a", "n": 1, "more": ("x", 1)}),
        (4, {"key": "b", "n": 1, "more": ("x", 1)}),
    ]
