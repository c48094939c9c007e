"""The state of one series, and the slot of a family in which it is shown.

A series is what one view of one stream has said so far about one attribute set. It knows no name, no label
and no format, and it does not know who made it. This is why adding to it is the step that cannot fail: a
delta that the SDK handed over is added here before the series is translated, so it is kept whatever goes
wrong later.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from otel_prom_bridge.arithmetic.histograms import total
from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.families import Exemplar, Kind, Labels, Point
from otel_prom_bridge.points import AttributeSet, Source, SourcePoint, Stream
from otel_prom_bridge.store.intake import NO_TURN, ExemplarIntake, Turn
from otel_prom_bridge.store.series_budgets import SeriesBudget
from otel_prom_bridge.views.workers import Workers

One = TypeVar("One")

MOST = sys.float_info.max
TOO_LARGE = "with what was recorded since the last time its total would not be finite, so that is left out"


class Traits(NamedTuple):
    """What all series that one view makes of one stream have in common.

    ``bounds`` are the buckets that a histogram is shown with; None stands for those that were recorded.
    ``scale`` brings values into the unit of the view; None leaves them as they are. ``intake`` chooses the
    exemplars that a series keeps; without one it keeps none. ``workers`` says what is shown of gauges of
    several sources that became one series, and ``keeps_ended`` whether what ended sources said is kept.
    """

    stream: Stream
    bounds: tuple[float, ...] | None = None
    scale: Scale | None = None
    intake: ExemplarIntake | None = None
    workers: Workers = "newest"
    keeps_ended: bool = False


def each(found: One | tuple[One, ...]) -> tuple[One, ...]:
    """All of one or several. Nearly always it is one, which is kept without a tuple around it."""
    return found if isinstance(found, tuple) else (found,)


class Slot:
    """One series of a family as a scraper sees it: all series with these labels, shown as one.

    ``series`` is that one, or several. ``index`` is its place among the points of the family. ``queue`` is
    the family's list of the slots that have to be frozen anew.
    """

    __slots__ = ("index", "labels", "queue", "series", "stale")

    def __init__(self, labels: Labels, *, index: int, queue: list[Slot]) -> None:
        self.labels = labels
        self.index = index
        self.queue = queue
        self.series: Series | tuple[Series, ...] = ()
        self.stale = False

    def touch(self) -> None:
        """Have this slot frozen anew before its family is shown next."""
        if not self.stale:
            self.queue.append(self)  # first: where this is interrupted, it may be there twice, but not never
            self.stale = True


class Target(ABC):
    """What takes points: a series, or a counter of the points that a rule folded."""

    __slots__ = ("gone", "seen", "slot", "updated", "waits")

    def __init__(self) -> None:
        self.slot: Slot | None = None  # where a family shows this series, once it has a place
        self.waits = False  # for a place in a family
        self.gone = False  # it is not shown any more
        self.seen = 0  # the number of the collection that last had a point for it
        self.updated = 0  # the number of the collection that last changed it

    @abstractmethod
    def add(self, point: Any) -> None:
        """Add a delta."""

    def replace(self, source: Source, points: Sequence[Any]) -> bool:
        """Take a source's current values of all attribute sets that became this; say whether it changed."""
        raise NotImplementedError  # of what adds up deltas


Targets: TypeAlias = Target | tuple[Target, ...]
"""What takes the points of an attribute set; see :func:`each`."""


class Room(NamedTuple):
    """The place that a series has: the ``budgets`` that it is taken from, and the ``lines`` of a text format.

    If it is ``overflowed``, the series stands for what is past a limit.
    """

    budgets: tuple[SeriesBudget, ...] = ()
    lines: int = 1
    overflowed: bool = False


NO_ROOM = Room()  # of a series that has none yet


class Folded(Target):
    """Counts the points that lost what told them apart. It is never shown as a series."""

    __slots__ = ("points",)

    def __init__(self) -> None:
        super().__init__()
        self.points = 0
        self.waits = True  # so that nobody puts it on the list of what is to get a place

    def add(self, point: Any) -> None:
        """Count a point."""
        self.points += 1

    def replace(self, source: Source, points: Sequence[Any]) -> bool:
        """Count the points."""
        self.points += len(points)
        return False


class Series(Target):
    """What the store asks of a series, whatever its points look like."""

    __slots__ = ("_attributes", "created", "room", "traits", "turn")

    def __init__(self, traits: Traits, attributes: Mapping[str, object]) -> None:
        super().__init__()
        self.traits = traits
        # The key of an attribute set is enough to make it anew, and is kept elsewhere already.
        self._attributes = attributes.key if type(attributes) is AttributeSet else attributes
        self.created: float | None = None  # when it began, in seconds since the epoch
        self.turn: Turn = NO_TURN  # when it may take its next exemplar
        self.room = NO_ROOM

    @property
    def attributes(self) -> Mapping[str, object]:
        """What became its labels."""
        found = self._attributes
        return AttributeSet(found) if isinstance(found, tuple) else found

    @property
    @abstractmethod
    def exemplars_held(self) -> int:
        """The number of exemplars that it keeps."""

    @property
    def takes_away(self) -> bool:
        """Whether it takes something out of what other series with its labels say."""
        return False

    @property
    def is_level(self) -> bool:
        """Whether it says how much of something there is.

        Such a series must not be forgotten as long as something is there: it would fall below zero when that
        is taken away.
        """
        return False

    @abstractmethod
    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a point of a family."""

    def _taken(self, point: SourcePoint) -> list[Exemplar]:
        """The exemplars of this point that are to be compared with those that the series has."""
        intake = self.traits.intake
        if intake is None:
            return []
        taken, self.turn = intake.taken(point, self.turn, overflowed=self.room.overflowed)
        return taken


def added(value: float, delta: float) -> float:
    """The sum of both; infinite where an integer is larger than any float."""
    try:
        return value + delta
    except OverflowError:
        return total((value, delta))


def total_of(value: float, delta: float) -> float:
    """The sum of both. No total becomes infinite, as it would stay so for ever.

    Raises:
        OverflowError: no float can hold it.
    """
    result = value + delta
    if not -MOST <= result <= MOST:
        raise OverflowError(TOO_LARGE)
    return result


def plain(value: float) -> float:
    """The value as an int or a float: a Decimal or NumPy number would not add up with the others."""
    return value if isinstance(value, (int, float)) else float(value)
