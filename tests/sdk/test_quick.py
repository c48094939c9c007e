"""What recorders hand over to the SDK's instruments is what these make of it, only sooner."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import opentelemetry.attributes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import metrics, trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics._internal import instrument as instruments_of_sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from properties import examples
from setups import RECORDERS_ARE_QUICK

from otel_prom_bridge.genai import conventions
from otel_prom_bridge.instruments import METHODS, InstrumentKind, Metric, Record, recording
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.quick import CleanAttributes, InSpan, is_awaited, quick
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
    """Keeps the measurements that a reader gets."""

    def __init__(self, instrument: Any) -> None:
        self.measurements: list[Any] = []
        instrument._measurement_consumer._reader_storages = {self: self}

    def consume_measurement(self, measurement: Any, _should_sample: bool) -> None:
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
        if CLEANS:
            assert typed(own.attributes) == typed(theirs.attributes)
        else:  # they are those of the recorder, and ours a copy
            assert typed({**own.attributes}) == typed({**theirs.attributes})
        assert own.time_unix_nano >= theirs.time_unix_nano
    assert [each.context for each in ours] == [context, get_current()]


@pytest.mark.skipif(not RECORDERS_ARE_QUICK, reason="these instruments are called as anybody calls them")
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
    if not RECORDERS_ARE_QUICK:
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


JOBS = Metric("jobs", "counter", "", "")


@dataclasses.dataclass(frozen=True, slots=True)
class SlottedMeasurement:
    """A measurement as some later SDK may have it, with the same fields."""

    value: float
    time_unix_nano: int
    instrument: Any
    context: Any
    attributes: Any = None

    def __post_init__(self) -> None:
        cleaned = opentelemetry.attributes._clean_attribute_value(self.attributes, None)  # type: ignore[arg-type]
        object.__setattr__(self, "attributes", cleaned)


def counted(measurements: Measurements, reader: InMemoryMetricReader) -> object:
    """What there is of a counter after it was recorded twice."""
    for _ in range(2):
        measurements.record(JOBS, 1, clean({"a": "b"}))
    (resource,) = reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
    point: Any = resource.scope_metrics[0].metrics[0].data.data_points[0]
    return point.value


@pytest.mark.skipif(not CLEANS, reason="this SDK takes attributes as they are")
def test_measurements_made_otherwise_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where those of the SDK have no place for what we set, its instruments are called as always."""
    monkeypatch.setattr(instruments_of_sdk, "Measurement", SlottedMeasurement)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    assert counted(Measurements(provider, scope="a", schema_url=""), reader) == 2


def test_instruments_with_other_insides_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that names differently what is private to it."""
    record, instrument = made("counter")
    del instrument._measurement_consumer
    assert quick(record) is record
    record, instrument = made("counter")
    monkeypatch.delattr(instruments_of_sdk, "time_ns")
    assert quick(record) is record


def by_wrapt(add: Any, seen: list[object]) -> Any:
    """The method as instrumentations wrap it."""
    wrapt = pytest.importorskip("wrapt")

    @wrapt.decorator
    def wrapper(wrapped: Any, instance: Any, arguments: Any, options: Any) -> Any:
        seen.append(instance)
        return wrapped(*arguments, **options)

    return wrapper(add)


def by_function(add: Any, seen: list[object]) -> Any:
    """The method wrapped by hand, by a function that looks like it."""

    @functools.wraps(add)
    def wrapper(self: Any, *arguments: Any) -> Any:
        seen.append(self)
        return add(self, *arguments)

    return wrapper


@pytest.mark.parametrize("wrapped", [by_wrapt, by_function])
def test_who_wraps_instruments_sees_everything(
    wrapped: Callable[[Any, list[object]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorders are no way past an instrumentation of the SDK."""
    seen: list[object] = []
    monkeypatch.setattr(
        instruments_of_sdk.Counter, "add", wrapped(instruments_of_sdk.Counter.__dict__["add"], seen)
    )
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    assert counted(Measurements(provider, scope="a", schema_url=""), reader) == 2
    assert len(seen) == 2


@pytest.mark.parametrize("kind", METHODS)
def test_who_recorded_before_there_was_an_sdk_is_quick_with_it(kind: InstrumentKind) -> None:
    """The stand-in for an instrument hands on to one that is known."""
    stand_in = metrics._internal._ProxyMeterProvider()
    record = recording(stand_in.get_meter("a"), kind, "b")
    assert is_awaited(record)
    stand_in.on_set_meter_provider(MeterProvider(shutdown_on_exit=False))
    assert not is_awaited(record)
    heard = Heard(record.__self__._real_instrument)  # type: ignore[attr-defined]
    assert (quick(record) is not record) == RECORDERS_ARE_QUICK
    quick(record)(VALUE[kind], clean({"a": "b"}), None)
    assert [dict(each.attributes) for each in heard.measurements] == [{"a": "b"}]


def test_what_was_recorded_early_does_not_stay_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that had no SDK for its first values asks again for the next."""
    stand_in = metrics._internal._ProxyMeterProvider()
    monkeypatch.setattr(metrics, "get_meter", stand_in.get_meter)
    measurements = Measurements(None, scope="a", schema_url="")
    measurements.record(JOBS, 1, clean({"a": "b"}))
    reader = InMemoryMetricReader()
    stand_in.on_set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    assert counted(measurements, reader) == 2
    assert (measurements._quick[JOBS.name] is not measurements.recorder(JOBS)) == RECORDERS_ARE_QUICK


FILTERS = (TraceBasedExemplarFilter, AlwaysOnExemplarFilter, AlwaysOffExemplarFilter)


class OddFilter(TraceBasedExemplarFilter):
    """One of the application's: what is even becomes no exemplar."""

    def should_sample(self, value: float, *others: Any) -> bool:  # type: ignore[override]
        return value % 2 == 1


@pytest.mark.parametrize("is_sampled", [True, False])
@pytest.mark.parametrize("chosen", [*FILTERS, OddFilter])
def test_what_is_recorded_in_a_span_has_the_same_exemplars(chosen: type, is_sampled: bool) -> None:
    """The filter of the provider says which; for the usual one that is asked once for all of a span."""
    about = trace.SpanContext(5, 6, is_remote=False, trace_flags=trace.TraceFlags(int(is_sampled)))
    shown = []
    for context in (
        trace.set_span_in_context(trace.NonRecordingSpan(about), get_current()),
        InSpan(about, get_current()),
    ):
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False, exemplar_filter=chosen())
        measurements = Measurements(provider, scope="a", schema_url="")
        for value in (1, 2):
            measurements.record(JOBS, value, clean({"a": str(value)}), context)
        (resource,) = reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        points: Any = resource.scope_metrics[0].metrics[0].data.data_points
        shown.append(
            [
                (point.value, [(it.value, it.trace_id, it.span_id) for it in point.exemplars])
                for point in points
            ]
        )
    assert shown[0] == shown[1]
    expected = {TraceBasedExemplarFilter: [is_sampled] * 2, OddFilter: [True, False]}
    is_on = expected.get(chosen, [chosen is AlwaysOnExemplarFilter] * 2)
    assert [bool(exemplars) for _, exemplars in shown[0]] == is_on


def test_a_context_in_a_span_is_one_of_opentelemetry() -> None:
    """It has what the other one has, and the span."""
    about = trace.SpanContext(5, 6, is_remote=False)
    found = InSpan(about, Context({"c": 1}))
    assert trace.get_current_span(found).get_span_context() == about
    assert dict(found) == dict(trace.set_span_in_context(trace.get_current_span(found), Context({"c": 1})))
