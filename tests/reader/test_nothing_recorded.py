"""Scrapes between which nothing was recorded: no thread is woken for them, and all else is as ever."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS

from otel_prom_bridge import ExportView, PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.hands import Hands
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.testing.probe import ALONE


class Recording:
    """A provider with a counter, and the threads in which a collection began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, door: str, **options: Any) -> None:
        more: Any = {"resource": Resource({}), "shutdown_on_exit": False}
        self.reader: Any = (DirectReader if door == "direct" else PrometheusMetricReader)(
            **{**ALONE, **options}
        )
        self.provider: Any = (
            DirectMeterProvider(self.reader, **more)
            if door == "direct"
            else MeterProvider([self.reader], **more)
        )
        self.meter = self.provider.get_meter("test")
        self.counter = self.meter.create_counter("c")
        self.begun = 0
        do, own = Hands.do, self.reader._collections._task._hands

        def counted(hands: Hands, run: Any, **options: Any) -> None:
            self.begun += hands is own  # readers of other tests may collect in the background
            do(hands, run, **options)

        monkeypatch.setattr(Hands, "do", counted)

    def text(self) -> str:
        """What a scrape shows."""
        return self.reader.expose().body.decode()

    def values(self) -> dict[str, float]:
        """What a scrape shows of the counter, and when it began."""
        lines = self.reader.expose(OPENMETRICS).body.decode().splitlines()
        found = dict(line.split(" ") for line in lines if line.startswith("c_"))
        return {name: float(value) for name, value in found.items()}


@pytest.fixture(params=["direct", "sdk"])
def door(request: pytest.FixtureRequest) -> str:
    """Who records."""
    return str(request.param)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch, door: str) -> Recording:
    """A counter, and nothing recorded yet."""
    return Recording(monkeypatch, door)


def test_no_thread_is_woken(recording: Recording) -> None:
    """While nothing was recorded; what is recorded is there in the next scrape."""
    for value in range(1, 4):
        recording.counter.add(1)
        for _ in range(3):
            assert recording.text().endswith(f"c_total {value}\n")
        assert recording.begun == value
    assert recording.reader.is_healthy


