"""Collections that nobody asked for.

A collection locks an instrument for as long as it takes to hand over what changed since the last one, and
the SDK's tables fill between two of them. So if no scraper comes for a while, a collection runs on its own.
The next one is short again, and nothing is lost to the SDK's limits. One thread does this for all readers of
the process. It only starts collections, and never waits for one.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from typing import Protocol

from otel_prom_bridge.native import Empty, RLock, SimpleQueue, Thread


class Collecting(Protocol):
    """What is collected in the background."""

    @property
    def due(self) -> float:
        """When the next collection is to be started, by ``time.monotonic()``."""
        ...

    def start(self) -> None:
        """See that a collection is going on; must not block or raise."""
        ...


class Background:
    """Starts collections when they are due.

    It keeps no reader alive: one that nobody refers to any more is collected no more.
    """

    def __init__(self) -> None:
        self._everyone: weakref.WeakSet[Collecting] = weakref.WeakSet()
        # The lock and the queue are re-entrant, because a signal handler may shut a reader down while its
        # provider is being made.
        self._lock = RLock()
        self._changed: SimpleQueue[None] = SimpleQueue()
        self._thread: Thread | None = None

    def add(self, collecting: Collecting) -> None:
        """Collect this one from now on."""
        with self._lock:
            self._everyone.add(collecting)
            if self._thread is None:
                self._start()
        self._changed.put(None)

    def discard(self, collecting: Collecting) -> None:
        """Collect it no more."""
        with self._lock:
            self._everyone.discard(collecting)
        self._changed.put(None)

    def _start(self) -> None:
        self._thread = Thread(self._run, name="otel-prom-bridge-background")
        try:
            self._thread.start()
        except RuntimeError:  # no more threads: scrapes collect all the same
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._everyone:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [item for item in self._everyone if item.due <= now]
            while due:  # popped, or this thread would keep the last reader alive
                due.pop().start()
            with contextlib.suppress(Empty):
                self._changed.get(timeout=self._pause())

    def _pause(self) -> float:
        with self._lock:
            now = time.monotonic()
            return max(0.01, min((item.due - now for item in self._everyone), default=0.01))

    def _after_fork(self) -> None:
        # The child has no thread, and perhaps a lock that nobody will release.
        self._lock, self._changed, self._thread = RLock(), SimpleQueue(), None
        with contextlib.suppress(RuntimeError), self._lock:
            if self._everyone:
                self._start()


background = Background()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=background._after_fork)
