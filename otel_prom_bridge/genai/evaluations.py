"""Results of evaluations: scores that a recorder is told, and the conventions' events.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-events.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.operations import ERROR_TYPE
from otel_prom_bridge.recording.reports import guarded, report

# What an event may say of the call that was evaluated, besides what it says of the evaluation.
_ABOUT = (vocabulary.PROVIDER, vocabulary.REQUEST_MODEL, vocabulary.RESPONSE_MODEL, vocabulary.AGENT_NAME)


def record_evaluation(
    measurements: Measurements,
    name: object,
    score: Any,
    label: object,
    error: str | None,
    about: Mapping[str, object],
    context: Context | None,
) -> None:
    """Record the result of one evaluation: its score, if it has one, and that there was a result."""
    labels = clean(about, {vocabulary.EVALUATION_NAME: name})
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        report(("score", str(name)), "the score of an evaluation %r is no number: %r", name, score)
        score = None
    measurements.record(conventions.EVALUATION_SCORE, score, labels, context)
    result = clean(labels, {vocabulary.EVALUATION_LABEL: label, ERROR_TYPE: error})
    measurements.record(conventions.EVALUATIONS, 1, result, context)


def record_event(measurements: Measurements, attributes: Mapping[str, Any], context: Context | None) -> None:
    """Record an event ``gen_ai.evaluation.result`` with these attributes."""
    record_evaluation(
        measurements,
        attributes.get(vocabulary.EVALUATION_NAME) or "unknown",
        attributes.get(vocabulary.EVALUATION_SCORE),
        attributes.get(vocabulary.EVALUATION_LABEL),
        attributes.get(ERROR_TYPE),
        {key: attributes[key] for key in _ABOUT if key in attributes},
        context,
    )


class EvaluationMetrics:
    """A log record processor that records the events ``gen_ai.evaluation.result`` as metrics.

    ``LoggerProvider.add_log_record_processor(EvaluationMetrics())`` adds it, beside any exporter. Such events
    of spans are recorded by :class:`SpanMetrics`. Nothing raises: what cannot be recorded is logged once.
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        self._measurements = Measurements(
            meter_provider, scope=conventions.SCOPE, schema_url=conventions.SCHEMA_URL
        )
        self._is_shut_down = False

    def on_emit(self, log_record: Any) -> None:
        """Record what a log record says, if it is such an event."""
        with guarded("an event"):
            record = getattr(log_record, "log_record", log_record)
            attributes = record.attributes or {}
            name = getattr(record, "event_name", None) or attributes.get("event.name")
            if name == vocabulary.EVALUATION_EVENT and not self._is_shut_down:
                record_event(self._measurements, attributes, getattr(record, "context", None))

    def shutdown(self) -> None:
        """Record nothing any more."""
        self._is_shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Everything is recorded already."""
        return True
