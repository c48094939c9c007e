"""Our families as a collector of ``prometheus_client``.

Whoever calls ``generate_latest(registry)``, or serves the registry in another way, sees what the bridge
knows. That is counters, gauges, histograms and ``target_info``, since the SDK has nothing else. They have the
names, labels, values and exemplars that our own endpoint shows, in the flat samples of that package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample

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
    claimed_names,
    is_total,
)
from otel_prom_bridge.forks import whole
from otel_prom_bridge.native import RLock

_registering = RLock()


class BridgeCollector:
    """The families of one reader, as metrics of ``prometheus_client``."""

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

    def collect(self) -> Iterator[tuple[MetricFamily, Metric]]:
        """Collect from the SDK, and yield every family and the metric that it is."""
        return ((family, _metric(family, self._options)) for family in self._collect())

    def describe(self) -> Iterator[Metric]:
        """Yield the families known so far, without their samples and without touching the SDK."""
        return map(_metadata, self._describe())


class Bridges(Collector):
    """All readers of one registry, as one collector.

    They have to be one, because readers may well have families of the same name (``target_info``, for one),
    and an exposition must have each name once.
    """

    def __init__(self) -> None:
        self.members: tuple[BridgeCollector, ...] = ()

    def collect(self) -> Iterator[Metric]:
        """Collect from all readers, and yield every family with its samples.

        A family of several readers has the series of all of them. Of equal series, and of families that
        cannot both be shown, those of the reader that registered first are shown.
        """
        if len(self.members) == 1:
            return (metric for _, metric in self.members[0].collect())
        return iter(_together(chain.from_iterable(member.collect() for member in self.members)))

    def describe(self) -> Iterator[Metric]:
        """Yield the families known so far, without their samples and without touching the SDK.

        The registry asks once, when the first reader registers. Usually nothing has been recorded by then, so
        the registry knows no name of ours, and its ``restricted_registry`` finds none. ``name[]`` of our
        endpoint does not depend on that.
        """
        return chain.from_iterable(member.describe() for member in self.members)


def register(registry: CollectorRegistry, collector: BridgeCollector) -> Callable[[], None]:
    """Let the registry ask this reader, until the function that is returned is called."""
    with whole(), _registering:
        known = [item for item in collectors(registry) if isinstance(item, Bridges)]
        bridges = known[0] if known else Bridges()
        bridges.members += (collector,)
        if not known:
            registry.register(bridges)

    def leave() -> None:
        with whole(), _registering:
            others = tuple(member for member in bridges.members if member is not collector)
            if others:
                bridges.members = others
            else:  # Who kept the collector still sees the last state.
                with contextlib.suppress(KeyError):  # The application may have taken it out already.
                    registry.unregister(bridges)

    return leave


def collectors(registry: CollectorRegistry) -> list[Collector]:
    """The collectors of a registry, for which it has no public name.

    Without its lock, which what a signal handler interrupts may have: this reads the table in one step.
    """
    return list(registry._collector_to_names)


def _together(found: Iterable[tuple[MetricFamily, Metric]]) -> list[Metric]:
    shown: dict[str, tuple[MetricFamily, Metric]] = {}
    claimed: set[str] = set()
    for family, metric in found:
        names = claimed_names(family.name, family.kind)
        known = shown.get(family.name)
        if known is None and claimed.isdisjoint(names):
            claimed |= names
            shown[family.name] = family, metric
        elif known is not None and known[0].kind is family.kind:
            _add_new_series(known[1], metric)
    return [metric for _, metric in shown.values()]


def _add_new_series(metric: Metric, other: Metric) -> None:
    known = {_series(sample) for sample in metric.samples}
    metric.samples += [sample for sample in other.samples if _series(sample) not in known]


def _series(sample: Sample) -> frozenset[tuple[str, str]]:
    # Of a histogram, all samples come from one reader: its buckets differ in `le` alone.
    return frozenset(pair for pair in sample.labels.items() if pair[0] != "le")


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
