"""Who puts a function in the place of one of the SDK's gets all that is recorded from then on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.metrics import Counter, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics._internal import instrument as instruments_of_sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from setups import RECORDERS_ARE_QUICK

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.genai.attributed import attributed
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.quick import InSpan

JOBS = Metric("gen_ai.jobs", "counter", "", "")
SPAN = InSpan(trace.SpanContext(5, 6, is_remote=False, trace_flags=trace.TraceFlags(1)), get_current())


class Setup:
    """A recorder, a reader of ours and one of the SDK."""

    def __init__(self, **options: Any) -> None:
        self.other = InMemoryMetricReader()
        self.reader = PrometheusMetricReader(registry=None, self_metrics=False, **options)
        self.provider = MeterProvider([self.reader, self.other], shutdown_on_exit=False)
        self.consumer: Any = self.provider._measurement_consumer
        self.measurements = Measurements(self.provider, scope="a", schema_url="")
        self.attributes = clean({"a": "b"})  # as recorders keep them

    def record(self) -> None:
        """Count a job in a span."""
        self.measurements.record(JOBS, 1, self.attributes, SPAN)

    def shown(self, label: str) -> dict[str, int]:
        """The jobs by what this label says."""
        found = {}
        for line in self.reader.expose().body.decode().splitlines():
            if line.startswith("gen_ai_jobs_total{"):
                said = line.partition(f'{label}="')[2].partition('"')[0]
                found[said] = int(float(line.rpartition("} ")[2].split()[0]))
        return found

    def exemplars(self) -> int:
        """How many exemplars the reader of the SDK has."""
        (resource,) = self.other.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        points: Any = resource.scope_metrics[0].metrics[0].data.data_points
        return sum(len(point.exemplars) for point in points)


@pytest.fixture
def setup() -> Iterator[Setup]:
    """One of each."""
    made = Setup()
    yield made
    made.provider.shutdown()


def put(attributes: Any, said: str | None) -> dict[str, Any]:
    """A tenant into these attributes."""
    if said is not None:
        attributes["tenant"] = said
    return attributes  # type: ignore[no-any-return]


def in_place(measurement: Any, said: str | None) -> Any:
    """By a change of the attributes themselves."""
    put(measurement.attributes, said)
    return measurement


def replaced(measurement: Any, said: str | None) -> Any:
    """By another measurement."""
    return dataclasses.replace(measurement, attributes=put({**measurement.attributes}, said))


def copied(measurement: Any, said: str | None) -> Any:
    """By a copy, which is then given the attributes."""
    result = copy.copy(measurement)
    object.__setattr__(result, "attributes", put({**measurement.attributes}, said))
    return result


@pytest.mark.parametrize("change", [in_place, replaced, copied])
@pytest.mark.parametrize("recorded_before", [0, 2])
def test_a_consumer_that_adds_an_attribute(
    change: Callable[[Any, str | None], Any], recorded_before: int, setup: Setup
) -> None:
    """The series are those of the attributes that it hands on, whenever it was wrapped."""
    for _ in range(recorded_before):
        setup.record()
    usual, tenants = setup.consumer.consume_measurement, iter([None, "x", "y", "y"])
    setup.consumer.consume_measurement = lambda measurement: usual(change(measurement, next(tenants)))
    for _ in range(4):
        setup.record()
    assert setup.shown("tenant") == {"": 1 + recorded_before, "x": 1, "y": 2}
    assert setup.attributes == {"a": "b"}


def test_a_consumer_that_takes_an_attribute_away(setup: Setup) -> None:
    """No one is shown for whom it was hidden."""
    setup.record()
    usual = setup.consumer.consume_measurement

    def redacting(measurement: Any) -> None:
        measurement.attributes["a"] = "hidden"
        usual(measurement)

    setup.consumer.consume_measurement = redacting
    for _ in range(3):
        setup.record()
    assert setup.shown("a") == {"b": 1, "hidden": 3}


def test_another_consumer(setup: Setup) -> None:
    """An instrument may be given one later."""
    setup.record()
    seen: list[Any] = []

    class Another:
        """Keeps what it gets."""

        def consume_measurement(self, measurement: Any) -> None:
            seen.append(measurement)

    setup.measurements.recorder(JOBS).__self__._measurement_consumer = Another()  # type: ignore[attr-defined]
    setup.record()
    assert [(type(each), dict(each.attributes)) for each in seen] == [
        (instruments_of_sdk.Measurement, {"a": "b"})
    ]


@pytest.mark.parametrize("place", [lambda provider: provider._sdk_config, None])
def test_a_filter_that_comes_later(place: Callable[[Any], Any] | None, setup: Setup) -> None:
    """It decides from then on, and may change what it is asked about."""
    setup.record()

    def should_sample(value: float, when: int, attributes: Any, context: Any) -> bool:
        attributes["asked"] = "yes"
        return False

    config = setup.consumer._sdk_config
    if place is None:
        config.exemplar_filter.should_sample = should_sample
    else:
        chosen = TraceBasedExemplarFilter()
        chosen.should_sample = should_sample  # type: ignore[method-assign]
        config.exemplar_filter = chosen
    assert setup.exemplars() == 1
    for _ in range(2):
        setup.record()
    assert setup.exemplars() == 0
    assert setup.shown("asked") == {"": 1, "yes": 2}


@pytest.mark.parametrize("recording", [MeterProvider, DirectMeterProvider])
def test_an_instrument_that_was_patched_before(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change the attributes of one recording, and no more than that."""
    is_direct = recording is DirectMeterProvider
    provider = recording(DirectReader(registry=None)) if is_direct else recording(shutdown_on_exit=False)
    counter, seen = type(provider.get_meter("a").create_counter("a")), []

    def add(self: Any, amount: float, attributes: Any, context: Any) -> None:
        seen.append({**attributes})
        put(attributes, "x")

    monkeypatch.setattr(counter, "add", add)
    measurements, attributes = Measurements(provider, scope="a", schema_url=""), clean({"a": "b"})
    for _ in range(2):
        measurements.record(JOBS, 1, attributes)
    assert seen == [{"a": "b"}] * 2
    provider.shutdown()


@pytest.mark.skipif(not RECORDERS_ARE_QUICK, reason="recorders keep the method that they found")
@pytest.mark.parametrize("is_of_one", [True, False])
def test_an_instrument_that_is_patched_later(
    is_of_one: bool, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class, or the one instrument."""
    setup.record()
    record: Any = setup.measurements.recorder(JOBS)
    patched, usual = record.__self__ if is_of_one else type(record.__self__), record.__func__
    assert isinstance(record.__self__, Counter)

    def add(amount: float, attributes: Any, context: Any) -> None:
        usual(record.__self__, amount, put(attributes, "x"), context)

    monkeypatch.setattr(patched, "add", add if is_of_one else lambda _, *arguments: add(*arguments))
    for _ in range(2):
        setup.record()
    assert setup.shown("tenant") == {"": 1, "x": 2}
    assert setup.attributes == {"a": "b"}


def test_what_the_context_says_is_shown_by_itself() -> None:
    """Labels of the context are no part of what recorders know their series by."""
    setup = Setup(context_labels={"team": "app.team"})
    setup.record()
    for team in ("x", "y", "y"):
        with attributed(team=team):
            setup.measurements.record(JOBS, 1, setup.attributes)
    assert setup.shown("team") == {"": 1, "x": 1, "y": 2}
    setup.provider.shutdown()
