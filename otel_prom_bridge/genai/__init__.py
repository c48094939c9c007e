"""Recorders for calls of language models and for agents, on the OpenTelemetry API alone.

They need no SDK and know nothing of the bridge, so they work with any exporter. While they record, nothing
that they do raises into the application. What measures spans is imported when it is used: it is made where an
application begins, and who only records needs none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.genai.agents import AgentRecorder, Execution, Timed
from otel_prom_bridge.genai.attributed import attributed
from otel_prom_bridge.genai.calls import Call
from otel_prom_bridge.genai.evaluations import EvaluationMetrics
from otel_prom_bridge.genai.llm import LLMRecorder
from otel_prom_bridge.genai.shorthands import Batch, Metrics, NamedBatch, timer
from otel_prom_bridge.lazy import names_of
from otel_prom_bridge.prices import Price, PriceTable
from otel_prom_bridge.recording.streams import AsyncStream, Stream

if TYPE_CHECKING:
    from otel_prom_bridge.genai.spans.processor import SpanMetrics
    from otel_prom_bridge.genai.spans.sampling import record_all

__all__ = [
    "LLMRecorder",
    "Call",
    "Stream",
    "AsyncStream",
    "AgentRecorder",
    "Execution",
    "Timed",
    "PriceTable",
    "Price",
    "SpanMetrics",
    "record_all",
    "attributed",
    "EvaluationMetrics",
    "timer",
    "Batch",
    "NamedBatch",
    "Metrics",
]

_HOMES = {
    "otel_prom_bridge.genai.spans.processor": ("SpanMetrics",),
    "otel_prom_bridge.genai.spans.sampling": ("record_all",),
}
if not TYPE_CHECKING:  # so that checkers refuse a name that is not there
    __getattr__ = names_of(__name__, _HOMES)
