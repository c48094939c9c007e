"""Which measurements become exemplars.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#exemplarfilter
"""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

from opentelemetry.sdk.environment_variables import OTEL_METRICS_EXEMPLAR_FILTER

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import one_of

ExemplarFilter: TypeAlias = Literal["trace_based", "always_on", "always_off"]
FILTER = one_of("trace_based", "always_on", "always_off")
DEFAULT_FILTER: ExemplarFilter = "trace_based"


def filter_of_environment() -> ExemplarFilter:
    """What the environment says. A wrong value is logged."""
    text = os.environ.get(OTEL_METRICS_EXEMPLAR_FILTER, "").strip().lower()
    if not text:
        return DEFAULT_FILTER
    try:
        found: ExemplarFilter = FILTER.text(OTEL_METRICS_EXEMPLAR_FILTER, text)
    except ConfigurationError as error:
        logger.error("%s; using %s", error, DEFAULT_FILTER)
        return DEFAULT_FILTER
    return found
