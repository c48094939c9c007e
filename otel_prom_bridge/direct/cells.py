"""Where an instrument adds up what it records of one attribute set, until a collection takes it away.

A cell knows no series: what a view makes of its attributes is decided by the store, when a collection has
handed over what the cell has. So a recorder does no more than to find its cell and to add. A cell is emptied
and stays, so recording after a scrape costs what it did before.

Cells of most kinds need no lock, which would be a third of what it costs to record. CPython gives another
thread its turn, and runs signal handlers, where a function is called or a loop begins anew, and nowhere
between reading a number, adding to it and storing it, or putting another one in its place. A test looks for
that in the bytecode. Where the interpreter has no global lock, or where adding takes several steps, a
:class:`Guard` lets one thing happen after the other.
"""

from __future__ import annotations

import itertools
import sys
from abc import abstractmethod
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, ClassVar, NamedTuple

from otel_prom_bridge.direct.exponential import ExponentialBuckets
from otel_prom_bridge.families import made
from otel_prom_bridge.forks import Process, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import Sampled
from otel_prom_bridge.store.series.base import added

# Whether one thread at a time runs Python, in an interpreter of which it is known when another one may.
HAS_GLOBAL_LOCK = (
    sys.implementation.name == "cpython"
    and sys.version_info < (3, 15)
    and "t"
    not in getattr(sys, "abiflags", "")  # a free-threaded one has the lock while it loads some modules
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
_NO_EXEMPLARS: tuple[Sampled, ...] = ()


class Number(NamedTuple):
    """A point with one value."""

    attributes: Mapping[str, object]
    value: float
    exemplars: Sequence[Sampled]
    start_time_unix_nano: int | None
    time_unix_nano: int


class Bucketed(NamedTuple):
    """A histogram with explicit bounds."""

    attributes: Mapping[str, object]
    sum: float
    explicit_bounds: Sequence[float]
    bucket_counts: Sequence[int]
    exemplars: Sequence[Sampled]
    start_time_unix_nano: int
    time_unix_nano: int

    @property
    def count(self) -> int:  # type: ignore[override]  # the name that tuples have for something else
        """The number of observations."""
        return sum(self.bucket_counts)


class Side(NamedTuple):
    """One side of an exponential histogram."""

    offset: int
    bucket_counts: Sequence[int]


class Exponential(NamedTuple):
    """A histogram with exponential buckets."""

    attributes: Mapping[str, object]
    count: int  # type: ignore[assignment]  # the name that tuples have for something else
    sum: float
    scale: int
    zero_count: int
    positive: Side
    negative: Side
    exemplars: Sequence[Sampled]
    start_time_unix_nano: int
    time_unix_nano: int


class Cell:
    """What all cells have: attributes, whether a scrape has something to take, and when they were made."""

    __slots__ = ("attributes", "changed", "since")
    IS_ATOMIC: ClassVar[bool] = HAS_GLOBAL_LOCK  # nothing can come in between while it adds or is taken

    def __init__(self, attributes: Mapping[str, object]) -> None:
        self.attributes = attributes
        self.changed = False
        self.since = time_ns()

    @abstractmethod
    def add(self, value: float, sampled: Sampled | None) -> None:
        """Count a value, and have its exemplar, if there is one.

        Raises:
            OverflowError: no float can hold it, and this shows values as they are.
        """

    @abstractmethod
    def take(self, before: int, now: int) -> Any:
        """What was recorded since the last time, as a point. ``before`` is when all cells were asked last.

        Its series may have begun anew since then, so what it adds does not begin when the cell was made.
        """


class SumCell(Cell):
    """Of a counter or an up-down counter: a sum, and the last exemplar."""

    __slots__ = ("sampled", "value")

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.value: float = 0
        self.sampled: Sampled | None = None

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Add to the sum."""
        try:
            self.value += value
        except OverflowError:  # what comes in between does not matter: it is infinite
            self.value = added(self.value, value)
        if sampled is not None:
            self.sampled = sampled

    def take(self, before: int, now: int) -> Number:
        """The sum since the last time."""
        self.changed = False
        value, self.value = self.value, 0
        since = self.since if self.since > before else before
        if self.sampled is None:
            return made(Number, (self.attributes, value, _NO_EXEMPLARS, since, now))
        sampled, self.sampled = self.sampled, None
        return Number(self.attributes, value, (sampled,), since, now)


class GaugeCell(Cell):
    """Of a gauge: what it was set to last, and the order of that among all that was set.

    ``place`` is what that was when a collection arranged the cells.
    """

    __slots__ = ("order", "place", "value")
    IS_ATOMIC = True
    _ORDER: ClassVar = itertools.count(1)

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.value: float = 0
        self.order = self.place = 0

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Have this as the value.

        Raises:
            OverflowError: no float can hold it.
        """
        if type(value) is int:
            float(value)
        self.order = next(self._ORDER)
        self.value = value

    def take(self, before: int, now: int) -> Number:
        """What it was set to."""
        self.changed = False
        return Number(self.attributes, self.value, _NO_EXEMPLARS, None, now)


class HistogramCell(Cell):
    """Of a histogram with explicit bounds: counts, a sum, and the last exemplar of each bucket."""

    __slots__ = ("bounds", "counts", "sampled", "sum")

    def __init__(self, attributes: Mapping[str, object], bounds: Sequence[float]) -> None:
        super().__init__(attributes)
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0
        self.sampled: dict[int, Sampled] | None = None

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Count the value in its bucket."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        try:
            self.sum += value
        except OverflowError:
            self.sum = added(self.sum, value)
        if sampled is not None:
            empty: dict[int, Sampled] = {}  # first, as the garbage collector may run here
            kept = self.sampled = self.sampled or empty
            kept[bucket] = sampled

    def take(self, before: int, now: int) -> Bucketed:
        """What was observed since the last time."""
        empty = [0] * len(self.counts)
        self.changed = False
        counts, self.counts = self.counts, empty
        total, self.sum = self.sum, 0
        sampled, self.sampled = self.sampled, None
        exemplars = _NO_EXEMPLARS if sampled is None else tuple(sampled.values())
        since = self.since if self.since > before else before
        return made(Bucketed, (self.attributes, total, self.bounds, counts, exemplars, since, now))


class ExponentialCell(Cell):
    """Of a histogram with exponential buckets."""

    __slots__ = ("buckets", "sampled", "sum")
    IS_ATOMIC = False
    _NEGATIVE: ClassVar[Side] = Side(0, ())
    MOST_EXEMPLARS: ClassVar[int] = 20

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.buckets = ExponentialBuckets()
        self.sum: float = 0
        self.sampled: list[Sampled] = []

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Count a value."""
        self.buckets.add(value)
        self.sum = added(self.sum, value)
        if sampled is not None:
            self.sampled.append(sampled)
            del self.sampled[: -self.MOST_EXEMPLARS]

    def take(self, before: int, now: int) -> Exponential:
        """What was observed since the last time."""
        self.changed = False
        buckets, self.buckets = self.buckets, ExponentialBuckets()
        total, self.sum = self.sum, 0
        sampled, self.sampled = self.sampled, []
        offset, counts = buckets.consecutive()
        return Exponential(
            self.attributes,
            sum(counts) + buckets.zeros,
            total,
            buckets.scale,
            buckets.zeros,
            Side(offset, counts),
            self._NEGATIVE,
            sampled,
            max(self.since, before),
            now,
        )


class Guard:
    """Lets one thing happen after the other, in whatever thread.

    What comes in between in the same thread (a signal handler, a ``__del__``) must not wait for itself: what
    it adds is added by what it has interrupted.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._process = Process()
        self._waiting: deque[tuple[Cell, float, Sampled | None]] = deque()
        self._is_adding = False

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        self._process = Process()
        if renew_lock(self):
            self._is_adding = False

    def add(self, cell: Cell, value: float, sampled: Sampled | None) -> None:
        """Have the cell add this."""
        if self._process.is_another():
            self.renew()
        with self._lock:
            self._waiting.append((cell, value, sampled))
            self._add_waiting()

    def take(self, cell: Cell, before: int, now: int) -> Any:
        """What the cell has, with what a handler has added and then raised out of whoever was adding."""
        with self._lock:
            self._add_waiting()
            return cell.take(before, now)

    def _add_waiting(self) -> None:
        waiting = self._waiting
        while waiting and not self._is_adding:
            self._is_adding = True
            try:
                if waiting:  # what came in before we were adding may have done it
                    cell, value, sampled = waiting.popleft()
                    cell.add(value, sampled)
            finally:
                self._is_adding = False


class GuardedCell(Cell):
    """Another cell, in which one thing happens after the other."""

    __slots__ = ("_cell", "_guard")

    def __init__(self, cell: Cell, guard: Guard) -> None:
        super().__init__(cell.attributes)
        self._cell = cell
        self._guard = guard

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Count a value, when it is its turn."""
        self._guard.add(self._cell, value, sampled)

    def take(self, before: int, now: int) -> Any:
        """What was recorded since the last time, as a point."""
        self.changed = False
        return self._guard.take(self._cell, before, now)
