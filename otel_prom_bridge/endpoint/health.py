"""Is the process alive, and is there something to scrape?

``/health`` is for whoever restarts processes: it says that this one answers, and fails only with a check of
the application's own. ``/ready`` is for whoever sends traffic or alerts: red before the first successful
collection, and while collections fail or hang. Reasons are shown to those who have proved who they are, and
logged; anybody else learns the answer, not why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from otel_prom_bridge.coalescing import Coalesced
from otel_prom_bridge.diagnostics import logger

Check: TypeAlias = Callable[[], object]
"""Says what is wrong, as a string; True or None if nothing is, False if something is."""

# A check that takes longer is one that failed; whoever asks has a timeout, too.
_SECONDS = 1.0


class Collected(Protocol):
    """What readiness depends on."""

    @property
    def is_ready(self) -> bool:
        """There is something to serve."""
        ...

    @property
    def is_healthy(self) -> bool:
        """The last collection succeeded."""
        ...


class Health:
    """The answers, with the application's own checks: name → function."""

    def __init__(
        self,
        source: Collected,
        *,
        alive: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
    ) -> None:
        self._source = source
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._alive = [_Bounded(name, check) for name, check in (alive or {}).items()]
        self._ready = [_Bounded(name, check) for name, check in (ready or {}).items()]

    @property
    def is_plain(self) -> bool:
        """No check of the application's can hold up the answer whether it is alive."""
        return not self._alive

    def alive(self) -> tuple[bool, str]:
        """Whether all checks pass, and since when it is alive, or which do not."""
        return _answer(self._alive, [], f"alive since {self._since}")

    def ready(self) -> tuple[bool, str]:
        """Whether there is something to scrape and all checks pass, or what is wrong."""
        wrong: list[str] = []
        if not self._source.is_ready:
            wrong.append("no meter provider uses the metric reader, or it was shut down")
        elif not self._source.is_healthy:
            wrong.append("nothing was collected yet, or the last collection failed or has not ended")
        return _answer(self._ready, wrong, "ready")


def _answer(checks: list[_Bounded], wrong: list[str], right: str) -> tuple[bool, str]:
    wrong += [f"{check.name}: {complaint}" for check in checks if (complaint := check.complaint())]
    return not wrong, "; ".join(wrong) or right


class _Bounded:
    """A check that is waited for only so long, and of which no second one runs while the first does."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self._check = check
        self._complaint: str | None = None
        self._work = Coalesced(self._run, name="otel-prom-bridge-check")

    def complaint(self) -> str | None:
        """What is wrong, or None."""
        return self._complaint if self._work.wait(_SECONDS) else self._complaint or "it does not answer"

    def _run(self) -> bool:
        try:
            result = self._check()
        except BaseException as error:  # this thread is ours: not even SystemExit is meant for it
            logger.debug("the check %r failed: %r", self.name, error)
            self._complaint = f"it failed: {error!r}"
            return True
        passed = result is True or result is None
        self._complaint = None if passed else str(result) if isinstance(result, str) else "it says no"
        return True
