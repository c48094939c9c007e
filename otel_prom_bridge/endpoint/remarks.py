"""Log lines from places that must not wait.

The host's log handlers are the host's code. One that blocks must not hold up a server's loop, which asks for
certificates and tokens; so a line is written by a thread of its own. It is said again only when another
one was said in between, or after a minute: what a client can provoke must not fill the host's log.
"""

from __future__ import annotations

import contextlib
import threading
import time

from otel_prom_bridge.diagnostics import logger

_AGAIN = 60.0
_last: tuple[str, float] = ("", 0.0)


def remark(level: int, message: str, *args: object) -> None:
    """Log ``message % args`` to ``otel_prom_bridge``. Returns at once; never raises."""
    global _last
    text, now = message % args, time.monotonic()
    said, when = _last
    if text == said and now - when < _AGAIN:
        return
    _last = (text, now)
    # At the end of the interpreter there are no new threads, and nobody reads the log.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=_log, args=(level, text), name="otel-prom-bridge-log", daemon=True).start()


def _log(level: int, text: str) -> None:
    with contextlib.suppress(Exception):
        logger.log(level, "%s", text)
