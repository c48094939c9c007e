"""The state of one series: what one stream has said so far about one attribute set.

A series knows nothing of names, labels or formats; which exemplars it keeps, its projection says. That makes
accumulating the step that cannot fail: a delta that the SDK handed over is added here before the series is
translated, so it is not lost, whatever goes wrong later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from otel_prom_bridge.arithmetic.histograms import total
from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.families import Exemplar, Kind, Labels, Point
from otel_prom_bridge.points import SourcePoint, Stream
from otel_prom_bridge.store.budgets import Budget
from otel_prom_bridge.views.exemplars import Exemplars, Order


class Owner(Protocol):
    """What is asked of the projection that a series belongs to."""

    key: Stream
    kind: Kind
    bounds: tuple[float, ...] | None
    scale: Scale | None
    exemplars: Exemplars | None
    exemplars_held: int

    @property
    def additive(self) -> bool:
        """Whether equal series add up."""
        ...

    def new_exemplars(self, point: SourcePoint, series: Series) -> list[Exemplar]:
        """The exemplars of a point that a series takes, with their labels."""
        ...

    def report_no_bounds(self) -> None:
        """Say that nothing was recorded in the buckets that the view asks for."""
        ...


class Target(ABC):
    """What takes points: a series, or a counter of those that were folded."""

    __slots__ = ("changed", "seen", "slot", "updated")

    def __init__(self) -> None:
        self.slot: Any = None  # the place in a family that shows this series, once it has one
        self.changed = False  # it waits to be shown anew
        self.seen = 0  # the collection that last had a point for this series
        self.updated = 0  # the collection that last changed it

    @abstractmethod
    def add(self, point: Any) -> None:
        """Add a delta."""

    @abstractmethod
    def replace(self, points: Sequence[Any]) -> bool:
        """Take the current values of all that became this one; say whether anything changed."""


class Folded(Target):
    """Counts points which lost what told them apart."""

    __slots__ = ("points",)

    def __init__(self) -> None:
        super().__init__()
        self.points = 0
        self.changed = True  # so it never asks to be shown

    def add(self, point: Any) -> None:
        """Count a point."""
        self.points += 1

    def replace(self, points: Sequence[Any]) -> bool:
        """Count the points."""
        self.points += len(points)
        return False


class Series(Target):
    """What the store asks of a series, whatever its points look like."""

    __slots__ = (
        "attributes",
        "budgets",
        "created",
        "exemplars_from",
        "exemplars_of",
        "exemplars_rank",
        "gone",
        "overflowed",
        "projection",
    )

    def __init__(self, projection: Owner, attributes: Mapping[str, object]) -> None:
        super().__init__()
        self.projection = projection  # what this series belongs to
        self.attributes = attributes
        self.created: float | None = None  # seconds since the epoch
        self.exemplars_from = 0.0  # when it may take an exemplar, in seconds since the epoch
        self.exemplars_of = 0  # the time of the collection that brought the last ones, and their best
        self.exemplars_rank: tuple[float, ...] = ()
        self.budgets: tuple[Budget, ...] = ()  # what it counts against
        self.overflowed = False  # it stands for what is past a limit
        self.gone = False  # it is not shown any more

    @property
    @abstractmethod
    def exemplars_held(self) -> int:
        """The number of exemplars that it keeps."""

    @property
    def is_level(self) -> bool:
        """It says how much of something there is: as long as that is there, it is no series to forget."""
        return False

    @abstractmethod
    def freeze(self, labels: Labels, kind: Kind) -> Point:
        """The present state as a point of a family."""

    def _order(self, exemplars: Sequence[Exemplar]) -> Order:
        policy = self.projection.exemplars or Exemplars()
        return policy.order(max(item.timestamp or 0 for item in exemplars))


def added(value: float, delta: float) -> float:
    """The sum of both; infinite where an integer is larger than any float."""
    try:
        return value + delta
    except OverflowError:
        return total((value, delta))


def plain(value: float) -> float:
    """The value as an int or a float: a Decimal or NumPy number would not add up with the others."""
    return value if isinstance(value, (int, float)) else float(value)
