"""What must not be half done when the process forks.

A forked child has the memory of its parent and one of its threads. If another thread was in the middle of a
collection, locks of the SDK and of the store are taken in the child, and nobody is there to release them, so
that its first collection would hang. Therefore a fork waits until what goes on is done, and nothing new
begins meanwhile. It waits for a second at most, because a callback may hang, and only once for the same one.

There are locks of ours that no fork waits for, for example while somebody verifies a password. Those are made
anew in the child. Python code may run there before that: signal handlers, finalizers and hooks of others.
What records there looks for itself whether this is another process (:class:`Process`).
"""

from __future__ import annotations

# The SDK's hook in a forked child waits for a lock of this module, which the module's own hook renews. That
# hook has to be registered before the SDK's is, so before there is a MeterProvider, or os.fork() never
# returns.
import concurrent.futures.thread  # noqa: F401
import os
import threading
import time
import weakref
from os import getpid
from types import TracebackType
from typing import Any, Protocol

from otel_prom_bridge.native import RLock, get_ident, sleep

_SECONDS, _POLL_SECONDS = 1.0, 0.001


class _Doing:
    """Something that goes on in a thread."""

    is_hopeless = False  # a fork has waited for it in vain


class _Held(threading.local):
    gate = False


_doing: dict[int, _Doing] = {}  # by thread
# Held by a thread that forks. Re-entrant: a signal handler may come in between.
_gate = RLock()
_forking: set[int] = set()  # the threads that do
_held = _Held()


class whole:  # noqa: N801 - reads as a verb: with whole()
    """What is done within is done before a fork or after it, and in the parent only."""

    _thread: int | None = None  # the thread in which this began; None within something that is whole already

    def __enter__(self) -> None:
        thread = get_ident()
        if thread in _doing:
            return
        # Said first, and then looked for a fork, which does it the other way round. With the gate held here,
        # a signal handler that scrapes would wait for a thread that waits for the gate.
        doing = _doing[thread] = _Doing()
        while _forking - {thread}:
            del _doing[thread]
            with _gate:
                _doing[thread] = doing
        self._thread = thread

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            _doing.pop(self._thread, None)


def is_forking() -> bool:
    """Whether this thread is forking: whoever interrupts it must not wait for what is ``whole``."""
    return get_ident() in _forking


class Renewed(Protocol):
    """Something with locks."""

    def renew(self) -> None:
        """Make new ones; what other threads were doing is over."""
        ...


_renewed: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_child(owner: Renewed) -> None:
    """Call its ``renew()`` in every forked child, as long as it is there."""
    _renewed.add(owner)


def renew_lock(owner: Any, name: str = "_lock") -> bool:
    """In a forked child: make a new lock if a thread that is gone holds it; whether one did."""
    lock = getattr(owner, name, None)
    if lock is None or not hasattr(lock, "acquire"):
        return False
    if lock.acquire(blocking=False):
        lock.release()
        return False
    setattr(owner, name, RLock())
    return True


class Process:
    """The process in which something was made, or was last renewed."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = getpid()

    def is_another(self) -> bool:
        """Whether this is a child of it that was forked since."""
        return getpid() != self._pid


def _before() -> None:
    deadline = time.monotonic() + _SECONDS
    _held.gate = _gate.acquire(timeout=_SECONDS)
    _forking.add(get_ident())
    for thread, doing in list(_doing.items()):
        if thread == get_ident() or doing.is_hopeless:
            continue
        while _doing.get(thread) is doing:
            if time.monotonic() > deadline:
                doing.is_hopeless = True
                break
            sleep(_POLL_SECONDS)


def _after_in_parent() -> None:
    _forking.discard(get_ident())
    if _held.gate:
        _gate.release()
        _held.gate = False


def _after_in_child() -> None:
    global _gate
    _gate = RLock()
    _forking.clear()
    for thread in [thread for thread in _doing if thread != get_ident()]:
        del _doing[thread]
    for owner in list(_renewed):
        owner.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    # Hooks before a fork run in reverse order. So we wait before logging takes the lock that we may wait for.
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
