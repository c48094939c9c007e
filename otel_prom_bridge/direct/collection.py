"""Collections from the cells of instruments, and from their callbacks.

What was recorded is taken first, so it does not wait for any callback.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING

from otel_prom_bridge.callbacks import CallbackAnswer, Callbacks
from otel_prom_bridge.direct.cells import Guard
from otel_prom_bridge.direct.observed import ObservedCallback
from otel_prom_bridge.direct.synchronous import Synchronous
from otel_prom_bridge.forks import renew_in_child, whole
from otel_prom_bridge.interrupts import is_within
from otel_prom_bridge.pipeline.collection import Collections
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.points import SourcePoint, Stream

if TYPE_CHECKING:
    from otel_prom_bridge.direct.provider import DirectMeterProvider

# What a signal handler may interrupt that has a lock of the cells, for which a collection would wait.
_RECORDS = frozenset({Synchronous.find.__code__, Guard.add.__code__})
# What has failed where a callback does not return.
_TIMEOUT = "timeout"


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
        return not (self._callbacks.is_here or is_within(_RECORDS)) and super().run(seconds, fresh=fresh)

    def _collect(self) -> bool:
        provider = self._provider()
        if provider is None:
            return False
        observed = provider.observed
        with whole():
            # Until callbacks have answered, nobody knows what is gone.
            self._take(provider, self._recorded(provider), failing=None if observed else ())
        if observed:
            callbacks = [each for instrument in observed for each in instrument.callbacks]
            answers = self._callbacks.ask(callbacks, self._pipeline.scrape_timeout)
            failing = {answer.callback.instrument.stream for answer in answers if self._failed(answer)}
            with whole():
                self._take(provider, self._observed(answers), failing=failing)
            self.is_whole = not failing
        else:
            self.is_whole = True
        return True

    def _has_nothing(self) -> bool:
        now, provider = time_ns(), self._provider()
        if provider is None or provider.observed:
            return False
        return all(instrument.nothing_to_drain(now) for instrument in provider.synchronous)

    def _resource(self) -> Mapping[str, object] | None:
        provider = self._provider()
        return None if provider is None else provider.described

    def _take(
        self,
        provider: DirectMeterProvider,
        batch: Iterator[tuple[Stream, Sequence[SourcePoint]]],
        *,
        failing: Collection[str | Stream] | None,
    ) -> None:
        start = time.perf_counter()
        try:
            self._pipeline.take(self._source, batch, resource=provider.described, failing=failing)
        finally:
            self._take_seconds += time.perf_counter() - start

    def _recorded(self, provider: DirectMeterProvider) -> Iterator[tuple[Stream, Sequence[SourcePoint]]]:
        """What was recorded, taken from the cells when the store asks for it."""
        now = time_ns()
        for instrument in provider.synchronous:
            for points in instrument.drain(now):
                yield instrument.stream, points

    def _observed(
        self, answers: Sequence[CallbackAnswer[ObservedCallback]]
    ) -> Iterator[tuple[Stream, Sequence[SourcePoint]]]:
        by_instrument: dict[object, list[CallbackAnswer[ObservedCallback]]] = {}
        for answer in answers:
            by_instrument.setdefault(answer.callback.instrument, []).append(answer)
        for found in by_instrument.values():
            instrument = found[0].callback.instrument
            points = [point for answer in found for point in answer.points]
            if points:
                yield instrument.stream, instrument.together(points)

    def _failed(self, answer: CallbackAnswer[ObservedCallback]) -> bool:
        """Whether the callback has not said everything. Says so once, and counts each time."""
        stream, error = answer.callback.instrument.stream, answer.error
        about = (stream.name, stream.scope.name)
        if answer.is_late:
            message = (
                "a callback of instrument %r of scope %r has not returned in time. Its series show what it"
                " said last, and it is not called again before it returns"
            )
            self._findings.report(("late", stream), message, *about)
            self._self_metrics.callback_failed(stream.name, _TIMEOUT)
        elif error is not None:
            message = "a callback of instrument %r of scope %r failed, its series show what it said last: %s"
            self._findings.report(("raised", stream, type(error)), message, *about, _reason(error))
            self._self_metrics.callback_failed(stream.name, type(error).__qualname__)
        return answer.is_late or error is not None


def _reason(error: BaseException) -> str:
    """What was raised, and where."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = "" if last is None else f" ({last.tb_frame.f_code.co_filename}, line {last.tb_lineno})"
    return f"{error!r}{where}"
