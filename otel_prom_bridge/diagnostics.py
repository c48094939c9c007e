"""Warnings that are said once, and conflicts of names, which are also kept.

A scrape runs every few seconds for the life of the process, so whatever it finds wrong it finds again
and again. Each finding is logged the first time only: the host's log belongs to the host.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from otel_prom_bridge.interrupts import keep

logger = logging.getLogger("otel_prom_bridge")
# What happens while scrapes are answered, which clients and callbacks can provoke. Where the host configured
# no logging, it is not for the host's stderr: only what is wrong with how the bridge was set up is.
endpoint_logger = logging.getLogger("otel_prom_bridge.endpoint")
endpoint_logger.addHandler(logging.NullHandler())

# Findings are about metrics and collectors, of which a process has hundreds. The bound only guards
# against names that are made up at run time; past it, findings stay silent.
MAX_FINDINGS = 1000
_SAID_LENGTH = 1000


class Logged(NamedTuple):
    """What was logged, and when, in seconds since the epoch."""

    time: float
    text: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that is not shown, or not by itself, because of conflicting names.

    ``metric`` is the Prometheus name that is in conflict, ``dropped`` what is not shown under it, ``reason``
    why, and what is shown instead.
    """

    metric: str
    dropped: str
    reason: str

    def __str__(self) -> str:
        return f"metric {self.metric!r} does not show {self.dropped}; {self.reason}"


class Findings:
    """Logs each finding once, at level WARNING, and no more than ``most`` of them."""

    def __init__(self, *, log: logging.Logger = logger, most: int = MAX_FINDINGS) -> None:
        self._log = log
        self._most = most
        self._seen: set[Hashable] = set()
        self._conflicts: list[Conflict] = []
        self._said: list[Logged] = []

    @property
    def said(self) -> list[Logged]:
        """What was logged, in the order in which that happened."""
        return list(self._said)

    @property
    def conflicts(self) -> list[Conflict]:
        """The conflicts that were reported, in the order in which they were found."""
        return list(self._conflicts)

    def report(self, finding: Hashable, message: str, *args: object) -> None:
        """Log ``message % args`` unless ``finding`` was reported before. Never raises."""
        if self.is_new(finding):
            self._warn(message, *args)

    def conflict(self, conflict: Conflict) -> None:
        """Keep and log a conflict unless it was reported before. Never raises."""
        if self.is_new(conflict):
            self._conflicts.append(conflict)
            self._warn("%s", conflict)

    def is_new(self, finding: Hashable) -> bool:
        """Whether this was not asked before, for somebody else to say it."""
        if finding in self._seen or len(self._seen) >= self._most:
            return False
        self._seen.add(finding)
        return True

    def _warn(self, message: str, *args: object) -> None:
        # A handler or filter of the application may raise. That may cost a line in the log, and no data.
        try:
            self._log.warning(message, *args)
            self._said.append(Logged(time.time(), (message % args if args else message)[:_SAID_LENGTH]))
        except BaseException as error:
            keep(error)
