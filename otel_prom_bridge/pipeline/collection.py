"""One collection at a time, for all who ask, and what it says of itself.

A collection runs callbacks of the application. They may take long, never return, or scrape their own
process. Whoever asks for a collection while one runs shares it (``once.py``). When nobody asks for a while,
one runs on its own (``background.py``).
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping

from otel_prom_bridge.diagnostics import Findings, endpoint_logger
from otel_prom_bridge.errors import CollectionError, CollectionTimeoutError
from otel_prom_bridge.interrupts import postponed
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.pipeline.background import background
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.points import Source


class Collections:
    """Runs the collections that bring points into a ``pipeline``.

    After ``interval`` seconds without a collection one runs on its own; None stands for never. A collection
    that somebody waited for in vain counts as one that hangs when it has used up their patience, and when it
    takes longer than a scrape would wait in any case. ``stays`` says how many seconds old the thread may
    become that has collected (``hands.py``).
    """

    def __init__(self, pipeline: Pipeline, *, interval: float | None, stays: Callable[[], float]) -> None:
        self._source = Source()
        self._pipeline = pipeline
        self._findings = Findings(log=endpoint_logger)
        self._self_metrics = pipeline.self_metrics
        self.is_whole = True  # no callback failed in the last collection
        self._succeeded: bool | None = None
        self._task = Coalesced(
            self._run,
            name="otel-prom-bridge-collection",
            patience=pipeline.patience,
            too_long=pipeline.scrape_timeout,
            stays=stays,
        )
        self._notice = Coalesced(self._hangs, name="otel-prom-bridge-log")
        self.interval = interval
        self._started = time.monotonic()
        if interval is not None:
            background.add(self)

    @property
    def is_healthy(self) -> bool:
        """Whether the last collection succeeded, and none is going on that hangs."""
        return self._succeeded is True and not self._hangs()

    @property
    def due(self) -> float:
        """When a collection is to run on its own, by ``time.monotonic()``."""
        return self._started + (self.interval or 0)

    def start(self) -> None:
        """See that a collection is going on."""
        self._started = time.monotonic()
        self._task.start()
        if self._task.is_late:  # nobody may be waiting for it, and a log handler may hold up whoever says so
            self._notice.start()

    def run(self, seconds: float, *, fresh: bool = False) -> bool:
        """Collect, or share the collection that is going on; False if that failed or did not end in time.

        With ``fresh``, a collection that began before this call is not shared. A callback that scrapes its
        own process gets False at once, as does code that runs under a lock that a collection needs.
        """
        if self._pipeline.store.is_entered or self._self_metrics.is_entered:
            return False
        if self._found_nothing():
            return True
        done = self._task.wait(seconds, fresh=fresh)
        self._hangs()
        return done

    def close(self) -> None:
        """Collect no more."""
        background.discard(self)
        self._task.rest()

    @abstractmethod
    def _collect(self) -> bool:
        """Bring what there is into the pipeline; False if there is nothing to collect from."""

    def _has_nothing(self) -> bool:
        """Whether there is nothing to collect, and none of the application's code to call."""
        return False

    def _resource(self) -> Mapping[str, object] | None:
        """What the source is a part of; None if that is known."""
        return None

    def _found_nothing(self) -> bool:
        """Whether nothing is to be collected. Then that was the collection.

        There is nothing to wait for, and so no thread to be woken.
        """
        start = time.perf_counter()
        # Whether one is running is asked last: it may have taken something, and not shown it yet.
        if not self._has_nothing() or self._task.is_running:
            return False
        seconds = time.perf_counter() - start
        took = False
        # A fault of ours: the collection will meet it, too, and say so. Nothing else is in here, as a time
        # limit of the host, which a signal handler raises, may be an `Exception` as well.
        with contextlib.suppress(Exception):
            took = self._pipeline.take_nothing(self._source, resource=self._resource())
        if not took:
            return False
        self._started = time.monotonic()
        self.is_whole = True
        self._ended(seconds)
        return True

    def _hangs(self) -> bool:
        """Whether the collection that is going on hangs. Whoever notices it first says so."""
        if not self._task.is_late:
            return False
        age = round(self._task.age, 1)
        self._findings.report("late", "%s", CollectionTimeoutError("a collection", age))
        return True

    def _run(self) -> bool:
        self._started = time.monotonic()
        start, failure = time.perf_counter(), ""
        before = self._pipeline.take_seconds
        try:
            with postponed(ours=True):
                if not self._collect():
                    return False
        except BaseException as error:  # this thread is ours: not even SystemExit is meant for it
            # Nothing is lost: what was recorded is handed over last, after whatever can fail.
            self._findings.report(("collect", type(error)), "%s", CollectionError(error))
            failure = type(error).__qualname__
        taking = self._pipeline.take_seconds - before
        self._ended(time.perf_counter() - start - taking, failure)
        return not failure

    def _ended(self, seconds: float, failure: str = "") -> None:
        """A collection has ended, for which others than the store took so many seconds."""
        self._self_metrics.observe("collect", seconds, error=failure)
        self._succeeded = not failure
