"""Recording never raises into the application. What goes wrong is logged once instead.

It is logged by the logger ``otel_prom_bridge.recording``, at level WARNING.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Iterator

from otel_prom_bridge.diagnostics import Findings

logger = logging.getLogger("otel_prom_bridge.recording")

# An application has few mistakes of this kind, and makes each of them many times.
_findings = Findings(log=logger, most=100)


def report(what: Hashable, message: str, *arguments: object) -> None:
    """Log a warning the first time that ``what`` happens. Never raises."""
    _findings.report(what, message, *arguments)


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Log an exception of the block once, and do not let it reach the application."""
    try:
        yield
    except Exception as error:
        report((what, type(error)), "%s failed and is not recorded: %r", what, error)
