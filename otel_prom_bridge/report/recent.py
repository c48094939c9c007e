"""What happened lately: the last collections, how long each part of a scrape took, and failing callbacks."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

_COLLECTIONS = 20
_FAILURES = 200


class Collection(NamedTuple):
    """A collection: when it ended, in seconds since the epoch, how long it took, and why it failed."""

    time: float
    seconds: float
    error: str


class CallbackFailure(NamedTuple):
    """A callback that failed: of which instrument, with what, how often, and when last."""

    instrument: str
    error: str
    times: int
    time: float


class Recent:
    """What happened lately. It is written at every scrape, so each step is one operation, without a lock."""

    def __init__(self) -> None:
        self.collections: deque[Collection] = deque(maxlen=_COLLECTIONS)
        self.phases: dict[str, float] = {}  # how long each part of a scrape took last
        self._failures: dict[tuple[str, str], CallbackFailure] = {}

    def observe(self, phase: str, seconds: float, error: str) -> None:
        """A part of a scrape took so long."""
        self.phases[phase] = seconds
        if phase == "collect":
            self.collections.append(Collection(time.time(), seconds, error))

    def callback_failed(self, instrument: str, error: str) -> None:
        """A callback failed now."""
        key = (instrument, error)
        before = self._failures.get(key)
        if before is not None or len(self._failures) < _FAILURES:
            times = 1 if before is None else before.times + 1
            self._failures[key] = CallbackFailure(instrument, error, times, time.time())

    @property
    def failures(self) -> list[CallbackFailure]:
        """The callbacks that failed, the latest first."""
        return sorted(self._failures.values(), key=lambda failure: -failure.time)
