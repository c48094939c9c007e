"""What can be asked of a point: each number that it holds, by the suffix and label of its sample.

A counter and a gauge hold one number. A histogram holds its count, its sum and its buckets. This is what is
compared between snapshots, and what a query by the name of a sample (``http_seconds_count``) means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from otel_prom_bridge.arithmetic.histograms import to_classic
from otel_prom_bridge.exposition.escaping import bound
from otel_prom_bridge.families import (
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    identity,
)

# The parts of a point that only grow, until the process begins anew.
_GROWING = {Kind.COUNTER: ("",), Kind.HISTOGRAM: ("_bucket", "_count"), Kind.SUMMARY: ("_count",)}


class Quantity(NamedTuple):
    """One number: the name and the labels that a query has for it."""

    name: str
    labels: Labels
    value: float
    grows: bool = False


def quantities(family: MetricFamily) -> Iterator[Quantity]:
    """Every number of a family, as the samples of Prometheus text would have them."""
    growing = _GROWING.get(family.kind, ())
    for point in family.points:
        own = identity(point.labels)
        for suffix, pair, value in _parts(point):
            labels = tuple(sorted((*own, pair))) if pair else own
            yield Quantity(family.name + suffix, labels, value, suffix in growing)


def _parts(point: Point) -> Iterator[tuple[str, tuple[str, str] | None, float]]:
    match point:
        case HistogramPoint() | NativeHistogramPoint():
            yield from _histogram_parts(point)
        case SummaryPoint():
            for quantile, value in point.quantiles:
                yield "", ("quantile", bound(quantile)), value
            if point.observations is not None:
                yield "_count", None, point.observations
            if point.sum is not None:
                yield "_sum", None, point.sum
        case InfoPoint():
            yield "", None, 1
        case _:
            yield "", None, point.value


def _histogram_parts(
    point: HistogramPoint | NativeHistogramPoint,
) -> Iterator[tuple[str, tuple[str, str] | None, float]]:
    classic = to_classic(point) if isinstance(point, NativeHistogramPoint) else point
    limits = (*map(bound, classic.bounds), "+Inf")
    for limit, total in zip(limits, accumulate(classic.counts), strict=True):
        yield "_bucket", ("le", limit), total
    yield "_count", None, classic.observations
    if classic.sum is not None:
        yield "_sum", None, classic.sum


def matching(points: Iterable[Point], labels: Mapping[str, object]) -> list[Point]:
    """The points that have all of these labels; an empty value means that the label is absent."""
    wanted = [(name, str(value)) for name, value in labels.items()]
    return [
        point for point in points if all(dict(point.labels).get(name, "") == value for name, value in wanted)
    ]


def quantile_of(bounds: tuple[float, ...], counts: tuple[int, ...], quantile: float) -> float:
    """The quantile of a histogram as ``histogram_quantile`` of PromQL estimates it; NaN without observations.

    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    totals = list(accumulate(counts))
    if not totals or not totals[-1]:
        return math.nan
    rank = quantile * totals[-1]
    index = next(number for number, total in enumerate(totals) if total >= rank and total)
    if index == len(bounds):  # beyond all bounds nobody knows how far
        return bounds[-1] if bounds else math.nan
    upper = bounds[index]
    if index == 0 and upper <= 0:
        return upper
    lower = bounds[index - 1] if index else 0.0
    before = totals[index - 1] if index else 0
    return lower + (upper - lower) * (rank - before) / counts[index] if counts[index] else upper
