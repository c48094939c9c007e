"""Threads that make responses, so that no event loop runs anything that could take long.

They are daemon threads. One is started when there is work and nobody is idle, and it ends after some idle
seconds. A job that hangs for ever costs its thread and nothing else. ``concurrent.futures`` would not do,
because its threads are joined when the interpreter exits: a hanging callback would keep the process alive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Empty, Lock, SimpleQueue, Thread

Job = Callable[[], object]


class Threads:
    """A bounded number of daemon threads."""

    def __init__(self, limit: int, *, idle_timeout: float) -> None:
        self._limit = limit
        self._idle_timeout = idle_timeout
        self._stopped = False
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: none of the threads exists there."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._idle = 0  # the number of threads that wait for a job, less that of the jobs that wait

    def run(self, job: Job) -> bool:
        """Run a job soon, in some thread. False if all are busy and as many jobs wait already."""
        with self._lock:
            if self._stopped or self._idle <= -self._limit:
                return False
            if self._idle > 0 or self._threads >= self._limit:
                self._idle -= 1
                self._jobs.put(job)
                return True
            self._threads += 1
        return self._start(job)

    def stop(self) -> None:
        """Let idle threads end now, and busy ones when their job is done."""
        with self._lock:
            self._stopped = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _start(self, job: Job) -> bool:
        try:
            Thread(partial(self._work, job), name="otel-prom-bridge-scrape").start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            with self._lock:
                self._threads -= 1
            return False
        return True

    def _work(self, job: Job | None) -> None:
        while job is not None:
            try:
                job()
            except BaseException:  # a callback may raise anything, and nobody above us would report it
                endpoint_logger.exception("a job of the endpoint was broken off")
            del job  # a response may be large, and the next job far away
            job = self._next()

    def _next(self) -> Job | None:
        with self._lock:
            self._idle += 1
        try:
            job = self._jobs.get(timeout=self._idle_timeout)
        except Empty:
            with self._lock:
                if self._idle > 0:
                    self._idle -= 1
                    self._threads -= 1
                    return None
            job = self._jobs.get()  # it came while we gave up, and this thread was counted as idle
        if job is None:
            with self._lock:
                self._threads -= 1
        return job
