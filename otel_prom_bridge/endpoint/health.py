"""Is the process alive, and is there something to scrape?

``/health`` is for whoever restarts processes. It says that this one answers, and it fails only when a check
of the application's own fails.

``/ready`` is for whoever sends traffic or alerts. It is red while collections fail or hang. Before the first
collection it makes one, since it may be asked before any scraper comes, and a red answer may be the reason
why none comes.

Reasons are logged, and they are shown to those who have proved who they are. Anybody else learns the answer
and not why.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.served import Served, checked_source
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.values.checks import BOOLEAN, Check

HealthCheck: TypeAlias = Callable[[], object]
"""Says what is wrong, as a string; True or None if nothing is, False if something is."""

# A check that takes longer has failed, because whoever asks has a timeout, too.
_SECONDS = 1.0
# This is less than the time after which a collection counts as one that hangs. If it were more, asking for
# readiness could keep scrapes from waiting for a slow collection.
_COLLECT_SECONDS = 0.9
# As long as nothing was collected, /ready tries again, but only once in so many seconds.
_AGAIN = 10.0
# No metric has this name, so nothing is written. Only the collection is wanted.
_NO_NAMES = ("/ready",)


class Health:
    """The answers of ``/health`` and ``/ready``, with checks of the application's own.

    ``alive`` and ``ready`` are mappings from the name of a check to its function. A check takes no arguments
    and is not async. It runs in a thread and has failed when it takes more than a second.

    Raises:
        ConfigurationError: checks are something else.
    """

    def __init__(
        self,
        source: Served,
        *,
        alive: Mapping[str, HealthCheck] | None = None,
        ready: Mapping[str, HealthCheck] | None = None,
    ) -> None:
        self._source = checked_source(source)
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._alive = _checks("alive", alive)
        self._ready = _checks("ready", ready)
        self._first = _Bounded("the first collection", self._collect)
        self._collect_at = -math.inf

    @property
    def is_plain(self) -> bool:
        """No check of the application's can hold up the answer whether it is alive."""
        return not self._alive

    def alive(self) -> tuple[bool, str]:
        """Whether all checks pass; and since when the process is alive, or which checks do not pass."""
        return _answer(self._alive, [], f"alive since {self._since}")

    def ready(self) -> tuple[bool, str]:
        """Whether there is something to scrape and all checks pass; and what is wrong, if anything is."""
        wrong: list[str] = []
        if not self._source.is_ready:
            wrong.append("no meter provider uses the metric reader, or it was shut down")
        elif not self._has_collected():
            wrong.append("nothing was collected yet, or the last collection failed or has not ended")
        return _answer(self._ready, wrong, "ready")

    def _has_collected(self) -> bool:
        if self._source.is_healthy:
            self._collect_at = math.inf  # from now on, scrapes decide
        elif time.monotonic() >= self._collect_at:
            self._first.complaint()
        return self._source.is_healthy

    def _collect(self) -> None:
        try:
            self._source.expose(names=_NO_NAMES, timeout=_COLLECT_SECONDS)
        finally:
            self._collect_at = max(self._collect_at, time.monotonic() + _AGAIN)


def _checks(key: str, checks: object) -> list[_Bounded]:
    if checks is None:
        return []
    if not isinstance(checks, Mapping):
        raise ConfigurationError(key, checks, "names of checks with their functions, like {'queue': check}")
    for name, check in checks.items():
        if not isinstance(name, str):
            raise ConfigurationError(key, name, "text as the name of a check")
        if not _is_check(check):
            expected = "a function that takes no arguments and is not async; it is called in a thread"
            raise ConfigurationError(f"{key}[{name!r}]", check, expected)
    return [_Bounded(name, check) for name, check in checks.items()]


def _is_check(check: object) -> bool:
    if not callable(check) or inspect.iscoroutinefunction(check):
        return False
    if inspect.iscoroutinefunction(getattr(check, "__call__", None)):  # noqa: B004
        return False
    try:
        inspect.signature(check).bind()
    except TypeError:  # it needs arguments
        return False
    except ValueError:  # nobody can tell, as of some that are written in C
        pass
    return True


def _answer(checks: list[_Bounded], wrong: list[str], right: str) -> tuple[bool, str]:
    wrong += [f"{check.name}: {complaint}" for check in checks if (complaint := check.complaint())]
    return not wrong, "; ".join(wrong) or right


class _Bounded:
    """A check that is waited for only so long, and of which no second one runs while the first does."""

    def __init__(self, name: str, check: HealthCheck) -> None:
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
            endpoint_logger.debug("the check %r failed: %r", self.name, error)
            self._complaint = f"it failed: {error!r}"
            return True
        if inspect.iscoroutine(result):
            result.close()  # it would warn that it was never awaited
            result = "it gave a coroutine; a check must not be async"
        passed = result is True or result is None
        self._complaint = None if passed else str(result) if isinstance(result, str) else "it says no"
        return True


def _health(value: object) -> Health | bool:
    if isinstance(value, Health):
        return value
    found: bool = BOOLEAN.check(value)
    return found


HEALTH = Check(allowed="true or false", check=_health, read=BOOLEAN.read)
