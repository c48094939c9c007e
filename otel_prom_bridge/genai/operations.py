"""Operations: things that take time, and that are recorded exactly once however they end.

An operation may be left normally, raise, be cancelled, be ended by hand, or never be ended at all. The last
is only noticed by the garbage collector, and that may run anywhere, also inside the OpenTelemetry SDK while
it holds one of its locks: to record from there would wait for that lock for ever. So an operation that was
dropped only joins a queue, with the time. The queue is worked off when the next operation starts or ends, and
before metrics are collected. The same goes for `GeneratorExit`, which is what a generator gets that was
dropped with an operation inside.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, aclosing, suppress
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from opentelemetry.context import Context, get_current

from otel_prom_bridge.genai.reports import guarded
from otel_prom_bridge.genai.vocabulary import OTHER_ERROR

P = ParamSpec("P")
R = TypeVar("R")
Failure = BaseException | type[BaseException] | str | None

_dropped: deque[tuple[Operation, float, str | None]] = deque()


def settle(_options: object = None) -> tuple[()]:
    """Record the operations that were dropped.

    It is a callback of an observable instrument, therefore the argument and the result: no observations.
    """
    while _dropped:
        try:
            operation, at, error = _dropped.popleft()
        except IndexError:  # another thread was faster
            break
        operation._finish(at, error)
    return ()


def error_type(failure: Failure) -> str | None:
    """What ``error.type`` says of a failure, as OpenTelemetry says it: an exception's fully qualified name.

    >>> error_type(TimeoutError()), error_type("rate_limit"), error_type(None)
    ('TimeoutError', 'rate_limit', None)
    """
    if failure is None:
        return None
    if isinstance(failure, str):
        return failure or OTHER_ERROR
    kind = failure if isinstance(failure, type) else type(failure)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", None) else f"{module}.{kind.__qualname__}"


class Operation:
    """Something that is recorded once, when it ends.

    ``with`` and ``async with`` run it; as a decorator, of functions and generators, sync or async, it runs a
    fresh one for each invocation; :meth:`start` and :meth:`end` are for code that has no block. One object
    is for one operation at a time; after its end it can be started again. No method raises, and exceptions
    of the application pass through as they are.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        self._given_context = context
        self._reset()

    def _reset(self) -> None:
        self._began = perf_counter()
        self._context: Context | None = None
        self._started = False
        self._entered = False
        self._noted: tuple[float, str | None] | None = None
        self._ending = threading.Lock()  # taken for ever by whoever ends it

    def _fresh(self) -> Self:
        fresh = copy.copy(self)
        fresh._reset()
        return fresh

    # What kinds of operations do.

    def _on_start(self) -> None:
        """It has begun."""

    def _on_end(self, seconds: float, error: str | None) -> None:
        """It has ended; called once per start."""

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._started and not self._ending.locked()

    def start(self) -> Self:
        """Begin now. Does nothing while it runs."""
        settle()
        if self.running:
            return self
        if self._started:
            self._reset()
        self._begin(perf_counter())
        return self

    def _begin(self, at: float) -> None:
        self._began = at
        self._context = get_current() if self._given_context is None else self._given_context
        self._started = True
        with guarded("the start of an operation"):
            self._on_start()

    def end(self, error: Failure = None) -> None:
        """End it now; an exception, an exception's type or a text says that it failed, and as what.

        Only the first call since the start does something, and the end of a ``with`` block is a call, too.
        """
        now = perf_counter()
        failed = error_type(error)
        if failed is None and self._noted is not None:
            now, failed = self._noted
        self._finish(now, failed)
        settle()

    def _finish(self, at: float, error: str | None) -> None:
        if self._started and self._ending.acquire(blocking=False):
            with guarded("the end of an operation"):
                self._on_end(max(at - self._began, 0.0), error)

    def _end_later(self, error: str | None) -> None:
        """End it now, from where nothing can be recorded."""
        if self.running:
            _dropped.append((self, perf_counter(), error))

    def __enter__(self) -> Self:
        self.start()
        self._entered = True
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc_value, GeneratorExit):
            self._end_later(error_type(exc_value))
        else:
            self.end(exc_value)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc_value, traceback)

    def __del__(self) -> None:
        # Here it is reached by nothing but the queue, which keeps it until it is recorded. At the end of the
        # interpreter the names used may be gone.
        with suppress(Exception):
            self._end_later(OTHER_ERROR)

    # As a decorator.

    def _result(self, result: Any) -> None:
        """What a decorated function has returned."""

    def _items(self, items: Iterator[R]) -> Iterator[R]:
        """What a decorated generator yields."""
        return items

    def _async_items(self, items: AsyncGenerator[R, None]) -> AsyncIterator[R]:
        return items

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run a fresh operation around each invocation of the function."""
        wrap: Callable[..., Callable[..., Any]] = self._around_function
        if inspect.iscoroutinefunction(function):
            wrap = self._around_coroutine
        elif inspect.isasyncgenfunction(function):
            wrap = self._around_async_generator
        elif inspect.isgeneratorfunction(function):
            wrap = self._around_generator
        return cast(Callable[P, R], functools.wraps(function)(wrap(function)))

    def _around_function(self, function: Callable[P, R]) -> Callable[P, R]:
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with ExitStack() as stack:
                operation = stack.enter_context(self._fresh())
                result = function(*args, **kwargs)
                if inspect.iscoroutine(result):
                    # An asynchronous function that does not look like one, as methods of openai's clients.
                    stack.pop_all()
                    return cast(R, operation._awaited(result))
                operation._result(result)
                return result

        return run

    async def _awaited(self, coroutine: Awaitable[R]) -> R:
        async with self:
            result = await coroutine
            self._result(result)
            return result

    def _around_coroutine(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self._fresh() as operation:
                result = await function(*args, **kwargs)
                operation._result(result)
                return result

        return run

    def _around_generator(
        self, function: Callable[P, Generator[R, Any, Any]]
    ) -> Callable[P, Generator[R, Any, Any]]:
        def run(*args: P.args, **kwargs: P.kwargs) -> Generator[R, Any, Any]:
            with self._fresh() as operation:
                return (yield from operation._items(function(*args, **kwargs)))

        return run

    def _around_async_generator(
        self, function: Callable[P, AsyncGenerator[R, None]]
    ) -> Callable[P, AsyncGenerator[R, None]]:
        async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
            async with self._fresh() as operation, aclosing(function(*args, **kwargs)) as items:
                async for item in operation._async_items(items):
                    yield item

        return run
