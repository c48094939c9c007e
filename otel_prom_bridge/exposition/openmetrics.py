"""OpenMetrics 1.0.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

Its TYPE, UNIT and HELP lines carry a counter's name without ``_total`` and an info's without ``_info``,
counters and buckets have exemplars, and the body ends with ``# EOF``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text
from otel_prom_bridge.families import Kind, MetricFamily

TRAILER = "# EOF\n"


def header(family: MetricFamily) -> str:
    """The TYPE, UNIT and HELP lines, in the order that the specification recommends."""
    name = family.base_name
    lines = [f"# TYPE {name} {_type(family)}\n"]
    # "If non-empty, it MUST be a suffix of the MetricFamily name separated by an underscore"
    if family.unit and name.endswith(f"_{family.unit}"):
        lines.append(f"# UNIT {name} {family.unit}\n")
    if family.help:
        lines.append(f"# HELP {name} {help_text(family.help, openmetrics=True)}\n")
    return "".join(lines)


def renderer(family: MetricFamily) -> Callable[[Any, str], str]:
    """A function from a point of this family and its rendered labels to its lines."""
    match family.kind:
        case Kind.COUNTER if _is_total(family):
            return samples.counter(family.name)
        case Kind.HISTOGRAM:
            # "If the histogram has a negative threshold, the Sum MUST NOT be present", nor then the count.
            return samples.histogram(family.name, exemplars=True, sums_with_negative_bounds=False)
        case Kind.SUMMARY:
            return samples.summary(family.name)
        case Kind.INFO:
            return samples.info(family.name)
        case _:
            return samples.single(family.name)


def _type(family: MetricFamily) -> str:
    # "The MetricPoint's Total Value Sample MetricName MUST have the suffix _total": a counter that has
    # none cannot be called a counter here.
    return "unknown" if family.kind is Kind.COUNTER and not _is_total(family) else family.kind.value


def _is_total(family: MetricFamily) -> bool:
    return family.name.endswith("_total")
