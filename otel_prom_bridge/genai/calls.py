"""Calls of language models: an operation with its tokens and the chunks of its stream."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sized,
)
from enum import Enum
from time import perf_counter
from typing import Any, Literal, TypeAlias, TypeVar, overload

from opentelemetry.context import Context

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.cost import Costs
from otel_prom_bridge.genai.emission import Emission, Emit, Usage
from otel_prom_bridge.genai.rate_limits import RateLimits
from otel_prom_bridge.genai.requests import LabelSets, LLMRequest
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import Measurements, mapping
from otel_prom_bridge.recording.operations import OTHER_ERROR, Failure, error_type, settle
from otel_prom_bridge.recording.reports import guarded, report
from otel_prom_bridge.recording.streams import AsyncStream, How, Stream

T = TypeVar("T")
Observe = Callable[["Call", Any], object]
# A stream, or a function that sends the request and gives the stream. The function is the better choice.
SyncSource: TypeAlias = Iterable[T] | Callable[[], Iterable[T]]
AsyncSource: TypeAlias = (
    AsyncIterable[T]
    | Awaitable[AsyncIterable[T]]
    | Callable[[], AsyncIterable[T]]
    | Callable[[], Awaitable[AsyncIterable[T]]]
)


class Requests:
    """Records requests of one recorder: in their metrics, in costs, and in the number of those that go on.

    Raises ConfigurationError for a generation of the conventions that there is not.
    """

    def __init__(
        self,
        measurements: Measurements,
        emit: Emit,
        prices: PriceTable | Literal["default"] | None,
    ) -> None:
        self._measurements = measurements
        self.costs = Costs(measurements, prices)
        self._rate_limits = RateLimits(measurements)
        self._emission = Emission(measurements, emit)
        self._active = measurements.active(conventions.ACTIVE_REQUESTS)
        self._labels = LabelSets()

    def begin(self, request: LLMRequest) -> Begun:
        """One more request goes on; the result is for :meth:`end`."""
        # What cannot change while it runs.
        lasting = LLMRequest(request.model, request.provider, request.operation)
        return self._active.begin(self._labels.of(lasting).common)

    def end(self, begun: Begun | None) -> None:
        """One of those that went on does no more."""
        self._active.end(begun)

    def chunk(self, request: LLMRequest, took: float, context: Context | None, *, first: bool) -> None:
        """A chunk has come, ``took`` seconds after the request or after the chunk before."""
        self._emission.chunk(self._labels.of(request), took, context, first=first)

    def count(
        self,
        metric: Metric,
        request: LLMRequest,
        context: Context | None,
        *,
        count: int = 1,
        error: str | None = None,
    ) -> None:
        """Count something about a request, and the error that it was because of."""
        self._measurements.record(metric, count, self._labels.of(request).failed(error), context)

    def retry(self, request: LLMRequest, reason: str | None, count: int, context: Context | None) -> None:
        """Count requests that were sent again because of this error."""
        if count:
            self.count(conventions.RETRIES, request, context, count=count, error=reason or OTHER_ERROR)

    def rate_limits(self, request: LLMRequest, headers: object) -> None:
        """Take what the headers of an answer say of the provider's limits."""
        labels = {vocabulary.PROVIDER: request.provider, vocabulary.REQUEST_MODEL: request.model}
        self._rate_limits.take(headers, labels)

    def record(
        self,
        request: LLMRequest,
        usage: Usage,
        took: float,
        error: str | None,
        context: Context | None,
        *,
        first: float | None = None,
        finished: object = (),
    ) -> None:
        """Record a request that has ended after ``took`` seconds, and why the answers to it ended."""
        labels = self._labels.of(request)
        usage.check()
        unpaid = self.costs.leaves(request, usage)
        self._emission.request(labels, usage, took, error, context, first=first, unpaid=unpaid)
        if not unpaid:
            self.costs.add(labels, usage, error, context)
        reasons = (finished,) if isinstance(finished, str | Enum) else finished
        for reason in reasons if isinstance(reasons, Iterable) else ():
            self._measurements.record(conventions.CHOICES, 1, labels.answered(reason), context)
        if usage.input is not None and usage.cached is not None and usage.cached > usage.input:
            message = "%r: %r cached tokens are not among %r of input, which have to include them"
            report("cached tokens", message, request.model, usage.cached, usage.input)


