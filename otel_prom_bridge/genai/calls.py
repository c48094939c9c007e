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
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeAlias, TypeVar, overload

from opentelemetry.context import Context

from otel_prom_bridge.genai import conventions
from otel_prom_bridge.genai.cost import Costs
from otel_prom_bridge.genai.emission import Emission, Emit, LLMRequest, Usage
from otel_prom_bridge.recording.active import Begun
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.measurements import Measurements
from otel_prom_bridge.recording.operations import settle
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

    def __init__(self, measurements: Measurements, emit: Emit) -> None:
        self.costs = Costs(measurements)
        self._emission = Emission(measurements, emit)
        self._active = measurements.active(conventions.ACTIVE_REQUESTS)

    def begin(self, request: LLMRequest) -> Begun:
        """One more request goes on; the result is for :meth:`end`."""
        return self._active.begin(request.identity())

    def end(self, begun: Begun | None) -> None:
        """One of those that went on does no more."""
        self._active.end(begun)

    def chunk(self, request: LLMRequest, took: float, context: Context | None, *, first: bool) -> None:
        """A chunk has come, ``took`` seconds after the request or after the chunk before."""
        self._emission.chunk(request, took, context, first=first)

    def record(
        self, request: LLMRequest, usage: Usage, took: float, error: str | None, context: Context | None
    ) -> None:
        """Record a request that has ended after ``took`` seconds."""
        self._emission.request(request, usage, took, error, context)
        self.costs.add(request, usage, error, context)
        if usage.input is not None and usage.cached is not None and usage.cached > usage.input:
            message = "%r: %r cached tokens are not among %r of input, which have to include them"
            report("cached tokens", message, request.model, usage.cached, usage.input)


class Call(DecoratingOperation):
    """One call of a model, made by :meth:`LLMRecorder.call`.

    ``response_model``, ``server_address``, ``server_port`` and ``attributes`` may be set until it ends.
    """

    __slots__ = (
        *("attributes", "response_model", "server_address", "server_port"),
        *("_asked", "_going_on", "_last_chunk", "_observe", "_request", "_requests", "_usage"),
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
        self.attributes: dict[str, object] = dict(self._request.attributes)
        self._usage = Usage()
        self._going_on: Begun | None = None
        self._asked: float | None = None  # when the request was sent, if that was not at the start
        self._last_chunk: float | None = None

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
        said = {
            **{"input": input, "output": output},
            **{"cached": cached, "reasoning": reasoning, "cache_write": cache_write},
        }
        for name, count in tokens.items():
            kind = name.removesuffix("_tokens")
            if kind == name or kind not in said:
                raise TypeError(f"tokens() got an unexpected keyword argument {name!r}")
            said[kind] = said[kind] if count is None else count
        call._usage = replace(call._usage, **{key: n for key, n in said.items() if n is not None})

    def costs(self, usd: float) -> None:
        """Say what the call cost, in USD, if its provider says so. Then no table of prices is asked."""
        call = self._current()
        call._usage = replace(call._usage, cost=usd)

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
        return replace(
            self._request,
            response_model=self.response_model,
            server_address=self.server_address,
            server_port=self.server_port,
            attributes=self.attributes,
        )

    def _on_start(self) -> None:
        self._going_on = self._requests.begin(self._request)

    def _on_end(self, took: float, error: str | None) -> None:
        self._requests.end(self._going_on)
        self._requests.record(self._described(), self._usage, took, error, self._context)
