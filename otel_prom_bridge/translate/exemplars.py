"""Translates an exemplar of OpenTelemetry into one of Prometheus.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/compatibility/prometheus_and_openmetrics.md#exemplar-conversion
"""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import EXEMPLAR_CHARACTERS, Exemplar
from otel_prom_bridge.points import SourceExemplar
from otel_prom_bridge.translate.labels import labels


def exemplar(source: SourceExemplar, attributes: Mapping[str, object], *, escape: bool = True) -> Exemplar:
    """Translate one exemplar, whose ``attributes`` are those that are not labels of its series.

    The ids of trace and span come first, if there are some. Then each attribute is added, in the order of the
    labels, that still fits into the 128 characters which OpenMetrics allows. An attribute that has the name
    of one of the two ids is left out.
    """
    result: dict[str, str] = {}
    if source.trace_id:
        result["trace_id"] = f"{source.trace_id:032x}"
    if source.span_id:
        result["span_id"] = f"{source.span_id:016x}"
    room = EXEMPLAR_CHARACTERS - sum(len(name) + len(value) for name, value in result.items())
    for name, value in labels(attributes.items(), escape=escape):
        size = len(name) + len(value)
        if name not in result and size <= room:
            result[name] = value
            room -= size
    # The division is one of integers, so it rounds only once: nanoseconds since the epoch do not fit into a
    # float.
    return Exemplar(tuple(result.items()), source.value, source.time_unix_nano / 1_000_000_000)
