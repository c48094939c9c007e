"""Arithmetic on histogram points: joining buckets, lowering a resolution, native → classic.

Native (exponential) buckets grow by a constant factor, ``base = 2 ** 2 ** -schema``; the bucket with index i
is ``(base ** (i - 1), base ** i]``. Lowering the schema by one joins two neighbours exactly, as no
observation changes sides. Bounds that are not powers of the base can only be approached. There an
observation is counted in the first bucket that surely contains it. So counts up to a bound are never too
high, and the total is exact.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from otel_prom_bridge.families import Exemplar, HistogramPoint, NativeHistogramPoint

Buckets = tuple[tuple[int, int], ...]  # (index, count) by ascending index, counts above zero

# How many populated buckets a converted histogram keeps at most. It has up to twice as many bounds, and one
# for zero.
MAX_CLASSIC_BUCKETS = 20
# A gap of up to this many empty buckets is written out, because that is shorter than a new span. Prometheus
# and client_golang do the same.
_MAX_GAP = 2


def total(values: Iterable[float]) -> float:
    """The sum. An integer that is larger than any float is infinite if it must become a float."""
    values = list(values)
    try:
        return sum(values)
    except OverflowError:
        return sum(map(_as_float, values))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def rebucket(bounds: Sequence[float], counts: Sequence[int], onto: Sequence[float]) -> list[int]:
    """Counts for the bounds ``onto``, each of which must be among ``bounds``. The total is kept."""
    result = [0] * (len(onto) + 1)
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        result[bisect_left(onto, bound)] += count
    return result


def lowered(buckets: Iterable[tuple[int, int]], by: int) -> Buckets:
    """The buckets at a schema that is lower by ``by``.

    https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#exponential-histograms
    """
    result: dict[int, int] = {}
    for index, count in buckets:
        # An arithmetic shift rounds towards minus infinity, as it must for indexes below one.
        lower = ((index - 1) >> by) + 1
        result[lower] = result.get(lower, 0) + count
    return tuple(sorted(result.items()))


def upper_bound(index: int, schema: int) -> float:
    """The upper bound of a native bucket; +Inf where a float ends."""
    try:
        return float(2.0 ** math.ldexp(index, -schema))
    except OverflowError:
        return math.inf


def at_schema(point: NativeHistogramPoint, schema: int) -> NativeHistogramPoint:
    """The point at this or, if its own is lower, at its own schema."""
    by = max(0, point.schema - schema)
    if not by:
        return point
    return point._replace(
        schema=schema, positive=lowered(point.positive, by), negative=lowered(point.negative, by)
    )


def native_sum(points: Sequence[NativeHistogramPoint]) -> NativeHistogramPoint:
    """The sum of several points, at the lowest of their schemas, with the first one's labels."""
    schema = min(point.schema for point in points)
    points = [at_schema(point, schema) for point in points]
    first = points[0]
    return first._replace(
        zero_threshold=max(point.zero_threshold for point in points),
        zero_count=sum(point.zero_count for point in points),
        positive=joined(*(point.positive for point in points)),
        negative=joined(*(point.negative for point in points)),
        sum=total(point.sum for point in points),
    )


def joined(*sides: Buckets) -> Buckets:
    """Buckets of one schema, added up."""
    result: dict[int, int] = {}
    for index, count in (bucket for side in sides for bucket in side):
        result[index] = result.get(index, 0) + count
    return tuple(sorted(result.items()))


def layout(buckets: Iterable[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """Spans of consecutive buckets as offset and length, and the difference of each bucket to the one before.

    "The first offset is the index of the first bucket, later ones are the gap to the previous span":
    https://github.com/prometheus/docs/blob/main/docs/specs/native_histograms.md#schema
    """
    spans: list[tuple[int, int]] = []
    deltas: list[int] = []
    end = previous = 0  # The index after the last bucket, and the count of the last bucket.
    for index, count in buckets:
        gap = index - end
        if not spans or gap > _MAX_GAP:
            spans.append((gap, 1))
        else:
            offset, length = spans[-1]
            spans[-1] = (offset, length + gap + 1)
            if gap:
                deltas += [-previous] + [0] * (gap - 1)
                previous = 0
        deltas.append(count - previous)
        end, previous = index + 1, count
    return spans, deltas


def spread(spans: Iterable[tuple[int, int]], deltas: Iterable[int]) -> Buckets:
    """The buckets that :func:`layout` makes spans and differences of, or that somebody else did."""
    result: list[tuple[int, int]] = []
    differences, index, count = iter(deltas), 0, 0
    for offset, length in spans:
        index += offset
        for _ in range(length):
            count += next(differences)
            if count:
                result.append((index, count))
            index += 1
    return tuple(result)


def to_classic(point: NativeHistogramPoint, bounds: Sequence[float] | None = None) -> HistogramPoint:
    """A native histogram with explicit buckets. Its count and sum are exact.

    Without ``bounds`` the bounds are the limits of the populated native buckets, at the highest schema at
    which there are at most :data:`MAX_CLASSIC_BUCKETS` of them. Then the buckets are exact, too.
    """
    if bounds is None:
        while len(point.positive) + len(point.negative) > MAX_CLASSIC_BUCKETS:
            point = at_schema(point, point.schema - 1)
    slices = list(_slices(point))
    if bounds is None:
        limits = {bound for _, *edges in slices for bound in edges if math.isfinite(bound)}
        bounds = tuple(sorted(limits))
    counts = [0] * (len(bounds) + 1)
    for count, _, upper in slices:
        counts[bisect_left(bounds, upper)] += count
    exemplars = by_bucket(bounds, point.exemplars)
    return HistogramPoint(
        point.labels, tuple(bounds), tuple(counts), point.sum, exemplars, point.created, point.timestamp
    )


def by_time(item: Exemplar) -> tuple[float, ...]:
    """The order in which newer exemplars are greater. One without a time is the oldest."""
    return ((item.timestamp or 0) + item.shift,)


def by_bucket(
    bounds: Sequence[float],
    exemplars: Iterable[Exemplar],
    *,
    order: Callable[[Exemplar], tuple[float, ...]] = by_time,
) -> tuple[Exemplar | None, ...]:
    """The greatest exemplar of each bucket, by default the newest; an empty tuple if there is none at all."""
    result: list[Exemplar | None] = [None] * (len(bounds) + 1)
    for item in sorted(exemplars, key=order):
        result[bisect_left(bounds, item.value)] = item
    return tuple(result) if any(result) else ()


def _slices(point: NativeHistogramPoint) -> Iterable[tuple[int, float, float]]:
    """The count, the lower and the upper limit of each populated bucket, in ascending order."""
    for index, count in reversed(point.negative):
        yield count, -upper_bound(index, point.schema), -upper_bound(index - 1, point.schema)
    if point.zero_count:
        yield point.zero_count, 0.0, 0.0
    for index, count in point.positive:
        yield count, upper_bound(index - 1, point.schema), upper_bound(index, point.schema)
