"""Collections from the cells of instruments, and from their callbacks.

What was recorded is taken first, so it does not wait for any callback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import methodcaller
from time import time_ns

from otel_prom_bridge.callbacks import Callbacks
from otel_prom_bridge.direct.observed import ObservedCallback
from otel_prom_bridge.direct.observing import Observing
from otel_prom_bridge.direct.provider import DirectMeterProvider
from otel_prom_bridge.direct.synchronous import LOCKS
from otel_prom_bridge.forks import renew_in_child, whole
from otel_prom_bridge.interrupts import is_within
from otel_prom_bridge.pipeline.collection import Collections
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.points import SourcePoint, Stream


class DirectCollections(Collections):
    """Runs the collections of one :class:`DirectReader`. ``provider`` is what records for it, if anything."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        provider: Callable[[], DirectMeterProvider | None],
        interval: float | None,
    ) -> None:
        self._provider = provider
        self._callbacks = Callbacks[ObservedCallback]()
        super().__init__(pipeline, interval=interval, stays=lambda: math.inf)
        self._observing = Observing(self._callbacks, self._findings, self._self_metrics.callback_failed)
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: no thread is left that waits for a callback."""
        self._callbacks.renew()

    def close(self) -> None:
        """Collect no more, and have no thread wait for callbacks."""
        super().close()
        self._callbacks.rest()

    def run(self, seconds: float, *, fresh: bool = False) -> bool:
        """Collect; see there. Who scrapes within a callback gets False at once, or within a recording."""
        return not (self._callbacks.is_here or is_within(LOCKS)) and super().run(seconds, fresh=fresh)

    def _collect(self) -> bool:
        provider = self._provider()
        if provider is None:
            return False
        observed = provider.observed
        with whole():
            # Until callbacks have answered, nobody knows what is gone.
            failing = None if observed else ()
            self._pipeline.take(
                self._source, self._recorded(provider), resource=provider.described, failing=failing
            )
        if observed:
            said, silent = self._observing.ask(observed, self._pipeline.scrape_timeout)
            batch = ((instrument.stream, points) for instrument, points in said)
            with whole():
                self._pipeline.take(self._source, batch, resource=provider.described, failing=silent)
            self.is_whole = not silent
        else:
            self.is_whole = True
        return True

    def _has_nothing(self) -> bool:
        now, provider = time_ns(), self._provider()
        if provider is None or provider.observed:
            return False
        return all(map(methodcaller("nothing_to_drain", now), provider.synchronous))

    def _resource(self) -> Mapping[str, object] | None:
        provider = self._provider()
        return None if provider is None else provider.described

    def _recorded(self, provider: DirectMeterProvider) -> Iterator[tuple[Stream, Sequence[SourcePoint]]]:
        """What was recorded, taken from the cells when the store asks for it."""
        now = time_ns()
        for instrument in provider.synchronous:
            for points in instrument.drain(now):
                yield instrument.stream, points
