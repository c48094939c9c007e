"""What a reader and a hub have in common: from the points that they bring to the answer of a scrape.

Whoever has points puts them into :meth:`Pipeline.take`. A scrape asks for :meth:`Pipeline.expose`. How points
come to be there is the owner's matter. A reader collects them when somebody scrapes, and a hub has been sent
them before. So the owner hands over a function that collects, and says of each scrape what became of that.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from otel_prom_bridge.client.others import OtherCollectors
from otel_prom_bridge.client.ours import BridgeCollector, register
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, Exposition
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.forks import whole
from otel_prom_bridge.interrupts import outwards
from otel_prom_bridge.once import Coalesced, Shutdown
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.points import Source, SourcePoint, Stream
from otel_prom_bridge.report.cardinality import CardinalityReport, of_family
from otel_prom_bridge.report.self_metrics import SelfMetrics, State
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.values.checks import instance_of

_REGISTRY = instance_of(CollectorRegistry, "a prometheus_client CollectorRegistry, or None")
# For collectors, when callbacks have used up the time: those that answer at once are none the worse for it.
_LEAST_WAIT = 0.1
# How old a collection has to be to be one that hangs, however little time a scraper had.
_PATIENCE = 1.0


class Collected(NamedTuple):
    """What became of a collection. ``successful`` is None where there was nothing to collect from.

    If it is not ``whole``, something in the exposition is shown as it was last known.
    """

    successful: bool | None
    whole: bool


class Pipeline:
    """The policy, the store, the exposer and what is said of them.

    ``max_services`` is for who takes points of several services.
    """

    def __init__(self, options: PipelineOptions, *, max_services: float = math.inf) -> None:
        self.policy = options.policy()
        self.scrape_timeout = options.scrape_timeout
        self.findings = Findings()
        self.self_metrics = SelfMetrics(
            findings=self.findings, enabled=options.self_metrics, names=options.self_metric_names or {}
        )
        self.store = Store(
            translation=options.translation(),
            policy=self.policy,
            findings=self.findings,
            target_info=not options.disable_target_info,
            max_services=max_services,
        )
        self._writer_options = options.writer_options()
        self._exposer = Exposer(findings=self.findings, options=self._writer_options)
        self.shutdown = Shutdown()
        self._others: OtherCollectors | None = None
        self.take_seconds = 0.0  # how long the store took for points, of all times together
        self._told_seconds = 0.0  # of these, what the self-metrics know

    @property
    def patience(self) -> float:
        """How many seconds something that somebody waits for may take before it is said to hang."""
        return min(_PATIENCE, self.scrape_timeout / 2)

    def join(self, registry: CollectorRegistry | None, collect: Callable[[], Sequence[MetricFamily]]) -> None:
        """Show the other collectors of this registry, too, and be a collector of it, which ``collect`` is."""
        self._collector = BridgeCollector(
            collect=collect, describe=self.store.families, options=self._writer_options
        )
        registry = _REGISTRY.optional("registry", registry)
        if registry is not None:
            self.shutdown.add(register(registry, self._collector))
            self._others = OtherCollectors(
                registry,
                findings=self.findings,
                failed=self.self_metrics.collector_failed,
                patience=self.patience,
            )

    def take(
        self,
        source: Source,
        batch: Iterable[tuple[Stream, Sequence[SourcePoint]]],
        *,
        number: int | None = None,
        resource: Mapping[str, object] | None = None,
        failing: Collection[str | Stream] | None = (),
    ) -> None:
        """Put points into the store; see there."""
        start = time.perf_counter()
        try:
            self.store.take(source, batch, number=number, resource=resource, failing=failing)
        finally:
            self.take_seconds += time.perf_counter() - start

    def take_nothing(self, source: Source, *, resource: Mapping[str, object] | None) -> bool:
        """Tell the store that a collection brought nothing, if that can be done at once; see there."""
        start = time.perf_counter()
        try:
            with whole():
                return self.store.take_nothing(source, resource=resource)
        finally:
            self.take_seconds += time.perf_counter() - start

    def end(self, source: Source) -> None:
        """Let go what this source said of the present; see the store."""
        self.store.end(source)

    def families(self, seconds: float) -> tuple[MetricFamily, ...]:
        """What the store has now; what it had last if it does not answer within so many seconds."""
        start = time.perf_counter()
        try:
            with whole():
                return self.store.families(seconds=max(seconds, _LEAST_WAIT))
        finally:
            told, self._told_seconds = self._told_seconds, self.take_seconds
            taking = self._told_seconds - told
            self.self_metrics.observe("apply", taking + time.perf_counter() - start)

    def expose(
        self,
        accept: str | None,
        *,
        names: Iterable[str],
        timeout: float | None,
        collect: Callable[[float], Collected],
        state: Callable[[State], State] = lambda state: state,
    ) -> Exposition:
        """What a scrape with this Accept header is answered with. Never raises because of a metric.

        ``collect`` gets the seconds that there are, ``timeout`` or ``scrape_timeout``, whichever is less.
        ``state`` adds what its owner knows to what the bridge says of itself.
        """
        families, is_whole = self.gathered(timeout=timeout, collect=collect, state=state)
        with self.self_metrics.phase("encode"):
            result = self._exposer.expose(families, accept=accept, names=names)
        self.self_metrics.size(result.content_type, result.pieces.size)
        return result if is_whole else replace(result, complete=False)

    def gathered(
        self,
        *,
        timeout: float | None,
        collect: Callable[[float], Collected],
        state: Callable[[State], State] = lambda state: state,
    ) -> tuple[Sequence[MetricFamily], bool]:
        """The families that a scrape gets, and whether none of them is shown as it was last known."""
        deadline = time.monotonic() + min(self.scrape_timeout, math.inf if timeout is None else timeout)
        others = None if self.shutdown.has_begun else self._others
        collected, stuck = Collected(None, whole=False), None
        interrupts = self._interrupts_a_scrape()
        if not interrupts:
            collected = collect(deadline - time.monotonic())
            left = max(deadline - time.monotonic(), _LEAST_WAIT)
            stuck = others.ask(left) if others is not None else None
        # Where nothing can be collected, the store may be waiting for what this scrape has interrupted.
        waits = not interrupts and collected.successful is not False
        shown = self.families(deadline - time.monotonic() if waits else 0)
        now = self.store.state(collected=collected.successful, stuck=stuck)
        families = list(self.self_metrics.beside(shown, state(now)))
        if others is not None:
            families += others.families(ours=families)
        return families, collected.whole and (others is None or (not stuck and others.is_whole))

    def _interrupts_a_scrape(self) -> bool:
        """Whether :meth:`gathered` was called within another scrape of its thread, by a signal handler, say.

        That one may have a lock for which a collection would wait, unless it is waiting for one itself.
        """
        this = sys._getframe(1)
        if this.f_back is not None and this.f_back.f_code is Pipeline.expose.__code__:
            this = this.f_back
        for frame in outwards(this.f_back):
            if frame.f_code is Coalesced.wait.__code__:
                return False
            if frame.f_code in _SCRAPES and frame.f_locals.get("self") is self:
                return True
        return False

    def cardinality(self, families: Iterable[MetricFamily]) -> CardinalityReport:
        """Say of each of these families how many series it has, and which labels make them."""
        maxima, overflowed = self.store.maxima(), self.store.state().overflowed
        return CardinalityReport.of(
            of_family(family, overflowed=overflowed.get(family.name, 0), maximum=maxima.get(family.name))
            for family in families
        )


_SCRAPES = (Pipeline.expose.__code__, Pipeline.gathered.__code__)
