"""What the network does wrong, said seldom: at most one line of a kind a minute, and a count of the others.

The lines are written by a worker thread. The host's log handlers are the host's code: one that blocks, or
that scrapes us, must not stop the loop; and not more than two threads, however much there is to say.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from otel_prom_bridge.diagnostics import logger

_SILENCE_SECONDS = 60.0
MAX_WRITING = 2  # lines that are being written at the same time; what comes meanwhile is only counted


class Complaints:
    """Rate-limited warnings to the logger ``otel_prom_bridge``; for one thread."""

    def __init__(self, run: Callable[[Callable[[], None]], bool]) -> None:
        self._run = run
        self._until: dict[str, float] = {}
        self._kept_back: dict[str, int] = {}
        self._writing: set[object] = set()

    def warn(self, kind: str, message: str, *args: object) -> None:
        """Log a warning unless there was one of this kind within a minute. Never raises."""
        now = time.monotonic()
        others = self._kept_back.get(kind, 0)
        if others:
            message, args = f"{message} (and %d more times since the last such line)", (*args, others)
        if now >= self._until.get(kind, 0.0) and self._log(logging.WARNING, message, *args):
            self._until[kind] = now + _SILENCE_SECONDS
            self._kept_back.pop(kind, None)
        else:
            self._kept_back[kind] = others + 1

    def debug(self, message: str, *args: object) -> None:
        """Log what happens every day, if somebody wants to know. Never raises."""
        if logger.isEnabledFor(logging.DEBUG):
            self._log(logging.DEBUG, message, *args)

    def _log(self, level: int, message: str, *args: object) -> bool:
        if len(self._writing) >= MAX_WRITING:
            return False
        line = object()

        def log() -> None:
            with contextlib.suppress(Exception):
                logger.log(level, message, *args)
            self._writing.discard(line)

        self._writing.add(line)
        if self._run(log):
            return True
        self._writing.discard(line)
        return False
