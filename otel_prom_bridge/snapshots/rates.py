"""How fast metrics grow, between two snapshots."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from otel_prom_bridge.arithmetic.histograms import native_sum, to_classic
from otel_prom_bridge.families import (
    HistogramPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    identity,
)
from otel_prom_bridge.snapshots.quantities import quantile_of, quantities
from otel_prom_bridge.snapshots.snapshot import Snapshot

QUANTILES = (0.5, 0.9, 0.99)


class Line(NamedTuple):
    """What there is to say of a metric.

    ``rate`` is by how much all its series together grow in a second, for what only grows. ``quantiles`` are
    those of what a histogram was given in between, or, if that was nothing, of everything. ``value`` is the
    sum of current values.
    """

    name: str
    kind: str
    series: int
    rate: float | None
    quantiles: tuple[float, ...]
    value: float | None


def lines_of(before: Snapshot, after: Snapshot, *, wanted: Callable[[str], object] = bool) -> list[Line]:
    """A line for each metric, the fastest first."""
    seconds = max(after.time - before.time, 1e-9)
    found = [
        _line(before.by_name.get(family.name), family, seconds)
        for family in after.families
        if family.points and wanted(family.name)
    ]
    return sorted(found, key=lambda line: (-(line.rate or 0), -line.series, line.name))


def _line(before: MetricFamily | None, after: MetricFamily, seconds: float) -> Line:
    grown = _grown(before, after)
    return Line(
        after.name,
        after.kind.value,
        len({identity(point.labels) for point in after.points}),
        None if grown is None else grown / seconds,
        _quantiles(before, after),
        None if grown is not None else _value(after),
    )


def _grown(before: MetricFamily | None, after: MetricFamily) -> float | None:
    suffix = {Kind.COUNTER: "", Kind.HISTOGRAM: "_count", Kind.SUMMARY: "_count"}.get(after.kind)
    if suffix is None:
        return None
    name = after.name + suffix
    old = {item.labels: item.value for item in quantities(before) if item.name == name} if before else {}
    changes = [
        item.value - old.get(item.labels, 0) if item.value >= old.get(item.labels, 0) else item.value
        for item in quantities(after)
        if item.name == name
    ]
    return sum(changes) if before is not None else 0.0


def _value(family: MetricFamily) -> float:
    return sum(item.value for item in quantities(family) if math.isfinite(item.value))


def _quantiles(before: MetricFamily | None, after: MetricFamily) -> tuple[float, ...]:
    now = _summed(after)
    if now is None:
        return ()
    bounds, counts = now
    was = _summed(before) if before is not None else None
    if was is not None and was[0] == bounds:
        since = tuple(max(0, new - old) for new, old in zip(counts, was[1], strict=True))
        counts = since if any(since) else counts
    return tuple(quantile_of(bounds, counts, quantile) for quantile in QUANTILES)


def _summed(family: MetricFamily) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    points = [point for point in family.points if isinstance(point, HistogramPoint)]
    if native := [point for point in family.points if isinstance(point, NativeHistogramPoint)]:
        points = [to_classic(native_sum(native))]
    if not points or family.kind is not Kind.HISTOGRAM:
        return None
    bounds = points[0].bounds
    same = [point.counts for point in points if point.bounds == bounds]
    return bounds, tuple(map(sum, zip(*same, strict=True)))
