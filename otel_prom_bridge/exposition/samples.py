"""Points → sample lines: what text and OpenMetrics agree about.

Each function here takes what is fixed for a family and returns a function from one point and its rendered
labels to its lines, so that nothing is decided twice in the loop over ten thousand points.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from otel_prom_bridge.exposition.escaping import bound, label_set, number
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    SummaryPoint,
    UnknownPoint,
)


def single(name: str) -> Callable[[CounterPoint | GaugePoint | UnknownPoint, str], str]:
    """One line with the value."""

    def render(point: CounterPoint | GaugePoint | UnknownPoint, labels: str) -> str:
        if labels:
            return f"{name}{{{labels}}} {number(point.value)}\n"
        return f"{name} {number(point.value)}\n"

    return render


def counter(name: str) -> Callable[[CounterPoint, str], str]:
    """One line with the value and the exemplar."""
    plain = single(name)

    def render(point: CounterPoint, labels: str) -> str:
        line = plain(point, labels)
        return line if point.exemplar is None else f"{line[:-1]}{_exemplar(point.exemplar)}\n"

    return render


def info(name: str) -> Callable[[InfoPoint, str], str]:
    """One line with the value 1."""
    return lambda point, labels: f"{name}{{{labels}}} 1\n"


def summary(name: str) -> Callable[[SummaryPoint, str], str]:
    """A line per quantile, the count and the sum."""

    def render(point: SummaryPoint, labels: str) -> str:
        comma = f"{labels}," if labels else ""
        braces = f"{{{labels}}}" if labels else ""
        lines = [
            f'{name}{{{comma}quantile="{bound(quantile)}"}} {number(value)}\n'
            for quantile, value in point.quantiles
        ]
        if point.observations is not None:
            lines.append(f"{name}_count{braces} {number(point.observations)}\n")
        if point.sum is not None:
            lines.append(f"{name}_sum{braces} {number(point.sum)}\n")
        return "".join(lines)

    return render


def histogram(
    name: str, *, exemplars: bool, sums_with_negative_bounds: bool
) -> Callable[[HistogramPoint, str], str]:
    """The cumulated buckets up to +Inf, the count and the sum.

    Without ``sums_with_negative_bounds`` a histogram whose first bound is negative gets neither sum nor
    count.
    """
    heads: dict[tuple[float, ...], list[str]] = {}  # a family has one set of bounds, seldom several

    def render(point: HistogramPoint, labels: str) -> str:
        bounds = point.bounds
        tails = heads.get(bounds)
        if tails is None:
            limits = [*map(bound, bounds), "+Inf"]
            tails = heads[bounds] = [f'le="{limit}"}} ' for limit in limits]
        head = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        counts = list(accumulate(point.counts))
        if exemplars and point.exemplars:
            found = point.exemplars
            lines = [
                f"{head}{tail}{count}{_exemplar(item) if item is not None else ''}\n"
                for tail, count, item in zip(tails, counts, found, strict=True)
            ]
        else:
            lines = [f"{head}{tail}{count}\n" for tail, count in zip(tails, counts, strict=True)]
        if point.sum is not None and (sums_with_negative_bounds or not bounds or bounds[0] >= 0):
            braces = f"{{{labels}}}" if labels else ""
            lines.append(f"{name}_count{braces} {counts[-1]}\n")
            lines.append(f"{name}_sum{braces} {number(point.sum)}\n")
        return "".join(lines)

    return render


def _exemplar(exemplar: Exemplar) -> str:
    time = "" if exemplar.timestamp is None else f" {exemplar.timestamp:.3f}"
    return f" # {{{label_set(exemplar.labels)}}} {number(exemplar.value)}{time}"
