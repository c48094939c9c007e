"""What we ask the SDK for, and its batches as streams of points.

A metric that cannot be read is reported, and never takes another one along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opentelemetry.sdk.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Gauge,
    Metric,
    ResourceMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import TranslationError
from otel_prom_bridge.families import Kind
from otel_prom_bridge.interrupts import sheltered
from otel_prom_bridge.points import Meaning, Shape, SourcePoint, Stream
from otel_prom_bridge.sdk.meanings import INSTRUMENTS

# What the SDK adds up itself we take as deltas: it then hands over (and locks) only what changed since the
# last collection. Asynchronous instruments report their current totals at every collection anyway. So do
# synchronous gauges, because a "delta" gauge that was not set again could not be told from an asynchronous
# one that is gone.
TEMPORALITY: dict[type, AggregationTemporality] = {
    **dict.fromkeys(INSTRUMENTS, AggregationTemporality.CUMULATIVE),
    Counter: AggregationTemporality.DELTA,
    UpDownCounter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


def streams_of(data: ResourceMetrics, findings: Findings) -> Iterator[tuple[Stream, Sequence[SourcePoint]]]:
    """The streams of a batch with their points; ``findings`` hears of metrics that cannot be read."""
    for scope_metrics in data.scope_metrics:
        for metric in scope_metrics.metrics:
            try:
                stream = sheltered(read_metric, scope_metrics.scope, metric)
            except TranslationError as error:
                findings.report(("read", metric.name), "not exported: %s", error)
            except Exception as error:
                findings.report(("read", metric.name), "metric %r cannot be read: %r", metric.name, error)
            else:
                yield stream


def read_metric(scope: InstrumentationScope, metric: Metric) -> tuple[Stream, Sequence[SourcePoint]]:
    """The stream that an SDK metric belongs to, and its points as they are.

    Raises:
        TranslationError: the data has no form in Prometheus.
    """
    data = metric.data
    if isinstance(data, Sum):
        # "cumulative and monotonic → Counter, cumulative and non-monotonic → Gauge"; deltas become
        # cumulative in our store.
        kind = Kind.COUNTER if data.is_monotonic else Kind.GAUGE
        meaning = Meaning(kind, _is_delta(data), additive=True)
    elif isinstance(data, Gauge):
        meaning = Meaning(Kind.GAUGE, accumulates=False, additive=False)
    elif isinstance(data, sdk.Histogram | ExponentialHistogram):
        shape = Shape.BUCKETS if isinstance(data, sdk.Histogram) else Shape.EXPONENTIAL
        meaning = Meaning(Kind.HISTOGRAM, _is_delta(data), additive=True, shape=shape)
    else:
        raise TranslationError(
            f"metric {metric.name!r} of scope {scope.name!r}: no translation for "
            f"{type(data).__name__}; give the instrument another aggregation with an SDK View"
        )
    stream = Stream(scope, metric.name, metric.unit or "", metric.description or "", meaning)
    return stream, data.data_points


def _is_delta(data: Sum | sdk.Histogram | ExponentialHistogram) -> bool:
    return data.aggregation_temporality is AggregationTemporality.DELTA
