"""Warnings that are said once.

A scrape runs every few seconds for the life of the process, so whatever it finds wrong it finds again
and again. Each finding is logged the first time only: the host's log belongs to the host.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable

logger = logging.getLogger("otel_prom_bridge")

# Findings are about metrics and collectors, of which a process has hundreds. The bound only guards
# against names that are made up at run time; past it, findings stay silent.
MAX_FINDINGS = 1000


class Findings:
    """Logs each finding once, to the logger ``otel_prom_bridge``, at level WARNING."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def report(self, finding: Hashable, message: str, *args: object) -> None:
        """Log ``message % args`` unless ``finding`` was reported before. Never raises."""
        if finding in self._seen or len(self._seen) >= MAX_FINDINGS:
            return
        self._seen.add(finding)
        logger.warning(message, *args)
