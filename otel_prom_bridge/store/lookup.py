"""What takes the points of one stream, and how a point finds it.

Every changed point of every scrape is looked up here by its raw attributes, so there is a fast way for what
was seen before. The slow way asks the projections what a new attribute set becomes. Their answers are
remembered up to a bound, because an attribute that no label shows may have a new value in every point.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.points import AttributeSet, SourcePoint, Stream
from otel_prom_bridge.store.keys import items_key
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series, Target, Targets, each
from otel_prom_bridge.views.tenants import SDK_LIMIT_AT_LEAST

_TEXT = frozenset({str})

# For each series that the stream may have, so many attribute sets are remembered. They are at least as many
# as the SDK hands over in one collection, or sets that come back would be asked for anew each time.
_REMEMBERED = 4
# A set whose values have more characters together is not remembered: so many would be all of the memory.
_LONGEST = 4096
_REMEMBERED_AT_LEAST = 2 * SDK_LIMIT_AT_LEAST


class StreamRecord:
    """The projections of one stream, and what its attribute sets became in them.

    ``reports_cost`` says that it is what producers say of costs.
    """

    __slots__ = (
        "_most",
        "_prices",
        "by_items",
        "by_texts",
        "has_types",
        "key",
        "projections",
        "reports_cost",
    )

    def __init__(
        self, key: Stream, projections: Sequence[Projection], limit: int, *, reports_cost: bool = False
    ) -> None:
        self.key = key
        self.reports_cost = reports_cost
        self.projections = projections
        # The version of the prices that were asked for; None if nothing here has a price.
        self._prices = 0 if any(item.view.price for item in projections) else None
        self._most = max(_REMEMBERED_AT_LEAST, _REMEMBERED * limit)
        # The fast way: keys, values and their types in the order in which they come. It only holds what
        # `resolve` found in the slow way.
        self.by_items: dict[tuple[object, ...], Targets] = {}
        # Faster still, and nearly always enough: where all values are strings, their types need no mention.
        self.by_texts: dict[tuple[object, ...], Targets] = {}
        self.has_types = False  # some value was no text, so the others are with their types from then on, too

    def find(self, point: SourcePoint) -> Targets:
        """What takes a point of this attribute set."""
        targets = self._remembered(point.attributes)
        return self.resolve(point) if targets is None else targets

    def _remembered(self, attributes: Mapping[str, object] | None) -> Targets | None:
        if attributes is None:
            attributes = {}
        if type(attributes) is AttributeSet:
            return self.by_items.get(attributes.key)
        values = attributes.values()
        try:
            targets = self.by_texts.get((*attributes, *values))
            if targets is None:
                targets = self.by_items.get((*attributes, *values, *map(type, values)))
        except Exception:  # not hashable as it is; a hash of the application's may raise anything
            targets = None
        if targets is None and (key := items_key(attributes)) is not None:
            targets = self.by_items.get(key)
        return targets

    def resolve(self, point: SourcePoint) -> Targets:
        """The same for an attribute set that is not remembered."""
        targets = self._targets(point)
        attributes = {} if point.attributes is None else point.attributes
        if len(self.by_texts) + len(self.by_items) >= self._most:
            self.by_texts.clear()
            self.by_items.clear()
        if type(attributes) is AttributeSet:
            self._remember(self.by_items, attributes.key, targets)
        elif not self.has_types and _TEXT.issuperset(map(type, attributes.values())):
            self._remember(self.by_texts, (*attributes, *attributes.values()), targets)
        else:
            self.has_types = True
            self._remember(self.by_items, items_key(attributes), targets)
        return targets

    def _remember(
        self,
        table: dict[tuple[object, ...], Targets],
        key: tuple[object, ...] | None,
        targets: Targets,
    ) -> None:
        if key is not None and _length(key) <= _LONGEST:
            table[key] = targets

    def follow(self, version: int) -> None:
        """Ask for prices anew, if they may be others than before."""
        if self._prices is not None and self._prices != version:
            self._prices = version
            self.by_items.clear()
            self.by_texts.clear()

    def _targets(self, point: SourcePoint) -> Targets:
        # Several views may send one stream to one family, each with a `where` of its own. The first one that
        # wants a point takes it, so that nothing is counted twice.
        if len(self.projections) == 1:
            found = self.projections[0].targets(point)
            return () if found is None else found
        taken: set[str] = set()
        targets: list[Target] = []
        for projection in self.projections:
            if projection.takes_away or projection.name not in taken:
                found = projection.targets(point)
                if found is not None:
                    if not projection.takes_away:
                        taken.add(projection.name)
                    targets += each(found)
        return targets[0] if len(targets) == 1 else tuple(targets)

    def conflicts(self) -> Iterator[Conflict]:
        """The projections that get no points, because an earlier one without a ``where`` takes them all."""
        takers: dict[str, Projection] = {}
        for projection in self.projections:
            if projection.view.price is not None:  # it may have no price, or be taken away again
                continue
            taker = takers.get(projection.name)
            if taker is not None:
                what = f"{self.key.name!r} as {projection.view.title} wants it"
                reason = f"{taker.view.title} takes all of it; give one of them another name, or a 'where'"
                yield Conflict(projection.name, what, reason)
            elif not projection.view.where:
                takers[projection.name] = projection

    @property
    def may_be_full(self) -> bool:
        """Whether some new attribute set may find no place."""
        return any(projection.may_be_full for projection in self.projections)

    def known(self, point: SourcePoint) -> list[Series]:
        """The series that a point of this attribute set has already, not counting the overflow."""
        remembered = self._remembered(point.attributes)
        found: Iterable[Target | None] = (
            (projection.known(point) for projection in self.projections)
            if remembered is None
            else each(remembered)
        )
        return [series for series in found if isinstance(series, Series) and not series.room.overflowed]

    def report_left_out_ids(self, findings: Findings) -> None:
        """Say that several current values became one, where it was ids that told them apart."""
        for projection in self.projections:
            if projection.left_out_ids:
                findings.report(
                    ("gauges", projection.name),
                    "metric %r: gauges that only ids told apart are one series, which shows the newest of"
                    " them; a view that names an id in 'keep', or id_labels=True, shows each",
                    projection.name,
                )

    def forget(self, last_seen: int, *, overflow: bool = True) -> list[Series]:
        """Drop the series that had their last point in this collection or before, and return them.

        With ``overflow`` also those that stand for what is past a limit.
        """
        gone = [
            series
            for projection in self.projections
            for series in projection.forget(last_seen, overflow=overflow)
        ]
        self._forget_gone(gone)
        return gone

    def drop(self, gone: Sequence[Series]) -> None:
        """Drop these series, of which nobody says anything any more."""
        for projection in self.projections:
            projection.drop([series for series in gone if series.traits is projection.traits])
        self._forget_gone(gone)

    def reject(self, projection: Projection) -> None:
        """Keep no series for what cannot be shown, so that their places are free for what can."""
        projection.rejected = True
        self._forget_gone(projection.forget(sys.maxsize))

    @property
    def is_pressed(self) -> bool:
        """Whether something new found no place since the last time that there was room."""
        return any(projection.is_pressed for projection in self.projections)

    def attributes(self) -> Iterator[Mapping[str, object]]:
        """The attributes of all series, which become labels."""
        for projection in self.projections:
            yield from (series.attributes for series in projection.series.values())

    def relieve(self) -> None:
        """Let everything ask for a place anew, after some series have gone."""
        self.by_items.clear()
        self.by_texts.clear()
        for projection in self.projections:
            projection.relieve()

    def withdrawn(self) -> Iterator[tuple[Series, Projection]]:
        """All series, each with what made it, which no family shows any more and which wait for a place."""
        for projection in self.projections:
            projection.family = None
            for series in projection.series.values():
                series.slot, series.waits = None, True
                yield series, projection

    def take_back(self) -> None:
        """Where a limit has room again, let what was past it ask for a place when it comes next."""
        if [projection for projection in self.projections if projection.has_room_again]:
            self._forget_sets(_is_overflow)
            for projection in self.projections:
                projection.take_back()

    def _forget_gone(self, gone: Sequence[Series]) -> None:
        if gone:
            self._forget_sets(_is_gone)

    def _forget_sets(self, condition: Callable[[Targets], bool]) -> None:
        self.by_items = {key: found for key, found in self.by_items.items() if not condition(found)}
        self.by_texts = {key: found for key, found in self.by_texts.items() if not condition(found)}


def _length(key: tuple[object, ...]) -> int:
    """How many characters its texts have together."""
    try:
        return sum(map(len, key))  # type: ignore[arg-type]  # nearly always all of it is text
    except TypeError:
        return sum([len(item) for item in key if type(item) is str])


def _is_gone(targets: Targets) -> bool:
    return any(target.gone for target in each(targets))


def _is_overflow(targets: Targets) -> bool:
    return any(isinstance(target, Series) and target.room.overflowed for target in each(targets))
