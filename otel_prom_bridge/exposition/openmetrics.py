"""OpenMetrics 1.0.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

Its TYPE, UNIT and HELP lines carry a counter's name without ``_total`` and an info's without ``_info``,
counters and buckets have exemplars, and the body ends with ``# EOF``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text, label_set, metadata_name
from otel_prom_bridge.exposition.writer import DEFAULT_OPTIONS, Options
from otel_prom_bridge.families import Kind, Labels, MetricFamily


@dataclass(frozen=True, slots=True)
class OpenMetricsWriter:
    """Writes OpenMetrics text."""

    options: Options = DEFAULT_OPTIONS
    trailer: bytes = b"# EOF\n"

    def header(self, family: MetricFamily) -> bytes:
        """The TYPE, UNIT and HELP lines, in the order that the specification recommends."""
        base = family.base_name
        name = metadata_name(base)
        lines = [f"# TYPE {name} {_type(family)}\n"]
        # "If non-empty, it MUST be a suffix of the MetricFamily name separated by an underscore", and Info
        # has none.
        if family.unit and base.endswith(f"_{family.unit}") and family.kind is not Kind.INFO:
            lines.append(f"# UNIT {name} {family.unit}\n")
        if family.help:
            lines.append(f"# HELP {name} {help_text(family.help, openmetrics=True)}\n")
        return "".join(lines).encode()

    def labels(self, labels: Labels) -> str:
        """The labels without braces."""
        return label_set(labels)

    def renderer(self, family: MetricFamily) -> Callable[[Any, str], bytes]:
        """A function from a point of this family and its rendered labels to its lines."""
        options = self.options
        match family.kind:
            case Kind.COUNTER if _is_total(family):
                return samples.counter(family.name, created=options.created)
            case Kind.HISTOGRAM:
                return samples.histogram(
                    family.name,
                    openmetrics=True,
                    created=options.created,
                    native_bounds=options.native_bounds,
                )
            case Kind.SUMMARY:
                return samples.summary(family.name)
            case Kind.INFO:
                return samples.info(family.name)
            case _:
                return samples.single(family.name)

    def page(self, header: bytes, points: Sequence[bytes]) -> Iterable[bytes]:
        """The header, then the lines."""
        return (header, *points)


def _type(family: MetricFamily) -> str:
    # "The MetricPoint's Total Value Sample MetricName MUST have the suffix _total": a counter that has
    # none cannot be called a counter here.
    return "unknown" if family.kind is Kind.COUNTER and not _is_total(family) else family.kind.value


def _is_total(family: MetricFamily) -> bool:
    return family.name.endswith("_total")
