"""The end of a process by SIGTERM, which runs nothing that is registered with ``atexit``.

| what handles SIGTERM | what is done |
|---|---|
| nothing | What is left is pushed, in two seconds at most. Then the process ends from the signal. |
| the application | Its handler is called, and pushes follow each other: nobody says when it ends. |
| it is ignored, or code in C handles it | nothing |

A handler in Python runs when the main thread comes to its next instruction. So a process whose main thread
hangs in C would end by SIGKILL only; that is why there is an option against it. The main thread also goes on
waiting in a system call that the signal does not interrupt:

- The signal comes just before the system call begins. Nothing that Python offers tells of it.
- Another thread takes it. Linux wakes the main thread, and gives the signal to whichever thread is first, and
  one that starts a thread looks for signals then. So pushes start none.

The main thread may have been interrupted where it holds a lock that the push needs: while it records, in the
log, or while it forks. Then the handler comes back when that is done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from types import FrameType
from typing import Any, Protocol

from otel_prom_bridge.forks import is_forking
from otel_prom_bridge.interrupts import outwards
from otel_prom_bridge.native import Thread, sleep

_SECONDS = 2.0
# Functions of these modules hold locks only for a moment.
_BUSY = (
    "logging",
    "opentelemetry.sdk.metrics",
    "otel_prom_bridge.direct",
    "otel_prom_bridge.native",
    "otel_prom_bridge.once",
    "otel_prom_bridge.push",
    "otel_prom_bridge.pipeline.background",
    "otel_prom_bridge.sdk",
)


class Unpushed(Protocol):
    """Something that has to be pushed before the process ends."""

    def end(self, seconds: float, *, here: bool) -> None:
        """Push it now; nothing comes after it."""
        ...

    def hurry(self) -> None:
        """Push again and again from now on."""
        ...


_everyone: weakref.WeakSet[Unpushed] = weakref.WeakSet()
_ending_since: float | None = None


def watch(pushing: Unpushed) -> None:
    """Push this before the process ends from SIGTERM."""
    _everyone.add(pushing)
    install()


def is_in_place() -> bool:
    """Whether there is nothing to install: a handler of ours is called, or none that Python has a say in."""
    found = signal.getsignal(signal.SIGTERM)
    return found is None or found is signal.SIG_IGN or isinstance(found, _Handler)


def install() -> None:
    """Have a handler of ours called before the present one. It does nothing but in the main thread.

    Servers replace handlers after a fork, so it may be called again at any time.
    """
    if threading.current_thread() is threading.main_thread() and not is_in_place():
        with contextlib.suppress(ValueError):  # a sub-interpreter
            signal.signal(signal.SIGTERM, _Handler(signal.getsignal(signal.SIGTERM)))


def has_come() -> bool:
    """Whether the application knows of a SIGTERM that came before our handler, and will die from it.

    uvicorn handles the signal while it imports the application in a worker. Then it starts and stops the
    server, puts the default handler back, and raises the signal again.
    """
    found = signal.getsignal(signal.SIGTERM)
    before = found._before if isinstance(found, _Handler) else found
    with contextlib.suppress(Exception):  # anything may handle a signal
        return getattr(getattr(before, "__self__", None), "should_exit", False) is True
    return False


class _Handler:
    """Handles SIGTERM before what did so until now. There may be several in a process, for different ones."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._before is not signal.SIG_DFL or signal.getsignal(signal.SIGTERM) is not self:
            # The application decides; also where its handler came after ours, and calls ours.
            _hurry()
            if callable(self._before):
                self._before(number, frame)
        elif os.getpid() == 1:  # the system sends no signal to the first process that it does not handle
            _hurry()
        else:
            _end(frame)


def _hurry() -> None:
    for pushing in list(_everyone):
        pushing.hurry()


def _end(frame: FrameType | None) -> None:
    global _ending_since
    if _ending_since is None:
        _ending_since = time.monotonic()
        busy = _outermost_busy(frame)
        if busy is None and not is_forking():
            _push_and_die()
        else:
            _when_it_is_done(busy)
    elif time.monotonic() - _ending_since > _SECONDS:
        _die()


def _outermost_busy(frame: FrameType | None) -> FrameType | None:
    found = None
    for each in outwards(frame):
        if each.f_globals.get("__name__", "").startswith(_BUSY):
            found = each
    return found


def _when_it_is_done(busy: FrameType | None) -> None:
    process = os.getpid()

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal busy
        if event == "return" and frame is busy:
            busy = None
        if os.getpid() != process:  # a child, which is not meant
            sys.setprofile(None)
        elif event == "return" and busy is None and not is_forking():
            sys.setprofile(None)
            _push_and_die()

    try:
        Thread(_send_again, name="otel-prom-bridge-sigterm").start()
    except RuntimeError:  # there can be no more threads
        _die()
    sys.setprofile(profile)


def _send_again() -> None:
    sleep(_SECONDS + 0.1)
    os.kill(os.getpid(), signal.SIGTERM)


def _push_and_die() -> None:
    try:
        for pushing in list(_everyone):
            pushing.end(_SECONDS, here=True)
    finally:
        _die()


def _die() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _after_fork() -> None:
    global _ending_since
    _ending_since = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
