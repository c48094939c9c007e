"""Which measurements become exemplars, and what is kept of them.

https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#exemplarfilter
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import time_ns
from typing import Literal, NamedTuple, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.environment_variables import OTEL_METRICS_EXEMPLAR_FILTER
from opentelemetry.trace import INVALID_SPAN, get_current_span

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import one_of

Filter: TypeAlias = Literal["trace_based", "always_on", "always_off"]
FILTER = one_of("trace_based", "always_on", "always_off")
DEFAULT_FILTER: Filter = "trace_based"


class Sampled(NamedTuple):
    """A measurement that stands for the others of its series.

    ``filtered_attributes`` are those with which it was recorded and its cell was not.
    """

    value: float
    time_unix_nano: int
    trace_id: int | None
    span_id: int | None
    filtered_attributes: Mapping[str, object] | None = None


def sampled(
    value: float, context: Context | None, *, always: bool, left_out: Mapping[str, object] | None
) -> Sampled | None:
    """The exemplar of a measurement in this context, if it is to be one: if its span is sampled."""
    span = get_current_span(context)
    if span is INVALID_SPAN:
        return Sampled(value, time_ns(), None, None, left_out) if always else None
    about = span.get_span_context()
    if not always and not about.trace_flags.sampled:
        return None
    # Made as the class makes it, but without a call of a Python function.
    return tuple.__new__(Sampled, (value, time_ns(), about.trace_id, about.span_id, left_out))


def filter_of_environment() -> Filter:
    """What the environment says. A wrong value is logged."""
    text = os.environ.get(OTEL_METRICS_EXEMPLAR_FILTER, "").strip().lower()
    if not text:
        return DEFAULT_FILTER
    try:
        found: Filter = FILTER.text(OTEL_METRICS_EXEMPLAR_FILTER, text)
    except ConfigurationError as error:
        logger.error("%s; using %s", error, DEFAULT_FILTER)
        return DEFAULT_FILTER
    return found
