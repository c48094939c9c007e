"""Collections of the SDK's, from the question to the store.

What can go wrong in callbacks is dealt with here and in ``sdk/failures.py``: they may raise, and two
collections may overtake each other, since not only we make the SDK collect.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from otel_prom_bridge.forks import renew_in_child, whole
from otel_prom_bridge.hands import CALLBACKS_SECONDS
from otel_prom_bridge.interrupts import is_within
from otel_prom_bridge.native import RLock
from otel_prom_bridge.pipeline.collection import Collections
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.sdk.batches import streams_of
from otel_prom_bridge.sdk.failures import CallbackFailures, CallbackGuards
from otel_prom_bridge.sdk.locks import LOCKS


class SdkCollections(Collections):
    """Runs the collections of one reader.

    ``pull`` asks the SDK for what was recorded; it says whether there was a provider to ask. The SDK hands
    over what it has by :meth:`take`, in the same thread. ``is_idle`` says whether that would be nothing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        pull: Callable[[], bool],
        is_idle: Callable[[], bool],
        interval: float | None,
    ) -> None:
        self._pull, self._is_idle = pull, is_idle
        self._failures = CallbackFailures(pipeline.self_metrics.callback_failed)
        self._taken = False  # the collection that is going on brought something
        # The order of collections. A signal handler may collect while its thread does.
        self._order, self._begun, self._here = RLock(), 0, _Here()
        self._going_on = 0  # so many are between their begin and what they bring
        self._guards: CallbackGuards | None = None
        super().__init__(pipeline, interval=interval, stays=self._stays)
        renew_in_child(self)

    def run(self, seconds: float, *, fresh: bool = False) -> bool:
        """Collect; see there. Who scrapes in the middle of a recording gets False at once.

        So does who scrapes in a collection of its own. The thread has locks for which ours would wait.
        """
        has_locks = self._order._is_owned() or is_within(LOCKS)  # type: ignore[attr-defined]
        return not has_locks and super().run(seconds, fresh=fresh)

    def _collect(self) -> bool:
        self._taken = False
        with whole(), self._failures:
            if not self._pull():
                return False
            if not self._taken:  # the SDK stays silent when no instrument has a point
                self._pipeline.take(self._source, (), number=self._here.number, failing=self._failures.names)
            self.is_whole = not self._failures.names
        return True

    def _has_nothing(self) -> bool:
        guards = self._guards
        if guards is None or guards.are_needed:
            return False
        # Asked last: another collection may have taken what was recorded, and not handed it over yet.
        return self._is_idle() and not self._going_on

    def ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        """The SDK's function that collects, in one that numbers the batches as they are collected.

        Collections that the application starts in threads of its own may reach :meth:`take` in another
        order. The times of the points do not say which one is later, since the clock may be set back.
        In the middle of a recording it collects nothing, and the next collection brings what there is.
        """
        guards = self._guards = CallbackGuards(getattr(collect, "__self__", None))

        def numbered(*args: Any, **kwargs: Any) -> Any:
            if is_within(LOCKS):
                return None
            with self._order:
                self._begun += 1
                number = self._begun
                self._going_on += 1
                try:
                    guards.renew()
                    result = collect(*args, **kwargs)
                finally:
                    self._going_on -= 1
                self._here.number = number
                return result

        return numbered

    def _stays(self) -> float:
        """How many seconds old the thread may become that has collected, and called the callbacks."""
        guards = self._guards
        if guards is None or guards.raised or not (self.is_whole and self._succeeded):
            return 0.0
        return CALLBACKS_SECONDS if guards.are_needed else math.inf

    def renew(self) -> None:
        """In a forked child: what another thread was doing is over."""
        self._order, self._going_on = RLock(), 0

    def take(self, data: MetricsData) -> None:
        """Put into the store what the SDK hands over, whoever made it collect."""
        # Which callbacks failed is known of our own collections only, in the thread that makes them.
        self._taken = True
        number, failing = self._here.number, self._failures.names
        for resource in data.resource_metrics:
            streams = streams_of(resource, self._pipeline.findings)
            resource_attributes = resource.resource.attributes
            self._pipeline.take(
                self._source, streams, number=number, resource=resource_attributes, failing=failing
            )

    def close(self) -> None:
        """Collect no more, and watch no callbacks."""
        super().close()
        self._failures.close()


class _Here(threading.local):
    number = 0  # of the collection that this thread made last
