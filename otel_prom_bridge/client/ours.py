"""Our families as a collector of ``prometheus_client``.

Whoever calls ``generate_latest(registry)``, or serves the registry in another way, sees what the bridge
knows. That is counters, gauges, histograms and ``target_info``, since the SDK has nothing else. They have the
names, labels, values and exemplars that our own endpoint shows, in the flat samples of that package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ClientExemplar

from otel_prom_bridge.arithmetic.histograms import to_classic
from otel_prom_bridge.exposition.escaping import bound
from otel_prom_bridge.exposition.writer import DEFAULT_OPTIONS, WriterOptions
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    is_total,
)


class BridgeCollector(Collector):
    """Our families as a collector of ``prometheus_client``."""

    def __init__(
        self,
        *,
        collect: Callable[[], Sequence[MetricFamily]],
        describe: Callable[[], Sequence[MetricFamily]],
        options: WriterOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._collect = collect
        self._describe = describe
        self._options = options

    def collect(self) -> Iterator[Metric]:
        """Collect from the SDK and yield every family with its samples."""
        return (_metric(family, self._options) for family in self._collect())

    def describe(self) -> Iterator[Metric]:
        """Yield the families known so far, without their samples and without touching the SDK.

        The registry asks once, when the reader registers. Usually nothing has been recorded by then, so the
        registry knows no name of ours, and its ``restricted_registry`` finds none. ``name[]`` of our endpoint
        does not depend on that.
        """
        return map(_metadata, self._describe())


def _metadata(family: MetricFamily) -> Metric:
    name = family.base_name
    # prometheus_client would append a unit that the name does not end with, and our names are complete.
    unit = family.unit if name.endswith(f"_{family.unit}") else ""
    return Metric(name, family.help, family.kind.value, unit)


def _metric(family: MetricFamily, options: WriterOptions) -> Metric:
    metric = _metadata(family)
    for point in family.points:
        labels = dict(point.labels)
        match point:
            case CounterPoint(exemplar=exemplar):
                item = _exemplar(exemplar)
                metric.add_sample(family.name, labels, point.value, exemplar=item)
                _add_created(metric, family, labels, point.created, options)
            case GaugePoint():
                metric.add_sample(family.name, labels, point.value)
            case InfoPoint():
                metric.add_sample(family.name, labels, 1)
            case HistogramPoint():
                _add_histogram(metric, family.name, labels, point)
                _add_created(metric, family, labels, point.created, options)
            case NativeHistogramPoint():
                _add_histogram(metric, family.name, labels, to_classic(point, options.native_bounds))
                _add_created(metric, family, labels, point.created, options)
    return metric


def _add_created(
    metric: Metric,
    family: MetricFamily,
    labels: dict[str, str],
    created: float | None,
    options: WriterOptions,
) -> None:
    if options.created and created is not None and (family.kind is not Kind.COUNTER or is_total(family.name)):
        metric.add_sample(f"{family.base_name}_created", labels, created)


def _add_histogram(metric: Metric, name: str, labels: dict[str, str], point: HistogramPoint) -> None:
    exemplars = point.exemplars or (None,) * len(point.counts)
    limits = [*map(bound, point.bounds), "+Inf"]
    total = 0
    for limit, total, item in zip(limits, accumulate(point.counts), exemplars, strict=True):
        exemplar = _exemplar(item)
        metric.add_sample(f"{name}_bucket", {**labels, "le": limit}, total, exemplar=exemplar)
    # A collector does not know in which format it will be written. So OpenMetrics decides here, as it does in
    # the histograms of prometheus_client: with a negative bound there is no sum, and then no count either.
    if point.sum is not None and not (point.bounds and point.bounds[0] < 0):
        metric.add_sample(f"{name}_count", labels, total)
        metric.add_sample(f"{name}_sum", labels, point.sum)


def _exemplar(item: Exemplar | None) -> ClientExemplar | None:
    return None if item is None else ClientExemplar(dict(item.labels), item.value, item.timestamp)
