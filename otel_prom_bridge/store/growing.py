"""Series become families: which family owns which name, and which series are shown as one.

Translation can make one thing of several. Two instruments with one Prometheus name share a family, and two
attribute sets with equal labels share a *slot* in it, which shows the sum of its series (or the newest of
them). Only slots whose series changed are frozen anew; everything else is handed out as the same object as
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from otel_prom_bridge.arithmetic.merging import merged
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import CounterPoint, Kind, Labels, MetricFamily, Point, claimed_names, identity
from otel_prom_bridge.interrupts import keep, sheltered
from otel_prom_bridge.store.series import Series, Slot, each

_ONE_UNIT = "an ExportView can show all in one unit, or rename one"


class GrowingFamily:
    """A family while its series come, change and go; :meth:`freeze` gives the family that is shown.

    ``empty`` is everything about the family but its points. ``take`` says what is counted here: values, or
    the counts or the sums of histograms, once something of them is.
    """

    __slots__ = (
        "_empty",
        "_frozen",
        "_has_gaps",
        "_points",
        "_slots",
        "_takes_away",
        "by_labels",
        "empty",
        "kind",
        "stale",
        "take",
    )

    def __init__(self, empty: MetricFamily) -> None:
        self.empty = empty
        self.kind = empty.kind
        self.take = "value"
        self.stale: list[Slot] = []
        # By their labels as they are, as long as all series have the same empty ones (``_empty``), so that no
        # slot needs a second tuple without these. Otherwise by what makes series one, and ``_empty`` is None.
        self.by_labels: dict[Labels, Slot] = {}
        self._empty: Labels | None = ()
        self._slots: list[Slot] = []
        self._points: list[Point | None] = []  # one for each slot, None until it is frozen for the first time
        self._has_gaps = False
        self._takes_away = False  # some series takes something out of what others say
        self._frozen: MetricFamily | None = None

    def place(self, series: Series, labels: Labels) -> None:
        """Show a series under these labels."""
        key = self._key(labels)
        slot = self.by_labels.get(key)
        if slot is None:
            slot = self.by_labels[key] = Slot(labels, index=len(self._slots), queue=self.stale)
            self._slots.append(slot)
            self._points.append(None)
        slot.series = (*each(slot.series), series) if slot.series else series
        series.slot = slot
        self._takes_away = self._takes_away or series.takes_away
        slot.touch()

    def _key(self, labels: Labels) -> Labels:
        """By what the slot of a series with these labels is found."""
        if self._empty is None:
            return identity(labels)
        empty = tuple([pair for pair in labels if not pair[1]])
        if empty == self._empty:
            return labels
        if self.by_labels:
            self._empty = None
            self.by_labels = {identity(slot.labels): slot for slot in self._slots}
            return identity(labels)
        self._empty = empty
        return labels

    def slot_of(self, labels: Labels) -> Slot | None:
        """Where a series is shown that has these labels, with or without empty ones."""
        given = identity(labels)
        return self.by_labels.get(tuple(sorted((*given, *self._empty))) if self._empty else given)

    def remove(self, series: Series) -> None:
        """Stop showing a series. Its slot goes with the last of its series."""
        slot, series.slot = series.slot, None
        if slot is None:
            return
        rest = tuple(other for other in each(slot.series) if other is not series)
        slot.series = rest[0] if len(rest) == 1 else rest
        if rest:
            slot.touch()
            return
        del self.by_labels[self._key(slot.labels)]
        # The last slot moves into the gap, so that it stays cheap to remove many.
        last, point = self._slots.pop(), self._points.pop()
        if last is not slot:
            last.index = slot.index
            self._slots[last.index], self._points[last.index] = last, point
        self._frozen = None

    def freeze(self, findings: Findings) -> MetricFamily:
        """The family as it is now, which is the same object as before if nothing changed."""
        if self.stale or self._frozen is None:
            # This loop runs for each changed series at each scrape. Nearly always it is alone in its slot.
            stale, points, kind, together = self.stale, self._points, self.kind, self._takes_away
            while stale:
                slot = stale.pop()
                slot.stale = False
                try:
                    series = slot.series
                    if type(series) is not tuple and not together:
                        points[slot.index] = series.freeze(slot.labels, kind)  # type: ignore[union-attr]
                    elif series:  # otherwise it was removed meanwhile
                        points[slot.index] = sheltered(self._point, slot, findings)
                except Exception as error:  # the point from before stays, if there is one
                    self._has_gaps = True
                    what = "a series of metric %r could not be brought up to date: %r"
                    findings.report(("freeze", self.empty.name), what, self.empty.name, error)
                except BaseException as error:  # an interrupt: it is done anew
                    slot.touch()
                    keep(error)
            shown = filter(None, points) if self._has_gaps else points
            self._frozen = self.empty.with_points(tuple(cast("Iterable[Point]", shown)))
        return self._frozen

    def _point(self, slot: Slot, findings: Findings) -> Point:
        """What a slot shows: its series, their sum, or the newest of them if they do not add up."""
        together = each(slot.series)
        if any(series.takes_away for series in together):
            return self._not_below(slot, [item.freeze(slot.labels, self.kind) for item in together])
        if len(together) == 1:
            return together[0].freeze(slot.labels, self.kind)
        group = [series for series in together if series.traits.stream.meaning.additive]
        if group and len(group) < len(together):
            # An up-down counter that is left out cannot be had again. A gauge will be set or observed again.
            for series in together:
                if not series.traits.stream.meaning.additive:
                    findings.conflict(_gauge_beside_sum(self.empty.name, series))
        points = [series.freeze(slot.labels, self.kind) for series in group or together]
        return merged(points, additive=bool(group))

    def _not_below(self, slot: Slot, points: Sequence[Point]) -> Point:
        """The sum of the points, or the value from before where that was larger.

        What is taken away again may come a collection later, and a counter that falls has begun anew.
        """
        point, before = merged(points), self._points[slot.index]
        least = before.value if isinstance(before, CounterPoint) else 0
        if isinstance(point, CounterPoint) and not point.value >= least:
            return point._replace(value=least)
        return point


def _gauge_beside_sum(name: str, series: Series) -> Conflict:
    stream = series.traits.stream
    reason = "an up-down counter has the same labels; rename one of them with an ExportView"
    return Conflict(name, f"gauge {stream.name!r} of scope {stream.scope.name!r}", reason)


class GrowingFamilies:
    """The families of one reader, in the order in which they appeared.

    The names ``taken`` belong to families that are made elsewhere.
    """

    def __init__(self, findings: Findings, *, taken: Mapping[str, Kind]) -> None:
        self._findings = findings
        self._taken = taken
        self.clear()

    def clear(self) -> None:
        """Begin anew without any family."""
        self._families: dict[str, GrowingFamily] = {}
        self._owners: dict[str, str] = {}  # each name that is claimed, and the family that claimed it
        for name, kind in self._taken.items():
            self.claim(name, kind)

    def claim(self, name: str, kind: Kind) -> None:
        """Reserve the name of a family, and all names that its samples use.

        Raises:
            ConflictError: another family has one of them.
        """
        names = claimed_names(name, kind)
        for claimed in names:
            if claimed in self._owners:
                raise ConflictError(
                    f"{kind.value} {name!r} needs the name {claimed!r}, which belongs to "
                    f"{self._owners[claimed]!r}"
                )
        self._owners.update(dict.fromkeys(names, name))

    def family(self, wanted: MetricFamily, *, take: str = "value") -> GrowingFamily:
        """The family of that name. If there is none, it is made from ``wanted``, which has no points.

        A family of another kind cannot be joined: "Exporters MUST drop entire metrics to prevent conflicting
        TYPE comments". Neither can the counts of histograms join their sums (``take``): both are counters,
        but together they add up to nothing. A different help text or unit is no reason to drop points, so
        there the first one is kept.

        Raises:
            ConflictError: the name belongs to a family that this one cannot join.
        """
        name, kind = wanted.name, wanted.kind
        family = self._families.get(name)
        if family is None:
            self.claim(name, kind)
            family = self._families[name] = GrowingFamily(wanted)
        elif family.kind is not kind:
            raise ConflictError(f"{name!r} is a {family.kind.value} already, not a {kind.value}")
        if take != "value":
            if family.take not in ("value", take):
                raise ConflictError(f"{name!r} has the {family.take} of a histogram already, not a {take}")
            family.take = take
        self._compare(family.empty, wanted)
        return family

    def _compare(self, kept: MetricFamily, wanted: MetricFamily) -> None:
        if kept.help and wanted.help and kept.help != wanted.help:
            reason = f"the first one is kept: {kept.help!r}"
            self._findings.conflict(Conflict(kept.name, f"the description {wanted.help!r}", reason))
        if kept.unit != wanted.unit:
            reason = f"the first one is kept: {kept.unit!r}, and values are as recorded; {_ONE_UNIT}"
            self._findings.conflict(Conflict(kept.name, f"the unit {wanted.unit!r}", reason))

    def freeze(self) -> tuple[MetricFamily, ...]:
        """All families that have a series."""
        return tuple(family.freeze(self._findings) for family in self._families.values() if family.by_labels)
