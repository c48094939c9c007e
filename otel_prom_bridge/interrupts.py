"""What interrupts a thread in the middle of work that must not stay half done.

Almost everything that goes wrong is an ``Exception``, which is handled where it arises. Ctrl-C,
``sys.exit()`` in a signal handler, a timeout of gevent and a cancelled task are none: they come out of
whatever line the thread is at, and mean the thread and not the line. Where a batch of measurements is moved
from the SDK to us, that would lose the rest of the batch, since the SDK hands each delta over only once. So
there they are kept, and raised when the batch is safe.

Code of the application may also raise one of them by itself, for example a rule that calls ``sys.exit()``.
It is called once more to tell the two apart: what was interrupted succeeds then.

A time limit may be an ``Exception``, too: that of a task queue, which a signal handler or another thread
raises in the thread that works. Where what is recorded may raise any ``Exception``, as attributes of some
class may, it is told apart in the same way (:func:`raise_interrupt`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Container, Iterator
from types import CodeType, FrameType, TracebackType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class RaisedAgainError(Exception):
    """A function raised something that is no ``Exception``, and did so again: it is at fault itself."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


class _Here(threading.local):
    depth = 0  # of the `postponed` that this thread is in
    kept: BaseException | None = None


_here = _Here()


class postponed:  # noqa: N801 - reads as a verb: with postponed()
    """Within, :func:`keep` keeps what interrupts this thread. The first of it is raised at the end.

    In a thread of ``ours`` it is dropped at the end, because it cannot be meant for anybody.
    """

    def __init__(self, *, ours: bool = False) -> None:
        self._ours = ours

    def __enter__(self) -> None:
        _here.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.depth -= 1
        if _here.depth or _here.kept is None:
            return
        kept, _here.kept = _here.kept, None
        if error is None and not self._ours:
            raise kept


def keep(error: BaseException) -> None:
    """Have this raised when the work at hand is done, or now if there is none.

    It does nothing for an ``Exception``, which interrupts nobody.
    """
    if isinstance(error, Exception):
        return
    if not _here.depth:
        raise error
    if _here.kept is None:
        _here.kept = error


def sheltered(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call code of the application, out of which nothing comes but its result or an ``Exception``.

    Raises:
        RaisedAgainError: the function raised something else, twice.
    """
    try:
        return function(*args, **kwargs)
    except Exception:
        raise
    except BaseException as error:
        first = error
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        if isinstance(first, KeyboardInterrupt):  # somebody is there and wants the program to end
            keep(first)
        raise RaisedAgainError(first) from error
    keep(first)
    return result


def raise_interrupt(error: Exception, function: Callable[..., object], *args: object) -> None:
    """Raise this again if it was not the function that raised it, which is called once more to find out.

    A function that is at fault raises the same again. What Python itself has a class for interrupts nobody,
    also if it comes once: another thread may have changed a dictionary. Hosts raise two of these classes.
    """
    kind = type(error)
    if kind.__module__ == "builtins" and kind not in (Exception, TimeoutError):
        return
    try:
        function(*args)
    except Exception as again:
        if type(again) is kind:
            return
    raise error


def is_within(codes: Container[CodeType]) -> bool:
    """Whether some function above the caller is one of these, be it that a signal handler interrupted it.

    Each greenlet has frames of its own.
    """
    return any(frame.f_code in codes for frame in outwards(sys._getframe(2)))


def outermost(codes: Container[CodeType]) -> FrameType | None:
    """The outermost of the functions that :func:`is_within` looks for."""
    return next((frame for frame in [*outwards(sys._getframe(2))][::-1] if frame.f_code in codes), None)


def is_over(frame: FrameType) -> bool:
    """Whether the function has returned or raised. Then its variables are let go of."""
    try:
        frame.clear()
    except RuntimeError:
        return False
    return True


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """This frame, the one that called it or that it interrupts, and so on to the outermost one."""
    while frame is not None:
        yield frame
        frame = frame.f_back
