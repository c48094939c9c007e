"""Answers that are kept for a moment.

Two scrapers of one process, or one that retries, need not cause two collections within a second. Only
complete answers are kept, each under what it depends on: format, escaping, filter and compression.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Kept = TypeVar("Kept")

# Filters are the scraper's to choose; past this many the oldest answer goes.
_MOST = 64


class Cache(Generic[Kept]):
    """Keeps values for ``seconds``; 0 keeps nothing. Safe to use from any thread without a lock."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Kept]] = {}

    def get(self, key: Hashable) -> Kept | None:
        """The value, if it is not too old."""
        until, value = self._kept.get(key, (0.0, None))
        return value if value is not None and self._clock() < until else None

    def put(self, key: Hashable, value: Kept, asked: float) -> None:
        """Keep a value; ``asked`` is when its making began, by the same clock: it is as old as that."""
        if self._seconds <= 0:
            return
        self._kept.pop(key, None)  # so that it comes last
        self._kept[key] = (asked + self._seconds, value)
        while len(self._kept) > _MOST:
            # Another thread may have taken the same one.
            self._kept.pop(next(iter(list(self._kept))), None)

    def now(self) -> float:
        """The time by its clock."""
        return self._clock()
