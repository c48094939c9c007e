"""Answers that are kept for a moment.

Two scrapers of one process, or one that retries, need not cause two collections within a second. Only
complete answers are kept. The key of an answer is all that it depends on: format, escaping, filter and
compression. When ten ask at once they wait for one answer, because the host would pay for rendering and
compressing it ten times.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Event

Kept = TypeVar("Kept")

# The scraper chooses the filter, so there may be many answers. Past this number of answers, or this number of
# bytes in all of them, the oldest goes.
_MOST, _MOST_BYTES = 64, 16 * 1024 * 1024


class _Making(Generic[Kept]):
    """A value that a thread is making for all who ask meanwhile."""

    def __init__(self) -> None:
        self.done = Event()
        self.value: Kept | None = None


class Cache(Generic[Kept]):
    """Keeps values for ``seconds``; with 0 it keeps nothing. It may be used from any thread.

    ``size`` says how many bytes a value has. Nothing here needs a lock: each step is one operation on a
    dictionary.
    """

    def __init__(
        self,
        seconds: float,
        *,
        size: Callable[[Kept], int] = lambda _: 0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, Kept]] = {}
        self._making: dict[Hashable, _Making[Kept]] = {}
        renew_in_child(self)

    def get(self, key: Hashable) -> Kept | None:
        """The value, if it is not too old."""
        until, value = self._kept.get(key, (0.0, None))
        return value if value is not None and self._clock() < until else None

    @contextmanager
    def making(self, key: Hashable, seconds: float) -> Iterator[Kept | None]:
        """The value that another thread is making, once it is put. None means that the block has to make it.

        It waits for the other thread, but not longer than ``seconds``. However long that took, the value is
        as fresh as what the block would have made, since it would have shared the same collection.
        """
        if self._seconds <= 0:
            yield None
            return
        mine = _Making[Kept]()
        theirs = self._making.setdefault(key, mine)
        if theirs is not mine:
            theirs.done.wait(seconds)
            yield theirs.value
            return
        try:
            yield None
        finally:
            self._making.pop(key, None)
            mine.done.set()

    def renew(self) -> None:
        """In a forked child: the threads that were making something do not exist there."""
        self._making = {}

    def put(self, key: Hashable, value: Kept, asked: float) -> None:
        """Keep a value. ``asked`` is when its making began, by the same clock: it is as old as that."""
        if self._seconds <= 0:
            return
        if making := self._making.get(key):
            making.value = value
        self._kept.pop(key, None)  # so that it comes last
        self._kept[key] = (asked + self._seconds, value)
        self._forget()

    def _forget(self) -> None:
        """Let go of what is too old and of what is too much. The value that came last always stays."""
        now, room = self._clock(), _MOST_BYTES
        for number, (key, (until, value)) in enumerate(reversed(list(self._kept.items()))):
            room -= self._size(value)
            if number and (until <= now or number >= _MOST or room < 0):
                self._kept.pop(key, None)  # another thread may have taken the same one

    def now(self) -> float:
        """The time by its clock."""
        return self._clock()
