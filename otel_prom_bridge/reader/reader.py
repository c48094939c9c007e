"""The seam to the SDK: a metric reader that collects deltas and exposes cumulative series.

``MetricReader.collect`` calls ``_receive_metrics`` with what was recorded since the last collection, *if*
there was anything. It does so whoever caused the collection: a scrape, ``force_flush`` or the application.
Each batch goes straight into the store, so a delta is applied exactly once, and a flush without a scrape
leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from otel_prom_bridge.pipeline.exposed import Exposed
from otel_prom_bridge.pipeline.options import PipelineOptions, takes
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.prices import show
from otel_prom_bridge.reader.collection import SdkCollections
from otel_prom_bridge.sdk.base_reader import BridgeReader
from otel_prom_bridge.sdk.batches import TEMPORALITY
from otel_prom_bridge.sdk.versions import HAS_LIMITS, PULLS, RELEASE, reader_options
from otel_prom_bridge.views.tenants import sdk_limits

# When the SDK gives a collection up between two callbacks. No scrape waits that long, but the next one has
# what was collected meanwhile.
_CALLBACKS_MILLIS = 60_000

_NO_LIMITS = (
    "sdk_max_series does nothing: opentelemetry-sdk %s has no limits of attribute sets, and keeps all that it"
    " ever saw; 1.45.2 has them"
)


class PrometheusMetricReader(Exposed, BridgeReader):
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
            any, None for five times ``max_series_per_metric``, at least 10,000. A series has one for each
            bucket, one for ``+Inf``, a sum and a count. Further attribute sets go to the overflow series.
        prices: what tokens cost, where a view shows them as costs: ``"default"`` for the table that comes
            along, ``"genai-prices"`` for that of the package of this name, the path of a file, a
            :class:`~otel_prom_bridge.genai.PriceTable`, or False for no costs.
        seconds_buckets: histograms in seconds have buckets for seconds (0.005 to 300) where neither their
            author, nor a view, nor a View of the SDK says which. The SDK's own begin with 5.
        tenant: the attribute that names a tenant, and how many series each may have (:class:`Tenants`).
        context_labels: label → the key of what it says: in the context of a measurement
            (:class:`~otel_prom_bridge.genai.attributed`), in its baggage, or among its attributes. Calls of
            models, their tokens and costs, agents and tools get these labels, whoever records them. Each has
            at most ``max_client_values`` values, unless ``tenant`` lists them.
        id_labels: make labels also of the ids of users, sessions, conversations, requests, responses, traces,
            spans and calls. Otherwise they are labels of exemplars only, or of views that ask for them by
            name.
        gauges: what is shown of gauges that several workers have, where no view says it: ``"each"``,
            ``"sum"``, ``"max"``, ``"min"`` or ``"newest"`` (see ``workers`` of :class:`ExportView`).
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

    _collections: SdkCollections

    @takes(PipelineOptions)
    def __init__(self, options: PipelineOptions) -> None:
        self._pipeline = Pipeline(options)
        policy, findings = self._pipeline.policy, self._pipeline.findings
        super().__init__(
            shutdown=self._pipeline.shutdown,
            completing=policy.context.recorded if policy.context else None,
            preferred_temporality=TEMPORALITY,
            preferred_aggregation={**policy.preferred_aggregations(findings)},
            **reader_options(sdk_limits(policy.max_series_by_type, policy.sdk_limit), PULLS),
        )
        if options.sdk_max_series is not None and not HAS_LIMITS:
            findings.report("sdk_max_series", _NO_LIMITS, RELEASE)
        self._collections = SdkCollections(
            self._pipeline, pull=self._pull, is_idle=self._is_idle, interval=options.collect_interval or None
        )
        self._pipeline.shutdown.add(self._collections.close)
        self._pipeline.join(options.registry, self.families)

    def _ordered(self, collect: Callable[..., Any]) -> Callable[..., Any]:
        return self._collections.ordered(collect)

    def _set_meter_provider(self, meter_provider: Any) -> None:
        super()._set_meter_provider(meter_provider)
        show(meter_provider, self.policy.pricing)

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

    def _is_idle(self) -> bool:
        """Whether nothing was recorded that the SDK would hand over."""
        return self.is_ready and self._locks is not None and self._locks.find_nothing()
