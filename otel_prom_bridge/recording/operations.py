"""Operations: things that take time, and that are recorded exactly once however they end.

An operation may be left normally, raise, be cancelled, be ended by hand, or never be ended at all. Only the
garbage collector notices the last of these. It may run anywhere, also inside the OpenTelemetry SDK while that
holds one of its locks, and recording from there would wait for that lock for ever. So an operation that was
dropped only joins a queue, together with the time. The queue is worked off when the next operation starts or
ends, and before metrics are collected. The same is done for `GeneratorExit`, which is what a generator gets
when it was dropped with an operation inside.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import timedelta
from time import perf_counter
from types import TracebackType
from typing import Self, TypeAlias

from opentelemetry.context import Context, get_current

from otel_prom_bridge.recording.reports import failed, report
from otel_prom_bridge.recording.streams import How

Failure: TypeAlias = BaseException | type[BaseException] | str | None
Duration: TypeAlias = float | timedelta

# The attribute that says how something failed, and two of its values. The conventions say of the first: "A
# fallback error value to be used when the instrumentation doesn't define a custom value."
ERROR_TYPE = "error.type"
OTHER_ERROR = "_OTHER"
# Nobody waited for the end. That is no fault of what was called, and dashboards and alerts leave it out.
CANCELLED = "cancelled"

_dropped: deque[tuple[Operation, float, str | None]] = deque()


def settle(_options: object = None) -> tuple[()]:
    """Record the operations that were dropped.

    It has an argument and a result because it is also a callback of an observable instrument. It gives no
    observations.
    """
    while _dropped:
        try:
            operation, at, error = _dropped.popleft()
        except IndexError:  # another thread was faster
            break
        operation._finish(at, error)
    return ()


def seconds(duration: Duration) -> float:
    """How many seconds a duration is that an application has measured.

    >>> seconds(1.5), seconds(timedelta(milliseconds=250))
    (1.5, 0.25)
    """
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def error_type(failure: Failure) -> str | None:
    """What ``error.type`` says of a failure. For an exception that is its fully qualified name.

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


def is_cancelled(error: str) -> bool:
    """Whether this ``error.type`` says that nobody waited for the end any more."""
    return error == CANCELLED or error.rpartition(".")[2] in ("CancelledError", "GeneratorExit")


def failure_of(failure: Failure, status: str | None = None) -> str | None:
    """The same, or else what a status says that is not "success".

    >>> failure_of(None, "success"), failure_of(None, "timeout"), failure_of(KeyError, "error")
    (None, 'timeout', 'KeyError')

    The status "error" says no more than that it failed, which is ``_OTHER``.
    """
    if failure is not None or status in (None, "success"):
        return error_type(failure)
    return OTHER_ERROR if status == "error" else str(status)


class Operation:
    """Something that begins, and that is recorded once when it ends.

    ``with`` and ``async with`` run it; :meth:`start` and :meth:`end` are for code that has no block. One
    object is for one operation at a time, and can be started again after its end. No method raises, and
    exceptions of the application pass through as they are.
    """

    # With slots, setting an attribute under a wrong name is an error, and not something that nobody records.
    __slots__ = (
        *("_began", "_context", "_ending", "_entered", "_given_context", "_noted", "_started"),
        "__weakref__",
    )

    def __init__(self, *, context: Context | None = None) -> None:
        self._given_context = context
        self._reset()

    def _reset(self) -> None:
        self._began = perf_counter()
        self._context: Context | None = None
        self._started = False
        self._entered = False
        self._noted: float | None = None  # the time at which its stream ended, if it ended normally
        self._ending = threading.Lock()  # whoever ends the operation takes it and never gives it back

    # What the kinds of operations do in these two is what is recorded.

    def _on_start(self) -> None:
        """The operation has begun."""

    def _on_end(self, took: float, error: str | None) -> None:
        """The operation has ended after ``took`` seconds. Called once per start."""

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._started and not self._ending.locked()

    def start(self) -> Self:
        """Begin now. Does nothing while it runs."""
        if _dropped:
            settle()
        if self._started:
            if not self._ending.locked():
                return self
            self._reset()
        self._begin(perf_counter())
        return self

    def _begin(self, at: float) -> None:
        self._began = at
        self._context = get_current() if self._given_context is None else self._given_context
        self._started = True
        try:
            self._on_start()
        except Exception as error:
            failed("the start of an operation", error)

    def end(self, error: Failure = None) -> None:
        """End it now. An exception, an exception's type or a text says that it failed, and as what.

        Only the first call since the start does something. The end of a ``with`` block is such a call, too.
        """
        now = perf_counter()
        kind = None if error is None else error_type(error)
        if kind is None and self._noted is not None:
            now = self._noted
        self._finish(now, kind)
        if _dropped:
            settle()

    def _finish(self, at: float, error: str | None) -> None:
        if self._started and self._ending.acquire(blocking=False):
            try:
                self._on_end(max(at - self._began, 0.0), error)
            except Exception as failure:
                failed("the end of an operation", failure)

    def _can_end(self) -> bool:
        """Whether it goes on, for those who say how it ends. What is wrong otherwise is logged.

        What ends without a start began when the object was made, so that it is not lost.
        """
        kind = type(self).__name__
        if not self._started:
            report(("not started", kind), "a %s ends that was not started", kind)
            self._begin(self._began)
        if not self.running:
            report(("ended", kind), "a %s ends a second time: that is not recorded", kind)
        return self.running

    def _end_later(self, error: str | None) -> None:
        """End it with the time of now, from where nothing can be recorded."""
        if self.running:
            _dropped.append((self, perf_counter(), error))

    def _end_of_stream(self, error: BaseException | None, how: How) -> None:
        """Its stream has ended. That ends the operation, unless it is in a block, which will end it.

        A block that handles the error of its stream goes on and ends with something else. So of a stream in a
        block only the time is noted, and only if there was no error.
        """
        if self._entered:
            self._noted = perf_counter() if error is None else None
        elif how == "over":
            self.end(error)
        else:
            self._end_later(CANCELLED if how == "dropped" else None)

    def __enter__(self) -> Self:
        settle()  # this very object may have been left in a generator, and wait for its end
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
        # From here on only the queue keeps the object, until it is recorded. At the end of the interpreter
        # the names that are used here may be gone.
        try:
            if self._started:
                self._end_later(CANCELLED)
        except Exception:
            pass
