"""A tracker of calls of models, with what such trackers take elsewhere.

It is a call of :class:`~otel_prom_bridge.genai.LLMRecorder` and records what that records. New code should
use the recorder, whose calls have streams, chunks and prices, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.genai import Call, LLMRecorder
from otel_prom_bridge.genai.requests import LLMRequest
from otel_prom_bridge.recording.measurements import mapping
from otel_prom_bridge.recording.operations import OTHER_ERROR, Failure


@cache
def _recorder() -> LLMRecorder:
    return LLMRecorder()


class LLMCallTracker(Call):
    """A call of a model.

    >>> tracker = LLMCallTracker("openai", "gpt-4o").start()
    >>> tracker.success(input_tokens=120, output_tokens=30, cost=0.0006)
    """

    __slots__ = ()

    def __init__(
        self,
        provider: str | None,
        model: str | None,
        operation: str = "chat",
        *,
        attributes: Mapping[str, object] | None = None,
        meter_provider: MeterProvider | None = None,
        context: Context | None = None,
    ) -> None:
        recorder = _recorder() if meter_provider is None else LLMRecorder(meter_provider)
        request = LLMRequest(model, provider, operation, attributes=mapping(attributes))
        super().__init__(recorder._requests, request, context=context, observe=None)

    def success(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost: float | None = None,
    ) -> None:
        """The call has succeeded. Without a ``cost``, which is in USD, the recorder's prices are used."""
        self.tokens(input=input_tokens, output=output_tokens)
        if cost is not None:
            self.costs(cost)
        self._ends(None)

    def error(self, failure: Failure = None) -> None:
        """The call has failed. ``failure`` is an exception, its type, or a word for it."""
        self._ends(OTHER_ERROR if failure is None else failure)

    def _ends(self, failure: Failure) -> None:
        run = self._current()
        if run._can_end():
            run.end(failure)
