"""The vocabulary in the middle: metric families and their typed points.

The store writes families with the help of translation, exposition reads them, and neither side knows the
other. Points are typed: a histogram point is one object and not eighteen samples. Each exposition format
says for itself which samples it becomes, and under which suffixes.

Everything here is immutable, and identity means "unchanged". The store hands out the *same* point object
until the series changes, and the same family object until one of its points changes. That lets exposition
reuse what it rendered before (see ``exposition/encoder.py``).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Label names and values, sorted by name, each name once. Values are valid Unicode."""


def identity(labels: Labels) -> Labels:
    """What makes a series one: a label with an empty value is the same as none.

    https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels
    """
    return tuple(pair for pair in labels if pair[1]) if any(not value for _, value in labels) else labels


class Kind(enum.Enum):
    """The type of a family, by its name in the OpenMetrics specification."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


# "The combined length of the label names and values of an Exemplar's LabelSet MUST NOT exceed 128 UTF-8
# character code points."
# https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#exemplars
EXEMPLAR_CHARACTERS = 128


class Exemplar(NamedTuple):
    """One recorded measurement that stands for the others, usually with the ids of its trace.

    ``labels`` hold at most 128 characters of names and values together (OpenMetrics 1.0, "Exemplars").
    ``timestamp`` is in seconds since the epoch, or None. ``failed`` says that what was measured failed.
    ``shift`` is by how many seconds the clock had been set back before, since the process began: with it
    added, timestamps say what came later.
    """

    labels: Labels
    value: float
    timestamp: float | None
    failed: bool = False
    shift: float = 0.0


# The points are named tuples, not frozen dataclasses, because a busy scrape makes ten thousand of them
# and a frozen dataclass takes three times as long to make.

_Made = TypeVar("_Made")
# Makes a named tuple of all of its fields as its class makes it, but without a call of a Python function.
made: Callable[[type[_Made], tuple[object, ...]], _Made] = tuple.__new__  # type: ignore[assignment]


# `created` is when the series began, in seconds since the epoch; None if nobody knows. `timestamp` is when
# the value was taken. Our own points have no timestamp, so scrapers take the time of the scrape.


class CounterPoint(NamedTuple):
    """A cumulative, monotonic sum."""

    labels: Labels
    value: float
    exemplar: Exemplar | None = None
    created: float | None = None
    timestamp: float | None = None


class GaugePoint(NamedTuple):
    """A current value. ``updated`` is higher for a value that changed later."""

    labels: Labels
    value: float
    updated: int = 0
    timestamp: float | None = None


class UnknownPoint(NamedTuple):
    """A value of which nobody said what kind of value it is."""

    labels: Labels
    value: float
    timestamp: float | None = None


class HistogramPoint(NamedTuple):
    """A histogram with explicit buckets.

    ``bounds`` are the finite upper bounds, strictly ascending. ``counts`` are the observations *in* each
    bucket (not cumulated), one more than there are bounds: the last one is the bucket up to +Inf.
    ``sum`` is None where the source has none. ``exemplars`` is either empty or as long as ``counts``.
    ``native`` is the same distribution in exponential buckets, if the source has both.
    """

    labels: Labels
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float | None
    exemplars: tuple[Exemplar | None, ...] = ()
    created: float | None = None
    timestamp: float | None = None
    native: NativeHistogramPoint | None = None

    @property
    def observations(self) -> int:
        """The number of all observations."""
        return sum(self.counts)


class NativeHistogramPoint(NamedTuple):
    """A histogram with exponential buckets.

    The bucket with index i holds the observations in ``(base ** (i - 1), base ** i]``, where ``base`` is
    ``2 ** 2 ** -schema``; ``negative`` counts the absolute values of negative observations likewise. Both are
    pairs of index and count, by ascending index, counts above zero. ``zero_count`` observations were within
    ``zero_threshold`` of zero. ``exemplars`` are ordered by time, oldest first.
    """

    labels: Labels
    schema: int
    zero_threshold: float
    zero_count: int
    positive: tuple[tuple[int, int], ...]
    negative: tuple[tuple[int, int], ...]
    sum: float
    exemplars: tuple[Exemplar, ...] = ()
    created: float | None = None
    timestamp: float | None = None

    @property
    def observations(self) -> int:
        """The number of all observations."""
        return self.zero_count + sum(count for _, count in self.positive + self.negative)


class SummaryPoint(NamedTuple):
    """Quantiles as pairs of quantile and value, with the sum and the number of the observations."""

    labels: Labels
    quantiles: tuple[tuple[float, float], ...]
    sum: float | None
    observations: float | None
    created: float | None = None
    timestamp: float | None = None


class InfoPoint(NamedTuple):
    """Facts about the target, which are held in labels. The value is always 1."""

    labels: Labels
    timestamp: float | None = None


Point: TypeAlias = (
    CounterPoint
    | GaugePoint
    | UnknownPoint
    | HistogramPoint
    | NativeHistogramPoint
    | SummaryPoint
    | InfoPoint
)

_LEGACY_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# OpenMetrics 1.0, "MetricFamily": these suffixes of a family must not clash with other families.
# https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md#metricfamily
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    Kind.COUNTER: ("", "_total", "_created"),
    Kind.GAUGE: ("",),
    Kind.HISTOGRAM: ("", "_bucket", "_count", "_sum", "_created"),
    Kind.GAUGE_HISTOGRAM: ("", "_bucket", "_gcount", "_gsum"),
    Kind.SUMMARY: ("", "_count", "_sum", "_created"),
    Kind.INFO: ("", "_info"),
    Kind.STATESET: ("",),
    Kind.UNKNOWN: ("",),
}
_OWN_SUFFIX = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def is_legacy_name(name: str) -> bool:
    """Whether every Prometheus reads this as a metric name."""
    return _LEGACY_NAME.fullmatch(name) is not None


def is_legacy_label(name: str) -> bool:
    """Whether every Prometheus reads this as a label name without quotes."""
    return _LEGACY_LABEL.fullmatch(name) is not None


def base_name(name: str, kind: Kind) -> str:
    """The name that OpenMetrics gives the family: without ``_total`` or ``_info``."""
    return name.removesuffix(_OWN_SUFFIX.get(kind, "")) or name


def is_total(name: str) -> bool:
    """Whether OpenMetrics can call a counter of this name a counter, because it is ``<family>_total``."""
    return name.endswith("_total") and name != "_total"


def claimed_names(name: str, kind: Kind) -> frozenset[str]:
    """Every name that a family of this name and kind uses in some exposition format."""
    base = base_name(name, kind)
    return frozenset({name, *(base + suffix for suffix in _SUFFIXES[kind])})


@dataclass(frozen=True, slots=True, eq=False)
class MetricFamily:
    """A metric with all of its series.

    ``name`` is the full Prometheus name: a counter's ends with ``_total``, the target's info is
    ``target_info``. ``unit`` is the Prometheus unit (``seconds``) or empty. All points are of the type
    that ``kind`` says (a histogram's may be classic or native, those of a state set are gauges), and no two
    have equal labels and equal timestamps. Families compare by identity (see above).

    ``foreign`` says that some name in it may have characters that legacy Prometheus names cannot hold.
    ``additive`` says that gauges in it are non-monotonic sums, which add up where two of them become one.
    ``shows_created`` says that the start times in it are shown in every format, whatever the user chose for
    our own metrics.
    """

    name: str
    kind: Kind
    help: str
    unit: str
    points: tuple[Point, ...]
    foreign: bool = False
    additive: bool = False
    shows_created: bool = False

    def with_points(self, points: tuple[Point, ...]) -> MetricFamily:
        """The same with these points."""
        return MetricFamily(
            self.name,
            self.kind,
            self.help,
            self.unit,
            points,
            self.foreign,
            self.additive,
            self.shows_created,
        )

    @property
    def base_name(self) -> str:
        """The name without ``_total`` or ``_info``, as OpenMetrics uses it in ``# TYPE``."""
        return base_name(self.name, self.kind)
