"""One collection at a time, and what it says of itself.

A collection is the only place where the bridge runs callbacks of the application, so whatever can go wrong in
one is dealt with here: it may raise, take long, or scrape its own process.
"""

from __future__ import annotations

import threading
import time
from asyncio.exceptions import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otel_prom_bridge.callbacks import CallbackFailures
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.self_metrics import SelfMetrics


class Collections:
    """Runs the collections of one reader."""

    def __init__(self, *, findings: Findings, self_metrics: SelfMetrics) -> None:
        self._findings = findings
        self._self_metrics = self_metrics
        self._failures = CallbackFailures(self_metrics.callback_failed) if self_metrics.enabled else None
        self._running = threading.Lock()
        self._thread: int | None = None
        self._apply_seconds = 0.0

    def run(self, collect: Callable[[], None], timeout_millis: float) -> bool:
        """Collect once; False if that failed or another collection did not end in time."""
        # A callback that scrapes its own process would wait for itself, in our lock and in the SDK's.
        if self._thread == threading.get_ident():
            return False
        if not self._running.acquire(timeout=min(timeout_millis / 1000, threading.TIMEOUT_MAX)):
            self._findings.report(
                "busy", "a collection has not ended for %s ms, showing known values", timeout_millis
            )
            return False
        start, failure = time.perf_counter(), ""
        try:
            self._thread = threading.get_ident()
            self._apply_seconds = 0.0
            self._watched(collect)
        except (Exception, CancelledError) as error:
            # Nothing is lost: the SDK hands its deltas over last, after whatever can fail.
            self._findings.report(
                ("collect", type(error)), "a collection failed, showing known values: %r", error
            )
            failure = type(error).__qualname__
        finally:
            seconds = time.perf_counter() - start - self._apply_seconds
            self._self_metrics.observe("collect", seconds, error=failure)
            self._thread = None
            self._running.release()
        return not failure

    def _watched(self, collect: Callable[[], None]) -> None:
        if self._failures is None:
            collect()
        else:
            with self._failures.collecting():
                collect()

    @contextmanager
    def applying(self) -> Iterator[None]:
        """Time what the store does with a collection: that part is not the SDK's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._apply_seconds += time.perf_counter() - start

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Time the second half of that part: what the store does for a scrape."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._self_metrics.observe("apply", self._apply_seconds + time.perf_counter() - start)

    def close(self) -> None:
        """Watch callbacks no longer."""
        if self._failures is not None:
            self._failures.close()
