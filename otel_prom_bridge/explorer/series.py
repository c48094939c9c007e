"""One family: its series by pages, sorted and filtered, their distribution, and their exemplars."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_prom_bridge.arithmetic.histograms import native_sum, to_classic, upper_bound
from otel_prom_bridge.audit.bucket_advice import check_buckets
from otel_prom_bridge.explorer.as_json import Json, exemplar, exemplars_of, labels, main_value, number, text
from otel_prom_bridge.families import (
    HistogramPoint,
    InfoPoint,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
    identity,
)
from otel_prom_bridge.snapshots.findings import Faults
from otel_prom_bridge.snapshots.quantities import quantile_of

QUANTILES = (0.5, 0.9, 0.99)
MOST_ROWS, ROWS = 1000, 100
_EXEMPLARS = 200


class Question(NamedTuple):
    """Which series are wanted: those with all of these labels, of which some value has ``search`` in it.

    ``sort`` is ``value``, ``sum``, ``mean`` or ``labels``, or ``label:NAME``.
    """

    filter: Mapping[str, str]
    search: str = ""
    sort: str = "value"
    descending: bool = True
    offset: int = 0
    limit: int = ROWS


def family_answer(family: MetricFamily, question: Question) -> Json:
    """The series that are wanted, and what they are together."""
    points = [point for point in family.points if _is_wanted(point, question)]
    ordered = sorted(points, key=_key(question.sort), reverse=question.descending)
    page = ordered[question.offset : question.offset + question.limit]
    return {
        "matched": len(points),
        "offset": question.offset,
        "series": [_row(point) for point in page],
        "distribution": distribution(points),
        "exemplars": _exemplars(points),
        "remark": _remark(family),
    }


def _is_wanted(point: Point, question: Question) -> bool:
    if question.filter:
        own = dict(point.labels)
        for name, value in question.filter.items():
            found = own.get(name, "")
            if found != value and text(found) != value:
                return False
    search = question.search.casefold()
    return not search or any(search in value.casefold() for _, value in point.labels)


def _key(sort: str) -> Callable[[Point], tuple[object, ...]]:
    if sort.startswith("label:"):
        name = sort.removeprefix("label:")
        return lambda point: _natural(dict(point.labels).get(name, ""))
    if sort == "labels":
        return lambda point: point.labels
    measure = {"sum": _sum, "mean": _mean}.get(sort, main_value)

    def key(point: Point) -> tuple[object, ...]:
        value = measure(point)
        return (not math.isnan(value), 0.0 if math.isnan(value) else value)

    return key


def _natural(value: str) -> tuple[object, ...]:
    """Numbers by their size, before everything else."""
    try:
        found = float(value)
    except ValueError:
        return (1, value)
    return (0, found, value) if not math.isnan(found) else (1, value)


def _sum(point: Point) -> float:
    found = getattr(point, "sum", None)
    return math.nan if found is None else found


def _mean(point: Point) -> float:
    count = main_value(point)
    return _sum(point) / count if count else math.nan


def series_id(point_labels: Labels) -> str:
    """What names a series in a URL, however long its labels are."""
    return hashlib.blake2s(repr(identity(point_labels)).encode(errors="backslashreplace")).hexdigest()[:16]


def labels_of(family: MetricFamily, wanted: str) -> Labels | None:
    """The labels of a series by its id."""
    return next((point.labels for point in family.points if series_id(point.labels) == wanted), None)


def _row(point: Point) -> Json:
    row: Json = {"id": series_id(point.labels), "labels": labels(point.labels)}
    if (created := getattr(point, "created", None)) is not None:
        row["created"] = created
    match point:
        case HistogramPoint() | NativeHistogramPoint():
            bounds, counts = _classic(point)
            row |= {"count": point.observations, "sum": number(point.sum), "value": point.observations}
            row |= {"quantiles": _quantiles(bounds, counts)}
        case SummaryPoint():
            row |= {"count": number(point.observations), "sum": number(point.sum)}
            row |= {"value": number(point.observations)}
            row["quantiles"] = {f"{quantile:g}": number(value) for quantile, value in point.quantiles}
        case InfoPoint():
            row["value"] = 1
        case _:
            row["value"] = number(point.value)
    found = list(exemplars_of(point))
    if found:
        row["exemplar"] = exemplar(found[-1])
    return row


def _classic(point: HistogramPoint | NativeHistogramPoint) -> tuple[tuple[float, ...], tuple[int, ...]]:
    classic = to_classic(point) if isinstance(point, NativeHistogramPoint) else point
    return classic.bounds, classic.counts


def _quantiles(bounds: tuple[float, ...], counts: tuple[int, ...]) -> Json:
    return {f"{quantile:g}": number(quantile_of(bounds, counts, quantile)) for quantile in QUANTILES}


def distribution(points: Iterable[Point]) -> Json | None:
    """All of these histograms together, bucket by bucket; None if there are none.

    Of several sets of bounds the most frequent one counts, and ``left_out`` series have others.
    """
    histograms = [point for point in points if isinstance(point, HistogramPoint | NativeHistogramPoint)]
    native = [point for point in histograms if isinstance(point, NativeHistogramPoint)]
    if native:
        whole = native_sum(native)
        bounds, counts = _classic(whole)
        buckets = _native_buckets(whole)
        same: Sequence[HistogramPoint | NativeHistogramPoint] = native
    else:
        classic = [point for point in histograms if isinstance(point, HistogramPoint)]
        if not classic:
            return None
        bounds = Counter(point.bounds for point in classic).most_common(1)[0][0]
        same = [point for point in classic if point.bounds == bounds]
        counts = tuple(map(sum, zip(*(point.counts for point in same), strict=True)))  # type: ignore[union-attr]
        edges = (-math.inf, *bounds, math.inf)
        buckets = [(edges[index], edges[index + 1], count) for index, count in enumerate(counts)]
    sums = [point.sum for point in same if point.sum is not None]
    return {
        "native": bool(native),
        "series": len(same),
        "left_out": len(histograms) - len(same),
        "count": sum(point.observations for point in same),
        "sum": number(math.fsum(sums)) if len(sums) == len(same) and all(map(math.isfinite, sums)) else None,
        "quantiles": _quantiles(bounds, counts),
        "buckets": [[number(low), number(high), count] for low, high, count in buckets],
    }


def _native_buckets(point: NativeHistogramPoint) -> list[tuple[float, float, int]]:
    schema = point.schema
    edges = [(upper_bound(index - 1, schema), upper_bound(index, schema), n) for index, n in point.positive]
    below = [(-upper_bound(i, schema), -upper_bound(i - 1, schema), n) for i, n in reversed(point.negative)]
    zero = [(-point.zero_threshold, point.zero_threshold, point.zero_count)] if point.zero_count else []
    return below + zero + edges


def _exemplars(points: Iterable[Point]) -> list[Json]:
    """The newest exemplars, each with its series."""
    found = [(item, point) for point in points for item in exemplars_of(point)]
    found.sort(key=lambda pair: -(pair[0].timestamp or 0))
    return [
        {**exemplar(item), "series": series_id(point.labels), "of": labels(point.labels)}
        for item, point in found[:_EXEMPLARS]
    ]


def _remark(family: MetricFamily) -> Json | None:
    """What the bucket doctor says."""
    faults = Faults()
    check_buckets(family, faults)
    return next(({"text": text(item.message), "hint": text(item.hint)} for item in faults.all()), None)
