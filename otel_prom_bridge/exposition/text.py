"""The Prometheus text format. Versions 0.0.4 and 1.0.0 are the same while every name is a legacy one.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md#text-based-format

It has no exemplars, no units, no start times, and no ``info`` or ``unknown`` type. Its TYPE lines carry the
full name of a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text, label_set, metadata_name
from otel_prom_bridge.exposition.writer import DEFAULT_OPTIONS, WriterOptions
from otel_prom_bridge.families import Kind, Labels, MetricFamily

# "The remaining token is one of counter, gauge, histogram, summary, or untyped." The compatibility
# document of OpenTelemetry says that an info becomes a gauge.
_TYPES = {Kind.INFO: "gauge", Kind.UNKNOWN: "untyped"}


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
        match family.kind:
            case Kind.HISTOGRAM:
                bounds = self.options.native_bounds
                return samples.histogram(family.name, openmetrics=False, native_bounds=bounds)
            case Kind.SUMMARY:
                return samples.summary(family.name)
            case Kind.INFO:
                return samples.info(family.name)
            case _:
                return samples.single(family.name)

    def page(self, header: bytes, points: Sequence[bytes]) -> Iterable[bytes]:
        """The header, then the lines."""
        return (header, *points)
