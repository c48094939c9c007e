"""The thread of callbacks: who gets the same one again, who gets a new one, and when it ends."""

from __future__ import annotations

import contextvars
import gc
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.resources import Resource
from servers import wait_for

from otel_prom_bridge import callbacks as module
from otel_prom_bridge import native
from otel_prom_bridge.callbacks import Callbacks
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.testing.probe import ALONE

NAME = "otel-prom-bridge-callbacks"


_before: set[threading.Thread] = set()  # of other tests, whose readers nobody has shut down


@pytest.fixture(autouse=True)
def others() -> None:
    """Threads that other tests have left are not counted."""
    _before.clear()
    _before.update(threads())


def threads() -> list[threading.Thread]:
    """Those that there are for callbacks."""
    found = threading.enumerate()
    return [thread for thread in found if thread.name == NAME and thread not in _before]


class Asked:
    """A callback that keeps in which threads it was called."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []  # themselves, as their numbers are given again
        self.error: BaseException | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()

    def observe(self, _: CallbackOptions) -> tuple[Sequence[Any], BaseException | None]:
        self.threads.append(threading.current_thread())
        self.goes_on.wait(10)
        return [len(self.threads)], self.error

    @property
    def different(self) -> int:
        """How many threads these were."""
        return len(set(map(id, self.threads)))


@pytest.fixture
def callbacks() -> Iterator[Callbacks[Asked]]:
    """Callbacks whose thread does not outlive the test."""
    made = Callbacks[Asked]()
    yield made
    made.rest()
    wait_for(lambda: not threads(), seconds=5, what="the end of all threads")


def test_the_thread_stays(callbacks: Callbacks[Asked]) -> None:
    """It is the same for one run after the other, and there is one only."""
    one, other = Asked(), Asked()
    for number in range(1, 6):
        answers = callbacks.ask([one, other], 5)
        assert [answer.points for answer in answers] == [[number], [number]]
    assert one.different == 1
    assert one.threads == other.threads
    assert threads() == one.threads[:1]
    assert threading.current_thread() not in one.threads


def test_a_callback_that_raises_gets_a_new_thread(callbacks: Callbacks[Asked]) -> None:
    """A connection that broke may be kept in the thread, which ends."""
    asked = Asked()
    callbacks.ask([asked], 5)
    asked.error = OSError()
    assert callbacks.ask([asked, Asked()], 5)[0].error is asked.error
    assert asked.different == 1
    asked.error = None
    callbacks.ask([asked], 5)
    callbacks.ask([asked], 5)
    assert asked.different == 2
    wait_for(lambda: threads() == asked.threads[-1:], seconds=5, what="the end of the first thread")


def test_a_callback_that_hangs_keeps_its_thread_alone(callbacks: Callbacks[Asked]) -> None:
    """The others have another one from then on, and it is called again in that when it has returned."""
    slow, quick = Asked(), Asked()
    callbacks.ask([slow, quick], 5)
    slow.goes_on.clear()
    for _ in range(3):
        answers = {answer.callback: answer for answer in callbacks.ask([slow, quick], 0.05)}
        assert answers[slow].is_late
        assert answers[quick].points == [len(quick.threads)]
    assert (slow.different, quick.different, len(threads())) == (1, 2, 2)
    slow.goes_on.set()
    wait_for(lambda: len(threads()) == 1, seconds=5, what="the end of the thread that was given up")
    callbacks.ask([slow, quick], 5)  # with what it said in the end
    callbacks.ask([slow, quick], 5)
    assert slow.threads[-1] is quick.threads[-1]
    assert (slow.different, quick.different) == (2, 2)


def test_it_stays_for_a_time(callbacks: Callbacks[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    """What callbacks have in their thread gets no older than that."""
    monkeypatch.setattr(module, "CALLBACKS_SECONDS", 0.05)
    asked = Asked()
    callbacks.ask([asked], 5)
    time.sleep(0.06)
    callbacks.ask([asked], 5)
    assert asked.different == 2
    wait_for(lambda: asked.threads[0] not in threads(), seconds=5, what="the end of the first thread")


def test_it_ends_even_if_nobody_asks_again(
    callbacks: Callbacks[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What callbacks have in their thread outlives no scraper that has gone."""
    monkeypatch.setattr(module, "CALLBACKS_SECONDS", 0.05)
    asked = Asked()
    callbacks.ask([asked], 5)
    wait_for(lambda: not threads(), seconds=5, what="the end of the thread")
    callbacks.ask([asked], 5)
    assert asked.different == 2


