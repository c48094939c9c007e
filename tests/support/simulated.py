"""Time that passes as fast as a program gets along: it is over whenever all threads wait for it."""

from __future__ import annotations

import heapq
import threading
from itertools import count

from otel_prom_bridge.testing import Clock


class SimulatedTime:
    """Lets so many threads wait by a clock. When the last of them waits, it goes on to the next that is due.

    So an hour of a program that mostly waits takes as long as what it does in between. One thread runs at a
    time.
    """

    def __init__(self, clock: Clock, *, threads: int) -> None:
        self._clock = clock
        self._threads = threads
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, threading.Lock]] = []
        self._number = count()
        self._has_ended = False

    def wait(self, seconds: float) -> None:
        """Wait until so many seconds have passed on the clock."""
        due = threading.Lock()  # a gate, which is quicker than an Event
        due.acquire()
        with self._lock:
            if self._has_ended:
                return
            heapq.heappush(self._due, (self._clock() + seconds, next(self._number), due))
            if len(self._due) == self._threads:
                at, _, first = heapq.heappop(self._due)
                self._clock.set(at)
                first.release()
        due.acquire()

    def end(self) -> None:
        """Let go of everybody."""
        with self._lock:
            self._has_ended = True
            for _, _, due in self._due:
                due.release()
