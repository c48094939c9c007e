"""Metrics of ``prometheus_client`` as families: its flat samples, put together to typed points.

So every format can write them. Timestamps of samples and ``_created`` are left out, as they are for our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample

from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    Point,
    SummaryPoint,
    UnknownPoint,
    claimed_names,
    identity,
)
from otel_prom_bridge.translate.labels import valid_unicode


def families(metric: Metric) -> list[MetricFamily]:
    """The families that a metric is written as; raises whatever what is not valid raises."""
    result: list[MetricFamily] = []
    taken: frozenset[str] = frozenset()
    if metric.type in _MAKERS:
        kind, suffix, points = _MAKERS[metric.type]
        result.append(_family(metric, metric.name + suffix, kind, points(metric)))
        taken = claimed_names(metric.name + suffix, kind)
    # The samples of a gaugehistogram or of a type of the future, and those that do not belong to their type.
    names = dict.fromkeys(sample.name for sample in metric.samples if sample.name not in taken)
    return result + [
        _family(metric, name, Kind.UNKNOWN, _values(metric, name, UnknownPoint)) for name in names
    ]


def _family(metric: Metric, name: str, kind: Kind, points: Iterable[Point]) -> MetricFamily:
    by_labels = {identity(point.labels): point for point in points}
    help_text = valid_unicode(metric.documentation)
    # Names may be any UTF-8 here; what a scraper cannot read is escaped for it like any other.
    points = tuple(by_labels.values())
    return MetricFamily(valid_unicode(name), kind, help_text, metric.unit, points, foreign=True)


def _values(metric: Metric, name: str, point: Callable[[Labels, float], Point]) -> Iterator[Point]:
    return (point(_labels(sample), sample.value) for sample in metric.samples if sample.name == name)


def _counters(metric: Metric) -> Iterator[Point]:
    for sample in metric.samples:
        if sample.name == f"{metric.name}_total":
            yield CounterPoint(_labels(sample), sample.value, _exemplar(sample.exemplar))


def _infos(metric: Metric) -> Iterator[Point]:
    return (InfoPoint(_labels(sample)) for sample in metric.samples)


@dataclass(slots=True)
class _Parts:
    """The samples of one histogram or summary, put together."""

    by_limit: dict[float, float] = field(default_factory=dict)
    exemplars: dict[float, Exemplar | None] = field(default_factory=dict)
    sum: float | None = None
    count: float | None = None


def _grouped(metric: Metric, *, limit_suffix: str, limit_label: str) -> dict[Labels, _Parts]:
    groups: dict[Labels, _Parts] = {}
    for sample in metric.samples:
        parts = groups.setdefault(_labels(sample, without=limit_label), _Parts())
        if sample.name == metric.name + limit_suffix and limit_label in sample.labels:
            limit = float(sample.labels[limit_label])
            parts.by_limit[limit] = sample.value
            parts.exemplars[limit] = _exemplar(sample.exemplar)
        elif sample.name == f"{metric.name}_sum":
            parts.sum = sample.value
        elif sample.name == f"{metric.name}_count":
            parts.count = sample.value
    return groups


def _histograms(metric: Metric) -> Iterator[Point]:
    for labels, parts in _grouped(metric, limit_suffix="_bucket", limit_label="le").items():
        if not parts.by_limit and parts.count is None:
            continue  # a native histogram's sample, which has none of this
        if math.inf not in parts.by_limit:
            parts.by_limit[math.inf] = parts.count or 0
        limits = sorted(parts.by_limit)
        totals = [int(parts.by_limit[limit]) for limit in limits]
        counts = [after - before for before, after in zip([0, *totals], totals, strict=False)]
        found = tuple(parts.exemplars.get(limit) for limit in limits)
        exemplars = found if any(found) else ()
        yield HistogramPoint(labels, tuple(limits[:-1]), tuple(counts), parts.sum, exemplars)


def _summaries(metric: Metric) -> Iterator[Point]:
    for labels, parts in _grouped(metric, limit_suffix="", limit_label="quantile").items():
        yield SummaryPoint(labels, tuple(sorted(parts.by_limit.items())), parts.sum, parts.count)


def _gauges(metric: Metric) -> Iterator[Point]:
    # A state set, too, becomes a gauge: "a Prometheus Gauge MUST be produced instead".
    return _values(metric, metric.name, GaugePoint)


def _unknowns(metric: Metric) -> Iterator[Point]:
    return _values(metric, metric.name, UnknownPoint)


_MAKERS: dict[str, tuple[Kind, str, Callable[[Metric], Iterator[Point]]]] = {
    "counter": (Kind.COUNTER, "_total", _counters),
    "gauge": (Kind.GAUGE, "", _gauges),
    "stateset": (Kind.GAUGE, "", _gauges),
    "histogram": (Kind.HISTOGRAM, "", _histograms),
    "summary": (Kind.SUMMARY, "", _summaries),
    "info": (Kind.INFO, "_info", _infos),
    "unknown": (Kind.UNKNOWN, "", _unknowns),
}


def _labels(sample: Sample, *, without: str = "") -> Labels:
    found = {
        _label(valid_unicode(name)): valid_unicode(value)
        for name, value in sample.labels.items()
        if name != without
    }
    return tuple(sorted(found.items()))


def _label(name: str) -> str:
    # Prometheus keeps names that begin with two underscores for itself; a __name__ would break the scrape.
    return f"exported_{name}" if name.startswith("__") else name


def _exemplar(item: ClientExemplar | None) -> Exemplar | None:
    if item is None:
        return None
    timestamp = None if item.timestamp is None else float(item.timestamp)
    return Exemplar(tuple(item.labels.items()), item.value, timestamp)
