"""How many series a metric has, and which labels make them.

Everything is counted in one pass over all label pairs, in C, so 100,000 series take about a tenth of a
second. What is counted is what a database would keep apart, so a label with an empty value does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from typing import TypeAlias

from otel_prom_bridge.families import (
    HistogramPoint,
    Kind,
    Labels,
    MetricFamily,
    Point,
    SummaryPoint,
    identity,
)

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#overflow-attribute
OVERFLOW_LABEL = "otel_metric_overflow"
# Where names are not escaped it has the second name.
_OVERFLOW_LABELS = (OVERFLOW_LABEL, "otel.metric.overflow")
DEFAULT_VALUES = 5

# A value is shown in full up to this length. Ids, URLs and queries can be recognised by their beginning.
_VALUE_WIDTH = 32
_LABELS = 6
_WIDTH = 100
_UNKNOWN = "-"

_Row: TypeAlias = tuple[str, str, str, str, str]
_TITLES: _Row = ("METRIC", "TYPE", "SERIES", "SAMPLES", "MAX")


@dataclass(frozen=True, slots=True)
class LabelCardinality:
    """A label: the number of its values, and the values of most series with their numbers of series."""

    name: str
    values: int
    biggest: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCardinality:
    """What a metric costs, and the labels that are to blame for it, beginning with those of most values.

    ``series`` is the number of label sets, where all buckets of a histogram are one. ``samples`` is the
    number of lines in an exposition, each of which is a series in the database. ``overflow_series`` is how
    many series hold what was beyond a limit (``otel_metric_overflow="true"``), and ``overflowed`` is how many
    points went there; None if nobody counted them. ``maximum`` is the largest number of series that the rules
    allow; None if there is none or nobody knows.
    """

    metric: str
    kind: str
    series: int
    samples: int
    labels: tuple[LabelCardinality, ...]
    overflow_series: int = 0
    overflowed: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class CardinalityReport:
    """The metrics of an exposition. ``str()`` of a report is a table of them."""

    metrics: tuple[MetricCardinality, ...]

    @classmethod
    def of(cls, metrics: Iterable[MetricCardinality]) -> CardinalityReport:
        """A report of these metrics, ordered by most samples, then by most series, then by name."""
        return cls(tuple(sorted(metrics, key=lambda item: (-item.samples, -item.series, item.metric))))

    @property
    def series(self) -> int:
        """The number of series of all metrics together."""
        return sum(item.series for item in self.metrics)

    @property
    def samples(self) -> int:
        """The number of samples of all metrics together."""
        return sum(item.samples for item in self.metrics)

    def __iter__(self) -> Iterator[MetricCardinality]:
        return iter(self.metrics)

    def __len__(self) -> int:
        return len(self.metrics)

    def __str__(self) -> str:
        return self.table()

    def table(self, *, top: int | None = None) -> str:
        """The first ``top`` metrics as text for a terminal of 100 columns. Totals are of all metrics."""
        shown = self.metrics if top is None else self.metrics[:top]
        rows = [_row(item) for item in shown]
        total = (f"TOTAL of {_number(len(self), 'metric')}", "", f"{self.series:,}", f"{self.samples:,}", "")
        layout = _Layout([_TITLES, *rows, total], maximum=any(item.maximum is not None for item in shown))
        lines = [layout.line(_TITLES)]
        for item, row in zip(shown, rows, strict=True):
            lines += [layout.line(row), *_details(item)]
        if len(shown) < len(self):
            lines.append(_rest(self.metrics[len(shown) :]))
        return "\n".join([*lines, "", layout.line(total)])


def of_labels(
    metric: str,
    kind: str,
    label_sets: Iterable[Sequence[tuple[str, str]]],
    *,
    samples: int | None = None,
    values: int = DEFAULT_VALUES,
    overflowed: int | None = None,
    maximum: int | None = None,
) -> MetricCardinality:
    """Count a metric whose series have these label sets, each of which comes once.

    ``samples`` is the number of samples, if a series has more than one. ``values`` is how many of the biggest
    values of each label are kept.
    """
    label_sets = list(label_sets)
    by_label: dict[str, dict[str, int]] = {}
    for (name, value), count in Counter(chain.from_iterable(label_sets)).items():
        if value:
            by_label.setdefault(name, {})[value] = count
    labels = [
        LabelCardinality(name, len(counts), _biggest(counts, values)) for name, counts in by_label.items()
    ]
    return MetricCardinality(
        metric=metric,
        kind=kind,
        series=len(label_sets),
        samples=len(label_sets) if samples is None else samples,
        labels=tuple(sorted(labels, key=lambda label: (-label.values, label.name))),
        overflow_series=sum(by_label.get(label, {}).get("true", 0) for label in _OVERFLOW_LABELS),
        overflowed=overflowed,
        maximum=maximum,
    )


def of_family(
    family: MetricFamily,
    *,
    values: int = DEFAULT_VALUES,
    overflowed: int | None = None,
    maximum: int | None = None,
) -> MetricCardinality:
    """Count a family, with the samples that the text format writes.

    A native histogram counts as one sample, which is what it is if it is scraped as such. As text it has as
    many samples as the writer chooses bounds.
    """
    return of_labels(
        family.name,
        family.kind.value,
        _label_sets(family),
        samples=samples_of(family),
        values=values,
        overflowed=overflowed,
        maximum=maximum,
    )


def samples_of(family: MetricFamily) -> int:
    """The number of samples that the text format writes of a family."""
    return sum(map(_samples, family.points)) + _start_times(family)


def _label_sets(family: MetricFamily) -> Iterable[Labels]:
    # Identity is what a database tells apart. The states of a state set are samples of one series.
    states = family.name if family.kind is Kind.STATESET else ""
    return dict.fromkeys(
        tuple(pair for pair in labels if pair[0] != states) if states else labels
        for labels in (identity(point.labels) for point in family.points)
    )


def _start_times(family: MetricFamily) -> int:
    if not family.shows_created:
        return 0
    return sum(getattr(point, "created", None) is not None for point in family.points)


def _samples(point: Point) -> int:
    match point:
        case HistogramPoint():
            return len(point.counts) + 1 + (point.sum is not None)
        case SummaryPoint():
            return len(point.quantiles) + (point.observations is not None) + (point.sum is not None)
        case _:
            return 1


def _biggest(counts: dict[str, int], values: int) -> tuple[tuple[str, int], ...]:
    return tuple(nsmallest(values, counts.items(), key=lambda item: (-item[1], item[0])))


class _Layout:
    """Columns as wide as their widest cell. A name that leaves numbers no room gets a line of its own."""

    def __init__(self, rows: Sequence[_Row], *, maximum: bool) -> None:
        self._columns = len(_TITLES) if maximum else len(_TITLES) - 1
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)][: self._columns]
        self._widths = [min(widths[0], _WIDTH - sum(widths[1:]) - 2 * len(widths[1:])), *widths[1:]]

    def line(self, row: _Row) -> str:
        first, kind, *numbers = self._widths
        begin = "" if len(row[0]) <= first else f"{row[0]}\n"
        cells = [("" if begin else row[0]).ljust(first), row[1].ljust(kind)]
        cells += [cell.rjust(width) for cell, width in zip(row[2 : self._columns], numbers, strict=True)]
        return begin + "  ".join(cells).rstrip()


def _row(item: MetricCardinality) -> _Row:
    maximum = _UNKNOWN if item.maximum is None else f"{item.maximum:,}"
    return (visible(item.metric), visible(item.kind), f"{item.series:,}", f"{item.samples:,}", maximum)


def _details(item: MetricCardinality) -> Iterator[str]:
    labels = [label for label in item.labels if label.name not in _OVERFLOW_LABELS]
    shown = labels[:_LABELS]
    name_width = min(_VALUE_WIDTH, max((len(visible(label.name)) for label in shown), default=0))
    number_width = max((len(f"{label.values:,}") for label in shown), default=0)
    for label in shown:
        head = f"    {visible(label.name).ljust(name_width)}  {label.values:>{number_width},}"
        yield _fitted(head, label)
    if len(labels) > len(shown):
        yield f"    and {_number(len(labels) - len(shown), 'more label')}"
    if item.overflow_series or item.overflowed:
        points = "" if item.overflowed is None else f", {_number(item.overflowed, 'point')} went there"
        yield f'    over the limit: {_number(item.overflow_series, "series")} {OVERFLOW_LABEL}="true"{points}'


def _fitted(head: str, label: LabelCardinality) -> str:
    """A line with as many of the biggest values as there is room for, but at least one."""
    line, left = head, label.values
    for value, count in label.biggest:
        item = f'{"  " if left == label.values else ", "}"{_short(value)}" {count:,}'
        if left < label.values and len(line) + len(item) + len(", …") > _WIDTH:
            break
        line, left = line + item, left - 1
    return f"{line}, …" if 0 < left < label.values else line


def _rest(metrics: Sequence[MetricCardinality]) -> str:
    series, samples = sum(item.series for item in metrics), sum(item.samples for item in metrics)
    return (
        f"and {_number(len(metrics), 'smaller metric')}: "
        f"{_number(series, 'series')}, {_number(samples, 'sample')}"
    )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 or what.endswith("s") else f"{count:,} {what}s"


def visible(text: str) -> str:
    """The text with control characters spelled out, so that a terminal finds nothing in it to obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _short(value: str) -> str:
    text = visible(value)
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"
