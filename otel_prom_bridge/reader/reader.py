"""The seam to the SDK: a metric reader that collects deltas and exposes cumulative series.

``MetricReader.collect`` calls ``_receive_metrics`` with what was recorded since the last collection, *if*
there was anything. It does so whoever caused the collection: a scrape, ``force_flush`` or the application.
Each batch goes straight into the store, so a delta is applied exactly once, and a flush without a scrape
leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from prometheus_client import REGISTRY, CollectorRegistry

from otel_prom_bridge.client.others import OtherCollectors
from otel_prom_bridge.client.ours import BridgeCollector, register
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.exposition import Exposer, Exposition, WriterOptions
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.native import RLock
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.reader.collection import Collections
from otel_prom_bridge.report.cardinality import CardinalityReport, of_family
from otel_prom_bridge.report.self_metrics import SelfMetrics
from otel_prom_bridge.sdk.batches import TEMPORALITY
from otel_prom_bridge.sdk.locks import Locks
from otel_prom_bridge.sdk.recordings import at_next_recording
from otel_prom_bridge.sdk.versions import HAS_LIMITS, RELEASE, reader_options
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.translate import Translation, TranslationStrategy
from otel_prom_bridge.translate.strategies import STRATEGY
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUND,
    BOUNDS,
    COMMON_LABELS,
    FUNCTION,
    INTERVAL,
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
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.instruments import LIMITS
from otel_prom_bridge.views.policy import Policy
from otel_prom_bridge.views.tenants import DEFAULT_MAX_SERIES, Tenants, sdk_limits
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.written import EXEMPLARS, PRICES, TENANTS, VIEWS

_REGISTRY = instance_of(CollectorRegistry, "a prometheus_client CollectorRegistry, or None")
# How long a scrape waits for callbacks: half of what Prometheus waits for us by default.
DEFAULT_SCRAPE_TIMEOUT = 5.0
DEFAULT_COLLECT_INTERVAL = 10.0
# For collectors, when callbacks have used up the time: those that answer at once are none the worse for it.
_LEAST_WAIT = 0.1
# How old a collection has to be to be one that hangs, however little time a scraper had.
_PATIENCE = 1.0
# When the SDK gives a collection up between two callbacks. No scrape waits that long, but the next one has
# what was collected meanwhile.
_CALLBACKS_MILLIS = 60_000

_NO_LIMITS = (
    "sdk_max_series does nothing: opentelemetry-sdk %s has no limits of attribute sets, and keeps all that it"
    " ever saw; 1.45.2 has them"
)


class PrometheusMetricReader(MetricReader):
    """Exposes what a ``MeterProvider`` records in Prometheus' formats.

    It takes the arguments of the class of this name in ``opentelemetry-exporter-prometheus``, so changing
    the import is enough to move.

    Args:
        disable_target_info: leave out ``target_info``, the info metric with the resource attributes.
        prefix: put before every metric name, with an ``_``.
        scope_info_enabled: give every series the labels ``otel_scope_name``, ``otel_scope_version``,
            ``otel_scope_schema_url`` and one per scope attribute.
        resource_attribute_filter: called with each resource attribute's key; where it returns True, the
            attribute becomes a label of every series (and stays in ``target_info``).
        common_labels: label → the resource attribute, or several of which the first counts, that it says in
            every series where nothing else gives it a value; empty if the resource has none.
        registry: the ``prometheus_client`` registry to register with, as a collector. Its other collectors
            are part of what :meth:`expose` returns. None for none.
        cardinality_limits: the limit of series per metric by instrument class; others get
            ``max_series_per_metric``.
        translation_strategy: how names are translated, as a :class:`TranslationStrategy` or its
            specification spelling.
        views: what to make of which streams (see :class:`ExportView`); a stream that none of them selects is
            exported as it is.
        fallback_views: the same, for streams that none of ``views`` selects.
        max_series_per_metric: the number of series that one metric may have. Points with further attribute
            sets go to one series labelled ``otel_metric_overflow="true"``, so sums stay exact.
        max_series: the number of series that all metrics together may have; None for any.
        max_label_value_length: the number of characters that a label's value may have; 0 for any. What is
            longer is cut. Where two values become one, their series are one, so sums stay exact.
        max_labels: the number of labels that a series may have, without those of its scope and resource; 0
            for any. What is more is left out, labels that views name last.
        max_help_length: the number of characters that a help text may have; 0 for any.
        max_client_values: the number of values that a label has whose values clients choose, such as the Host
            header (``server.address`` of a server); 0 for any. Later ones are ``other``. ``id_labels``, a
            rule, or a view that names the attribute in ``keep`` or ``rename`` lifts that, too.
        max_lines_per_metric: the number of lines that the series of one histogram may have together; 0 for
            any, None for five times ``max_series_per_metric``. A series has one for each bucket, one for
            ``+Inf``, a sum and a count. Further attribute sets go to the overflow series.
        prices: what tokens cost, where a view shows them as costs: ``"default"`` for the table that comes
            along, ``"genai-prices"`` for that of the package of this name, the path of a file, a
            :class:`~otel_prom_bridge.genai.PriceTable`, or False for no costs.
        seconds_buckets: histograms in seconds have buckets for seconds (0.005 to 300) where neither their
            author, nor a view, nor a View of the SDK says which. The SDK's own begin with 5.
        tenant: the attribute that names a tenant, and how many series each may have (:class:`Tenants`).
        id_labels: make labels also of the ids of users, sessions, conversations, requests, responses, traces,
            spans and calls. Otherwise they are labels of exemplars only, or of views that ask for them by
            name.
        exemplars: which exemplars are kept (:class:`Exemplars`); False for none.
        expire_after: seconds after which a series that nobody touches disappears; it comes back as a new one.
            None for never. Of counters, up-down counters and histograms; asynchronous instruments say
            themselves what there is.
        scrape_timeout: seconds that a scrape waits for callbacks and collectors; what has not answered then
            shows what it said last.
        collect_interval: seconds after which a collection runs on its own if nobody scrapes, so that each is
            short; 0 for never.
        self_metrics: show what the bridge does (``otel_prom_bridge_*`` and two ``otel_sdk_*`` metrics).
        self_metric_names: names of such metrics → other names for them.
        sdk_max_series: the number of attribute sets that the SDK may hold per instrument between two
            collections. What is more cannot be told apart any more. None for the larger of 20,000 and ten
            times the largest limit of ours.
        created_timestamps: say when each counter and histogram began, as ``_created`` lines of OpenMetrics.
        openmetrics_2: answer in OpenMetrics 2.0, which is experimental, whoever asks for ``version=2.0.0``.
        exponential_histogram_bounds: the buckets that exponential histograms get in formats without native
            histograms (text, OpenMetrics). None for the limits of their own buckets, at most 20 of them.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    _consumer: object = None  # what the SDK hands measurements to, of the provider that uses this reader
    _locks: Locks | None = None

    def __init__(
        self,
        disable_target_info: bool = False,
        prefix: str = "",
        scope_info_enabled: bool = True,
        *,
        resource_attribute_filter: Callable[[str], bool] | None = None,
        common_labels: Mapping[str, str | Sequence[str]] | None = None,
        registry: CollectorRegistry | None = REGISTRY,
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
        id_labels: bool = False,
        exemplars: Exemplars | bool = True,
        expire_after: float | None = None,
        scrape_timeout: float = DEFAULT_SCRAPE_TIMEOUT,
        collect_interval: float = DEFAULT_COLLECT_INTERVAL,
        self_metrics: bool = True,
        self_metric_names: Mapping[str, str] | None = None,
        sdk_max_series: int | None = None,
        created_timestamps: bool = False,
        openmetrics_2: bool = False,
        exponential_histogram_bounds: Sequence[float] | None = None,
    ) -> None:
        limits = LIMITS.value("cardinality_limits", cardinality_limits or {})
        self._policy = Policy(
            views=VIEWS.value("views", views),
            fallback_views=VIEWS.value("fallback_views", fallback_views),
            max_series_per_metric=POSITIVE.value("max_series_per_metric", max_series_per_metric),
            max_series_by_type=limits,
            max_series=POSITIVE.optional("max_series", max_series),
            max_label_value_length=BOUND.value("max_label_value_length", max_label_value_length),
            max_labels=BOUND.value("max_labels", max_labels),
            max_help_length=BOUND.value("max_help_length", max_help_length),
            max_client_values=BOUND.value("max_client_values", max_client_values),
            max_lines_per_metric=BOUND.optional("max_lines_per_metric", max_lines_per_metric),
            seconds_buckets=BOOLEAN.value("seconds_buckets", seconds_buckets),
            prices=PRICES.value("prices", prices) or None,
            tenant=TENANTS.optional("tenant", tenant),
            id_labels=BOOLEAN.value("id_labels", id_labels),
            exemplars=EXEMPLARS.value("exemplars", exemplars),
            expire_after=SECONDS.optional("expire_after", expire_after),
            sdk_max_series=POSITIVE.optional("sdk_max_series", sdk_max_series),
        )
        options = WriterOptions(
            created=BOOLEAN.value("created_timestamps", created_timestamps),
            openmetrics_2=BOOLEAN.value("openmetrics_2", openmetrics_2),
            native_bounds=BOUNDS.optional("exponential_histogram_bounds", exponential_histogram_bounds),
        )
        translation = _translation(
            translation_strategy, prefix, scope_info_enabled, resource_attribute_filter, common_labels
        )
        translation = replace(translation, value_length=self._policy.max_label_value_length)
        target_info = not BOOLEAN.value("disable_target_info", disable_target_info)
        self._scrape_timeout = SECONDS.value("scrape_timeout", scrape_timeout)
        self._findings = Findings()
        self._self_metrics = SelfMetrics(
            findings=self._findings,
            enabled=BOOLEAN.value("self_metrics", self_metrics),
            names=NAMES.value("self_metric_names", self_metric_names or {}),
        )
        super().__init__(
            preferred_temporality=TEMPORALITY,
            preferred_aggregation={**self._policy.preferred_aggregations(self._findings)},
            **reader_options(sdk_limits(limits, self._policy.sdk_limit)),
        )
        if sdk_max_series is not None and not HAS_LIMITS:
            self._findings.report("sdk_max_series", _NO_LIMITS, RELEASE)
        self._store = Store(
            translation=translation, policy=self._policy, findings=self._findings, target_info=target_info
        )
        self._exposer = Exposer(findings=self._findings, options=options)
        self._shutdown = Shutdown()
        self._collections = self._collecting(INTERVAL.value("collect_interval", collect_interval))
        self._others = self._join(_REGISTRY.optional("registry", registry), options)

    def _collecting(self, interval: float) -> Collections:
        collections = Collections(
            self._store,
            pull=self._pull,
            findings=self._findings,
            interval=interval or None,
            patience=min(_PATIENCE, self._scrape_timeout / 2),
            too_long=self._scrape_timeout,
            self_metrics=self._self_metrics,
        )
        self._shutdown.add(collections.close)
        return collections

    def _join(self, registry: CollectorRegistry | None, options: WriterOptions) -> OtherCollectors | None:
        self._collector = BridgeCollector(
            collect=self.families, describe=self._store.families, options=options
        )
        if registry is None:
            return None
        self._shutdown.add(register(registry, self._collector))
        return OtherCollectors(
            registry,
            findings=self._findings,
            failed=self._self_metrics.collector_failed,
            patience=min(_PATIENCE, self._scrape_timeout / 2),
        )

    @property
    def policy(self) -> Policy:
        """What is exported; ``policy.sdk_views()`` is for a ``MeterProvider`` of one's own."""
        return self._policy

    @property
    def prices(self) -> PriceTable | None:
        """The table by which tokens are shown as costs; None for no costs.

        Another one counts from then on. What was shown before stays, so that no counter falls.
        """
        return self._policy.pricing.table

    @prices.setter
    def prices(self, table: PriceTable | str | os.PathLike[str] | Literal[False]) -> None:
        self._policy.pricing.table = PRICES.value("prices", table) or None

    @property
    def is_ready(self) -> bool:
        """A provider uses this reader, and it was not shut down."""
        return self._collect is not None and not self.is_shut_down

    @property
    def is_shut_down(self) -> bool:
        """:meth:`shutdown` was called."""
        return self._shutdown.has_begun

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """Collect, and return what a scrape with this Accept header is answered with.

        Args:
            accept: an Accept header; without one the answer is Prometheus text 0.0.4.
            names: only the families that these names mention (as a family or as one of its samples).
            timeout: how many seconds to wait for callbacks and collectors, if less than ``scrape_timeout``.

        Beside the metrics of the provider there are those of the registry's other collectors. After
        :meth:`shutdown` and before a provider uses this reader, nothing is collected and the last known
        state is shown. Never raises because of a metric, a callback or a collector: what failed is logged
        once, and shows what it said last, as does what does not answer in time.
        """
        deadline = time.monotonic() + min(self._scrape_timeout, math.inf if timeout is None else timeout)
        collected = self._collections.run(deadline - time.monotonic()) if self.is_ready else None
        others = None if self.is_shut_down else self._others
        left = max(deadline - time.monotonic(), _LEAST_WAIT)
        stuck = others.ask(left) if others is not None else None
        shown = self._collections.families(max(deadline - time.monotonic(), _LEAST_WAIT))
        state = replace(self._store.state(), collected=collected, stuck=stuck)
        families = list(self._self_metrics.beside(shown, state))
        if others is not None:
            families += others.families(ours=families)
        with self._self_metrics.phase("encode"):
            result = self._exposer.expose(families, accept=accept, names=names)
        self._self_metrics.size(result.content_type, len(result.body))
        is_whole = collected and self._collections.is_whole
        if others is not None:
            is_whole = is_whole and not stuck and others.is_whole
        return result if is_whole else replace(result, complete=False)

    def families(self) -> tuple[MetricFamily, ...]:
        """Collect, and return the families of this reader as they are now, without those about itself.

        This is also what the registry's collector gives: several readers may share a registry.
        """
        deadline = time.monotonic() + self._scrape_timeout
        if self.is_ready:
            self._collections.run(self._scrape_timeout)
        return self._collections.families(max(deadline - time.monotonic(), _LEAST_WAIT))

    def cardinality(self) -> CardinalityReport:
        """Collect, and say of each metric how many series it has, and which labels make them.

        ``str()`` of it is a table, the biggest metric first. The maximum of a metric follows from the rules
        of its views and its limit.
        """
        families, maxima = self.families(), self._store.maxima()
        overflowed = self._store.state().overflowed
        return CardinalityReport.of(
            of_family(family, overflowed=overflowed.get(family.name, 0), maximum=maxima.get(family.name))
            for family in families
        )

    @property
    def is_healthy(self) -> bool:
        """The last collection succeeded, and none takes longer than a scrape waited, or would wait."""
        return self._collections.is_healthy

    @property
    def observer(self) -> SelfMetrics:
        """What an endpoint tells about the scrapes that it answers."""
        return self._self_metrics

    def conflicts(self) -> list[Conflict]:
        """What scrapes so far left out or merged because of conflicting names: types, comments, escaping.

        Each was logged once, when it was found. Collects nothing.
        """
        return self._findings.conflicts

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect now, so that nothing recorded so far waits in the SDK. Exposes nothing.

        ``timeout_millis`` bounds the wait; the collection goes on. False if it did not succeed in time.
        """
        return self.is_ready and self._collections.run(timeout_millis / 1000, fresh=True)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Leave the registry and close what serves this reader. A second call does nothing."""
        self._shutdown.begin()

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when this reader shuts down, at once if it has; the result takes that back."""
        return self._shutdown.add(hook)

    def _set_collect_callback(self, func: Callable[..., Any] | None) -> None:  # type: ignore[misc]
        # Final in the SDK; but nothing else says that a provider took this reader in, or let it go.
        super()._set_collect_callback(None if func is None else self._collections.ordered(func))
        self._consumer = getattr(func, "__self__", None)
        self._locks = Locks(self, self._consumer) if func is not None else None

    def _set_meter_provider(self, meter_provider: Any) -> None:
        super()._set_meter_provider(meter_provider)
        if self._locks is not None:
            self._locks.add(meter_provider)

    def at_next_recording(self, call: Callable[[], object]) -> bool:
        """Call ``call`` once, when something is recorded next. False if this SDK does not let us."""
        return at_next_recording(self._consumer, self, call)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        self._collections.take(metrics_data)

    def _pull(self) -> bool:
        """Have the SDK hand over what was recorded; False if there is no provider to ask."""
        if not self.is_ready:
            return False
        self.collect(timeout_millis=_CALLBACKS_MILLIS)
        return True


class Shutdown:
    """Happens once, and calls the hooks that were added before, in that order."""

    def __init__(self) -> None:
        self._lock = RLock()  # re-entrant, as a signal handler may shut down what it interrupts
        self._hooks: list[Callable[[], None]] = []
        self.has_begun = False

    def add(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` at the shutdown, or now if it has begun. The result takes that back."""
        with self._lock:
            self._hooks.append(hook)
        if self.has_begun:
            self._call()
        return partial(self._forget, hook)

    def begin(self) -> None:
        """Call all hooks. A second call does nothing."""
        with self._lock:
            if self.has_begun:
                return
            self.has_begun = True
        self._call()

    def _call(self) -> None:
        with self._lock:
            hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook()

    def _forget(self, hook: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._hooks.remove(hook)


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
