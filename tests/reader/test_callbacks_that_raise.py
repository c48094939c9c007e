"""A callback that raises takes nothing away: what it would have said is shown as it was known last."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from exported import Application
from opentelemetry.metrics import CallbackOptions, Observation
from setups import Setup, values

from otel_prom_bridge import ExportView
from otel_prom_bridge.testing import Clock

Make = Callable[..., Setup]


class Queues:
    """A callback: the depths of some queues, and after which of them it raises."""

    def __init__(self, **depths: int) -> None:
        self.depths = depths
        self.raises_after: int | None = None

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        """As a callback."""
        for number, (queue, depth) in enumerate(self.depths.items()):
            if number == self.raises_after:
                break
            yield Observation(depth, {"queue": queue})
        if self.raises_after is not None:
            raise RuntimeError("the queue is gone")


def shown(setup: Setup | Application, name: str = "depth") -> dict[str, float]:
    """The values of a metric by its label."""
    return values(setup, name, label="queue")


@pytest.mark.parametrize("self_metrics", [True, False])
@pytest.mark.parametrize(
    "kind",
    ["create_observable_gauge", "create_observable_up_down_counter", "create_observable_counter"],
)
def test_what_it_said_last_is_shown_until_it_works_again(bridge: Make, kind: str, self_metrics: bool) -> None:
    """Of asynchronous instruments of every kind; afterwards what it does not mention is gone, as always."""
    setup = bridge(self_metrics=self_metrics)
    queues = Queues(a=1, b=2)
    getattr(setup.meter, kind)("depth", [queues])
    name = "depth_total" if kind == "create_observable_counter" else "depth"
    assert shown(setup, name) == {"a": 1, "b": 2}
    queues.raises_after = 0
    for _ in range(3):
        assert shown(setup, name) == {"a": 1, "b": 2}
    queues.raises_after = None
    del queues.depths["b"]
    queues.depths["a"] = 3
    assert shown(setup, name) == {"a": 3}


def test_what_it_said_before_it_raised_is_new(bridge: Make) -> None:
    """The rest is as it was, and other instruments are not touched: what they do not say any more is gone."""
    setup = bridge()
    queues, others = Queues(a=1, b=2), Queues(a=1, b=2)
    setup.meter.create_observable_gauge("depth", [queues])
    setup.meter.create_observable_gauge("others", [others])
    shown(setup)
    queues.depths = {"a": 5, "c": 6, "b": 7}
    queues.raises_after = 2
    others.depths = {"a": 2}
    assert shown(setup) == {"a": 5, "c": 6, "b": 2}
    assert shown(setup, "others") == {"a": 2}


def test_a_sum_of_several_is_not_that_of_some() -> None:
    """What a view adds up stays as it was as long as a part of it is missing, so a total does not fall."""
    merged = Application(ExportView(instrument_name="depth", keep=[]))
    queues = Queues(a=1, b=2, c=3)
    merged.meter.create_observable_counter("depth", [queues])
    assert shown(merged, "depth_total") == {"-": 6}
    queues.depths = {"a": 10, "b": 20, "c": 30}
    queues.raises_after = 2
    assert shown(merged, "depth_total") == {"-": 6}
    queues.raises_after = 3  # it raises when it has said everything
    assert shown(merged, "depth_total") == {"-": 60}
    queues.depths = {"a": 10, "b": 20, "d": 1, "c": 30}
    queues.raises_after = 3  # as many as before, but of others
    assert shown(merged, "depth_total") == {"-": 60}
    queues.raises_after = None
    queues.depths = {"a": 11}
    assert shown(merged, "depth_total") == {"-": 11}


def test_what_is_kept_gives_its_place_to_what_is_there(bridge: Make) -> None:
    """At a limit what only was there makes room; it stays as long as nobody needs its place."""
    setup = bridge(max_series_per_metric=2)
    queues = Queues(a=1, b=2)
    setup.meter.create_observable_gauge("depth", [queues])
    shown(setup)
    queues.depths = {"a": 5}
    queues.raises_after = 1
    assert shown(setup) == {"a": 5, "b": 2}
    for name in ("c", "d", "e"):  # as a callback that always raises, for processes that come and go
        queues.depths = {name: 3, f"{name}2": 4}
        queues.raises_after = 2
        assert shown(setup) == {name: 3, f"{name}2": 4}


def test_what_it_said_last_is_gone_after_five_minutes(clock: Clock) -> None:
    """Neither a series of its own nor one that something is missing of stays for ever."""
    plain, merged = Application(), Application(ExportView(instrument_name="depth", keep=[]))
    queues = Queues(a=1, b=2)
    for application in (plain, merged):
        application.meter.create_observable_gauge("depth", [queues])
        shown(application)
    queues.raises_after = 1
    for seconds in (10, 200, 89):
        clock.now += seconds
        assert shown(plain) == {"a": 1, "b": 2}
        assert shown(merged) == {"-": 2}
    clock.now += 80
    assert shown(plain) == {"a": 1}
    shown(merged)
    assert shown(merged) == {"-": 1}


def test_an_answer_with_a_callback_that_raised_is_not_complete(bridge: Make) -> None:
    """So that no endpoint gives it again when the callback works."""
    setup = bridge()
    queues = Queues(a=1)
    setup.meter.create_observable_gauge("depth", [queues])
    assert setup.reader.expose().complete
    queues.raises_after = 0
    assert not setup.reader.expose().complete
    queues.raises_after = None
    assert setup.reader.expose().complete


def test_a_collection_of_the_applications_own_takes_nothing_away(bridge: Make) -> None:
    """Nobody knows which callbacks raise in a ``collect()`` by hand; the next scrape says what is gone."""
    setup = bridge()
    queues = Queues(a=1, b=2)
    setup.meter.create_observable_gauge("depth", [queues])
    setup.meter.create_counter("orders").add(1)
    shown(setup)
    queues.raises_after = 0
    setup.meter.create_counter("orders").add(1)
    setup.reader.collect()
    assert shown(setup) == {"a": 1, "b": 2}
    queues.raises_after = None
    del queues.depths["b"]
    setup.reader.collect()
    assert shown(setup) == {"a": 1}
