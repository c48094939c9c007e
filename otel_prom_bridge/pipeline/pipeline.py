"""What a reader and a hub have in common: from the points that they bring to the answer of a scrape.

Whoever has points puts them into :meth:`Pipeline.take`. A scrape asks for :meth:`Pipeline.expose`. How points
come to be there is the owner's matter. A reader collects them when somebody scrapes, and a hub has been sent
them before. So the owner hands over a function that collects, and says of each scrape what became of that.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry

from otel_prom_bridge.client.others import OtherCollectors
from otel_prom_bridge.client.ours import BridgeCollector, register
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, Exposition, WriterOptions
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.forks import whole
from otel_prom_bridge.once import Shutdown
from otel_prom_bridge.points import Source, SourcePoint, Stream
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.report.cardinality import CardinalityReport, of_family
from otel_prom_bridge.report.self_metrics import SelfMetrics, State
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.translate import Translation, TranslationStrategy
from otel_prom_bridge.translate.strategies import STRATEGY
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUND,
    BOUNDS,
    COMMON_LABELS,
    FUNCTION,
    NAMES,
    POSITIVE,
    SECONDS,
    STRING,
    instance_of,
)
from otel_prom_bridge.views.bounds import (
    DEFAULT_CLIENT_VALUES,
    DEFAULT_HELP_LENGTH,
    DEFAULT_LABELS,
    DEFAULT_VALUE_LENGTH,
)
from otel_prom_bridge.views.context_labels import CHECK as CONTEXT_LABELS
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.instruments import LIMITS
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES, Tenants
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.workers import WORKERS, Workers
from otel_prom_bridge.views.written import EXEMPLARS, PRICES, TENANTS, VIEWS

_REGISTRY = instance_of(CollectorRegistry, "a prometheus_client CollectorRegistry, or None")
# How long a scrape waits for callbacks: half of what Prometheus waits for us by default.
DEFAULT_SCRAPE_TIMEOUT = 5.0
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
    """The policy, the store, the exposer and what is said of them. Options are those of a reader.

    ``max_services`` is for who takes points of several services.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    def __init__(
        self,
        *,
        disable_target_info: bool = False,
        prefix: str = "",
        scope_info_enabled: bool = True,
        resource_attribute_filter: Callable[[str], bool] | None = None,
        common_labels: Mapping[str, str | Sequence[str]] | None = None,
        cardinality_limits: Mapping[type, int] | None = None,
        translation_strategy: TranslationStrategy
        | str = TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES,
        views: Sequence[ExportView] = (),
        fallback_views: Sequence[ExportView] = (),
        max_series_per_metric: int = DEFAULT_MAX_SERIES,
        max_series: int | None = None,
        max_label_value_length: int = DEFAULT_VALUE_LENGTH,
        max_labels: int = DEFAULT_LABELS,
        max_help_length: int = DEFAULT_HELP_LENGTH,
        max_client_values: int = DEFAULT_CLIENT_VALUES,
        max_lines_per_metric: int | None = None,
        seconds_buckets: bool = True,
        prices: PriceTable | str | os.PathLike[str] | Literal[False] = "default",
        tenant: Tenants | None = None,
        context_labels: Mapping[str, str] | None = None,
        id_labels: bool = False,
        gauges: Workers = "each",
        exemplars: Exemplars | bool = True,
        expire_after: float | None = None,
        scrape_timeout: float = DEFAULT_SCRAPE_TIMEOUT,
        self_metrics: bool = True,
        self_metric_names: Mapping[str, str] | None = None,
        sdk_max_series: int | None = None,
        created_timestamps: bool = False,
        openmetrics_2: bool = False,
        exponential_histogram_bounds: Sequence[float] | None = None,
        max_services: float = math.inf,
    ) -> None:
        self.policy = Policy(
            views=VIEWS.value("views", views),
            fallback_views=VIEWS.value("fallback_views", fallback_views),
            max_series_per_metric=POSITIVE.value("max_series_per_metric", max_series_per_metric),
            max_series_by_type=LIMITS.value("cardinality_limits", cardinality_limits or {}),
            max_series=POSITIVE.optional("max_series", max_series),
            max_label_value_length=BOUND.value("max_label_value_length", max_label_value_length),
            max_labels=BOUND.value("max_labels", max_labels),
            max_help_length=BOUND.value("max_help_length", max_help_length),
            max_client_values=BOUND.value("max_client_values", max_client_values),
            max_lines_per_metric=BOUND.optional("max_lines_per_metric", max_lines_per_metric),
            seconds_buckets=BOOLEAN.value("seconds_buckets", seconds_buckets),
            prices=PRICES.value("prices", prices) or None,
            tenant=TENANTS.optional("tenant", tenant),
            context_labels=CONTEXT_LABELS.value("context_labels", context_labels or {}),
            id_labels=BOOLEAN.value("id_labels", id_labels),
            gauges=WORKERS.value("gauges", gauges),
            exemplars=EXEMPLARS.value("exemplars", exemplars),
            expire_after=SECONDS.optional("expire_after", expire_after),
            sdk_max_series=POSITIVE.optional("sdk_max_series", sdk_max_series),
        )
        self._writer_options = WriterOptions(
            created=BOOLEAN.value("created_timestamps", created_timestamps),
            openmetrics_2=BOOLEAN.value("openmetrics_2", openmetrics_2),
            native_bounds=BOUNDS.optional("exponential_histogram_bounds", exponential_histogram_bounds),
        )
        translation = _translation(
            translation_strategy, prefix, scope_info_enabled, resource_attribute_filter, common_labels
        )
        self.scrape_timeout: float = SECONDS.value("scrape_timeout", scrape_timeout)
        self.findings = Findings()
        self.self_metrics = SelfMetrics(
            findings=self.findings,
            enabled=BOOLEAN.value("self_metrics", self_metrics),
            names=NAMES.value("self_metric_names", self_metric_names or {}),
        )
        self.store = Store(
            translation=replace(translation, value_length=self.policy.max_label_value_length),
            policy=self.policy,
            findings=self.findings,
            target_info=not BOOLEAN.value("disable_target_info", disable_target_info),
            max_services=max_services,
        )
        self._exposer = Exposer(findings=self.findings, options=self._writer_options)
        self.shutdown = Shutdown()
        self._others: OtherCollectors | None = None
        self._taking = 0.0  # seconds that the store took for points since somebody last asked for families

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
            self._taking += time.perf_counter() - start

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
            taking, self._taking = self._taking, 0.0
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
        collected = collect(deadline - time.monotonic())
        others = None if self.shutdown.has_begun else self._others
        left = max(deadline - time.monotonic(), _LEAST_WAIT)
        stuck = others.ask(left) if others is not None else None
        shown = self.families(deadline - time.monotonic())
        now = self.store.state(collected=collected.successful, stuck=stuck)
        families = list(self.self_metrics.beside(shown, state(now)))
        if others is not None:
            families += others.families(ours=families)
        return families, collected.whole and (others is None or (not stuck and others.is_whole))

    def cardinality(self, families: Iterable[MetricFamily]) -> CardinalityReport:
        """Say of each of these families how many series it has, and which labels make them."""
        maxima, overflowed = self.store.maxima(), self.store.state().overflowed
        return CardinalityReport.of(
            of_family(family, overflowed=overflowed.get(family.name, 0), maximum=maxima.get(family.name))
            for family in families
        )


def _translation(
    strategy: TranslationStrategy | str,
    prefix: str,
    scope_info_enabled: bool,
    resource_attribute_filter: Callable[[str], bool] | None,
    common_labels: Mapping[str, str | Sequence[str]] | None,
) -> Translation:
    return Translation(
        strategy=STRATEGY.value("translation_strategy", strategy),
        prefix=STRING.value("prefix", prefix),
        scope_info_enabled=BOOLEAN.value("scope_info_enabled", scope_info_enabled),
        resource_attribute_filter=FUNCTION.optional("resource_attribute_filter", resource_attribute_filter),
        common_labels=COMMON_LABELS.value("common_labels", common_labels or {}),
    )
