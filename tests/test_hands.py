"""Threads that do one run after the other, and who asks for a run within one of them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest
from servers import wait_for

from otel_prom_bridge import native
from otel_prom_bridge.hands import Hands
from otel_prom_bridge.once import Coalesced

SCRAPE, FLUSH = "b'c_total' in reader.expose().body", "reader.force_flush(30_000)"


def test_who_asks_in_the_thread_outside_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector may call a finalizer that scrapes wherever a thread is: it waits for itself."""
    answers: list[bool] = []
    introduce = native.Thread._introduce

    def introduced(thread: native.Thread) -> None:
        introduce(thread)
        answers.append(work.wait(30))

    monkeypatch.setattr(native.Thread, "_introduce", introduced)
    work = Coalesced(lambda: True, name="test")
    begun = time.monotonic()
    assert work.wait(30)
    assert answers == [False]
    assert time.monotonic() - begun < 15


def test_the_thread_knows_that_it_is_here() -> None:
    """In its run, and no other thread is."""
    hands, found = Hands("test"), list[Any]()
    done = threading.Event()
    hands.do(lambda: found.append(hands.is_here), stays=lambda: 10.0, done=done.set)
    assert done.wait(5)
    assert found == [True]
    assert not hands.is_here
    hands.rest()


def test_without_more_threads_it_is_here_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that asks does the run, and is one of them as long as it does."""

    def start(_: native.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(native.Thread, "start", start)
    hands, found = Hands("test"), list[Any]()

    def run() -> None:
        found.append((hands.is_here, threading.current_thread()))

    hands.do(run, stays=lambda: 10.0, done=lambda: found.append("done"))
    assert found == [(True, threading.current_thread()), "done"]
    assert not hands.is_here


def test_a_thread_that_does_not_begin_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is short, a new thread may end before it begins. One that is late does nothing."""
    begin: list[Any] = []
    monkeypatch.setattr(native._thread, "start_new_thread", lambda function, _: begin.append(function))
    monkeypatch.setattr(native, "_BEGIN_SECONDS", 0.01)
    hands, found = Hands("test"), list[str]()
    hands.do(lambda: found.append("run"), stays=lambda: 10.0, done=lambda: found.append("done"))
    assert found == ["run", "done"]
    begin[0]()
    assert found == ["run", "done"]
    assert not hands.is_here


def test_many_runs_leave_one_thread() -> None:
    """Of runs at the same time, the threads of all but one end; it is known of none that has ended."""
    hands, go_on = Hands("test-hands"), threading.Event()

    def at_once(count: int, seconds: float) -> None:
        ends = [threading.Event() for _ in range(count)]
        for end in ends:
            hands.do(lambda: go_on.wait(5), stays=lambda: seconds, done=end.set)
        go_on.set()
        for end in ends:
            assert end.wait(5)

    def left() -> int:
        return sum(each.name == "test-hands" for each in threading.enumerate())

    at_once(5, 10.0)
    wait_for(lambda: left() == 1, seconds=5, what="the end of four threads")
    at_once(1, 0.0)
    wait_for(lambda: left() == 0, seconds=5, what="the end of the last one")
    at_once(1, 10.0)
    assert len(hands._threads) == 1
    hands.rest()
    wait_for(lambda: left() == 0, seconds=5, what="the end of the last one")


@pytest.mark.parametrize(
    ("door", "asked"),
    [
        ("sdk", SCRAPE),
        ("direct", FLUSH),
        pytest.param("sdk", FLUSH, marks=pytest.mark.slow),
        pytest.param("direct", SCRAPE, marks=pytest.mark.slow),
    ],
)
def test_at_the_end_of_the_interpreter_it_waits_for_no_thread(door: str, asked: str) -> None:
    """Threads that stayed after a scrape run no more when what is left in ``__main__`` is finalized."""
    program = f"""
        import time
        from opentelemetry.metrics import Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from otel_prom_bridge import PrometheusMetricReader
        from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

        if {door!r} == "sdk":
            reader = PrometheusMetricReader(registry=None)
            provider = MeterProvider([reader], shutdown_on_exit=False)
        else:
            reader = DirectReader(registry=None)
            provider = DirectMeterProvider(reader, shutdown_on_exit=False)
        meter = provider.get_meter("test")
        gauge = meter.create_observable_gauge("g", [lambda options: [Observation(1)]])
        counter = meter.create_counter("c")
        counter.add(1)
        reader.expose()

        class Last:
            def __del__(self, reader=reader, clock=time.monotonic, say=print):
                began = clock()
                say({asked}, clock() - began < 2)

        last = Last()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")
