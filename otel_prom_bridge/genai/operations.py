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
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from opentelemetry.context import Context, get_current

from otel_prom_bridge.genai.decorators import decorated, is_future, outcome
from otel_prom_bridge.genai.reports import guarded, report
from otel_prom_bridge.genai.streams import AsyncStream, Stream, wrapped
from otel_prom_bridge.genai.vocabulary import OTHER_ERROR

P = ParamSpec("P")
R = TypeVar("R")
Failure = BaseException | type[BaseException] | str | None

# What nobody waited for is no fault of the model: dashboards and alerts leave out what was cancelled.
DROPPED = "cancelled"

_dropped: deque[tuple[Operation, float, str | None]] = deque()
# The operations of decorated functions that are being run here, the innermost last.
_leading: ContextVar[tuple[Operation, ...]] = ContextVar("otel_prom_bridge.genai.leading", default=())


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


def failure_of(failure: Failure, status: str | None = None) -> str | None:
    """The same, or what a status says that is not "success": of "error" nothing is known but that.

    >>> failure_of(None, "success"), failure_of(None, "timeout"), failure_of(KeyError, "error")
    (None, 'timeout', 'KeyError')
    """
    if failure is not None or status in (None, "success"):
        return error_type(failure)
    return OTHER_ERROR if status == "error" else str(status)


class Operation:
    """Something that is recorded once, when it ends.

    ``with`` and ``async with`` run it; as a decorator, of functions and generators, sync or async, it runs a
    fresh one for each invocation; :meth:`start` and :meth:`end` are for code that has no block. One object
    is for one operation at a time; after its end it can be started again. No method raises, and exceptions
    of the application pass through as they are.
    """

    # What is set on it by a name that it does not have is an error, and not something that nobody records.
    __slots__ = (
        *("_began", "_context", "_decorates", "_ending", "_entered", "_given_context", "_noted", "_started"),
        *("_template", "__weakref__"),
    )

    def __init__(self, *, context: Context | None = None) -> None:
        self._given_context = context
        self._decorates = False
        self._template: Operation | None = None  # which one decorates the function that this one is for
        self._reset()

    def _reset(self) -> None:
        self._began = perf_counter()
        self._context: Context | None = None
        self._started = False
        self._entered = False
        self._noted: float | None = None  # when its stream ended, if it did so normally
        self._ending = threading.Lock()  # taken for ever by whoever ends it

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
            now = self._noted
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
        settle()  # it may have been left, and wait for its end
        if self._entered and self.running:
            message = "one %s is for one operation at a time: others inside or beside it are not recorded"
            report("one at a time", message, type(self).__name__)
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
            self._end_later(DROPPED)

    # What it is as the call of a stream, which ends it, or only says when it could have ended.

    def _chunk_passed(self, chunk: object) -> None:
        """A chunk has come."""

    def _stream_ended(self, error: BaseException | None) -> None:
        if not self._entered:
            self.end(error)
        else:
            # A block that handles the error of a stream goes on, and ends with something else.
            self._noted = perf_counter() if error is None else None

    def _stream_left(self, *, dropped: bool) -> None:
        if self._entered:
            self._noted = perf_counter()
        else:
            self._end_later(DROPPED if dropped else None)

    # As a decorator: what `decorators` asks for.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run a fresh operation around each invocation of the function."""
        self._decorates = True
        return decorated(self, function)

    def _fresh(self) -> Self:
        fresh = copy.copy(self)
        fresh._reset()
        fresh._template = self
        return fresh

    def _current(self) -> Self:
        """The one that runs here, if this one decorates the function that asks."""
        for operation in reversed(_leading.get()):
            if operation._template is self:
                return cast(Self, operation)
        return self

    @contextmanager
    def _lead(self) -> Iterator[None]:
        """Be the current one of what the block calls."""
        token = _leading.set((*_leading.get(), self))
        try:
            yield
        finally:
            with suppress(ValueError):  # a coroutine that was moved to another context
                _leading.reset(token)

    def _result(self, result: Any) -> None:
        """What a decorated function has returned."""

    def _goes_on(self, result: Any, *, is_async: bool) -> Any:
        """What to hand back for a result that is not over yet, and whose end is that of the operation.

        None is for one that is over. Where a stream is not all there is to a result, as with a file or a
        cursor, nobody may ever read it to its end: of streams only generators and ours go on.
        """
        if isinstance(result, (Generator, AsyncGenerator, Stream, AsyncStream)):
            return self._streamed(result, is_async=is_async)
        if is_future(result):
            self._entered = False
            result.add_done_callback(self._done)
            return result
        return None

    def _streamed(self, result: Any, *, is_async: bool) -> Stream[Any] | AsyncStream[Any]:
        stream = wrapped(result, self, prefer_async=is_async)
        self._entered = False
        return stream

    def _done(self, future: Any) -> None:
        error = outcome(future)
        if error is None:
            self._result(future.result())
        self.end(error)

    def _items(self, items: Iterator[R]) -> Iterator[R]:
        """What a decorated generator yields."""
        return items

    def _async_items(self, items: AsyncGenerator[R, Any]) -> AsyncIterator[R]:
        return items
