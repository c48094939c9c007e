"""What a signal handler may do: shut down whatever it interrupts, wherever that happens to be."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from otel_prom_bridge.background import Background
from otel_prom_bridge.shutdown import Shutdown


class Item:
    """Something to collect that is never due."""

    due = time.monotonic() + 3600

    def start(self) -> None:
        raise AssertionError("not due")


@contextmanager
def interrupted(handler: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """The handler runs every 0.2 ms of this thread's time; gives how often it did."""
    times = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        handler()

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002, 0.0002)
    try:
        yield lambda: times
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_hooks_come_and_go_within_hooks() -> None:
    """A handler that adds a hook and takes it back does not wait for what it interrupted."""
    shutdown = Shutdown()

    def again() -> None:
        shutdown.add(list)()

    with interrupted(again) as times:
        end = time.monotonic() + 30
        while times() < 100 and time.monotonic() < end:
            again()
    assert times() >= 100
    assert shutdown._hooks == []


def test_readers_come_and_go_in_the_background() -> None:
    """The same for what is collected in the background."""
    background = Background()
    item = Item()

    def again() -> None:
        other = Item()
        background.add(other)
        background.discard(other)

    background.add(item)
    with interrupted(again) as times:
        end = time.monotonic() + 30
        while times() < 100 and time.monotonic() < end:
            again()
    assert times() >= 100
    assert list(background._everyone) == [item]


def test_a_hook_that_is_added_too_late_is_called() -> None:
    """Also if the shutdown begins, in a handler, just when the hook is added."""
    calls: list[str] = []
    shutdown = Shutdown()
    shutdown.add(lambda: calls.append("first"))
    shutdown.begin()
    shutdown.add(lambda: calls.append("late"))
    shutdown.begin()
    assert calls == ["first", "late"]
