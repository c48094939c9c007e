"""The Prometheus text format, 0.0.4 and 1.0.0 (the same as long as every name is a legacy one).

https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md#text-based-format

It has no exemplars, no units and no ``info`` or ``unknown`` type, and its TYPE lines carry the full name
of a counter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text
from otel_prom_bridge.families import Kind, MetricFamily

TRAILER = ""

# "the remaining token is one of counter, gauge, histogram, summary, or untyped"; the compatibility document
# has info become a gauge.
_TYPES = {Kind.INFO: "gauge", Kind.UNKNOWN: "untyped"}


def header(family: MetricFamily) -> str:
    """The HELP and TYPE lines; no HELP without a text."""
    type_name = _TYPES.get(family.kind, family.kind.value)
    text = help_text(family.help, openmetrics=False)
    help_line = f"# HELP {family.name} {text}\n" if text else ""
    return f"{help_line}# TYPE {family.name} {type_name}\n"


def renderer(family: MetricFamily) -> Callable[[Any, str], str]:
    """A function from a point of this family and its rendered labels to its lines."""
    match family.kind:
        case Kind.HISTOGRAM:
            return samples.histogram(family.name, sums_with_negative_bounds=True, exemplars=False)
        case Kind.SUMMARY:
            return samples.summary(family.name)
        case Kind.INFO:
            return samples.info(family.name)
        case _:
            return samples.single(family.name)
