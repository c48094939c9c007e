"""A sampler that has all spans recorded, and exports no more of them than before."""

from __future__ import annotations

from typing import Any

from otel_prom_bridge.errors import ConfigurationError


def record_all(sampler: Any) -> Any:
    """A sampler that decides as ``sampler`` does, but has dropped spans recorded without being exported.

    A span that is not recorded has no attributes, so :class:`SpanMetrics` cannot count it. With
    ``TracerProvider(sampler=record_all(TraceIdRatioBased(0.1)))`` nine of ten calls have no trace, and all of
    them are counted. It needs OpenTelemetry's SDK. A span that is recorded costs the application what a
    sampled one costs, without the export.

    Raises :class:`~otel_prom_bridge.errors.ConfigurationError` if ``sampler`` is none.
    """
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class RecordAll(Sampler):
        def should_sample(
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: Any = None,
            attributes: Any = None,
            *others: Any,
            **options: Any,
        ) -> SamplingResult:
            result = sampler.should_sample(
                parent_context, trace_id, name, kind, attributes, *others, **options
            )
            if result.decision is not Decision.DROP:
                return result  # type: ignore[no-any-return]
            # A sampler that drops a span gives it no attributes.
            return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

        def get_description(self) -> str:
            return f"RecordAll{{{sampler.get_description()}}}"

    if not isinstance(sampler, Sampler):
        raise ConfigurationError("sampler", sampler, "a Sampler of OpenTelemetry's SDK")
    return RecordAll()
