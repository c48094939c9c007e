"""Recording calls of language models, on the OpenTelemetry API alone: any exporter shows them."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import replace
from time import perf_counter
from typing import Any, Literal, TypeVar, overload

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import extensions, vocabulary
from otel_prom_bridge.genai.cost import Costs, PriceTable
from otel_prom_bridge.genai.emission import Emission, Emit, Request, Usage
from otel_prom_bridge.genai.instruments import Instruments, mapping
from otel_prom_bridge.genai.operations import Failure, Operation, error_type, settle
from otel_prom_bridge.genai.reports import guarded, report
from otel_prom_bridge.genai.streams import AsyncStream, Stream

T = TypeVar("T")
Observe = Callable[["Call", Any], object]


class Call(Operation):
    """One call of a model, made by :meth:`LLMRecorder.call`.

    ``response_model``, ``server_address``, ``server_port`` and ``attributes`` may be set until it ends.
    """

    def __init__(
        self, recorder: LLMRecorder, request: Request, *, context: Context | None, observe: Observe | None
    ) -> None:
        self._recorder = recorder
        self._request = request
        self._observe = observe
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self.response_model = self._request.response_model
        self.server_address = self._request.server_address
        self.server_port = self._request.server_port
        self.attributes: dict[str, object] = dict(self._request.attributes)
        self._usage = Usage()
        self._last_chunk: float | None = None

    def tokens(
        self,
        *,
        input: int | None = None,
        output: int | None = None,
        cached: int | None = None,
        reasoning: int | None = None,
    ) -> None:
        """Say how many tokens the call took so far; what is said last counts, None leaves what was said.

        ``cached`` ones are a subset of ``input``, ``reasoning`` ones of ``output``: never add them up.
        """
        if self._started and not self.running:
            report("late tokens", "tokens of a call that has ended are not recorded")
        said = {"input": input, "output": output, "cached": cached, "reasoning": reasoning}
        self._usage = replace(self._usage, **{key: n for key, n in said.items() if n is not None})

    def chunk(self) -> None:
        """A chunk of the answer has come now; :meth:`stream` does this for whole iterators."""
        now = perf_counter()
        if not self._started:
            self._begin(self._began)  # the clock runs since it was made
        if not self.running:
            return
        first = self._last_chunk is None
        since = self._began if self._last_chunk is None else self._last_chunk
        self._last_chunk = now
        with guarded("a chunk"):
            self._recorder._emission.chunk(
                self._described(), max(now - since, 0.0), self._context, first=first
            )

    @overload
    def stream(self, source: Iterable[T]) -> Stream[T]: ...

    @overload
    def stream(self, source: AsyncIterable[T]) -> AsyncStream[T]: ...

    def stream(self, source: Iterable[T] | AsyncIterable[T]) -> Stream[T] | AsyncStream[T]:
        """Pass a stream's chunks on, and record them.

        Inside a ``with`` block of the call, the block's end ends the call, with the duration up to the end of
        the stream; without one, the stream's end does: exhausted, closed, raising or dropped.
        """
        stream = AsyncStream(source, self) if isinstance(source, AsyncIterable) else Stream(source, self)
        settle()
        if self._started and not self.running:
            self._reset()  # of a call that has ended: this is another one
        self._noted = None
        if not self._started:
            self._begin(self._began)
        return stream

    def _chunk_passed(self, chunk: object) -> None:
        self.chunk()
        self._result(chunk)

    def _stream_ended(self, error: BaseException | None) -> None:
        if self._entered:
            self._noted = (perf_counter(), error_type(error))
        else:
            self.end(error)

    def _stream_left(self, *, dropped: bool) -> None:
        if self._entered:
            self._noted = (perf_counter(), None)
        else:
            self._end_later(vocabulary.OTHER_ERROR if dropped else None)

    def _result(self, result: Any) -> None:
        if self._observe is not None:
            with guarded("what observe does"):
                self._observe(self, result)

    def _items(self, items: Iterator[T]) -> Iterator[T]:
        return self.stream(items)

    def _async_items(self, items: AsyncGenerator[T, None]) -> AsyncIterator[T]:
        return self.stream(items)

    def _described(self) -> Request:
        return replace(
            self._request,
            response_model=self.response_model,
            server_address=self.server_address,
            server_port=self.server_port,
            attributes=self.attributes,
        )

    def _on_start(self) -> None:
        self._recorder._active(1, self._request, self._context)

    def _on_end(self, seconds: float, error: str | None) -> None:
        self._recorder._active(-1, self._request, self._context)
        self._recorder._ended(self._described(), self._usage, seconds, error, self._context)


class LLMRecorder:
    """Records calls of language models.

    ``emit`` is the generation of the conventions: "current" for the names that producers and dashboards have
    today, or "latest" for those that the conventions have now. ``prices`` is the table that costs are
    computed with; None is for no costs. ``meter_provider`` is the global one if it is None.

    Raises :class:`~otel_prom_bridge.errors.ConfigurationError` for a wrong ``emit`` or ``prices``; after that
    it never raises: what it cannot record it logs, once.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        emit: Emit = "current",
        prices: PriceTable | Literal["default"] | None = "default",
    ) -> None:
        self._instruments = Instruments(meter_provider)
        self._emission = Emission(self._instruments, emit)
        self._costs = Costs(self._instruments)
        self.prices = PriceTable.default() if prices == "default" else prices

    @property
    def prices(self) -> PriceTable | None:
        """The price table in use. Setting another one changes what is added from now on, not what was."""
        return self._costs.table

    @prices.setter
    def prices(self, table: PriceTable | None) -> None:
        if table is not None and not isinstance(table, PriceTable):
            raise ConfigurationError("prices", table, "a PriceTable or None")
        self._costs.replace(table)

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
        """A call, to be run with ``with`` or ``async with``, or to decorate a function that makes it.

        ``operation`` is a value of ``gen_ai.operation.name``. ``observe(call, value)`` is called with what a
        decorated function returns and with each chunk of a stream: the place to take tokens from.
        ``context`` is what exemplars take their span from, if not the current one at the start.
        """
        request = Request(
            model, provider, operation, response_model, server_address, server_port, mapping(attributes)
        )
        return Call(self, request, context=context, observe=observe)

    @overload
    def stream(
        self, source: Iterable[T], *, model: str | None, provider: str | None, **options: Any
    ) -> Stream[T]: ...

    @overload
    def stream(
        self, source: AsyncIterable[T], *, model: str | None, provider: str | None, **options: Any
    ) -> AsyncStream[T]: ...

    def stream(
        self,
        source: Iterable[T] | AsyncIterable[T],
        *,
        model: str | None,
        provider: str | None,
        **options: Any,
    ) -> Stream[T] | AsyncStream[T]:
        """Pass a stream's chunks on, and record them as one call; options are those of :meth:`call`.

        The call begins now and ends with the stream. If the request was sent before, make the call before:
        ``call = recorder.call(…)``, send, then ``call.stream(…)``.
        """
        call: Call = self.call(model=model, provider=provider, **options)
        return call.stream(source)

    def record_request(
        self,
        *,
        model: str | None,
        provider: str | None,
        duration: float,
        operation: str = "chat",
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        error_type: Failure = None,
        response_model: str | None = None,
        server_address: str | None = None,
        server_port: int | None = None,
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record a request that has ended.

        ``duration`` is in seconds. Tokens that are None were not reported, which is not 0. Cached tokens are
        a subset of the input's, reasoning tokens of the output's. ``error_type`` is None if it succeeded; an
        exception stands for its fully qualified name.
        """
        settle()
        with guarded("a request"):
            request = Request(
                model, provider, operation, response_model, server_address, server_port, mapping(attributes)
            )
            usage = Usage(input_tokens, output_tokens, cached_tokens, reasoning_tokens)
            self._ended(request, usage, duration, _failed(error_type), context)

    def record_streaming_chunk(
        self,
        *,
        model: str | None,
        provider: str | None,
        duration: float | None = None,
        first: bool = False,
        operation: str = "chat",
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record a chunk of a streamed answer.

        ``duration`` is the time in seconds since the request if it is the ``first``, else since the chunk
        before. Without one it is only counted, in ``gen_ai.client.untimed_chunks``.
        """
        settle()
        with guarded("a chunk"):
            request = Request(model, provider, operation, attributes=mapping(attributes))
            if duration is None:
                self._instruments.record(extensions.UNTIMED_CHUNKS, 1, request.common(), context)
            else:
                self._emission.chunk(request, duration, context, first=first)

    def record_error(
        self,
        *,
        model: str | None,
        provider: str | None,
        error_type: Failure,
        duration: float | None = None,
        operation: str = "chat",
        attributes: Mapping[str, object] | None = None,
        context: Context | None = None,
    ) -> None:
        """Record an error that :meth:`record_request` was not told.

        With a ``duration`` in seconds it is a request that failed. Without one it is only counted, in
        ``gen_ai.client.untimed_errors``. An exception stands for its fully qualified name.
        """
        settle()
        with guarded("an error"):
            request = Request(model, provider, operation, attributes=mapping(attributes))
            said = _failed(error_type) or vocabulary.OTHER_ERROR
            if duration is None:
                labels = {**request.common(), vocabulary.ERROR_TYPE: said}
                self._instruments.record(extensions.UNTIMED_ERRORS, 1, labels, context)
            else:
                self._ended(request, Usage(), duration, said, context)

    def _active(self, change: int, request: Request, context: Context | None) -> None:
        self._instruments.record(extensions.ACTIVE_REQUESTS, change, request.identity(), context)

    def _ended(
        self, request: Request, usage: Usage, seconds: float, error: str | None, context: Context | None
    ) -> None:
        self._emission.request(request, usage, seconds, error, context)
        self._costs.add(request, usage, error, context)


def _failed(failure: Failure) -> str | None:
    return error_type(failure)  # which methods have as the name of an argument
