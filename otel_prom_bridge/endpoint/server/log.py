"""What the endpoint says while it runs, of clients, of files and of itself. It says little and never waits.

What a client can provoke must not fill the host's log. Of each kind of line there is at most one in a minute,
or a few, and the next one says how many were kept back.

It must not hold up a server's loop either. Log handlers are the host's code: one may block, and one may
scrape us. So lines are written by another thread, of which there are a few at most. That is a worker of the
loop (:class:`RateLimitedLog`) or, where there is no loop, a thread that is made for the line
(:func:`log_without_waiting`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Thread

_SECONDS = 60.0
_MOST_KINDS = 100  # how many kinds of lines are remembered
# How many lines may be written at a time. When a handler hangs, lines are lost, and no more threads are.
MOST_WRITING = 2  # by workers, which have something else to do
_MOST_WRITING = 8

Job = Callable[[], None]


class _Kind:
    """How often a kind of line was said in this minute, and how many of it were not since the last one."""

    def __init__(self) -> None:
        self.until = 0.0
        self.said = 0
        self.kept_back = 0


class RateLimitedLog:
    """Lines for the logger ``otel_prom_bridge.endpoint``. Of each kind there are so many ``a_minute``.

    ``run`` runs a job in another thread, or returns False if it cannot. At most ``most_writing`` lines are
    written at a time.
    """

    def __init__(
        self, run: Callable[[Job], bool], *, a_minute: int = 1, most_writing: int = MOST_WRITING
    ) -> None:
        self._run = run
        self._a_minute = a_minute
        self._most_writing = most_writing
        self._kinds: dict[str, _Kind] = {}
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: no thread writes there."""
        self._writing: set[object] = set()

    def warn(self, kind: str, message: str, *args: object) -> None:
        """A line at level WARNING, now and then. It never raises."""
        self.log(logging.WARNING, kind, message, *args)

    def debug(self, message: str, *args: object) -> None:
        """A line on what happens every day, if somebody wants to know. It never raises."""
        if endpoint_logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, message, *args)

    def log(self, level: int, kind: str, message: str, *args: object) -> None:
        """A line at this level, now and then. It never raises."""
        now, found = time.monotonic(), self._found(kind)
        if now >= found.until:
            found.until, found.said = now + _SECONDS, 0
        if found.kept_back:
            message += " (and %d more times since the last such line)"
            args = (*args, found.kept_back)
        if found.said < self._a_minute and self._write(level, message, *args):
            found.said += 1
            found.kept_back = 0
        else:
            found.kept_back += 1

    def _found(self, kind: str) -> _Kind:
        found = self._kinds[kind] = self._kinds.pop(kind, _Kind())  # it comes last now
        with contextlib.suppress(RuntimeError, KeyError):  # another thread forgets the same one
            if len(self._kinds) > _MOST_KINDS:
                del self._kinds[next(iter(self._kinds))]
        return found

    def _write(self, level: int, message: str, *args: object) -> bool:
        writing = self._writing
        if len(writing) >= self._most_writing:
            return False
        line = object()

        def write() -> None:
            with contextlib.suppress(Exception):
                endpoint_logger.log(level, message, *args)
            writing.discard(line)

        writing.add(line)
        if self._run(write):
            return True
        writing.discard(line)
        return False


def _in_a_thread(job: Job) -> bool:
    try:
        Thread(job, name="otel-prom-bridge-log").start()
    except RuntimeError:  # at the end of the interpreter there are no new threads, and nobody reads the log
        return False
    return True


# Files go bad and are mended again, and the last line should say what is true.
_log = RateLimitedLog(_in_a_thread, a_minute=5, most_writing=_MOST_WRITING)


def log_without_waiting(level: int, message: str, *args: object) -> None:
    """Log ``message % args``, unless that was said a few times within a minute. It never raises."""
    _log.log(level, message % args, message, *args)
