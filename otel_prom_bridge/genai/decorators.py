"""Operations as decorators, of functions and generators, sync or async.

A function may return before what it has begun is over: with a coroutine, a stream, a task. Then the operation
goes on, and ends with that.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, aclosing
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, cast

from otel_prom_bridge.genai.reports import guarded

P = ParamSpec("P")
R = TypeVar("R")

_FUTURE = ("add_done_callback", "cancelled", "exception", "result")


class Running(Protocol):
    """An operation, as far as decorating goes."""

    def _fresh(self) -> Self: ...

    def _lead(self) -> AbstractContextManager[None]: ...

    def _result(self, result: Any) -> None: ...

    def _goes_on(self, result: Any, *, is_async: bool) -> Any: ...

    def _items(self, items: Iterator[Any]) -> Iterator[Any]: ...

    def _async_items(self, items: AsyncGenerator[Any, Any]) -> AsyncIterator[Any]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def decorated(template: Running, function: Callable[P, R]) -> Callable[P, R]:
    """The function with a fresh operation around each of its invocations.

    Raises TypeError for what is no function, instead of when it is called.
    """
    if isinstance(function, (classmethod, staticmethod)):  # the decorator stands above this one
        return cast(Callable[P, R], type(function)(decorated(template, function.__func__)))
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


def is_future(result: object) -> bool:
    """Whether it is a future or task, of asyncio, of threads or of somebody else."""
    return all(hasattr(type(result), method) for method in _FUTURE)


def outcome(future: Any) -> BaseException | None:
    """What a future that is done has failed with."""
    try:
        if future.cancelled() or not hasattr(future, "_exception"):
            failure: BaseException | None = future.exception()  # or raises that it was cancelled
        else:
            # If exception() is asked, asyncio takes it for seen, and does not log what nobody else looks at.
            failure = future._exception
    except BaseException as error:
        return error
    return failure


def _function(template: Running, function: Callable[P, R]) -> Callable[P, R]:
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with ExitStack() as stack:
            operation = stack.enter_context(template._fresh())
            with operation._lead():
                result = function(*args, **kwargs)
            if inspect.iscoroutine(result):
                # An asynchronous function that does not look like one, as methods of openai's clients.
                stack.pop_all()
                return cast(R, _awaited(operation, lambda: result))
            return _handed_back(operation, result, stack, is_async=False)

    return run


def _coroutine(template: Running, function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await _awaited(template._fresh(), lambda: function(*args, **kwargs))

    return run


async def _awaited(operation: Running, make: Callable[[], Awaitable[R]]) -> R:
    with ExitStack() as stack:
        stack.enter_context(operation)
        with operation._lead():
            result = await make()
        return _handed_back(operation, result, stack, is_async=True)


def _handed_back(operation: Running, result: R, stack: ExitStack, *, is_async: bool) -> R:
    going_on = None
    with guarded("what a decorated function returns"):
        going_on = operation._goes_on(result, is_async=is_async)
    if going_on is None:
        operation._result(result)
        return result
    stack.pop_all()  # it does not end here
    return cast(R, going_on)


def _generator(
    template: Running, function: Callable[P, Generator[R, Any, Any]]
) -> Callable[P, Generator[R, Any, Any]]:
    def run(*args: P.args, **kwargs: P.kwargs) -> Generator[R, Any, Any]:
        with template._fresh() as operation:
            return (yield from operation._items(function(*args, **kwargs)))

    return run


def _async_generator(
    template: Running, function: Callable[P, AsyncGenerator[R, Any]]
) -> Callable[P, AsyncGenerator[R, Any]]:
    async def run(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, Any]:
        with template._fresh() as operation:
            async with aclosing(function(*args, **kwargs)) as items:
                # As "yield from" would, which there is not.
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
