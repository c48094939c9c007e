"""Composite values of OpenMetrics 2.0 → points.

A histogram is ``{count:5,sum:3.5,bucket:[0.5:2,+Inf:5]}``; it may have native buckets, or both.
https://github.com/prometheus/docs/blob/main/docs/specs/om/open_metrics_spec_2_0.md#composite-values
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from otel_prom_bridge.arithmetic.histograms import by_bucket, spread
from otel_prom_bridge.families import HistogramPoint, Kind, NativeHistogramPoint, Point, SummaryPoint
from otel_prom_bridge.snapshots.findings import Faults
from otel_prom_bridge.snapshots.lines import Sample, number_of

_FIELD = re.compile(r"([a-z_]+):(\[[^]]*\]|[^,\[]+)(?:,|$)")


def composite(sample: Sample, kind: Kind, faults: Faults) -> Iterator[Point]:
    """The point that a composite value is; none if it is wrong."""
    assert isinstance(sample.value, str)
    try:
        fields = dict(_FIELD.findall(sample.value[1:-1]))
        if sample.value[-1] != "}" or _FIELD.sub("", sample.value[1:-1]):
            raise ValueError("it does not end")
        yield _summary(sample, fields) if kind is Kind.SUMMARY else _histogram(sample, fields)
    except (ValueError, KeyError, StopIteration, TypeError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        message = f"no value of a {kind.value}: {reason}"
        faults.error("value", sample.name, message, line=sample.line)


def _summary(sample: Sample, fields: dict[str, str]) -> SummaryPoint:
    return SummaryPoint(
        sample.labels,
        tuple((float(limit), value) for limit, value in _pairs(fields["quantile"])),
        number_of(fields["sum"]),
        number_of(fields["count"]),
        sample.start,
        sample.time,
    )


def _histogram(sample: Sample, fields: dict[str, str]) -> HistogramPoint | NativeHistogramPoint:
    count = number_of(fields.get("count") or fields["gcount"])
    total = number_of(fields.get("sum") or fields["gsum"])
    native = _native(sample, fields, total) if "schema" in fields else None
    if "bucket" not in fields:
        if native is None:
            raise KeyError("bucket")
        if native.observations != count:
            raise ValueError(f"the count is {count}, and the buckets have {native.observations}")
        return native
    pairs = _pairs(fields["bucket"])
    limits = [float(limit) for limit, _ in pairs]
    totals = [value for _, value in pairs]
    if not limits or limits[-1] != math.inf or any(a >= b for a, b in pairwise(limits)):
        raise ValueError("the bounds of its buckets do not ascend to +Inf")
    if any(after < before for before, after in pairwise(totals)) or totals[-1] != count:
        raise ValueError(f"its buckets are not cumulative up to the count of {count}")
    counts = tuple(after - before for before, after in zip([0, *totals], totals, strict=False))
    exemplars = by_bucket(tuple(limits[:-1]), sample.exemplars)
    return HistogramPoint(
        sample.labels, tuple(limits[:-1]), counts, total, exemplars, sample.start, sample.time, native
    )


def _native(sample: Sample, fields: dict[str, str], total: float) -> NativeHistogramPoint:
    sides: dict[str, Any] = {}
    for side in ("positive", "negative"):
        spans = [(int(offset), int(length)) for offset, length in _pairs(fields.get(f"{side}_spans", "[]"))]
        totals = [number_of(value) for value in fields.get(f"{side}_buckets", "[]")[1:-1].split(",") if value]
        deltas = [after - before for before, after in zip([0, *totals], totals, strict=False)]
        if sum(length for _, length in spans) != len(deltas):
            raise ValueError(f"its {side}_spans are not those of its {side}_buckets")
        sides[side] = spread(spans, deltas)
    return NativeHistogramPoint(
        sample.labels,
        int(fields["schema"]),
        float(number_of(fields["zero_threshold"])),
        number_of(fields["zero_count"]),
        sum=total,
        exemplars=sample.exemplars,
        created=sample.start,
        timestamp=sample.time,
        **sides,
    )


def _pairs(text: str) -> list[tuple[Any, Any]]:
    pairs = (item.split(":") for item in text[1:-1].split(",") if item)
    return [(number_of(limit), number_of(value)) for limit, value in pairs]
