"""Values as JSON has them: numbers that it lacks, and texts that are too long for a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from otel_prom_bridge.families import (
    Exemplar,
    HistogramPoint,
    InfoPoint,
    Labels,
    NativeHistogramPoint,
    Point,
    SummaryPoint,
)
from otel_prom_bridge.translate.labels import label_value, shortened

Json: TypeAlias = dict[str, Any]

# Longer texts are cut. A page shows their beginning, and a thousand labels of 1 MB would be no answer.
LONGEST = 1000


def number(value: float | None) -> float | str | None:
    """A number, or its text in Prometheus' spelling where JSON has none."""
    if value is None:
        return None
    if math.isfinite(plain(value)):
        return int(value) if isinstance(value, int) else plain(value)  # a gauge may be set to True
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def plain(value: float) -> float:
    """The number as a float; infinite where an integer is larger than any float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def text(value: object) -> str:
    """The beginning of a text."""
    return shortened(value if isinstance(value, str) else label_value(value), LONGEST)


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """The beginnings of names and their texts."""
    return {text(name): text(value) for name, value in values.items()}


def labels(pairs: Labels) -> dict[str, str]:
    """Labels, those that are empty left out."""
    return {text(name): text(value) for name, value in pairs if value}


def exemplar(item: Exemplar) -> Json:
    """An exemplar."""
    return {"labels": labels(item.labels), "value": number(item.value), "time": item.timestamp}


def exemplars_of(point: Point) -> Iterable[Exemplar]:
    """The exemplars of a point."""
    match point:
        case HistogramPoint() | NativeHistogramPoint():
            found = [item for item in point.exemplars if item is not None]
            inner = point.native if isinstance(point, HistogramPoint) else None
            return [*found, *(inner.exemplars if inner is not None and not found else ())]
        case InfoPoint() | SummaryPoint():
            return ()
        case _:
            single = getattr(point, "exemplar", None)
            return () if single is None else (single,)


def main_value(point: Point) -> float:
    """The number by which series compare: a value, or how much was observed."""
    match point:
        case HistogramPoint() | NativeHistogramPoint():
            return plain(point.observations)
        case SummaryPoint():
            return plain(point.observations or 0)
        case InfoPoint():
            return 1.0
        case _:
            return plain(point.value)
