"""Where an instrument adds up what it records of one attribute set, until a scrape takes it away.

A cell knows no series: what a view makes of its attributes is decided by the store, when a scrape hands
over what the cell has. So a recorder does no more than to find its cell and to add. A cell is emptied and
stays, so recording after a scrape costs what it did before.

Nothing here takes a lock, because the owner of a cell does. What is taken away is taken in steps between
which nothing can come but a recording in the same thread, and that is counted now or the next time: a cell
says first that it has nothing, and then its values are taken.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, ClassVar, NamedTuple

from otel_prom_bridge.direct.exponential import ExponentialBuckets
from otel_prom_bridge.points import Sampled
from otel_prom_bridge.store.series.base import added

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
    count: int  # type: ignore[assignment]  # the name that tuples have for something else
    sum: float
    explicit_bounds: Sequence[float]
    bucket_counts: Sequence[int]
    exemplars: Sequence[Sampled]
    start_time_unix_nano: int
    time_unix_nano: int


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
    """What all cells have: their attributes, whether a scrape has something to take, and since when."""

    __slots__ = ("attributes", "changed", "since")

    def __init__(self, attributes: Mapping[str, object]) -> None:
        self.attributes = attributes
        self.changed = False
        self.since = time_ns()

    @abstractmethod
    def take(self, now: int) -> Any:
        """What was recorded since the last time, as a point."""


class SumCell(Cell):
    """Of a counter or an up-down counter: a sum, and the last exemplar."""

    __slots__ = ("sampled", "value")

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.value: float = 0
        self.sampled: Sampled | None = None

    def take(self, now: int) -> Number:
        """The sum since the last time."""
        self.changed = False
        value = self.value
        self.value = 0
        sampled = self.sampled
        if sampled is None:
            # Made as the class makes it, but without a call of a Python function.
            return tuple.__new__(Number, (self.attributes, value, _NO_EXEMPLARS, self.since, now))
        self.sampled = None
        return Number(self.attributes, value, (sampled,), self.since, now)


class GaugeCell(Cell):
    """Of a gauge: what it was set to last, and the place of that among all that was set."""

    __slots__ = ("order", "value")

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.value: float = 0
        self.order = 0

    def take(self, now: int) -> Number:
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

    def keep(self, bucket: int, sampled: Sampled) -> None:
        """Have this as the exemplar of a bucket."""
        if self.sampled is None:
            self.sampled = {}
        self.sampled[bucket] = sampled

    def take(self, now: int) -> Bucketed:
        """What was observed since the last time."""
        empty = [0] * len(self.counts)
        self.changed = False
        counts = self.counts
        self.counts = empty
        total = self.sum
        self.sum = 0
        sampled = self.sampled
        self.sampled = None
        exemplars = _NO_EXEMPLARS if sampled is None else tuple(sampled.values())
        return Bucketed(self.attributes, sum(counts), total, self.bounds, counts, exemplars, self.since, now)


class ExponentialCell(Cell):
    """Of a histogram with exponential buckets."""

    __slots__ = ("buckets", "sampled", "sum")
    _NEGATIVE: ClassVar[Side] = Side(0, ())
    MOST_EXEMPLARS: ClassVar[int] = 20

    def __init__(self, attributes: Mapping[str, object]) -> None:
        super().__init__(attributes)
        self.buckets = ExponentialBuckets()
        self.sum: float = 0
        self.sampled: list[Sampled] = []

    def add(self, value: float, sampled: Sampled | None) -> None:
        """Count a value. It takes several steps, so nothing may come in between."""
        self.buckets.add(value)
        self.sum = added(self.sum, value)
        if sampled is not None:
            self.sampled.append(sampled)
            del self.sampled[: -self.MOST_EXEMPLARS]

    def take(self, now: int) -> Exponential:
        """What was observed since the last time."""
        empty = ExponentialBuckets()
        self.changed = False
        buckets = self.buckets
        self.buckets = empty
        total = self.sum
        self.sum = 0
        sampled = self.sampled
        self.sampled = []
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
            self.since,
            now,
        )
