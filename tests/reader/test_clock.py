"""Somebody sets the clock back: what is recorded later is later all the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from exported import Application, in_span
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from oracles import OPENMETRICS
from setups import Setup, values

from otel_prom_bridge import Exemplars

Make = Callable[..., Setup]
HOUR = 3600.0


class Clock:
    """The clock of the machine, as somebody sets it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time_ns(self) -> int:
        """As `time.time_ns`."""
        return time.time_ns() + round(self.seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the SDK reads."""
    found = Clock()
    modules = [module for name, module in sys.modules.items() if name.startswith("opentelemetry.sdk.metrics")]
    patched = [module for module in modules if hasattr(module, "time_ns")]
    assert patched
    for module in patched:
        monkeypatch.setattr(module, "time_ns", found.time_ns)
    return found


@pytest.mark.parametrize("back", [0.5, 5, 9.9, 10.1, HOUR])
def test_current_values_go_on(bridge: Make, clock: Clock, back: float) -> None:
    """Gauges and asynchronous instruments of every kind show what they say now."""
    setup = bridge()
    now = [1]

    def observe(_: object) -> list[Observation]:
        return [Observation(now[0])]

    setup.meter.create_observable_gauge("og", [observe])
    setup.meter.create_observable_counter("oc", [observe])
    setup.meter.create_observable_up_down_counter("ou", [observe])
    gauge, counter = setup.meter.create_gauge("g"), setup.meter.create_counter("c")
    for step in range(1, 5):
        now[0] = step
        gauge.set(step)
        counter.add(1)
        text = setup.text()
        assert {f"{name} {step}" for name in ("og", "oc_total", "ou", "g", "c_total")} <= set(
            text.splitlines()
        )
        clock.seconds -= back


def test_a_series_that_is_gone_is_gone(bridge: Make, clock: Clock) -> None:
    """A collection after the clock was set back is a whole one."""
    setup = bridge()
    seen = ["a", "b"]
    setup.meter.create_observable_gauge("g", [lambda _: [Observation(1, {"k": key}) for key in seen]])
    assert values(setup, "g") == {"a": 1, "b": 1}
    clock.seconds -= 5
    seen.remove("a")
    assert values(setup, "g") == {"b": 1}


def shown(application: Application) -> list[tuple[str, float]]:
    """The exemplars of an exposition: the sample and the exemplar's value."""
    samples = [item for item in application.parsed(OPENMETRICS) if item.exemplar]
    return [(item.name, item.exemplar.value) for item in samples]


def record(instrument: Any, value: float) -> None:
    """Record in a span."""
    with in_span():
        (instrument.add if hasattr(instrument, "add") else instrument.record)(value)


@pytest.mark.parametrize("exponential", [False, True])
def test_a_new_exemplar_is_shown(clock: Clock, exponential: bool) -> None:
    """The newest one is the one that came last, whatever its time says."""
    views = [View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())] * exponential
    application = Application(exemplars=True, beside=views)
    counter = application.meter.create_counter("c")
    histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[100])
    for value in (1, 2):
        record(counter, value)
        record(histogram, 5)
        assert ("c_total", value) in shown(application)
    clock.seconds -= HOUR
    for value in (3, 4):
        record(counter, value)
        record(histogram, 5)
        assert ("c_total", value) in shown(application)
    (shown_at,) = [
        float(item.exemplar.timestamp)
        for item in application.parsed(OPENMETRICS)
        if item.exemplar and item.name == "c_total"
    ]
    assert abs(shown_at - (time.time() - HOUR)) < HOUR / 2  # what is shown is the time that the clock says
    clock.seconds += HOUR
    record(counter, 6)
    assert ("c_total", 6) in shown(application)


@pytest.mark.clocked
def test_a_limit_of_exemplars_is_no_longer_than_it_says(clock: Clock) -> None:
    """Ten in a second: a tenth of a second after the last one the next is taken."""
    application = Application(exemplars=True, hold=Exemplars(per_minute=600))
    counter = application.meter.create_counter("c")
    record(counter, 1)
    assert shown(application) == [("c_total", 1)]
    clock.seconds -= HOUR
    time.sleep(0.15)
    record(counter, 2)
    assert shown(application) == [("c_total", 2)]


@pytest.mark.clocked
def test_a_slow_exemplar_is_held_as_long_as_it_says(clock: Clock) -> None:
    """The slowest one gives way after `hold` seconds, and not when the clock is back where it was."""
    application = Application(exemplars=True, hold=Exemplars(keep="slowest", hold=0.3))
    counter = application.meter.create_counter("c")
    record(counter, 9)
    assert shown(application) == [("c_total", 9)]
    clock.seconds -= HOUR
    record(counter, 2)
    assert shown(application) == [("c_total", 9)]
    time.sleep(0.4)
    record(counter, 3)
    assert shown(application) == [("c_total", 3)]
