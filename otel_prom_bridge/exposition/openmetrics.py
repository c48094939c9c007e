"""OpenMetrics 1.0.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

Three things distinguish it from Prometheus text. Its TYPE, UNIT and HELP lines carry the name of a counter
without ``_total`` and that of an info without ``_info``. Counters and buckets have exemplars. The body ends
with ``# EOF``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_prom_bridge.exposition import samples
from otel_prom_bridge.exposition.escaping import help_text, metadata_name
from otel_prom_bridge.exposition.text import TextWriter
from otel_prom_bridge.families import Kind, MetricFamily, is_total

# "MetricFamilies of type Info MUST have an empty Unit string", and those of type StateSet likewise.
_WITHOUT_UNIT = (Kind.INFO, Kind.STATESET)


@dataclass(frozen=True, slots=True)
class OpenMetricsWriter(TextWriter):
    """Writes OpenMetrics 1.0: Prometheus text, except for what is said at the top of this file."""

    trailer: bytes = b"# EOF\n"

    def header(self, family: MetricFamily) -> bytes:
        """The TYPE, UNIT and HELP lines, in the order that the specification recommends."""
        base = family.base_name
        name = metadata_name(base)
        lines = [f"# TYPE {name} {_type(family)}\n"]
        # "If non-empty, it MUST be a suffix of the MetricFamily name separated by an underscore."
        if family.unit and base.endswith(f"_{family.unit}") and family.kind not in _WITHOUT_UNIT:
            lines.append(f"# UNIT {name} {family.unit}\n")
        if family.help:
            lines.append(f"# HELP {name} {help_text(family.help, openmetrics=True)}\n")
        return "".join(lines).encode()

    def renderer(self, family: MetricFamily) -> Callable[[Any, str], bytes]:
        """A function from a point of this family and its rendered labels to its lines."""
        name, when = family.name, samples.seconds
        created = self.options.created or family.shows_created
        match family.kind:
            case Kind.COUNTER if is_total(name):
                return samples.counter(name, created=created)
            case Kind.HISTOGRAM:
                totals = samples.count_and_sum(openmetrics=True, created=created)
                return self._buckets(name, totals)
            case Kind.GAUGE_HISTOGRAM:
                return self._buckets(name, samples.gauge_count_and_sum)
            case Kind.SUMMARY:
                return samples.summary(name, when=when, created=created)
            case Kind.INFO:
                return samples.info(name, when=when)
            case _:
                return samples.single(name, when=when)

    def _buckets(self, name: str, totals: samples.Totals) -> Callable[[Any, str], bytes]:
        bounds = self.options.native_bounds
        return samples.buckets(
            name, when=samples.seconds, totals=totals, exemplars=True, native_bounds=bounds
        )


def _type(family: MetricFamily) -> str:
    # "The MetricPoint's Total Value Sample MetricName MUST have the suffix _total": a counter that has
    # none cannot be called a counter here.
    return "unknown" if family.kind is Kind.COUNTER and not is_total(family.name) else family.kind.value
