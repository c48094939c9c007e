"""Recording calls of language models. It needs the OpenTelemetry API alone, so any exporter shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.calls import AsyncSource, Call, Observe, Requests, SyncSource
from otel_prom_bridge.genai.emission import Emit, Usage
from otel_prom_bridge.genai.evaluations import record_evaluation
from otel_prom_bridge.genai.requests import LLMRequest
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.recording.measurements import Measurements, clean, mapping
from otel_prom_bridge.recording.operations import (
    OTHER_ERROR,
    Duration,
    Failure,
    failure_of,
    seconds,
    settle,
)
from otel_prom_bridge.recording.reports import guarded
from otel_prom_bridge.recording.streams import AsyncStream, Stream

T = TypeVar("T")


class LLMRecorder:
    """Records calls of language models.

    ``emit`` is the generation of the conventions: "current" for the names that producers and dashboards have
    today, or "latest" for the names that the conventions have now. ``prices`` is the table that costs are
    computed with: by default that of the bridge which shows what is recorded, and without one that of the
    package. With None no costs are recorded, and a bridge shows those of the tokens, as it does of anybody's.
    Without a ``meter_provider`` the global one is used.

    Raises :class:`~otel_prom_bridge.errors.ConfigurationError` for a wrong argument. After that no method
    raises: what cannot be recorded is logged once.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        emit: Emit = "current",
        prices: PriceTable | Literal["default"] | None = "default",
    ) -> None:
        self._measurements = Measurements(
            meter_provider, scope=conventions.SCOPE, schema_url=conventions.SCHEMA_URL
        )
        self._requests = Requests(
            self._measurements, emit, prices if prices == "default" else _checked(prices)
        )

    @property
    def prices(self) -> PriceTable | None:
        """The price table in use. Setting another one changes the costs from now on, not those before."""
        return self._requests.costs.table

    @prices.setter
    def prices(self, table: PriceTable | None) -> None:
        self._requests.costs.replace(_checked(table))

    def call(
        self,
        *,
        model: str | None,
        provider: str | None,
        operation: str = "chat",
        response_model: str | None = None,
        server_address: str | None = None,
        server_port: int | None = None,
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
        observe: Observe | None = None,
    ) -> Call:
        """A call, to be run with ``with`` or ``async with``, or to decorate the function that makes it.

        ``operation`` is a value of ``gen_ai.operation.name``. ``observe(call, value)`` is called with what a
        decorated function returns, and with each chunk of a stream. It is the place to read tokens from them.
        ``context`` is where exemplars take their span from; without it that is the current one at the start.
        """
        request = LLMRequest(
            model, provider, operation, response_model, server_address, server_port, mapping(attributes)
        )
        return Call(self._requests, request, context=context, observe=observe)

    @overload
    def stream(
        self, source: AsyncSource[T], *, model: str | None, provider: str | None, **options: Any
    ) -> AsyncStream[T]: ...

    @overload
    def stream(
        self, source: SyncSource[T], *, model: str | None, provider: str | None, **options: Any
    ) -> Stream[T]: ...

    def stream(
        self,
        source: SyncSource[T] | AsyncSource[T],
        *,
        model: str | None,
        provider: str | None,
        **options: Any,
    ) -> Stream[T] | AsyncStream[T]:
        """Pass a stream's chunks on, and record them as one call. The options are those of :meth:`call`.

        The call begins now and ends with the stream. ``source`` is a function that sends the request and
        gives the stream, so that the call contains both. See :meth:`Call.stream`.
        """
        call: Call = self.call(model=model, provider=provider, **options)
        return call.stream(source)

    def record_request(
        self,
        *,
        model: str | None,
        provider: str | None,
        duration: Duration,
        operation: str = "chat",
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        cost: float | None = None,
        error_type: Failure = None,
        status: str | None = None,
        finish_reason: str | Sequence[str] | None = None,
        time_to_first_chunk: Duration | None = None,
        response_model: str | None = None,
        server_address: str | None = None,
        server_port: int | None = None,
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record a request that has ended.

        ``duration`` is in seconds, or a timedelta. Tokens that are None were not reported, which is not 0.
        Tokens that were read from a cache or written to one are part of the input, and reasoning tokens are
        part of the output. ``cost`` is what it cost in USD, if the provider says so; otherwise that is
        computed with the table of prices. ``error_type`` is None if the request succeeded; an exception
        stands for its fully qualified name. If nothing is known but that it failed, say ``status="error"``.
        ``finish_reason`` says why the answer ended, or why each of several did. ``time_to_first_chunk`` is
        for the time per output token of what was streamed; :meth:`record_streaming_chunk` records it.
        """
        settle()
        with guarded("a request"):
            request = LLMRequest(
                model, provider, operation, response_model, server_address, server_port, attributes
            )
            usage = Usage(
                input_tokens, output_tokens, cached_tokens, reasoning_tokens, cache_write_tokens, cost
            )
            failed = failure_of(error_type, status)
            first = None if time_to_first_chunk is None else seconds(time_to_first_chunk)
            took = seconds(duration)
            self._requests.record(request, usage, took, failed, context, first=first, finished=finish_reason)

    def record_streaming_chunk(
        self,
        *,
        model: str | None,
        provider: str | None,
        duration: Duration | None = None,
        first: bool = False,
        operation: str = "chat",
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record a chunk of a streamed answer.

        ``duration`` is the time since the request for the ``first`` chunk, and the time since the chunk
        before for all others, in seconds or as a timedelta. Without it the chunk is only counted, in
        ``gen_ai.client.untimed_chunks``.
        """
        settle()
        with guarded("a chunk"):
            request = LLMRequest(model, provider, operation, attributes=attributes)
            if duration is None:
                self._requests.count(conventions.UNTIMED_CHUNKS, request, context)
            else:
                self._requests.chunk(request, seconds(duration), context, first=first)

    def record_error(
        self,
        *,
        model: str | None,
        provider: str | None,
        error_type: Failure,
        duration: Duration | None = None,
        operation: str = "chat",
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record an error of a request that is not recorded with :meth:`record_request`.

        With a ``duration`` in seconds it is recorded as a request that failed. Without one the error is only
        counted, in ``gen_ai.client.untimed_errors``. An exception stands for its fully qualified name.
        """
        settle()
        with guarded("an error"):
            request = LLMRequest(model, provider, operation, attributes=attributes)
            said = failure_of(error_type) or OTHER_ERROR
            if duration is None:
                self._requests.count(conventions.UNTIMED_ERRORS, request, context, error=said)
            else:
                self._requests.record(request, Usage(), seconds(duration), said, context)

    def record_retry(
        self,
        *,
        model: str | None,
        provider: str | None,
        reason: Failure = None,
        count: int = 1,
        operation: str = "chat",
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Count a request that is sent again because of an error, in ``gen_ai.client.retries``."""
        settle()
        with guarded("a retry"):
            request = LLMRequest(model, provider, operation, attributes=attributes)
            self._requests.retry(request, failure_of(reason), count, context)

    def record_rate_limits(self, headers: object, *, model: str | None, provider: str | None) -> None:
        """Take what the headers of an answer say of limits: ``x-ratelimit-*``, ``anthropic-ratelimit-*``.

        ``headers`` is a mapping, or pairs of names and values. See :meth:`Call.rate_limits`.
        """
        with guarded("rate limits"):
            self._requests.rate_limits(LLMRequest(model, provider), headers)

    def record_guardrail(
        self,
        name: str,
        result: str,
        *,
        model: str | None = None,
        provider: str | None = None,
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Count what a guardrail decided, in ``gen_ai.guardrail.results``.

        ``result`` is ``pass``, ``warn``, ``modify`` or ``block``, or ``error`` where it could not tell.
        """
        settle()
        with guarded("a guardrail"):
            labels = clean(
                attributes,
                {vocabulary.GUARDRAIL_NAME: name, vocabulary.GUARDRAIL_RESULT: result},
                {vocabulary.PROVIDER: provider, vocabulary.REQUEST_MODEL: model},
            )
            self._measurements.record(conventions.GUARDRAIL_RESULTS, 1, labels, context)

    def record_evaluation(
        self,
        name: str,
        score: float | None = None,
        *,
        label: str | None = None,
        error_type: Failure = None,
        model: str | None = None,
        provider: str | None = None,
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record what an evaluation came to, in ``gen_ai.evaluation.score`` and ``.results``.

        ``name`` is that of the evaluation, ``Relevance`` for example. ``score`` is a number that is none
        below zero, and ``label`` a word such as ``pass``. ``model`` is the one whose answer was evaluated.
        """
        settle()
        with guarded("an evaluation"):
            about = {**mapping(attributes), vocabulary.PROVIDER: provider, vocabulary.REQUEST_MODEL: model}
            record_evaluation(self._measurements, name, score, label, failure_of(error_type), about, context)


def _checked(table: PriceTable | None) -> PriceTable | None:
    if table is not None and not isinstance(table, PriceTable):
        raise ConfigurationError("prices", table, "a PriceTable or None")
    return table
