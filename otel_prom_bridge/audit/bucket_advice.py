"""The bucket doctor: histograms whose buckets say little, and bounds that would say more.

A histogram of which all observations fall into one or two buckets has no quantiles: the 50th and the 99th
percentile are both guesses within the same bucket. The usual cause is a unit (seconds in buckets that were
made for milliseconds), or defaults that nobody changed.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from otel_prom_bridge.exposition.escaping import bound as written
from otel_prom_bridge.families import HistogramPoint, Kind, MetricFamily
from otel_prom_bridge.snapshots.findings import Faults

_ENOUGH = 50  # observations; fewer may be in one bucket by chance
_FEW = 2
_MOST_BEYOND = 0.1
_BOUNDS = 12
# Bounds that people read at a glance.
_STEPS = (1.0, 2.5, 5.0)
_REACH = 8.0  # how many times the mean most observations do not exceed


class _Shape(NamedTuple):
    """All series of a histogram together."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float | None

    @property
    def total(self) -> int:
        return sum(self.counts)

    def edges(self, index: int) -> tuple[float, float]:
        """The lower and the upper bound of a bucket."""
        lower = (
            self.bounds[index - 1] if index else (0.0 if not self.bounds or self.bounds[0] > 0 else -math.inf)
        )
        return lower, self.bounds[index] if index < len(self.bounds) else math.inf


def check_buckets(family: MetricFamily, faults: Faults) -> None:
    """Report a histogram whose buckets are the wrong ones, with bounds that fit what is there."""
    shape = _shape(family)
    if shape is None or shape.total < _ENOUGH:
        return
    used = [index for index, count in enumerate(shape.counts) if count > shape.total / 1000]
    beyond = shape.counts[-1] / shape.total
    if len(used) <= _FEW:
        message = f"nearly all of {shape.total:,} observations are in {_places(shape, used)}"
    elif beyond > _MOST_BEYOND:
        message = f"{beyond:.0%} of {shape.total:,} observations are beyond the last bound, {_last(shape)}"
    else:
        return
    bounds = better_bounds(shape.bounds, shape.counts, shape.sum)
    hint = ""
    if bounds:
        shown = ", ".join(f"{bound:g}" for bound in bounds)
        hint = f"bounds that fit: [{shown}]"
    faults.warning("buckets", family.name, message, hint=hint)


def _shape(family: MetricFamily) -> _Shape | None:
    points = [point for point in family.points if isinstance(point, HistogramPoint)]
    if family.kind is not Kind.HISTOGRAM or not points or any(min(point.counts) < 0 for point in points):
        return None
    # Of several sets of bounds the most frequent one is judged.
    bounds = Counter(point.bounds for point in points).most_common(1)[0][0]
    same = [point for point in points if point.bounds == bounds]
    sums = [point.sum for point in same if point.sum is not None]
    total = sum(sums) if len(sums) == len(same) else None
    return _Shape(bounds, tuple(map(sum, zip(*(point.counts for point in same), strict=True))), total)


def _places(shape: _Shape, used: list[int]) -> str:
    if len(used) == 1 and used[0] == len(shape.bounds):
        return f"the last bucket, above {_last(shape)}"
    shown = " and ".join(f"({a:g}, {b:g}]" for a, b in map(shape.edges, used))
    return f"one bucket, {shown}" if len(used) == 1 else f"two of {len(shape.counts)} buckets, {shown}"


def _last(shape: _Shape) -> str:
    return written(shape.bounds[-1]) if shape.bounds else "none"


def better_bounds(bounds: tuple[float, ...], counts: tuple[int, ...], total: float | None) -> list[float]:
    """About a dozen bounds around what is known: the mean, and the buckets where there is something.

    No bounds if nothing is known: without a sum, or with a mean that is not positive.
    """
    observations = sum(counts)
    if total is None or not observations or not total > 0 or not math.isfinite(total):
        return []
    shape = _Shape(bounds, counts, total)
    used = [index for index, count in enumerate(counts) if count > observations / 1000]
    mean = total / observations
    low, high = shape.edges(used[0])[0], shape.edges(used[-1])[1]
    low = max(low, mean / _REACH) if low < mean else mean / _REACH
    high = min(high, mean * _REACH) if high > mean else mean * _REACH
    return _round_bounds(low, high)


def _round_bounds(low: float, high: float) -> list[float]:
    """Round numbers that begin at or below ``low``, and end at or above ``high``."""
    power = math.floor(math.log10(low))
    ladder = [
        float(f"{step * 10.0**exponent:.3g}")
        for exponent in range(power - 1, math.ceil(math.log10(high)) + 2)
        for step in _STEPS
    ]
    first = max((index for index, bound in enumerate(ladder) if bound <= low), default=0)
    last = next(index for index, bound in enumerate(ladder) if bound >= high)
    found = ladder[first : last + 1]
    if len(found) <= _BOUNDS / 2:  # a narrow range gets a step between any two
        found = sorted({*found, *(float(f"{sum(pair) / 2:.3g}") for pair in pairwise(found))})
    return found[:: math.ceil(len(found) / _BOUNDS)] if len(found) > _BOUNDS else found
