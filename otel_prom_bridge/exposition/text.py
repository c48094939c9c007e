"""The Prometheus text format. Versions 0.0.4 and 1.0.0 are the same while every name is a legacy one.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md#text-based-format

It has no exemplars, no units, no start times, and no ``info`` or ``unknown`` type. Its TYPE lines carry the
full name of a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text, label_set, metadata_name
from otel_prom_bridge.exposition.rendered import Rendered
from otel_prom_bridge.exposition.writer import DEFAULT_OPTIONS, WriterOptions
from otel_prom_bridge.families import GaugePoint, Kind, Labels, MetricFamily

# "The remaining token is one of counter, gauge, histogram, summary, or untyped." The compatibility
# document of OpenTelemetry says that an info becomes a gauge.
_TYPES = {
    Kind.INFO: "gauge",
    Kind.STATESET: "gauge",
    Kind.GAUGE_HISTOGRAM: "histogram",
    Kind.UNKNOWN: "untyped",
}
_KIND, _SHOWS_CREATED = map(attrgetter, ("kind", "shows_created"))


@dataclass(frozen=True, slots=True)
class TextWriter:
    """Writes Prometheus text."""

    options: WriterOptions = DEFAULT_OPTIONS
    trailer: bytes = b""

    def header(self, family: MetricFamily) -> bytes:
        """The HELP and TYPE lines. A family without a help text has no HELP line."""
        name = metadata_name(family.name)
        text = help_text(family.help, openmetrics=False)
        help_line = f"# HELP {name} {text}\n" if text else ""
        return f"{help_line}# TYPE {name} {_TYPES.get(family.kind, family.kind.value)}\n".encode()

    def labels(self, labels: Labels) -> str:
        """The labels without braces."""
        return label_set(labels)

    def renderer(self, family: MetricFamily) -> Callable[[Any, str], bytes]:
        """A function from a point of this family and its rendered labels to its lines."""
        name, when = family.name, samples.milliseconds
        match family.kind:
            case Kind.HISTOGRAM | Kind.GAUGE_HISTOGRAM as kind:
                is_gauge = kind is Kind.GAUGE_HISTOGRAM
                totals = samples.no_totals if is_gauge else samples.count_and_sum(openmetrics=False)
                bounds = self.options.native_bounds
                return samples.buckets(name, when=when, totals=totals, exemplars=False, native_bounds=bounds)
            case Kind.SUMMARY:
                return samples.summary(name, when=when)
            case Kind.INFO:
                return samples.info(name, when=when)
            case _:
                return samples.single(name, when=when)

    def page(self, header: bytes, family: MetricFamily, rendered: Rendered) -> Iterable[bytes]:
        """The header, then the lines."""
        return (header, *rendered.pieces)


def with_companions(families: tuple[MetricFamily, ...]) -> tuple[MetricFamily, ...]:
    """The families, each followed by the gauges that text needs for what it cannot say in the family itself.

    These are start times (``_created``) where the family shows them, and the count and the sum of a gauge
    histogram. prometheus_client writes the same gauges.
    """
    if Kind.GAUGE_HISTOGRAM not in map(_KIND, families) and not any(map(_SHOWS_CREATED, families)):
        return families
    result: list[MetricFamily] = []
    for family in families:
        result.append(family)
        result += _companions(family)
    return tuple(result)


def _companions(family: MetricFamily) -> Iterator[MetricFamily]:
    suffixes: dict[str, str] = {}
    if family.kind is Kind.GAUGE_HISTOGRAM:
        suffixes = {"_gcount": "observations", "_gsum": "sum"}
    elif family.shows_created and family.kind in (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY):
        suffixes = {"_created": "created"}
    for suffix, attribute in suffixes.items():
        points = tuple(
            GaugePoint(point.labels, value, timestamp=point.timestamp)
            for point in family.points
            if (value := getattr(point, attribute)) is not None
        )
        if points:
            yield MetricFamily(f"{family.base_name}{suffix}", Kind.GAUGE, family.help, "", points)
