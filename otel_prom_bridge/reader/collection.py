"""One collection at a time, and what it says of itself.

A collection is where the bridge runs callbacks of the application, so whatever can go wrong in one is dealt
with here: it may raise, take long, never return, or scrape its own process. Whoever asks for a collection
while one runs shares it (``coalescing.py``); when nobody asks for a while, one runs on its own
(``background.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otel_prom_bridge.diagnostics import Findings, endpoint_logger
from otel_prom_bridge.errors import CollectionError, CollectionTimeoutError
from otel_prom_bridge.forks import whole
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.reader.background import background
from otel_prom_bridge.reader.callbacks import CallbackFailures
from otel_prom_bridge.report.self_metrics import SelfMetrics


class Collections:
    """Runs the collections of one reader.

    ``collect`` collects once, if ``is_ready`` says that it may, in the thread that asks. ``interval``: after
    how many seconds a collection runs on its own; None for never. ``patience``: how old one has to be
    to count as one that hangs when somebody waited for it in vain, and ``too_long`` when nobody did.
    """

    def __init__(
        self,
        collect: Callable[[], None],
        *,
        is_ready: Callable[[], bool],
        interval: float | None,
        patience: float,
        too_long: float,
        self_metrics: SelfMetrics,
    ) -> None:
        self._collect = collect
        self._is_ready = is_ready
        self._findings = Findings(log=endpoint_logger)
        self._self_metrics = self_metrics
        self._failures = CallbackFailures(self_metrics.callback_failed)
        self.is_whole = True  # no callback failed in the last collection
        self._apply_seconds = 0.0
        self._succeeded: bool | None = None
        self._task = Coalesced(
            self._run, name="otel-prom-bridge-collection", patience=patience, too_long=too_long
        )
        self._notice = Coalesced(self._hangs, name="otel-prom-bridge-log")
        self._interval = interval
        self._started = time.monotonic()
        if interval is not None:
            background.add(self)

    @property
    def is_healthy(self) -> bool:
        """The last collection succeeded, and none is going on that hangs, whoever began it."""
        return self._succeeded is True and not self._hangs()

    @property
    def failing(self) -> frozenset[str] | None:
        """The instruments with a callback that raised, in the collection that this very thread is making.

        None if it is making none of ours: then nobody knows.
        """
        return self._failures.names

    @property
    def due(self) -> float:
        """When a collection is to run on its own, by ``time.monotonic()``."""
        return self._started + (self._interval or 0)

    def start(self) -> None:
        """See that a collection is going on, if there is a provider to collect from."""
        self._started = time.monotonic()
        if not self._is_ready():
            return
        self._task.start()
        if self._task.is_late:  # nobody may be waiting for it, and a log handler may hold up whoever says so
            self._notice.start()

    def run(self, seconds: float, *, fresh: bool = False) -> bool:
        """Collect, or share the collection that is going on; False if that failed or did not end in time.

        ``fresh``: share none that began before this call. A callback that scrapes its own process gets False
        at once.
        """
        if not self._is_ready():
            return False
        done = self._task.wait(seconds, fresh=fresh)
        self._hangs()
        return done

    def _hangs(self) -> bool:
        """Whether the collection that is going on hangs. Whoever notices it first says so."""
        age = self._task.age
        hangs = self._task.is_late
        if hangs:
            self._findings.report("late", "%s", CollectionTimeoutError("a collection", round(age, 1)))
        return hangs

    def _run(self) -> bool:
        self._started = time.monotonic()
        start, failure = time.perf_counter(), ""
        self._apply_seconds = 0.0
        try:
            with whole(), self._failures.collecting():
                self._collect()
                self.is_whole = not self.failing
        except BaseException as error:  # this thread is ours: not even SystemExit is meant for it
            # Nothing is lost: the SDK hands its deltas over last, after whatever can fail.
            self._findings.report(("collect", type(error)), "%s", CollectionError(error))
            failure = type(error).__qualname__
        seconds = time.perf_counter() - start - self._apply_seconds
        self._self_metrics.observe("collect", seconds, error=failure)
        self._succeeded = not failure
        return not failure

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
            with whole():
                yield
        finally:
            self._self_metrics.observe("apply", self._apply_seconds + time.perf_counter() - start)

    def close(self) -> None:
        """Collect no more, and watch no callbacks."""
        background.discard(self)
        self._failures.close()
