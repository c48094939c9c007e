"""The names of the bridge's own families, and their help texts, which say what to do if a value grows.

The names of the OTel semantic conventions are translated as the default strategy does: dots become
underscores, and the unit is appended.

https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

from otel_prom_bridge.families import Kind, MetricFamily


def _family(name: str, kind: Kind, help_text: str, unit: str = "") -> MetricFamily:
    return MetricFamily(name, kind, help_text, unit, ())


# https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/#metric-otelsdkmetric_readercollectionduration
COLLECTION = _family(
    "otel_sdk_metric_reader_collection_duration_seconds",
    Kind.HISTOGRAM,
    "The duration of the collect operation of the metric reader. "
    "If it grows, look for slow callbacks of asynchronous instruments.",
    "seconds",
)

# https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/#metric-otelsdkexporteroperationduration
OPERATION = _family(
    "otel_sdk_exporter_operation_duration_seconds",
    Kind.HISTOGRAM,
    "The duration of exporting a batch of telemetry records; of this component, of a whole scrape. "
    "If it grows, its parts say where: otel_sdk_metric_reader_collection_duration_seconds and "
    "otel_prom_bridge_scrape_phase_duration_seconds.",
    "seconds",
)

PHASE = _family(
    "otel_prom_bridge_scrape_phase_duration_seconds",
    Kind.HISTOGRAM,
    "The duration of the bridge's own parts of a scrape. All grow with the number of series "
    "(otel_prom_bridge_metric_series says of which metric).",
    "seconds",
)

SCRAPES = _family(
    "otel_prom_bridge_scrapes_total",
    Kind.COUNTER,
    "Requests for metrics by HTTP status. If others than 200 grow, the application's log says why.",
)

SIZE = _family(
    "otel_prom_bridge_body_size_bytes",
    Kind.GAUGE,
    "The size of the last body by format and content encoding. If it grows, so does the number of series.",
    "bytes",
)

CALLBACK_FAILURES = _family(
    "otel_prom_bridge_callback_failures_total",
    Kind.COUNTER,
    "Callbacks of asynchronous instruments that raised while this reader collected; their series are "
    "missing. If it grows, correct the callback: the log says what it raised.",
)

COLLECTOR_FAILURES = _family(
    "otel_prom_bridge_collector_failures_total",
    Kind.COUNTER,
    "Collectors of the prometheus_client registry that raised; their metrics are missing. If it grows, "
    "correct the collector: the log names the error.",
)

SERIES = _family(
    "otel_prom_bridge_series",
    Kind.GAUGE,
    "Series in all. If it grows without end, otel_prom_bridge_metric_series says of which metric.",
)

SERIES_LIMIT = _family(
    "otel_prom_bridge_series_limit",
    Kind.GAUGE,
    "How many series all metrics together may have (max_series). What is more is counted in overflow series.",
)

PRICES = _family(
    "otel_prom_bridge_price_table_info",
    Kind.GAUGE,
    "The table by which tokens are shown as costs, and the day for which its prices are. Old prices are wrong"
    " ones.",
)

METRIC_SERIES = _family(
    "otel_prom_bridge_metric_series",
    Kind.GAUGE,
    "Series by metric. If it grows without end, an attribute of the metric has too many values: drop it "
    "with an ExportView.",
)

OVERFLOWED = _family(
    "otel_prom_bridge_overflowed_points_total",
    Kind.COUNTER,
    "Points that went to a metric's overflow series because it has as many series as it may. If it grows, "
    "drop an attribute with an ExportView, or raise max_series_per_metric.",
)

FOLDED = _family(
    "otel_prom_bridge_folded_points_total",
    Kind.COUNTER,
    "Points of which a rule changed a label, by metric, label and rule. If it grows faster than expected, "
    "the rule takes in more values than it was meant for.",
)

DROPPED = _family(
    "otel_prom_bridge_dropped_metrics",
    Kind.GAUGE,
    "Metrics that are not shown. If it is not 0, the log names them and says what to do.",
)

CONFLICTING = _family(
    "otel_prom_bridge_conflicting_metrics",
    Kind.GAUGE,
    "Conflicts of metric names found so far. If it is not 0, the log names them: rename one of two metrics "
    "with an ExportView.",
)

EXEMPLARS = _family(
    "otel_prom_bridge_exemplars",
    Kind.GAUGE,
    "Exemplars held. There is at most one per bucket; if it is 0 though spans are sampled, look at "
    "OTEL_METRICS_EXEMPLAR_FILTER.",
)

COLLECTED = _family(
    "otel_prom_bridge_last_collection_successful",
    Kind.GAUGE,
    "Whether this scrape shows a collection that succeeded in time. If it is 0, the application's metrics "
    "are the last known ones: look for a callback that hangs, and in the log.",
)

STUCK = _family(
    "otel_prom_bridge_stuck_collectors",
    Kind.GAUGE,
    "Collectors of the prometheus_client registry that have not answered; their metrics are the last known "
    "ones. If it is not 0, the log names them.",
)

RELOADED = _family(
    "otel_prom_bridge_last_reload_successful",
    Kind.GAUGE,
    "Whether tokens, certificates and web-config.yml are in use as they are now in their files. If it is 0, "
    "those from before stay in use: the log and, for those with credentials, /ready say what is wrong.",
)

CERTIFICATE = _family(
    "otel_prom_bridge_certificate_expiry_timestamp_seconds",
    Kind.GAUGE,
    "When the certificate that the endpoint serves ends. If that is soon, put a new one and its key in the "
    "place of the old ones; the endpoint reads them by itself.",
    "seconds",
)

SOURCES = _family(
    "otel_prom_bridge_sources",
    Kind.GAUGE,
    "Processes that push to this hub and have not ended. If it is lower than the number of workers, some of "
    "them do not reach the hub: their logs say why.",
)

SOURCES_ENDED = _family(
    "otel_prom_bridge_sources_ended_total",
    Kind.COUNTER,
    "Processes that pushed to this hub and have ended, by how that was known: they said goodbye, their "
    "connection closed, or they were silent for too long. If connection or timeout grows, workers are killed "
    "or hang.",
)

OVERFLOWED_SOURCES = _family(
    "otel_prom_bridge_overflowed_sources_total",
    Kind.COUNTER,
    "Processes of services for which there was no place any more. What they record is shown together, with "
    'otel_metric_overflow="true"; max_services allows more.',
)

PUSHES = _family(
    "otel_prom_bridge_pushes_total",
    Kind.COUNTER,
    "Pushes by HTTP status. If others than 200 grow, the hub's log says why.",
)

PUSH_AGE = _family(
    "otel_prom_bridge_push_age_seconds",
    Kind.GAUGE,
    "How long ago the last push came of the process that has been silent for longest. If it grows, a worker "
    "hangs.",
    "seconds",
)

DUPLICATES = _family(
    "otel_prom_bridge_duplicate_pushes_total",
    Kind.COUNTER,
    "Pushes that came again and were not counted twice. If it grows, answers do not reach the workers.",
)

REJECTED = _family(
    "otel_prom_bridge_rejected_points_total",
    Kind.COUNTER,
    "Points of pushes that could not be taken in. If it grows, the log says which metric and why.",
)

WORKER_DROPPED = _family(
    "otel_prom_bridge_worker_dropped_points_total",
    Kind.COUNTER,
    "Points that workers dropped because the hub did not take them for too long. If it grows, look at what "
    "keeps the hub from answering.",
)