class Call(DecoratingOperation):
    """One call of a model, made by :meth:`LLMRecorder.call`.

    ``response_model``, ``server_address``, ``server_port`` and ``attributes`` may be set until it ends.
    """

    __slots__ = (
        *("attributes", "response_model", "server_address", "server_port"),
        *("_asked", "_finished", "_first", "_going_on", "_last_chunk", "_observe"),
        *("_request", "_requests", "_usage"),
    )

    def __init__(
        self, requests: Requests, request: LLMRequest, *, context: Context | None, observe: Observe | None
    ) -> None:
        self._requests = requests
        self._request = request
        self._observe = observe
        super().__init__(context=context)

    def _reset(self) -> None:
        super()._reset()
        self.response_model = self._request.response_model
        self.server_address = self._request.server_address
        self.server_port = self._request.server_port
        self.attributes: dict[str, object] = mapping(self._request.attributes)
        self._usage = Usage()
        self._going_on: Begun | None = None
        self._asked: float | None = None  # when the request was sent, if that was not at the start
        self._last_chunk: float | None = None
        self._first: float | None = None  # the time to the first chunk of the only stream
        self._finished: tuple[object, ...] = ()

    def tokens(
        self,
        *,
        input: int | None = None,
        output: int | None = None,
        cached: int | None = None,
        reasoning: int | None = None,
        cache_write: int | None = None,
        **tokens: int | None,
    ) -> None:
        """Say how many tokens the call took so far. What is said last counts; None leaves what was said.

        ``cached`` and ``cache_write`` are subsets of ``input``, and ``reasoning`` is a subset of ``output``,
        so they must not be added up. The names of :meth:`LLMRecorder.record_request`, such as
        ``input_tokens``, can be used as well.
        """
        call = self._current()
        if call._started and not call.running:
            report("late tokens", "tokens of a call that has ended are not recorded")
        said = {"input": input, "output": output, "cached": cached}
        said |= {"reasoning": reasoning, "cache_write": cache_write}
        for name, count in tokens.items():
            kind = name.removesuffix("_tokens")
            if kind == name or kind not in said:
                raise TypeError(f"tokens() got an unexpected keyword argument {name!r}")
            said[kind] = said[kind] if count is None else count
        for kind, count in said.items():
            if count is not None:
                setattr(call._usage, kind, count)

    def costs(self, usd: float) -> None:
        """Say what the call cost, in USD, if its provider says so. Then no table of prices is asked."""
        self._current()._usage.cost = usd

    def finish_reasons(self, *reasons: str | None) -> None:
        """Say why the answer ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``, ….

        Of several answers (choices) each has a reason. What is said last counts, as streams say it with their
        last chunk. They are counted in ``gen_ai.client.generation.choices``.
        """
        call = self._current()
        call._finished = tuple(reason for reason in reasons if reason)

    def retry(self, reason: Failure = None, *, count: int = 1) -> None:
        """Say that the request is sent again, and because of which error.

        It is counted at once, in ``gen_ai.client.retries``. A client that says only afterwards how often it
        did, as OpenAI's (``response.retries_taken``), gives a ``count``.
        """
        call = self._current()
        with guarded("a retry"):
            call._requests.retry(call._described(), error_type(reason), count, call._context)

    def rate_limits(self, headers: object) -> None:
        """Say what the headers of the answer are, of which those count that say what is left of limits.

        They are shown as ``gen_ai.client.rate_limit.remaining`` and ``.limit``, by provider and model.
        """
        call = self._current()
        with guarded("rate limits"):
            call._requests.rate_limits(call._described(), headers)

    def chunk(self) -> None:
        """Say that a chunk of the answer has come now. :meth:`stream` does this for whole iterators."""
        now = perf_counter()
        if not self._started:
            self._begin(self._began)  # the clock has been running since the object was made
        if not self.running:
            return
        first = self._last_chunk is None
        asked = self._began if self._asked is None else self._asked
        since = asked if self._last_chunk is None else self._last_chunk
        self._last_chunk = now
        if first and self._first is None:
            self._first = max(now - self._began, 0.0)
        with guarded("a chunk"):
            self._requests.chunk(self._described(), max(now - since, 0.0), self._context, first=first)

    @overload
    def stream(self, source: AsyncSource[T]) -> AsyncStream[T]: ...

    @overload
    def stream(self, source: SyncSource[T]) -> Stream[T]: ...

    def stream(self, source: SyncSource[T] | AsyncSource[T]) -> Stream[T] | AsyncStream[T]:
        """Pass a stream's chunks on, and record them.

        ``source`` is a function without arguments that sends the request and gives the stream. With an
        asynchronous client it gives something that has to be awaited for the stream. The call begins, and the
        function is called at once. An exception of it is recorded and passed on. ``source`` may also be the
        stream itself. Then this call object has to be made before the request is sent, and a request that
        fails is not recorded.

        Inside a ``with`` block of the call, the end of the block ends the call, and its duration reaches up
        to the end of the stream. Without a block the end of the stream ends the call, whether the stream is
        exhausted, closed or dropped, or raises.
        """
        settle()
        if isinstance(source, (Iterable, AsyncIterable, Awaitable)) or not callable(source):
            stream = self._wrapped(source, prefer_async=True)  # raises for what is no stream
            if self._started and not self.running:
                self._reset()  # this call has ended, so the stream is that of another one
            if not self._started:
                self._begin(self._began)  # the clock has been running since the object was made
            self._next_stream()
            return stream
        self.start()
        self._next_stream()
        self._asked = perf_counter()
        try:
            return self._wrapped(source(), prefer_async=False)
        except BaseException as error:
            self._end_of_stream(error, "over")
            raise

    def _next_stream(self) -> None:
        # The time between two streams of one call is not a time between two chunks.
        self._noted = self._last_chunk = None

    def _chunk_passed(self, chunk: object) -> None:
        self.chunk()
        self._result(chunk)

    def _end_of_stream(self, error: BaseException | None, how: How) -> None:
        self._asked = perf_counter()  # a next stream of this call begins now at the earliest
        super()._end_of_stream(error, how)

    def _result(self, result: Any) -> None:
        if self._observe is None:
            return
        with guarded("what observe does"):
            waiting = self._observe(self, result)
            if inspect.isawaitable(waiting):
                report("observe", "observe must not be an async function: %r is not awaited", waiting)
            if inspect.iscoroutine(waiting):
                waiting.close()

    def _goes_on(self, result: Any, *, is_async: bool) -> Any:
        # Something with a length is data that can be iterated, not a stream. The mocks of tests are such
        # data.
        if isinstance(result, (Iterator, AsyncIterator)) and not isinstance(result, Sized):
            return self._streamed(result, is_async=is_async)
        return super()._goes_on(result, is_async=is_async)

    def _items(self, items: Iterator[T]) -> Iterator[T]:
        return self.stream(items)

    def _async_items(self, items: AsyncGenerator[T, Any]) -> AsyncIterator[T]:
        return self.stream(items)

    def _described(self) -> LLMRequest:
        asked, said = self._request, (self.response_model, self.server_address, self.server_port)
        return LLMRequest(asked.model, asked.provider, asked.operation, *said, self.attributes)

    def _on_start(self) -> None:
        self._going_on = self._requests.begin(self._request)

    def _on_end(self, took: float, error: str | None) -> None:
        self._requests.end(self._going_on)
        request, usage, first, finished = self._described(), self._usage, self._first, self._finished
        self._requests.record(request, usage, took, error, self._context, first=first, finished=finished)
