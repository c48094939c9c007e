"""The promise that recording never raises into the application: what goes wrong is logged, once.

The log is that of the logger ``otel_prom_bridge.genai``, at level WARNING.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Iterator

from otel_prom_bridge.diagnostics import Findings

logger = logging.getLogger("otel_prom_bridge.genai")

# What is wrong is wrong in a few places of the application, many times each.
_findings = Findings(log=logger, most=100)


def report(what: Hashable, message: str, *arguments: object) -> None:
    """Log a warning the first time that ``what`` happens. Never raises."""
    _findings.report(what, message, *arguments)


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Log, once, what this raises, instead of letting it reach the application."""
    try:
        yield
    except Exception as error:
        report((what, type(error)), "%s failed and is not recorded: %r", what, error)
