"""OpenMetrics 2.0, of which there is a release candidate (2.0.0-rc0, March 2026, experimental).

https://github.com/prometheus/docs/blob/main/docs/specs/om/open_metrics_spec_2_0.md

Four things distinguish it from OpenMetrics 1.0. The name of a family is the name of its samples, so TYPE,
UNIT and HELP lines carry the full name, and a counter need not end with ``_total``. Histograms and summaries
are one sample, whose value is composite. Histograms may be native. Start times stand in the line of their
sample, after ``st@``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from otel_prom_bridge.arithmetic.histograms import layout
from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import bound, help_text, metadata_name, number
from otel_prom_bridge.exposition.text import TextWriter
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    HistogramPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    SummaryPoint,
    is_legacy_name,
)

# "MetricFamilies of Type Info MUST have an empty Unit string", and those of Type StateSet likewise.
_WITHOUT_UNIT = (Kind.INFO, Kind.STATESET)

_Written: TypeAlias = tuple[str, Iterable[Exemplar | None]]
"""The value of a sample as text, and its exemplars."""

_Value: TypeAlias = Callable[[Any], _Written]


@dataclass(frozen=True, slots=True)
class OpenMetrics2Writer(TextWriter):
    """Writes OpenMetrics 2.0: Prometheus text, except for what is said at the top of this file."""

    trailer: bytes = b"# EOF\n"

    def header(self, family: MetricFamily) -> bytes:
        """The TYPE, UNIT and HELP lines, in the order that the specification recommends."""
        name = metadata_name(family.name)
        lines = [f"# TYPE {name} {family.kind.value}\n"]
        # "If the unit is known it SHOULD be provided", also where the name does not end with it. It consists
        # of the characters of a name.
        if is_legacy_name(f"_{family.unit}") and family.unit and family.kind not in _WITHOUT_UNIT:
            lines.append(f"# UNIT {name} {family.unit}\n")
        if family.help:
            lines.append(f"# HELP {name} {help_text(family.help, openmetrics=True)}\n")
        return "".join(lines).encode()

    def renderer(self, family: MetricFamily) -> Callable[[Any, str], bytes]:
        """A function from a point of this family and its rendered labels to its line."""
        match family.kind:
            case Kind.COUNTER:
                return _line(family.name, _counter)
            case Kind.SUMMARY:
                return _line(family.name, _summary)
            case Kind.HISTOGRAM:
                return _line(family.name, _Histogram(prefix=""))
            case Kind.GAUGE_HISTOGRAM:
                return _line(family.name, _Histogram(prefix="g"), starts=False)
            case Kind.INFO:
                return samples.info(family.name, when=samples.seconds)
            case _:
                return samples.single(family.name, when=samples.seconds)


def _line(name: str, value: _Value, *, starts: bool = True) -> Callable[[Any, str], bytes]:
    """A line with the value, the times and the exemplars of a point. Some types have no start times."""
    start = samples.Name.of(name)

    def render(
        point: CounterPoint | SummaryPoint | HistogramPoint | NativeHistogramPoint, labels: str
    ) -> bytes:
        text, exemplars = value(point)
        if point.timestamp is not None:
            text += samples.seconds(point.timestamp)
        if starts and point.created is not None:
            text += f" st@{point.created:.3f}"
        # "Exemplars MUST consist of a LabelSet and a Number value, and MUST have a timestamp."
        timed = [item for item in exemplars if item is not None and item.timestamp is not None]
        return f"{start.with_labels(labels)} {text}{''.join(map(samples.exemplar, timed))}\n".encode()

    return render


def _counter(point: CounterPoint) -> _Written:
    return number(point.value), (point.exemplar,)


def _summary(point: SummaryPoint) -> _Written:
    quantiles = ",".join(f"{bound(quantile)}:{number(value)}" for quantile, value in point.quantiles)
    # The count is an integer, and prometheus_client has floats. One that nobody knows is 0, as in protobuf.
    count = int(point.observations or 0)
    return f"{{count:{count},sum:{_sum(point.sum)},quantile:[{quantiles}]}}", ()


def _sum(value: float | None) -> str:
    # The field must be there. NaN says that the sum is not known, and no average made of it can look right.
    return number(math.nan if value is None else value)


class _Histogram:
    """The value of a histogram (``count`` and ``sum``) or of a gauge histogram (``gcount`` and ``gsum``)."""

    def __init__(self, *, prefix: str) -> None:
        self._prefix = prefix
        # A family seldom has more than one set of bounds.
        self._limits: dict[tuple[float, ...], list[str]] = {}

    def __call__(self, point: HistogramPoint | NativeHistogramPoint) -> _Written:
        fields = [f"{self._prefix}count:{point.observations}", f"{self._prefix}sum:{_sum(point.sum)}"]
        native = point if isinstance(point, NativeHistogramPoint) else point.native
        # "After the count and sum, the remaining fields of the Native Buckets MUST be included, then the
        # remaining fields of the Classic Buckets."
        if native is not None:
            fields += _native(native)
        if isinstance(point, HistogramPoint):
            fields.append(f"bucket:[{self._classic(point)}]")
        return f"{{{','.join(fields)}}}", point.exemplars

    def _classic(self, point: HistogramPoint) -> str:
        limits = self._limits.get(point.bounds)
        if limits is None:
            limits = self._limits[point.bounds] = [*map(bound, point.bounds), "+Inf"]
        counts = accumulate(point.counts)
        return ",".join(f"{limit}:{count}" for limit, count in zip(limits, counts, strict=True))


def _native(point: NativeHistogramPoint) -> Iterator[str]:
    yield f"schema:{point.schema}"
    yield f"zero_threshold:{number(float(point.zero_threshold))}"
    yield f"zero_count:{point.zero_count}"
    for side, buckets in (("negative", point.negative), ("positive", point.positive)):
        if buckets:
            spans, deltas = layout(buckets)
            yield f"{side}_spans:[{','.join(f'{offset}:{length}' for offset, length in spans)}]"
            yield f"{side}_buckets:[{','.join(map(str, accumulate(deltas)))}]"
