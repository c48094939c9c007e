"""Points → sample lines, as far as Prometheus text and OpenMetrics agree about them.

Each function here takes what is fixed for a family and returns a function, which makes lines of one point and
its rendered labels. So nothing is decided twice in the loop over ten thousand points.

A name that is not a legacy one stands in quotes within the braces: ``{"http.requests",method="GET"} 1``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

from otel_prom_bridge.arithmetic.histograms import to_classic
from otel_prom_bridge.exposition.escaping import bound, label_set, number, quoted
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    NativeHistogramPoint,
    SummaryPoint,
    UnknownPoint,
    is_legacy_name,
)

_PLAIN = 2**62


class _Name(NamedTuple):
    """How the line of a sample begins: ``open`` before labels, ``bare`` if there are none."""

    open: str
    bare: str

    def with_labels(self, labels: str) -> str:
        """The name and the labels, which is everything before the value."""
        return f"{self.open}{labels}}}" if labels else self.bare


def _name(name: str) -> _Name:
    if is_legacy_name(name):
        return _Name(f"{name}{{", name)
    return _Name(f"{{{quoted(name)},", f"{{{quoted(name)}}}")


def single(name: str) -> Callable[[CounterPoint | GaugePoint | UnknownPoint, str], bytes]:
    """One line with the value."""
    opening, bare = _name(name)

    def render(point: CounterPoint | GaugePoint | UnknownPoint, labels: str) -> bytes:
        value = point.value
        # This runs for every changed series, so it saves the call of `number` for nearly every count.
        text = str(value) if type(value) is int and -_PLAIN < value < _PLAIN else number(value)
        return f"{opening}{labels}}} {text}\n".encode() if labels else f"{bare} {text}\n".encode()

    return render


def counter(name: str, *, created: bool = False) -> Callable[[CounterPoint, str], bytes]:
    """One line with the value and the exemplar, and one with the start time if ``created`` asks for it."""
    plain = single(name)
    start = _name(f"{name.removesuffix('_total')}_created")

    def render(point: CounterPoint, labels: str) -> bytes:
        line = plain(point, labels)
        if point.exemplar is not None:
            line = b"%s%s\n" % (line[:-1], _exemplar(point.exemplar).encode())
        if created and point.created is not None:
            line += f"{start.with_labels(labels)} {point.created:.3f}\n".encode()
        return line

    return render


def info(name: str) -> Callable[[InfoPoint, str], bytes]:
    """One line with the value 1."""
    start = _name(name)
    return lambda _, labels: f"{start.with_labels(labels)} 1\n".encode()


def summary(name: str) -> Callable[[SummaryPoint, str], bytes]:
    """A line for each quantile, then the count and the sum."""
    own, count, total = _name(name), _name(f"{name}_count"), _name(f"{name}_sum")

    def render(point: SummaryPoint, labels: str) -> bytes:
        comma = f"{labels}," if labels else ""
        lines = [
            f'{own.open}{comma}quantile="{bound(quantile)}"}} {number(value)}\n'
            for quantile, value in point.quantiles
        ]
        if point.observations is not None:
            lines.append(f"{count.with_labels(labels)} {number(point.observations)}\n")
        if point.sum is not None:
            lines.append(f"{total.with_labels(labels)} {number(point.sum)}\n")
        return "".join(lines).encode()

    return render


def histogram(
    name: str,
    *,
    openmetrics: bool,
    created: bool = False,
    native_bounds: tuple[float, ...] | None = None,
) -> Callable[[HistogramPoint | NativeHistogramPoint, str], bytes]:
    """The cumulative buckets up to +Inf, the count and the sum; in OpenMetrics with exemplars.

    A native histogram is written as a classic one (see ``histograms.to_classic``).
    """
    bucket, count, total, start = (_name(name + end) for end in ("_bucket", "_count", "_sum", "_created"))
    heads: dict[tuple[float, ...], list[str]] = {}  # A family seldom has more than one set of bounds.

    def render(point: HistogramPoint | NativeHistogramPoint, labels: str) -> bytes:
        if isinstance(point, NativeHistogramPoint):
            point = to_classic(point, native_bounds)
            tails = _tails(point.bounds)
        else:
            known = heads.get(point.bounds)
            tails = heads[point.bounds] = _tails(point.bounds) if known is None else known
        head = f"{bucket.open}{labels}," if labels else bucket.open
        counts = list(accumulate(point.counts))
        if openmetrics and point.exemplars:
            lines = [
                f"{head}{tail}{value}{_exemplar(item) if item is not None else ''}\n"
                for tail, value, item in zip(tails, counts, point.exemplars, strict=True)
            ]
        else:
            lines = [f"{head}{tail}{value}\n" for tail, value in zip(tails, counts, strict=True)]
        # OpenMetrics: "If the histogram has a negative threshold, the Sum MUST NOT be present." Then the
        # count must not be present either.
        if point.sum is not None and not (openmetrics and point.bounds and point.bounds[0] < 0):
            lines.append(f"{count.with_labels(labels)} {counts[-1]}\n")
            lines.append(f"{total.with_labels(labels)} {number(point.sum)}\n")
        if created and point.created is not None:
            lines.append(f"{start.with_labels(labels)} {point.created:.3f}\n")
        return "".join(lines).encode()

    return render


def _tails(bounds: tuple[float, ...]) -> list[str]:
    return [f'le="{limit}"}} ' for limit in (*map(bound, bounds), "+Inf")]


def _exemplar(exemplar: Exemplar) -> str:
    time = "" if exemplar.timestamp is None else f" {exemplar.timestamp:.3f}"
    return f" # {{{label_set(exemplar.labels)}}} {number(exemplar.value)}{time}"
