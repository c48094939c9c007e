"""Points → sample lines, as far as Prometheus text and OpenMetrics 1.0 agree about them.

Each function here takes what is fixed for a family and returns a function, which makes lines of one point and
its rendered labels. So nothing is decided twice in the loop over ten thousand points.

A name that is not a legacy one stands in quotes within the braces: ``{"http.requests",method="GET"} 1``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, repeat
from typing import NamedTuple, TypeAlias

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

When: TypeAlias = Callable[[float], str]
"""How a format writes the timestamp of a sample, given in seconds since the epoch, after a blank."""

_PLAIN = 2**62
# What stands for the name and the labels in a pattern of lines.
_HEAD = b"\0"


def milliseconds(seconds: float) -> str:
    """The timestamp of a sample in Prometheus text."""
    return f" {round(seconds * 1000)}"


def seconds(seconds: float) -> str:
    """The timestamp of a sample in OpenMetrics."""
    return f" {number(float(seconds))}"


class Name(NamedTuple):
    """How the line of a sample begins: ``open`` before labels, ``bare`` if there are none."""

    open: str
    bare: str

    @classmethod
    def of(cls, name: str) -> Name:
        """The beginning of the lines of this name."""
        if is_legacy_name(name):
            return Name(f"{name}{{", name)
        return Name(f"{{{quoted(name)},", f"{{{quoted(name)}}}")

    def with_labels(self, labels: str) -> str:
        """The name and the labels, which is everything before the value."""
        return f"{self.open}{labels}}}" if labels else self.bare


def single(name: str, *, when: When) -> Callable[[CounterPoint | GaugePoint | UnknownPoint, str], bytes]:
    """One line with the value."""
    opening, bare = Name.of(name)

    def render(point: CounterPoint | GaugePoint | UnknownPoint, labels: str) -> bytes:
        value = point.value
        # This runs for every changed series, so it saves the call of `number` for nearly every count.
        text = str(value) if type(value) is int and -_PLAIN < value < _PLAIN else number(value)
        if point.timestamp is not None:
            text += when(point.timestamp)
        return f"{opening}{labels}}} {text}\n".encode() if labels else f"{bare} {text}\n".encode()

    return render


def counter(name: str, *, created: bool) -> Callable[[CounterPoint, str], bytes]:
    """One line with the value and the exemplar, and one with the start time if ``created`` asks for it."""
    plain = single(name, when=seconds)
    start = Name.of(f"{name.removesuffix('_total')}_created")

    def render(point: CounterPoint, labels: str) -> bytes:
        line = plain(point, labels)
        if point.exemplar is not None:
            line = b"%s%s\n" % (line[:-1], exemplar(point.exemplar).encode())
        if created and point.created is not None:
            line += f"{start.with_labels(labels)} {point.created:.3f}{_stamp(point, seconds)}\n".encode()
        return line

    return render


def info(name: str, *, when: When) -> Callable[[InfoPoint, str], bytes]:
    """One line with the value 1."""
    start = Name.of(name)
    return lambda point, labels: f"{start.with_labels(labels)} 1{_stamp(point, when)}\n".encode()


def summary(name: str, *, when: When, created: bool = False) -> Callable[[SummaryPoint, str], bytes]:
    """A line for each quantile, then the count, the sum, and the start time if ``created`` asks for it."""
    own = Name.of(name)
    count, total, start = (Name.of(name + suffix) for suffix in ("_count", "_sum", "_created"))

    def render(point: SummaryPoint, labels: str) -> bytes:
        comma, stamp = f"{labels}," if labels else "", _stamp(point, when)
        lines = [
            f'{own.open}{comma}quantile="{bound(quantile)}"}} {number(value)}{stamp}\n'
            for quantile, value in point.quantiles
        ]
        if point.observations is not None:
            lines.append(f"{count.with_labels(labels)} {number(point.observations)}{stamp}\n")
        if point.sum is not None:
            lines.append(f"{total.with_labels(labels)} {number(point.sum)}{stamp}\n")
        if created and point.created is not None:
            lines.append(f"{start.with_labels(labels)} {point.created:.3f}{stamp}\n")
        return "".join(lines).encode()

    return render


Totals: TypeAlias = Callable[[HistogramPoint, str, int, str], str]
"""Makes the lines after the buckets of a point: of the point, its labels, its count and its timestamp."""


def buckets(
    name: str, *, when: When, totals: Totals, exemplars: bool, native_bounds: tuple[float, ...] | None
) -> Callable[[HistogramPoint | NativeHistogramPoint, str], bytes]:
    """The cumulative buckets up to +Inf, with exemplars if the format has them, and what ``totals`` adds.

    A native histogram is written as a classic one (see ``histograms.to_classic``).
    """
    bucket = Name.of(f"{name}_bucket")
    known: dict[tuple[float, ...], tuple[list[str], bytes]] = {}  # a family seldom has several sets of bounds

    def render(point: HistogramPoint | NativeHistogramPoint, labels: str) -> bytes:
        if isinstance(point, NativeHistogramPoint):
            point = to_classic(point, native_bounds)
            tails, pattern = _tails(point.bounds)
        else:
            found = known.get(point.bounds)
            tails, pattern = known[point.bounds] = _tails(point.bounds) if found is None else found
        head = f"{bucket.open}{labels}," if labels else bucket.open
        counts, stamp = tuple(accumulate(point.counts)), _stamp(point, when)
        rest = totals(point, labels, counts[-1], stamp).encode()
        if not stamp and not (exemplars and point.exemplars):
            # As nearly always, so all lines at once.
            return (pattern % counts).replace(_HEAD, head.encode()) + rest
        items = point.exemplars if exemplars and point.exemplars else repeat(None, len(counts))
        lines = [
            f"{head}{tail}{value}{stamp}{exemplar(item) if item is not None else ''}\n"
            for tail, value, item in zip(tails, counts, items, strict=True)
        ]
        return "".join(lines).encode() + rest

    return render


def no_totals(*_: object) -> str:
    """No lines after the buckets."""
    return ""


def count_and_sum(name: str, *, openmetrics: bool, created: bool = False) -> Totals:
    """The count and the sum of a histogram, and its start time if ``created`` asks for it."""
    count, total, start = (Name.of(name + suffix) for suffix in ("_count", "_sum", "_created"))

    def lines(point: HistogramPoint, labels: str, observations: int, stamp: str) -> str:
        result = ""
        # OpenMetrics: "If the histogram has a negative threshold, the Sum MUST NOT be present." A count is
        # there "if and only if a Sum value is present". Text always has the count.
        shown = None if openmetrics and point.bounds and point.bounds[0] < 0 else point.sum
        if shown is not None or not openmetrics:
            result = f"{count.with_labels(labels)} {observations}{stamp}\n"
        if shown is not None:
            result += f"{total.with_labels(labels)} {number(shown)}{stamp}\n"
        if created and point.created is not None:
            result += f"{start.with_labels(labels)} {point.created:.3f}{stamp}\n"
        return result

    return lines


def gauge_count_and_sum(name: str) -> Totals:
    """The count and the sum of a gauge histogram in OpenMetrics."""
    count, total = Name.of(f"{name}_gcount"), Name.of(f"{name}_gsum")

    def lines(point: HistogramPoint, labels: str, observations: int, stamp: str) -> str:
        result = f"{count.with_labels(labels)} {observations}{stamp}\n"
        if point.sum is not None:
            result += f"{total.with_labels(labels)} {number(point.sum)}{stamp}\n"
        return result

    return lines


def _tails(bounds: tuple[float, ...]) -> tuple[list[str], bytes]:
    """What follows the labels of a series in each line, and all lines as a pattern for the counts."""
    tails = [f'le="{limit}"}} ' for limit in (*map(bound, bounds), "+Inf")]
    return tails, b"".join(b"%b%b%%a\n" % (_HEAD, tail.encode()) for tail in tails)


def _stamp(point: HistogramPoint | InfoPoint | SummaryPoint | CounterPoint, when: When) -> str:
    return "" if point.timestamp is None else when(point.timestamp)


def exemplar(exemplar: Exemplar) -> str:
    """An exemplar as it stands at the end of a line, after a blank."""
    time = "" if exemplar.timestamp is None else f" {exemplar.timestamp:.3f}"
    return f" # {{{label_set(exemplar.labels)}}} {number(exemplar.value)}{time}"
