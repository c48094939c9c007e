"""Unchanged since last time: what was made of a family is made again only where the family changed.

The store hands out the same point object until the series changes, and the same family object until one of
its points does, so "changed" means "another object". The encoder and the escaper both remember what they made
of the families that they saw last, and both do it with what is here.

Nothing here needs a lock. What was made is not modified as long as somebody else can find it, and two threads
that make the same thing at once merely do the work twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress
from operator import is_not
from typing import Any, Generic, NamedTuple, TypeVar

from otel_prom_bridge.families import Labels, MetricFamily, Point

Page = TypeVar("Page")
Whole = TypeVar("Whole")

_SPARE_PAGES = 100


class Memory(Generic[Page, Whole]):
    """What was made of the last families: of each family a page, and of all of them together a whole.

    ``pages`` holds the pages by the names of their families; whoever makes a page puts it there. It stays the
    same dict: a page that somebody takes out of it, to change it, is found by nobody else.

    A whole that nobody asked for again is not worth its memory, nor are those after it: where there are
    self-metrics, every one differs from the one before. So it is kept while the last one was asked for twice.
    """

    def __init__(self, *, nothing: Whole) -> None:
        self.pages: dict[str, Page] = {}
        # The families, what was made of them if that is kept, and whether it was asked for again.
        self._last: tuple[tuple[MetricFamily, ...], Whole | None, bool] = ((), nothing, True)

    def whole(
        self,
        families: tuple[MetricFamily, ...],
        make: Callable[[tuple[MetricFamily, ...]], Whole],
    ) -> Whole:
        """What ``make`` makes of these families, or made of them last time if each is the same object."""
        last, result, was_wanted = self._last
        is_same = families == last  # families compare by identity
        if result is None or not is_same:
            result = make(families)
            self._prune(families)
        elif was_wanted:
            return result
        self._last = (families, result if is_same or was_wanted else None, is_same)
        return result

    def _prune(self, families: tuple[MetricFamily, ...]) -> None:
        # Collectors of the application may make up names for ever. After a scrape that asked for a few names
        # this drops too much now and then, which costs making those pages again.
        if len(self.pages) > 2 * len(families) + _SPARE_PAGES:
            names = {family.name for family in families}
            for name in list(self.pages):  # another scrape may change them meanwhile
                if name not in names:
                    self.pages.pop(name, None)


class Anew(NamedTuple):
    """What is made anew of points that differ from those before.

    ``changed`` are the places of those that were there before and are other objects now. ``made`` makes
    something of these, and of the points after them that are new, when it is asked for. ``labels`` is what
    was made of the labels of all points: the same list as before as long as no point has other labels.
    """

    changed: list[int]
    made: Iterator[Any]
    labels: list[Any]


def made_anew(
    before: tuple[Point, ...],
    points: tuple[Point, ...],
    known_labels: list[Any],
    *,
    of_labels: Callable[[Labels], Any],
    of_point: Callable[[Any, Any], Any],
) -> Anew:
    """Compare the points with those before, of whose labels ``known_labels`` was made.

    ``of_labels`` is asked about labels that are another object than before; ``of_point`` is asked about a
    point that is another object, together with what was made of its labels.
    """
    known = min(len(before), len(points))
    labels = known_labels if len(before) == len(points) else known_labels[:known]
    changed = list(compress(range(known), map(is_not, before, points)))
    for index in [index for index in changed if before[index].labels is not points[index].labels]:
        labels = labels.copy() if labels is known_labels else labels
        labels[index] = of_labels(points[index].labels)
    for point in points[known:]:
        labels.append(of_labels(point.labels))
    if len(changed) == known:
        return Anew(changed, map(of_point, points, labels), labels)
    places = (*changed, *range(known, len(points)))
    return Anew(changed, (of_point(points[index], labels[index]) for index in places), labels)
