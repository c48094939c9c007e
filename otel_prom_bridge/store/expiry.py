"""Which collections were too long ago, for series that nobody has touched since."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Expiry:
    """Knows which collections were so long ago that a series which had its last point then has expired.

    A series remembers the number of the collection that last had a point for it, and not a time: that is one
    assignment in the loop over all changed points. To look through all series costs what exists, so it is
    done four times within ``after`` seconds and not at every scrape.
    """

    def __init__(self, after: float, clock: Callable[[], float]) -> None:
        self._after = after
        self._clock = clock
        self._next = clock() + after / 4
        # When a collection was, and its number: the last one, and one in every sixteenth of the time before
        # it.
        self._times: deque[tuple[float, int]] = deque()

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return self._clock() >= self._next

    def expired(self, collection: int) -> int:
        """The last collection that is too long ago, when it is time to look, and 0 otherwise.

        It is called with the number of the collection that has just been applied.
        """
        now = self._clock()
        times = self._times
        if len(times) > 1 and now - times[-2][0] < self._after / 16:
            times.pop()
        times.append((now, collection))
        if now < self._next:
            return 0
        self._next = now + self._after / 4
        last = 0
        while now - times[0][0] >= self._after:  # ends at the latest with the last one, which is from now
            last = times.popleft()[1]
        return last
