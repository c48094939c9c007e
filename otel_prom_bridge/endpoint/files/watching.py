"""What a file says, read again when the file changes.

Whoever asks gets the last value that was good. A file that cannot be read, or that makes no sense, is usually
one that somebody is about to replace. It is logged once, changes nothing else, and is tried again every
second.

Files are looked at in a thread of their own, and nobody waits for that thread for long. Whoever asks may be
the loop of a server, and a file may be a pipe, or lie on a disk that does not answer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.endpoint.server.log import log_without_waiting
from otel_prom_bridge.once import Coalesced

T = TypeVar("T")

INTERVAL = 1.0
# Reading takes a millisecond. Once it has taken longer than this, nobody waits for it any more.
_PATIENCE = 0.5

_Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Watched(Generic[T]):
    """The value that ``load`` makes of files. It is loaded at once, and the caller gets what that raises.

    ``load`` must raise only errors whose text may be logged. Files are looked at once in ``interval`` seconds
    at most. Links are followed, so that the atomic swap of a mounted secret is seen. It may be used from any
    thread: while one waits for the files, the others get the value of before. ``doubt`` says what the log
    should warn of in a value that was read again and is in use.
    """

    def __init__(
        self,
        paths: Iterable[str],
        load: Callable[[], T],
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = monotonic,
        doubt: Callable[[T], str | None] = lambda _: None,
    ) -> None:
        self._doubt = doubt
        self._paths = tuple(paths)
        self._load = load
        self._interval = interval
        self._clock = clock
        self._renewal = Coalesced(self._renew, name="otel-prom-bridge-files")
        # The stamp is taken before the content, so that a change in between is seen the next time.
        self._stamp = self._look()
        self._value = load()
        self._looked = clock()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the value is older than the files are, or None."""
        return self._problem

    def get(self) -> T:
        """The value of the last good state of the files. It never raises."""
        if self._paths and self._clock() - self._looked >= self._interval:
            self._looked = self._clock()
            if not self._renewal.wait(0 if self._renewal.is_late else _PATIENCE):
                self._complain(f"{', '.join(self._paths)}: nothing can be read there, it does not answer")
        return self._value

    def _renew(self) -> bool:
        stamp = self._look()
        if stamp == self._stamp and self._problem is None:
            return True
        self._stamp = stamp
        try:
            self._value = self._load()
        except Exception as error:
            self._complain(str(error))
        else:
            self._problem = None
            doubt = self._doubt(self._value)
            level = logging.WARNING if doubt else logging.INFO
            log_without_waiting(level, "%s: read again, %s", ", ".join(self._paths), doubt or "in use")
        return True

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log_without_waiting(logging.WARNING, "%s; what was read before stays in use", problem)

    def _look(self) -> _Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_dev