def test_each_run_has_a_context_of_its_own() -> None:
    """What a callback sets in it is not there in the next run, as in a new thread."""
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    class Setting(Asked):
        def observe(self, options: CallbackOptions) -> tuple[Sequence[Any], BaseException | None]:
            seen.append(variable.get())
            variable.set(1)
            return super().observe(options)

    callbacks, asked = Callbacks[Asked](), Setting()
    variable.set(2)
    for _ in range(3):
        callbacks.ask([asked], 5)
    callbacks.rest()
    assert (seen, asked.different) == ([0, 0, 0], 1)


def test_after_the_end_no_thread_stays(callbacks: Callbacks[Asked]) -> None:
    """Who asks nevertheless gets an answer, in a thread that ends."""
    asked = Asked()
    callbacks.ask([asked], 5)
    for _ in range(2):
        callbacks.rest()
        wait_for(lambda: not threads(), seconds=5, what="the end of the thread")
        assert callbacks.ask([asked], 5)[0].points == [len(asked.threads)]


def test_an_end_in_the_middle_of_a_run(callbacks: Callbacks[Asked]) -> None:
    """The run ends, and its thread with it."""
    asked = Asked()
    asked.goes_on.clear()
    asking = threading.Thread(target=callbacks.ask, args=([asked], 5))
    asking.start()
    wait_for(lambda: bool(asked.threads), seconds=5, what="the callback")
    callbacks.rest()
    asked.goes_on.set()
    asking.join(5)
    wait_for(lambda: not threads(), seconds=5, what="the end of the thread")


def test_without_more_threads_they_are_called_here(
    callbacks: Callbacks[Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an interpreter that ends."""

    def start(_: native.Thread) -> None:
        raise RuntimeError

    monkeypatch.setattr(native.Thread, "start", start)
    asked = Asked()
    for number in (1, 2):
        assert callbacks.ask([asked], 5)[0].points == [number]
    assert asked.threads == [threading.current_thread()] * 2


def test_a_forked_child_has_a_thread_of_its_own(callbacks: Callbacks[Asked]) -> None:
    """That of the parent does not exist there, and goes on in the parent."""
    asked = Asked()
    callbacks.ask([asked], 5)
    pid = os.fork()
    if pid == 0:
        callbacks.renew()
        os._exit(0 if callbacks.ask([asked], 5)[0].points == [2] and asked.different == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    callbacks.ask([asked], 5)
    assert asked.different == 1


def test_the_reader_ends_it() -> None:
    """Its shutdown, and without one nothing keeps the reader in memory but a run that goes on."""
    reader = DirectReader(**ALONE)
    provider = DirectMeterProvider(reader, resource=Resource({}), shutdown_on_exit=False)
    provider.get_meter("test").create_observable_gauge("g", [lambda _: [Observation(1)]])
    for _ in range(3):
        assert b"g 1\n" in reader.expose().body
        assert len(threads()) == 1
    reader.shutdown()
    wait_for(lambda: not threads(), seconds=5, what="the end of the thread")
    known = weakref.ref(reader)
    del reader, provider
    wait_for(lambda: gc.collect() >= 0 and known() is None, seconds=5, what="the end of the reader")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_child_that_a_callback_forks_ends_well() -> None:
    """There the thread that has forked is the main thread, and in the parent it is shown as before."""
    codes: list[int | None] = []
    shown: list[bool] = []

    def work() -> None:
        before = threading.current_thread()
        process = multiprocessing.get_context("fork").Process(target=int)
        process.start()
        process.join(30)
        codes.append(process.exitcode)
        shown.append(before in threading.enumerate() and threading.current_thread() is before)

    thread = native.Thread(work, name=NAME)
    thread.start()
    thread.join(60)
    assert codes == [0]
    assert shown == [True]
