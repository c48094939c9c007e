"""Operations as decorators, of functions and generators, sync or async.

A function may return before what it has begun is over: with a coroutine, a stream or a task. Then the
operation goes on, and ends together with that.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, aclosing, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, ParamSpec, Self, TypeVar, cast

from opentelemetry.context import Context

from otel_prom_bridge.recording.operations import Operation
from otel_prom_bridge.recording.reports import guarded
from otel_prom_bridge.recording.streams import AsyncStream, Stream, wrapped

P = ParamSpec("P")
R = TypeVar("R")

_FUTURE = ("add_done_callback", "cancelled", "exception", "result")
# The operations of the decorated functions that are being run here, the innermost last.
_leading: ContextVar[tuple[DecoratingOperation, ...]] = ContextVar(
    "otel_prom_bridge.recording.leading", default=()
)


class DecoratingOperation(Operation):
    """An operation that can also decorate a function: each invocation runs a fresh operation of its kind."""

    __slots__ = ("_decorates", "_template")

    def __init__(self, *, context: Context | None = None) -> None:
        self._decorates = False
        self._template: DecoratingOperation | None = None  # the one that decorates what this one runs for
        super().__init__(context=context)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run a fresh operation around each invocation of the function."""
        self._decorates = True
        return _decorated(self, function)

    def _fresh(self) -> Self:
        fresh = copy.copy(self)
        fresh._reset()
        fresh._template = self
        return fresh

    def _current(self) -> Self:
        """The operation that runs here, if this one decorates the function that asks; else this one."""
        for operation in reversed(_leading.get()):
            if operation._template is self:
                return cast(Self, operation)
        return self

    @contextmanager
    def _lead(self) -> Iterator[None]:
        """Be the current operation for everything that the block calls."""
        token = _leading.set((*_leading.get(), self))
        try:
            yield
        finally:
            with suppress(ValueError):  # the coroutine was moved to another context in the meantime
                _leading.reset(token)

    # What the kinds of operations make of a function's results.

    def _result(self, result: Any) -> None:
        """A decorated function has returned this, or its stream has given it."""

    def _goes_on(self, result: Any, *, is_async: bool) -> Any:
        """What to hand back for a result whose end is that of the operation; None if the result is all.

        Of streams only generators and our own go on. Where a stream is not all there is to a result, as with
        a file or a cursor, nobody may ever read it to its end.
        """
        if isinstance(result, (Generator, AsyncGenerator, Stream, AsyncStream)):
            return self._streamed(result, is_async=is_async)
        if _is_future(result):
            self._entered = False
            result.add_done_callback(self._done)
            return result
        return None

    def _items(self, items: Iterator[R]) -> Iterator[R]:
        """What a decorated generator yields."""
        return items

    def _async_items(self, items: AsyncGenerator[R, Any]) -> AsyncIterator[R]:
        return items

    def _streamed(self, result: Any, *, is_async: bool) -> Stream[Any] | AsyncStream[Any]:
        stream = self._wrapped(result, prefer_async=is_async)
        self._entered = False
        return stream

    def _wrapped(self, source: Any, *, prefer_async: bool) -> Stream[Any] | AsyncStream[Any]:
        return wrapped(source, self._chunk_passed, self._end_of_stream, prefer_async=prefer_async)

    def _chunk_passed(self, chunk: object) -> None:
        """A chunk of its stream has come."""

    def _done(self, future: Any) -> None:
        error = _outcome(future)
        if error is None:
            self._result(future.result())
        self.end(error)


def _decorated(template: DecoratingOperation, function: Callable[P, R]) -> Callable[P, R]:
    """The function with a fresh operation around each of its invocations.

    Raises TypeError for what is no function, here and not when it is called.
    """
    if isinstance(function, (classmethod, staticmethod)):  # our decorator stands above that one
        return cast(Callable[P, R], type(function)(_decorated(template, function.__func__)))
    if not callable(function):
        raise TypeError(f"{function!r} is no function that could be decorated")
    wrap: Callable[..., Callable[..., Any]] = _function
    if inspect.iscoroutinefunction(function):
        wrap = _coroutine
    elif inspect.isasyncgenfunction(function):
        wrap = _async_generator
    elif inspect.isgeneratorfunction(function):
        wrap = _generator
    return cast(Callable[P, R], functools.wraps(function)(wrap(template, function)))


def _is_future(result: object) -> bool:
    """Whether it is a future or a task, of asyncio, of threads or of another library."""
    return all(hasattr(type(result), method) for method in _FUTURE)


def _outcome(future: Any) -> BaseException | None:
    """The error of a future that is done."""
    try:
        if future.cancelled() or not hasattr(future, "_exception"):
            failure: BaseException | None = future.exception()  # raises if the future was cancelled
        else:
            # When exception() is called, asyncio counts the error as seen. It would no longer log an error
            # that nobody else looks at.
            failure = future._exception
    except BaseException as error:
        return error
    return failure


def _function(template: DecoratingOperation, function: Callable[P, R]) -> Callable[P, R]:
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            operation = stack.enter_context(template._fresh())
            with operation._lead():
                result = function(*args, **kwargs)
            if inspect.iscoroutine(result):
                # An asynchronous function that does not look like one, as the methods of openai's clients.
                stack.pop_all()
                return cast(R, _awaited(operation, lambda: result))
            return _handed_back(operation, result, stack, is_async=False)

    return run


def _coroutine(
    template: DecoratingOperation, function: Callable[P, Awaitable[R]]
) -> Callable[P, Awaitable[R]]:
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _awaited(template._fresh(), lambda: function(*args, **kwargs))

    return run


async def _awaited(operation: DecoratingOperation, make: Callable[[], Awaitable[R]]) -> R:
    with ExitStack() as stack:
        stack.enter_context(operation)
        with operation._lead():
            result = await make()
        return _handed_back(operation, result, stack, is_async=True)


def _handed_back(operation: DecoratingOperation, result: R, stack: ExitStack, *, is_async: bool) -> R:
    going_on = None
    with guarded("what a decorated function returns"):
        going_on = operation._goes_on(result, is_async=is_async)
    if going_on is None:
        operation._result(result)
        return result
    stack.pop_all()  # the operation does not end here
    return cast(R, going_on)


def _generator(
    template: DecoratingOperation, function: Callable[P, Generator[R, Any, Any]]
) -> Callable[P, Generator[R, Any, Any]]:
    def run(*args: P.args, **kwargs: P.kwargs) -> Generator[R, Any, Any]:
        with template._fresh() as operation:
            return (yield from operation._items(function(*args, **kwargs)))

    return run


def _async_generator(
    template: DecoratingOperation, function: Callable[P, AsyncGenerator[R, Any]]
) -> Callable[P, AsyncGenerator[R, Any]]:
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, Any]:
        with template._fresh() as operation:
            async with aclosing(function(*args, **kwargs)) as items:
                # This does what "yield from" would do, which does not exist in asynchronous generators.
                passed: Any = operation._async_items(items)
                step = anext(passed)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        step = passed.asend((yield item))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = passed.athrow(error)

    return run
