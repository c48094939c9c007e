"""Metrics from the spans of the process, and from its events of evaluations: the option ``span_metrics``.

Spans and events have providers of their own, which may be made before the bridge starts, or after.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.genai import EvaluationMetrics, SpanMetrics
from otel_prom_bridge.prices import PriceTable

if TYPE_CHECKING:
    from otel_prom_bridge.direct import DirectMeterProvider

Processor: TypeAlias = SpanMetrics | EvaluationMetrics

logger = logging.getLogger("otel_prom_bridge")

# A processor cannot be taken away from a provider. The one of a bridge before does nothing any more.
_added: WeakKeyDictionary[Any, Processor] = WeakKeyDictionary()
# Those whose provider is not there yet.
_waiting: list[Processor] = []


def measure_spans(provider: MeterProvider | DirectMeterProvider, prices: PriceTable | None) -> None:
    """Record metrics of the spans of the global tracer provider. If there is none yet, one is made.

    Spans are not exported by that. Who wants that sets a tracer provider before the bridge starts. The events
    of evaluations are those of the global logger provider, as soon as there is one.
    """
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        described: Any = getattr(provider, "_sdk_config", provider)  # ours has the resource itself
        trace.set_tracer_provider(TracerProvider(resource=described.resource))
    own = None if provider is metrics.get_meter_provider() else provider
    get_meter = metrics.get_meter if own is None else own.get_meter
    _add_later(
        get_meter("otel_prom_bridge.genai"),
        SpanMetrics(own, prices=prices, costs="shown"),
        EvaluationMetrics(own),
    )


def measure_spans_later(prices: PriceTable | None) -> None:
    """The same where somebody else makes the providers, in whatever order: at a collection at the latest."""
    processors = (SpanMetrics(prices=prices, costs="shown"), EvaluationMetrics())
    _add_later(metrics.get_meter("otel_prom_bridge.genai"), *processors)


def _add_later(meter: metrics.Meter, *processors: Processor) -> None:
    missing = [processor for processor in processors if not _add_if_possible(processor)]
    if missing:
        _waiting.extend(missing)
        meter.create_observable_gauge("otel_prom_bridge.genai.spans", callbacks=[_look_again])


def _look_again(_: CallbackOptions) -> Iterable[Observation]:
    _waiting[:] = [processor for processor in _waiting if not _add_if_possible(processor)]
    return ()


def _add_if_possible(processor: Processor) -> bool:
    """Add it to its provider; false if there is none yet."""
    if isinstance(processor, SpanMetrics):
        tracers: Any = trace.get_tracer_provider()
        if isinstance(tracers, trace.ProxyTracerProvider):
            return False
        _replace(tracers, processor)
        if hasattr(tracers, "add_span_processor"):
            tracers.add_span_processor(processor)
        else:
            name = type(tracers).__name__
            logger.warning(
                "span_metrics: a %s takes no span processor, so nothing is recorded of spans", name
            )
        return True
    loggers: Any = logs.get_logger_provider()
    if not hasattr(loggers, "add_log_record_processor"):
        return False
    _replace(loggers, processor)
    loggers.add_log_record_processor(processor)
    return True


def _replace(provider: Any, processor: Processor) -> None:
    before = _added.get(provider)
    if before is not None:
        before.shutdown()
    _added[provider] = processor
