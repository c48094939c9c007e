"""Recording never raises into the application. What goes wrong is logged once instead.

It is logged by the logger ``otel_prom_bridge.recording``, at level WARNING.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from types import TracebackType

from otel_prom_bridge.diagnostics import Findings

logger = logging.getLogger("otel_prom_bridge.recording")

# An application has few mistakes of this kind, and makes each of them many times.
_findings = Findings(log=logger, most=100)


def report(what: Hashable, message: str, *arguments: object) -> None:
    """Log a warning the first time that ``what`` happens. Never raises."""
    _findings.report(what, message, *arguments)


def failed(what: str, error: Exception) -> None:
    """Log once that something failed, for whoever has no time for :class:`guarded`."""
    report((what, type(error)), "%s failed and is not recorded: %r", what, error)


class guarded:  # noqa: N801 - used like a function, as contextlib.suppress is
    """Log an exception of the block once, and do not let it reach the application."""

    # A class, because a generator would cost four times as much, several times per operation.
    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if exc_value is None or not isinstance(exc_value, Exception):
            return False
        failed(self._what, exc_value)
        return True
