"""One collection at a time, from the question to the store, and what it says of itself.

A collection runs callbacks of the application, so whatever can go wrong in those is dealt with here: they
may raise, take long, never return, or scrape their own process. Whoever asks for a collection while one runs
shares it (``once.py``). When nobody asks for a while, one runs on its own (``background.py``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from otel_prom_bridge.diagnostics import Findings, endpoint_logger
from otel_prom_bridge.errors import CollectionError, CollectionTimeoutError
from otel_prom_bridge.forks import renew_in_child, whole
from otel_prom_bridge.interrupts import postponed
from otel_prom_bridge.native import RLock
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.points import Source
from otel_prom_bridge.reader.background import background
from otel_prom_bridge.sdk.batches import streams_of
from otel_prom_bridge.sdk.callbacks import CallbackFailures, CallbackGuards


class Collections:
    """Runs the collections of one reader, and puts what they bring into its ``pipeline``.

    ``pull`` asks the SDK for what was recorded; it says whether there was a provider to ask. The SDK hands
    over what it has by :meth:`take`, in the same thread.

    After ``interval`` seconds without a collection one runs on its own; None stands for never. A collection
    that somebody waited for in vain counts as one that hangs when it has used up their patience, and when it
    takes longer than a scrape would wait in any case.
    """

    def __init__(self, pipeline: Pipeline, *, pull: Callable[[], bool], interval: float | None) -> None:
        self._pipeline = pipeline
        self._source = Source()
        self._pull = pull
        self._findings = Findings(log=endpoint_logger)
        self._self_metrics = pipeline.self_metrics
        self._failures = CallbackFailures(pipeline.self_metrics.callback_failed)
        self.is_whole = True  # no callback failed in the last collection
        # What the collection that is going on brought, and how long the store took for it.
        self._taken, self._take_seconds = False, 0.0
        self._succeeded: bool | None = None
        self._task = Coalesced(
            self._run,
            name="otel-prom-bridge-collection",
            patience=pipeline.patience,
            too_long=pipeline.scrape_timeout,
        )
        self._notice = Coalesced(self._hangs, name="otel-prom-bridge-log")
        self._interval = interval
        self._started = time.monotonic()
        # The order of collections. A signal handler may collect while its thread does.
        self._order, self._begun, self._here = RLock(), 0, _Here()
        renew_in_child(self)
        if interval is not None:
            background.add(self)

    @property
    def is_healthy(self) -> bool:
        """Whether the last collection succeeded, and none is going on that hangs."""
        return self._succeeded is True and not self._hangs()

    @property
    def due(self) -> float:
        """When a collection is to run on its own, by ``time.monotonic()``."""
        return self._started + (self._interval or 0)

    def start(self) -> None:
        """See that a collection is going on."""
        self._started = time.monotonic()
        self._task.start()
        if self._task.is_late:  # nobody may be waiting for it, and a log handler may hold up whoever says so
            self._notice.start()

    def run(self, seconds: float, *, fresh: bool = False) -> bool:
        """Collect, or share the collection that is going on; False if that failed or did not end in time.

        With ``fresh``, a collection that began before this call is not shared. A callback that scrapes its
        own process gets False at once, as does code that runs under the lock of the store.
        """
        if self._pipeline.store.is_entered:
            return False
        done = self._task.wait(seconds, fresh=fresh)
        self._hangs()
        return done

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
        self._taken, self._take_seconds = False, 0.0
        try:
            with postponed(ours=True), whole(), self._failures:
                if not self._pull():
                    return False
                if not self._taken:  # the SDK stays silent when no instrument has a point
                    self._pipeline.take(
                        self._source, (), number=self._here.number, failing=self._failures.names
                    )
                self.is_whole = not self._failures.names
        except BaseException as error:  # this thread is ours: not even SystemExit is meant for it
            # Nothing is lost: the SDK hands its deltas over last, after whatever can fail.
            self._findings.report(("collect", type(error)), "%s", CollectionError(error))
            failure = type(error).__qualname__
        seconds = time.perf_counter() - start - self._take_seconds
        self._self_metrics.observe("collect", seconds, error=failure)
        self._succeeded = not failure
        return not failure

    def ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        """The SDK's function that collects, in one that numbers the batches as they are collected.

        Collections that the application starts in threads of its own may reach :meth:`take` in another
        order. The times of the points do not say which one is later, since the clock may be set back.
        """
        guards = CallbackGuards(getattr(collect, "__self__", None))

        def numbered(*args: Any, **kwargs: Any) -> Any:
            with self._order:
                self._begun += 1
                number = self._begun
                guards.renew()
                result = collect(*args, **kwargs)
                self._here.number = number
                return result

        return numbered

    def renew(self) -> None:
        """In a forked child: what another thread was doing is over."""
        self._order = RLock()

    def take(self, data: MetricsData) -> None:
        """Put into the store what the SDK hands over, whoever made it collect."""
        # What the store does with a collection is timed apart, because that part is not the SDK's. Which
        # callbacks failed is known of our own collections only, in the thread that makes them.
        self._taken = True
        start = time.perf_counter()
        try:
            for resource in data.resource_metrics:
                streams = streams_of(resource, self._pipeline.findings)
                attributes = resource.resource.attributes
                self._pipeline.take(
                    self._source,
                    streams,
                    number=self._here.number,
                    resource=attributes,
                    failing=self._failures.names,
                )
        finally:
            self._take_seconds += time.perf_counter() - start

    def close(self) -> None:
        """Collect no more, and watch no callbacks."""
        background.discard(self)
        self._failures.close()


class _Here(threading.local):
    number = 0  # of the collection that this thread made last
