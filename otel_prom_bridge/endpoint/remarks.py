"""Log lines from places that must not wait.

The host's log handlers are the host's code. One that blocks must not hold up a server's loop, which asks for
certificates and tokens; so a line is written by a thread of its own, of which there are a few at most. It is
said again only when another one was said in between, or after a minute: what a client can provoke must not
fill the host's log.

``complaints.py`` is for the loop: it counts what it does not say, and has workers to write.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from otel_prom_bridge.diagnostics import logger

_AGAIN = 60.0
_MOST_WRITING = 8  # with a handler that hangs, later lines are lost, not threads
_last: tuple[str, float] = ("", 0.0)
_writing: set[object] = set()


def remark(level: int, message: str, *args: object) -> None:
    """Log ``message % args`` to ``otel_prom_bridge``. Returns at once; never raises."""
    global _last
    text, now = message % args, time.monotonic()
    said, when = _last
    if text == said and now - when < _AGAIN:
        return
    if len(_writing) >= _MOST_WRITING:
        return
    _last = (text, now)
    line = object()
    _writing.add(line)
    try:
        thread = threading.Thread(
            target=_log, args=(line, level, text), name="otel-prom-bridge-log", daemon=True
        )
        thread.start()
    except RuntimeError:  # at the end of the interpreter there are no new threads, and nobody reads the log
        _writing.discard(line)


def _log(line: object, level: int, text: str) -> None:
    with contextlib.suppress(Exception):
        logger.log(level, "%s", text)
    _writing.discard(line)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_writing.clear)
