"""The batches that the hub has not taken yet.

They are sent in the order in which they were collected, one at a time, and each stays here until the hub says
that it has it. It keeps its number and its bytes then, so that the hub knows one that comes again because an
answer was lost.

There is seldom more than one. While the hub does not answer nothing is collected, so what is recorded adds up
where it was recorded, and nothing is lost however long that takes. Only what the application collects by
itself comes on top of that, and is bounded here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from otel_prom_bridge.native import RLock

MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class UnsentBatch:
    """A request, the headers that belong to it, and the number of points in it."""

    body: bytes
    number: int
    failing: frozenset[str]
    points: int


class Unsent:
    """Batches in their order, ``most`` bytes of them. What is more is dropped, the oldest first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._lock = RLock()
        self._batches: deque[UnsentBatch] = deque()
        self._size = 0
        self._number = 0
        self.dropped = 0  # points

    def append(self, body: bytes, points: int, failing: frozenset[str] = frozenset()) -> None:
        """Add what was collected last."""
        with self._lock:
            self._number += 1
            self._batches.append(UnsentBatch(body, self._number, failing, points))
            self._size += len(body)
            while self._size > self._most and len(self._batches) > 1:
                self.drop(self._batches[0])

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to send, ever."""
        return self._number > 0

    @property
    def first(self) -> UnsentBatch | None:
        """The one that is to be sent next."""
        batches = self._batches
        return batches[0] if batches else None

    @property
    def last(self) -> UnsentBatch | None:
        """The one that was collected last."""
        batches = self._batches
        return batches[-1] if batches else None

    def drop(self, batch: UnsentBatch) -> None:
        """The hub will never take it."""
        if self.remove(batch):
            self.dropped += batch.points

    def remove(self, batch: UnsentBatch) -> bool:
        """The hub has it. False if it was dropped meanwhile."""
        with self._lock:
            if self.first is not batch:
                return False
            self._batches.popleft()
            self._size -= len(batch.body)
            return True
