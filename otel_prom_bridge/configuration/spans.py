"""Metrics from the spans of the process: the option ``span_metrics``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.genai import SpanMetrics
from otel_prom_bridge.prices import PriceTable

logger = logging.getLogger("otel_prom_bridge")

# A processor cannot be taken away from a provider. The one of a bridge before does nothing any more.
_added: WeakKeyDictionary[Any, SpanMetrics] = WeakKeyDictionary()


def measure_spans(provider: MeterProvider, prices: PriceTable | None) -> None:
    """Record metrics of the spans of the global tracer provider. If there is none yet, one is made.

    Spans are not exported by that. Who wants that sets a tracer provider before the bridge starts.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(TracerProvider(resource=provider._sdk_config.resource))
    is_global = provider is metrics.get_meter_provider()
    _add(SpanMetrics(None if is_global else provider, prices=prices, costs="shown"))


def measure_spans_later(prices: PriceTable | None) -> None:
    """The same where somebody else makes the providers, in whatever order: at a collection at the latest."""
    waiting = SpanMetrics(prices=prices, costs="shown")

    def look(_: CallbackOptions) -> Iterable[Observation]:
        if waiting not in _added.values():
            _add_if_possible(waiting)
        return ()

    if not _add_if_possible(waiting):
        meter = metrics.get_meter("otel_prom_bridge.genai")
        meter.create_observable_gauge("otel_prom_bridge.genai.spans", callbacks=[look])


def _add_if_possible(processor: SpanMetrics) -> bool:
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return False
    _add(processor)
    return True


def _add(processor: SpanMetrics) -> None:
    tracers: Any = trace.get_tracer_provider()
    before = _added.get(tracers)
    if before is not None:
        before.shutdown()
    _added[tracers] = processor
    if hasattr(tracers, "add_span_processor"):
        tracers.add_span_processor(processor)
        return
    name = type(tracers).__name__
    logger.warning("span_metrics: a %s takes no span processor, so nothing is recorded of spans", name)
