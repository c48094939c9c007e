"""Pushes what a :class:`DirectMeterProvider` records to a hub (``push/pushed.py``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from time import time_ns
from typing import Any, TypeVar

from otel_prom_bridge.direct.attachable import Attachable
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.direct.levels import Levels, ObservedSums
from otel_prom_bridge.direct.observed import Observed
from otel_prom_bridge.direct.observing import Observing
from otel_prom_bridge.direct.plans import RecordingPlan
from otel_prom_bridge.direct.provider import DirectMeterProvider
from otel_prom_bridge.direct.synchronous import LOCKS, RECORDS, Synchronous
from otel_prom_bridge.families import Kind
from otel_prom_bridge.forks import whole
from otel_prom_bridge.pipeline.background import background
from otel_prom_bridge.pipeline.options import takes
from otel_prom_bridge.points import SourcePoint, Stream
from otel_prom_bridge.push.pushed import Pushed, PushOptions

S = TypeVar("S", Levels, ObservedSums)


class DirectPushReader(Pushed, Attachable):
    """Pushes what a :class:`DirectMeterProvider` records to the hub of ``otel-prom-bridge run``.

    It has the options of ``PushReader``. The limits of its ``policy`` are those of the attribute sets that an
    instrument may hold between two pushes, of the levels that up-down counters and gauges may have, and of
    the sums that callbacks may say.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    _RECORDS, _LOCKS = RECORDS, LOCKS

    @takes(PushOptions)
    def __init__(self, options: PushOptions) -> None:
        super().__init__()
        self._told_apart: dict[Synchronous | Observed, Any] = {}
        self._begin_pushing(options)
        self._observing = Observing(self._callbacks, self._findings)

    def attached(self, provider: DirectMeterProvider) -> None:
        """This is the provider that records for it."""
        super().attached(provider)
        background.add(self)

    def _take(self) -> None:
        provider = self._provider
        if provider is None:
            return
        # What a callback records is taken along. And a fork must not wait for callbacks.
        said, failing = self._observing.ask(provider.observed, self._patience())
        with whole():
            batch = self._batch(provider.synchronous, said)
            names = frozenset(stream.name for stream in failing)
            schema_url = provider.resource.schema_url
            self._keep(provider.described, batch, names, schema_url=schema_url)

    def _batch(
        self, synchronous: Sequence[Synchronous], said: Sequence[tuple[Observed, Sequence[Number]]]
    ) -> Iterator[tuple[Stream, Iterable[SourcePoint]]]:
        """All that there is to push, taken from the cells when the encoder asks for it."""
        now = time_ns()
        for instrument in synchronous:
            stream = instrument.stream
            if stream.meaning.kind is not Kind.GAUGE:
                yield stream, chain.from_iterable(instrument.drain(now))
            else:
                # As a level, which the hub has for as long as it is said.
                meaning = stream.meaning._replace(accumulates=False)
                yield stream._replace(meaning=meaning), self._levels_of(instrument, now)
        for observed, points in said:
            yield observed.stream, self._said_of(observed, points)

    # What fails in these two is one metric, since they begin when that is encoded.

    def _levels_of(self, instrument: Synchronous, now: int) -> Iterator[Number]:
        levels = self._sets(Levels, instrument)
        levels.take(chain.from_iterable(instrument.drain(now)))
        yield from levels.points(now)

    def _said_of(self, observed: Observed, points: Sequence[Number]) -> Iterator[Number]:
        reduced = [_needed(point, observed.plan) for point in points]
        if not observed.stream.meaning.additive:
            yield from observed.together(reduced)
            return
        yield from self._sets(ObservedSums, observed).added_up(reduced)

    def _sets(self, kind: type[S], instrument: Synchronous | Observed) -> S:
        """The attribute sets of an instrument that pushes so far have told apart."""
        found: S | None = self._told_apart.get(instrument)
        if found is None:
            plan = instrument.plan
            found = kind(plan.stream, limit=plan.limit, findings=self._findings)
            self._told_apart[instrument] = found
        return found

    def _begin_anew(self) -> bool:
        self._told_apart.clear()
        provider = self._provider
        if provider is None or not self.is_attached:
            return False
        now = time_ns()
        for instrument in provider.synchronous:
            instrument.discard(now)
        return bool(provider.observed)


def _needed(point: Number, plan: RecordingPlan) -> Number:
    """The point without attributes that no view needs. Those stay with its exemplars, as when recording."""
    left_out = {name: value for name, value in point.attributes.items() if not plan.needs(name)}
    if not left_out:
        return point
    kept = {name: value for name, value in point.attributes.items() if name not in left_out}
    exemplars = [each._replace(filtered_attributes=left_out) for each in point.exemplars]
    return point._replace(attributes=kept, exemplars=exemplars)
