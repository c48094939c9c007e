"""Gauges that a view makes one: the one that was set last is shown."""

from __future__ import annotations

import math

import pytest
from exported import Application, selecting
from opentelemetry.metrics import Observation


@pytest.mark.parametrize("sdk", [False, True])
@pytest.mark.parametrize("scale", [None, 2])
def test_the_newest_of_several_gauges_is_shown(sdk: bool, scale: float | None) -> None:
    """The SDK reports all of them each time, in the order in which they were seen first."""
    unit = None if scale is None else "x"
    application = Application(selecting("g", name="g", drop=["k"], scale=scale, unit=unit), sdk=sdk)
    gauge = application.meter.create_gauge("g")
    for key, value in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5), ("a", 3.5), ("a", -1), ("c", 6)]:
        gauge.set(value, {"k": key})
        assert application.values("g") == {None: value * (scale or 1)}
    assert application.values("g") == {None: 6 * (scale or 1)}


def test_the_newest_stays_until_another_is_set() -> None:
    """Collections in which nothing is set change nothing, also where a value is not a number."""
    application = Application(selecting("g", drop=["k"]))
    gauge = application.meter.create_gauge("g")
    gauge.set(1, {"k": "a"})
    gauge.set(math.nan, {"k": "b"})
    application.text()
    gauge.set(2, {"k": "a"})
    for _ in range(3):
        assert application.values("g") == {None: 2}


def test_one_of_the_gauges_goes() -> None:
    """Of asynchronous gauges the newest may be gone; then one that is there is shown."""
    application = Application(selecting("g", drop=["k"]))
    observed = {"a": 1, "b": 2}
    application.meter.create_observable_gauge(
        "g", [lambda _: [Observation(value, {"k": key}) for key, value in observed.items()]]
    )
    assert application.values("g") == {None: 2}
    observed["a"] = 3
    assert application.values("g") == {None: 3}
    del observed["a"]
    assert application.values("g") == {None: 2}
    observed["a"] = 3
    assert application.values("g") == {None: 3}
    observed.clear()
    assert application.values("g") == {}


def test_attributes_that_are_alike_are_different_gauges() -> None:
    """1, True and lists have states of their own, as in the SDK."""
    application = Application(selecting("g", drop=["k"]))
    gauge = application.meter.create_gauge("g")
    keys = [1, True, "1", [1, 2], (1.0,)]
    for number, key in enumerate(keys):
        gauge.set(number, {"k": key})  # type: ignore[dict-item]
    application.text()
    for number, key in enumerate(keys):
        gauge.set(10 + number, {"k": key})  # type: ignore[dict-item]
        assert application.values("g") == {None: 10 + number}
