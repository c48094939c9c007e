"""Metrics of ``prometheus_client`` as families: its flat samples, put together to typed points.

So every format can write them as well as it can. What a collector says passes through as it is, with the
timestamps of samples and the start times (``_created``) that our own metrics do without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import NativeHistogram, Sample

from otel_prom_bridge.arithmetic.histograms import spread
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    UnknownPoint,
    claimed_names,
    identity,
)
from otel_prom_bridge.translate.labels import valid_unicode

_Key: TypeAlias = tuple[Labels, float | None]
"""What makes a point one: its labels, and the timestamp that its samples were given, if any."""


def families(metric: Metric) -> list[MetricFamily]:
    """The families that a metric is written as; raises whatever what is not valid raises."""
    result: list[MetricFamily] = []
    taken: frozenset[str] = frozenset()
    if metric.type in _MAKERS:
        kind, suffix, points = _MAKERS[metric.type]
        family = _family(metric, metric.name + suffix, kind, points(metric))
        if family.points or not metric.samples:
            result.append(family)
            taken = claimed_names(metric.name + suffix, kind)
    # The samples of a type of the future, and those that do not belong to their type.
    names = dict.fromkeys(sample.name for sample in metric.samples if sample.name not in taken)
    return result + [_family(metric, name, Kind.UNKNOWN, _unknowns(metric, name)) for name in names]


def _family(metric: Metric, name: str, kind: Kind, points: Iterable[Point]) -> MetricFamily:
    distinct = {(identity(point.labels), point.timestamp): point for point in points}
    return MetricFamily(
        valid_unicode(name),
        kind,
        valid_unicode(metric.documentation),
        metric.unit,
        tuple(distinct.values()),
        foreign=True,  # Names may be any UTF-8 here, and what a scraper cannot read is escaped for it.
        shows_created=True,
    )


def _named(metric: Metric, name: str) -> Iterator[tuple[Sample, _Key]]:
    """The samples of this name, each with what makes its point one."""
    return ((sample, _key(sample)) for sample in metric.samples if sample.name == name)


def _counters(metric: Metric) -> Iterator[Point]:
    created = {key: sample.value for sample, key in _named(metric, f"{metric.name}_created")}
    for sample, (labels, time) in _named(metric, f"{metric.name}_total"):
        start = created.get((labels, time))
        yield CounterPoint(labels, sample.value, _exemplar(sample.exemplar), start, time)


def _gauges(metric: Metric) -> Iterator[Point]:
    for sample, (labels, time) in _named(metric, metric.name):
        yield GaugePoint(labels, sample.value, timestamp=time)


def _unknowns(metric: Metric, name: str = "") -> Iterator[Point]:
    for sample, (labels, time) in _named(metric, name or metric.name):
        yield UnknownPoint(labels, sample.value, time)


def _infos(metric: Metric) -> Iterator[Point]:
    return (InfoPoint(*_key(sample)) for sample in metric.samples)


@dataclass(slots=True)
class _Parts:
    """The samples of one histogram or summary, put together."""

    by_limit: dict[float, float] = field(default_factory=dict)
    exemplars: dict[float, Exemplar | None] = field(default_factory=dict)
    sum: float | None = None
    count: float | None = None
    created: float | None = None
    native: NativeHistogram | None = None


def _grouped(metric: Metric, *, limit_suffix: str, limit_label: str) -> dict[_Key, _Parts]:
    groups: dict[_Key, _Parts] = {}
    for sample in metric.samples:
        parts = groups.setdefault(_key(sample, without=limit_label), _Parts())
        suffix = sample.name.removeprefix(metric.name)
        if suffix == limit_suffix and limit_label in sample.labels:
            limit = float(sample.labels[limit_label])
            parts.by_limit[limit] = sample.value
            parts.exemplars[limit] = _exemplar(sample.exemplar)
        elif suffix in ("_sum", "_gsum"):
            parts.sum = sample.value
        elif suffix in ("_count", "_gcount"):
            parts.count = sample.value
        elif suffix == "_created":
            parts.created = sample.value
        elif not suffix:
            parts.native = sample.native_histogram
    return groups


def _histograms(metric: Metric) -> Iterator[Point]:
    for (labels, time), parts in _grouped(metric, limit_suffix="_bucket", limit_label="le").items():
        native = None
        if parts.native is not None:
            native = _native(parts.native, labels)._replace(created=parts.created, timestamp=time)
        if parts.by_limit or parts.count is not None:
            yield _classic(parts, labels)._replace(created=parts.created, timestamp=time, native=native)
        elif native is not None:
            yield native


def _classic(parts: _Parts, labels: Labels) -> HistogramPoint:
    if math.inf not in parts.by_limit:
        parts.by_limit[math.inf] = parts.count or 0
    limits = sorted(parts.by_limit)
    totals = [int(parts.by_limit[limit]) for limit in limits]
    counts = [after - before for before, after in zip([0, *totals], totals, strict=False)]
    found = tuple(parts.exemplars.get(limit) for limit in limits)
    return HistogramPoint(labels, tuple(limits[:-1]), tuple(counts), parts.sum, found if any(found) else ())


def _native(found: NativeHistogram, labels: Labels) -> NativeHistogramPoint:
    exemplars = (_exemplar(item) for item in found.nh_exemplars or ())
    return NativeHistogramPoint(
        labels,
        found.schema,
        found.zero_threshold,
        int(found.zero_count),
        positive=spread(found.pos_spans or (), found.pos_deltas or ()),
        negative=spread(found.neg_spans or (), found.neg_deltas or ()),
        sum=found.sum_value,
        exemplars=tuple(item for item in exemplars if item is not None),
    )


def _summaries(metric: Metric) -> Iterator[Point]:
    for (labels, time), parts in _grouped(metric, limit_suffix="", limit_label="quantile").items():
        quantiles = tuple(sorted(parts.by_limit.items()))
        yield SummaryPoint(labels, quantiles, parts.sum, parts.count, parts.created, time)


_MAKERS: dict[str, tuple[Kind, str, Callable[[Metric], Iterator[Point]]]] = {
    "counter": (Kind.COUNTER, "_total", _counters),
    "gauge": (Kind.GAUGE, "", _gauges),
    "stateset": (Kind.STATESET, "", _gauges),
    "histogram": (Kind.HISTOGRAM, "", _histograms),
    "gaugehistogram": (Kind.GAUGE_HISTOGRAM, "", _histograms),
    "summary": (Kind.SUMMARY, "", _summaries),
    "info": (Kind.INFO, "_info", _infos),
    "unknown": (Kind.UNKNOWN, "", _unknowns),
}


def _key(sample: Sample, *, without: str = "") -> _Key:
    # The parser of prometheus_client leaves out the labels of a native histogram that has none.
    found = {
        _label(valid_unicode(name)): valid_unicode(value)
        for name, value in (sample.labels or {}).items()
        if name != without
    }
    return tuple(sorted(found.items())), None if sample.timestamp is None else float(sample.timestamp)


def _label(name: str) -> str:
    # Prometheus keeps names that begin with two underscores for itself; a __name__ would break the scrape.
    return f"exported_{name}" if name.startswith("__") else name


def _exemplar(item: ClientExemplar | None) -> Exemplar | None:
    if item is None:
        return None
    timestamp = None if item.timestamp is None else float(item.timestamp)
    return Exemplar(tuple(item.labels.items()), item.value, timestamp)
