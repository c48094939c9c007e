"""Families without what was there before: what a probe shows after a reset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from otel_prom_bridge.families import (
    CounterPoint,
    GaugePoint,
    HistogramPoint,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    identity,
)


def since(zero: tuple[MetricFamily, ...], now: tuple[MetricFamily, ...]) -> tuple[MetricFamily, ...]:
    """What has been recorded since ``zero``. What has not changed is left out.

    Series and families are the same objects until they change (see ``families.py``).
    """
    before = {family.name: family for family in zero}
    return tuple(shown for family in now if (shown := _since(before.get(family.name), family)).points)


def _since(zero: MetricFamily | None, now: MetricFamily) -> MetricFamily:
    if zero is None:
        return now
    points = tuple(_changed(zero, now))
    return replace(now, points=points)


def _changed(zero: MetricFamily, now: MetricFamily) -> Iterator[Point]:
    before = {identity(point.labels): point for point in zero.points}
    for point in now.points:
        was = before.get(identity(point.labels))
        if was is None or type(was) is not type(point) or isinstance(point, GaugePoint):
            yield point
        elif was is not point and was != point:
            yield _less(point, was)


def _less(point: Point, was: Point) -> Point:
    """A point without what it counted before. A current value is what it is."""
    match point, was:
        case CounterPoint(), CounterPoint() if point.value >= was.value:
            exemplar = None if point.exemplar == was.exemplar else point.exemplar
            return point._replace(value=point.value - was.value, exemplar=exemplar)
        case HistogramPoint(), HistogramPoint() if point.bounds == was.bounds:
            counts = tuple(now - before for now, before in zip(point.counts, was.counts, strict=True))
            known = set(was.exemplars)
            exemplars = tuple(None if item in known else item for item in point.exemplars)
            return point._replace(
                counts=counts,
                sum=None if point.sum is None else point.sum - (was.sum or 0),
                exemplars=exemplars if any(exemplars) else (),
            )
        case NativeHistogramPoint(), NativeHistogramPoint() if point.schema == was.schema:
            return point._replace(
                positive=_fewer(point.positive, was.positive),
                negative=_fewer(point.negative, was.negative),
                zero_count=point.zero_count - was.zero_count,
                sum=point.sum - was.sum,
                exemplars=tuple(item for item in point.exemplars if item not in was.exemplars),
            )
        case _:
            return point


def _fewer(now: tuple[tuple[int, int], ...], was: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    before = dict(was)
    counts = ((index, count - before.get(index, 0)) for index, count in now)
    return tuple((index, count) for index, count in counts if count)
