"""What we ask the SDK for, and its batches as streams of points.

One metric that cannot be read never takes another one along: it is reported, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opentelemetry.sdk.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, ResourceMetrics

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import TranslationError
from otel_prom_bridge.limits import INSTRUMENTS
from otel_prom_bridge.translate.points import SourcePoint, Stream, read_metric

# Deltas, for what the SDK adds up itself: it then hands over (and locks) only what changed since the last
# collection. Asynchronous instruments report their current totals at every collection anyway. So does a
# synchronous gauge, because a "delta" gauge that was not set again could not be told from an asynchronous
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
                yield read_metric(scope_metrics.scope, metric)
            except TranslationError as error:
                findings.report(("read", metric.name), "not exported: %s", error)
            except Exception as error:
                findings.report(("read", metric.name), "metric %r cannot be read: %r", metric.name, error)
