"""Threads that do one run after the other.

To wake a thread takes a tenth of what it takes to start one. So one that has nothing to do waits for the next
run for a while, and refers to nobody meanwhile.

Code of the application may keep something by thread, such as a connection or an open transaction. That gets
as old as the thread, and breaks if it is too old. So who has a run done says in the end how old its thread
may become, and after trouble it does no more. In context variables each run finds nothing, as in a new
thread. The SDK's own periodic reader has one thread for good.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial

from otel_prom_bridge.native import Empty, Lock, SimpleQueue, Thread, get_ident

# How old a thread may become in which callbacks are called.
CALLBACKS_SECONDS = 60.0
# How long a thread waits for the next run: longer than most scrapers do between two scrapes.
_IDLE_SECONDS = 90.0


class Hands:
    """Does runs in threads of this ``name``, of which one waits for the next run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rests = False
        # Whoever takes one out has it for itself. A lock would have to be one for signal handlers, too.
        self._waiting: list[_Hand] = []
        self._threads: list[Thread] = []  # all of them, from before they begin
        self._borrowed: list[int] = []  # threads of others that do a run

    def renew(self) -> None:
        """Begin anew in a forked child, where no thread is left but the one that has forked."""
        self._waiting = []
        self._threads = [thread for thread in self._threads if thread.is_current]
        self._borrowed = [ident for ident in self._borrowed if ident == get_ident()]

    @property
    def is_here(self) -> bool:
        """Whether the thread that asks is one of these, in a run or outside: it waits for no run in vain.

        The garbage collector may call code of the application wherever a thread is.
        """
        return get_ident() in self._borrowed or any(thread.is_current for thread in self._threads)

    def rest(self) -> None:
        """Have no thread wait for the next run any more."""
        self._rests = True
        self._dismiss_all_but(0)

    def do(
        self, run: Callable[[], object], *, stays: Callable[[], float], done: Callable[[], object]
    ) -> None:
        """Have a thread do this; do it here if there can be no more threads, or the interpreter is ending.

        When it has ended, also if it raised, ``stays`` says in its thread how many seconds old that may
        become with further runs. Then ``done`` is called.
        """
        perform = partial(self._perform, run, stays, done)
        if sys.is_finalizing():  # no other thread runs any more, also if it waits for the next run
            self._perform_here(perform)
            return
        while (waiting := self._taken_out()) is not None:
            if time.monotonic() < waiting.until and waiting.take(partial(perform, waiting)):
                return
            waiting.take(None)
        hand = _Hand()
        hand.take(partial(perform, hand))
        thread = Thread(hand.work, name=self._name)
        self._forget([each for each in self._threads if each.has_ended])
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            self._forget([thread])
            self._perform_here(perform)

    def _forget(self, threads: list[Thread]) -> None:
        for thread in threads:
            with suppress(ValueError):  # somebody else has done it
                self._threads.remove(thread)

    def _perform_here(self, perform: Callable[[], None]) -> None:
        self._borrowed.append(get_ident())
        try:
            perform()
        finally:
            self._borrowed.remove(get_ident())

    def _perform(
        self,
        run: Callable[[], object],
        stays: Callable[[], float],
        done: Callable[[], object],
        hand: _Hand | None = None,
    ) -> None:
        try:
            Context().run(run)
        finally:
            if hand is not None:
                self._let_go(hand, stays())
            done()

    def _let_go(self, hand: _Hand, seconds: float) -> None:
        """Have this thread wait for the next run, or end."""
        hand.free(until=hand.began + seconds)
        # Where the run has forked, this is the only thread of the child, which ends with it.
        if seconds <= 0 or hand.process != os.getpid():
            hand.take(None)
            return
        self._waiting.append(hand)
        self._dismiss_all_but(0 if self._rests else 1)

    def _dismiss_all_but(self, count: int) -> None:
        while len(self._waiting) > count:
            if (hand := self._taken_out()) is not None:
                hand.take(None)

    def _taken_out(self) -> _Hand | None:
        """The one that has waited longest, if there is one."""
        try:
            return self._waiting.pop(0)
        except IndexError:
            return None


class _Hand:
    """A thread that does what it is given, and ends when it was given nothing for some seconds.

    It does not wait past ``until``, by ``time.monotonic()``.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.until = math.inf
        self.process = os.getpid()
        self._runs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # Whoever has it may give it a run. A thread that ends takes it for ever.
        self._turn = Lock()

    def take(self, run: Callable[[], None] | None) -> bool:
        """Do this run next, or end if it is none; False if it is busy, or has ended."""
        if not self._turn.acquire(blocking=False):
            return False
        self._runs.put(run)
        return True

    def free(self, *, until: float) -> None:
        """It is about to wait for the next run."""
        self.until = until
        self._turn.release()

    def work(self) -> None:
        """Do what is to be done."""
        while True:
            try:
                run = self._runs.get(timeout=max(0, min(_IDLE_SECONDS, self.until - time.monotonic())))
            except Empty:
                if self._turn.acquire(blocking=False):
                    return
                continue  # somebody gives it one at this moment
            if run is None:
                return
            try:
                run()
            except BaseException:  # the work is at fault, and the next run must not miss this thread
                sys.excepthook(*sys.exc_info())
            del run