def test_a_collection_counts_as_one(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """It is measured and successful like any other, and postpones the next one in the background."""
    recording = Recording(monkeypatch, door, self_metrics=True, collect_interval=60)
    recording.counter.add(1)
    recording.text()
    due = recording.reader._collections.due
    for _ in range(3):
        text = recording.text()
    assert recording.begun == 1
    assert "otel_prom_bridge_last_collection_successful 1\n" in text
    lines = [line for line in text.splitlines() if line.startswith("otel_sdk_metric_reader_collection_")]
    assert [line.rsplit(" ", 1)[1] for line in lines if "_count{" in line] == ["4"]
    assert recording.reader._collections.due > due


def test_metrics_of_which_nothing_was_recorded_are_looked_at_and_not_visited(
    monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """A hundred more of them cost a scrape fewer than two calls each; directly an instrument is asked."""
    recording = Recording(monkeypatch, door, self_metrics=True)
    calls = []
    for first, last in ((0, 10), (10, 110)):
        for number in range(first, last):
            recording.meter.create_counter(f"c.{number}").add(1)
        calls.append(_calls(recording.reader.expose))
    assert calls[0] > 0
    assert calls[1] - calls[0] < 200


def _calls(work: Callable[[], object]) -> int:
    """How many functions of ours are called, once all is made that is made only once."""
    for _ in range(5):
        work()
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_globals["__name__"])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return sum(name.startswith("otel_prom_bridge") for name in called)


def test_callbacks_are_called_in_their_thread(recording: Recording) -> None:
    """An instrument that is observed has something to say at each scrape."""
    called: list[int] = []

    def observe(_: CallbackOptions) -> list[Observation]:
        called.append(threading.get_ident())
        return [Observation(len(called))]

    recording.text()
    recording.meter.create_observable_gauge("g", [observe])
    for number in range(1, 4):
        assert f"g {number}\n" in recording.text()
    assert threading.get_ident() not in called
    assert recording.begun >= 3


def test_code_of_the_application_runs_elsewhere(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """A label that is computed may take its time: it does so in the thread that collects."""
    seen: list[int] = []

    def label(attributes: Any) -> str:
        seen.append(threading.get_ident())
        return "x"

    views = [ExportView(instrument_name="c", compute={"l": label})]
    recording = Recording(monkeypatch, door, views=views)
    for number in range(3):
        recording.counter.add(1, {"number": number})
        recording.text()
        recording.text()
    assert seen
    assert threading.get_ident() not in seen


def test_nobody_waits_for_a_store_that_is_busy(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """What hangs in another collection holds up a scrape for its timeout, and no longer."""
    recording = Recording(monkeypatch, door, scrape_timeout=0.2)
    recording.counter.add(1)
    shown = recording.text()
    hangs, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with recording.reader._pipeline.store._lock:
            hangs.set()
            leave.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    hangs.wait()
    start = time.monotonic()
    assert recording.text() == shown
    assert time.monotonic() - start < 5
    leave.set()
    thread.join()


def test_who_interrupts_a_scrape_waits_for_no_store(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """A signal handler that scrapes is shown what there was, and the scrape that it interrupts goes on."""
    recording = Recording(monkeypatch, door)
    recording.counter.add(1)
    shown = recording.text()
    pipeline, within, seconds = recording.reader._pipeline, list[str](), list[float]()
    expose, hangs, leave = pipeline._exposer.expose, threading.Event(), threading.Event()

    def hang() -> None:
        with pipeline.store._lock:
            hangs.set()
            leave.wait(10)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(pipeline._exposer, "expose", expose)
        thread.start()
        hangs.wait()
        start = time.monotonic()
        within.append(recording.text())
        seconds.append(time.monotonic() - start)
        return expose(*arguments, **options)

    thread = threading.Thread(target=hang)
    monkeypatch.setattr(pipeline._exposer, "expose", interrupted)
    assert recording.text() == shown
    leave.set()
    thread.join()
    assert within == [shown]
    assert seconds[0] < 2


def test_series_expire_and_come_back(monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """Scrapes of nothing let the time pass: a series goes, and begins after the last of them.

    Whenever it is time to look for what expired, a thread does that.
    """
    with Clock().standing() as clock:
        recording = Recording(monkeypatch, door, expire_after=15, created_timestamps=True)
        recording.counter.add(1)
        first = recording.values()
        for _ in range(4):
            clock.advance(10)
            text = recording.text()
        assert text == ""
        assert recording.begun == 5
        recording.counter.add(2)
        assert recording.values() == {"c_total": 2, "c_created": first["c_created"] + 40}


@pytest.mark.parametrize("expire_after", [15, None])
def test_who_scrapes_forgets_nothing(
    monkeypatch: pytest.MonkeyPatch, door: str, expire_after: float | None
) -> None:
    """What interrupts a scrape (a timeout of the host, Ctrl-C) must not come between two steps of that."""
    with Clock().standing() as clock:
        recording = Recording(monkeypatch, door, expire_after=expire_after)
        recording.counter.add(1)
        recording.text()
        leaving, forgot_in = recording.reader._pipeline.store._leaving, list[int]()
        forget = leaving._forget

        def watched(*arguments: Any, **options: Any) -> None:
            forgot_in.append(threading.get_ident())
            forget(*arguments, **options)

        monkeypatch.setattr(leaving, "_forget", watched)
        for _ in range(3):
            clock.advance(400)
            recording.text()
    assert forgot_in
    assert threading.get_ident() not in forgot_in


@pytest.mark.parametrize("door", ["direct"])  # with the SDK it does not change
def test_a_resource_that_changes_is_shown(recording: Recording) -> None:
    """After a fork, say: it is taken in by the thread, as a filter of the application may read it."""
    recording.counter.add(1)
    recording.text()
    recording.provider.resource = Resource({"k": "v"})
    assert recording.begun == 1
    recording.text()
    assert recording.begun == 2
    recording.text()
    assert recording.begun == 2


def test_what_goes_wrong_in_it_harms_no_scrape(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is left to the collection in its thread, which says so."""
    recording.counter.add(1)
    shown = recording.text()
    store = recording.reader._pipeline.store
    monkeypatch.setattr(store, "_in_turn", lambda *_, **__: 1 / 0)
    assert recording.text() == shown
    assert recording.begun == 2
    assert not recording.reader.is_healthy


def test_a_time_limit_of_the_host_ends_the_scrape(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler raises it wherever the thread is, and it may be an exception like any other."""

    class LimitError(Exception):
        pass

    def interrupted() -> bool:
        raise LimitError

    recording.counter.add(1)
    shown = recording.text()
    with monkeypatch.context() as patch:
        patch.setattr(recording.reader._collections, "_has_nothing", interrupted)
        with pytest.raises(LimitError):
            recording.text()
    assert recording.text() == shown


def test_while_a_collection_goes_on_it_is_shared(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has taken already is not shown yet, so a scrape waits for it."""
    recording.counter.add(1)
    recording.text()
    pipeline, took, go_on = recording.reader._pipeline, threading.Event(), threading.Event()
    take = pipeline.take

    def slow(source: Any, batch: Any, **options: Any) -> None:
        taken = list(batch)
        took.set()
        go_on.wait(10)
        take(source, iter(taken), **options)

    monkeypatch.setattr(pipeline, "take", slow)
    recording.counter.add(1)
    first = threading.Thread(target=recording.text)
    first.start()
    took.wait(10)
    texts: list[str] = []
    second = threading.Thread(target=lambda: texts.append(recording.text()))
    second.start()
    second.join(0.05)
    assert texts == []
    go_on.set()
    second.join(10)
    first.join(10)
    assert texts[0].endswith("c_total 2\n")


def test_a_gauge_of_the_sdk_is_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands over a gauge each time, so there is something to collect."""
    recording = Recording(monkeypatch, "sdk")
    recording.meter.create_gauge("g").set(1)
    for number in range(1, 4):
        assert recording.text().endswith("g 1\n")
        assert recording.begun == number


def test_while_the_application_collects_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken what was recorded, and not handed it over yet."""
    recording = Recording(monkeypatch, "sdk", scrape_timeout=0.2)
    recording.counter.add(1)
    shown, begun = recording.text(), recording.begun
    collections, took, go_on = recording.reader._collections, threading.Event(), threading.Event()
    guards = collections._guards

    def collect() -> None:
        took.set()
        go_on.wait(10)

    by_hand = threading.Thread(target=collections.ordered(collect))
    collections._guards = guards
    by_hand.start()
    took.wait(10)
    found = recording.reader.expose()
    assert (found.body.decode(), found.complete, recording.begun) == (shown, False, begun + 1)
    go_on.set()
    by_hand.join(10)
