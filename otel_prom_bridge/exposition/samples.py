"""Points → sample lines, as far as Prometheus text and OpenMetrics 1.0 agree about them.

Each function here takes what is fixed for a family and returns a function, which makes lines of one point and
its rendered labels. So nothing is decided twice in the loop over ten thousand points.

A name that is not a legacy one stands in quotes within the braces: ``{"http.requests",method="GET"} 1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
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

# Below this, a number is written as Python writes it (see ``number``), and an infinite one or NaN is not.
_PLAIN = 2**62
_LEAST = -_PLAIN
# What stands for the labels in a pattern of lines: a byte that no text has in UTF-8.
_ANY_BYTE = b"\xff"
_ANY = _ANY_BYTE.decode(errors="surrogateescape")
# How values after the buckets are written. Those of sums are only for plain numbers.
_SUMS = ("_sum", "_gsum")
_FORMATS = {"_count": "%d", "_gcount": "%d", "_created": "%.3f"} | dict.fromkeys(_SUMS, "%a")


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
        # This runs for every changed series, so it saves the call of `number` for nearly every value.
        is_plain = (type(value) is int or type(value) is float) and _LEAST < value < _PLAIN
        text = repr(value) if is_plain else number(value)
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


_Samples: TypeAlias = tuple[tuple[str, ...], tuple[float, ...]]  # their suffixes, and their values
Totals: TypeAlias = Callable[[HistogramPoint, int], _Samples]
"""What samples follow the buckets of a point with this count."""


def buckets(
    name: str, *, when: When, totals: Totals, exemplars: bool, native_bounds: tuple[float, ...] | None
) -> Callable[[HistogramPoint | NativeHistogramPoint, str], bytes]:
    """The cumulative buckets up to +Inf, with exemplars if the format has them, and what ``totals`` adds.

    A native histogram is written as a classic one (see ``histograms.to_classic``).
    """
    # A family seldom has several sets of bounds.
    known: dict[tuple[tuple[float, ...], tuple[str, ...]], _HistogramLines] = {}

    def render(point: HistogramPoint | NativeHistogramPoint, labels: str) -> bytes:
        classic = to_classic(point, native_bounds) if isinstance(point, NativeHistogramPoint) else point
        _, bounds, counts, total, items, _, timestamp, _ = classic
        counts = tuple(accumulate(counts))
        suffixes, values = totals(classic, counts[-1])
        lines = known.get((bounds, suffixes))
        if lines is None:
            lines = _HistogramLines(name, bounds, suffixes)
            if classic is point:  # native ones have bounds of their own each
                known[bounds, suffixes] = lines
        is_plain = (type(total) is float or type(total) is int) and _LEAST < total < _PLAIN
        if is_plain and labels and timestamp is None and not (exemplars and items):
            return lines.of(labels, counts + values)  # as nearly always
        return lines.each(labels, counts + values, _stamp(classic, when), items if exemplars else ())

    return render


class _HistogramLines:
    """The lines of histograms with these bounds and, after the buckets, samples with these suffixes."""

    def __init__(self, name: str, bounds: tuple[float, ...], suffixes: tuple[str, ...]) -> None:
        self._bucket = Name.of(f"{name}_bucket").open
        self._limits = [f'le="{limit}"}} ' for limit in (*map(bound, bounds), "+Inf")]
        self._totals = [Name.of(name + suffix) for suffix in suffixes]
        self._formats = ["%d"] * len(self._limits) + list(map(_FORMATS.__getitem__, suffixes))
        self._are_sums = [False] * len(self._limits) + list(map(_SUMS.__contains__, suffixes))
        beginnings = [each.replace("%", "%%") for each in self._beginnings(_ANY)]
        pattern = "".join(map("{}{}\n".format, beginnings, self._formats))
        self._pattern = pattern.encode(errors="surrogateescape")

    def of(self, labels: str, values: tuple[float, ...]) -> bytes:
        """The lines of a series with these labels, of which there are some, and these plain values."""
        return (self._pattern % values).replace(_ANY_BYTE, labels.encode())

    def each(
        self, labels: str, values: tuple[float, ...], stamp: str, exemplars: Sequence[Exemplar | None]
    ) -> bytes:
        """The lines of any series, each with this timestamp and, one after the other, these exemplars."""
        lines = [
            f"{beginning}{number(value) if is_sum else how % value}{stamp}"
            for beginning, how, is_sum, value in zip(
                self._beginnings(labels), self._formats, self._are_sums, values, strict=True
            )
        ]
        of_buckets = range(len(self._limits)) if exemplars else ()
        for index, item in zip(of_buckets, exemplars, strict=True):
            if item is not None:
                lines[index] += exemplar(item)
        lines.append("")
        return "\n".join(lines).encode()

    def _beginnings(self, labels: str) -> list[str]:
        """What stands before the value in each line."""
        bucket = f"{self._bucket}{labels}," if labels else self._bucket
        totals = [f"{total.with_labels(labels)} " for total in self._totals]
        return [*map(bucket.__add__, self._limits), *totals]


def no_totals(*_: object) -> _Samples:
    """No lines after the buckets."""
    return (), ()


def count_and_sum(*, openmetrics: bool, created: bool = False) -> Totals:
    """The count and the sum of a histogram, and its start time if ``created`` asks for it."""

    def found(point: HistogramPoint, observations: int) -> _Samples:
        suffixes: tuple[str, ...] = ()
        values: tuple[float, ...] = ()
        # OpenMetrics: "If the histogram has a negative threshold, the Sum MUST NOT be present." A count is
        # there "if and only if a Sum value is present". Text always has the count.
        shown = None if openmetrics and point.bounds and point.bounds[0] < 0 else point.sum
        if shown is not None:
            suffixes, values = ("_count", "_sum"), (observations, shown)
        elif not openmetrics:
            suffixes, values = ("_count",), (observations,)
        if created and point.created is not None:
            return (*suffixes, "_created"), (*values, point.created)
        return suffixes, values

    return found


def gauge_count_and_sum(point: HistogramPoint, observations: int) -> _Samples:
    """The count and the sum of a gauge histogram in OpenMetrics."""
    if point.sum is None:
        return ("_gcount",), (observations,)
    return ("_gcount", "_gsum"), (observations, point.sum)


def _stamp(point: HistogramPoint | InfoPoint | SummaryPoint | CounterPoint, when: When) -> str:
    return "" if point.timestamp is None else when(point.timestamp)


def exemplar(exemplar: Exemplar) -> str:
    """An exemplar as it stands at the end of a line, after a blank."""
    time = "" if exemplar.timestamp is None else f" {exemplar.timestamp:.3f}"
    return f" # {{{label_set(exemplar.labels)}}} {number(exemplar.value)}{time}"
