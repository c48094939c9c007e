"""Series → families: who owns which name, and which series are shown as one.

Translation can make one out of several: two instruments with one Prometheus name share a family, and two
attribute sets with equal labels share a *slot* in it. A slot shows the sum (or the newest) of its series.
Only slots whose series changed are frozen anew; everything else is handed out as the same object again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from otel_prom_bridge.arithmetic.merging import merged
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import Kind, Labels, MetricFamily, Point, claimed_names, identity
from otel_prom_bridge.store.series import Series

_ONE_UNIT = "an ExportView can show all in one unit, or rename one"


class Slot:
    """One series of a family as a scraper sees it."""

    __slots__ = ("family", "index", "labels", "series", "stale")

    def __init__(self, family: Family, labels: Labels, index: int) -> None:
        self.family = family
        self.labels = labels
        self.index = index
        self.series: list[Series] = []
        self.stale = False

    def touch(self) -> None:
        """Have this slot frozen anew before the family is shown next."""
        if not self.stale:
            self.stale = True
            self.family.stale.append(self)

    def merged(self, findings: Findings) -> Point:
        """The sum of the series in this slot; the newest if they do not add up."""
        group = [series for series in self.series if series.projection.additive]
        additive = bool(group)
        if additive and len(group) < len(self.series):
            # A level that adds up cannot be had again; a gauge will be set again, or be observed.
            for series in self.series:
                if not series.projection.additive:
                    findings.conflict(_gauge_beside_sum(self.family.empty.name, series))
        points = [series.freeze(self.labels, self.family.kind) for series in group or self.series]
        return merged(points, additive=additive)


def _gauge_beside_sum(name: str, series: Series) -> Conflict:
    key = series.projection.key
    reason = "an up-down counter has the same labels; rename one of them with an ExportView"
    return Conflict(name, f"gauge {key.name!r} of scope {key.scope.name!r}", reason)


class Family:
    """A family under construction."""

    __slots__ = ("_frozen", "_has_gaps", "_points", "_slots", "by_labels", "empty", "kind", "stale", "take")

    def __init__(self, empty: MetricFamily) -> None:
        self.empty = empty  # everything about the family but its points
        self.kind = empty.kind
        self.take = "value"  # or what of histograms is counted here, once something of them is
        self.stale: list[Slot] = []
        self.by_labels: dict[Labels, Slot] = {}
        self._slots: list[Slot] = []
        self._points: list[Point | None] = []  # as long as _slots
        self._has_gaps = False
        self._frozen: MetricFamily | None = None

    def place(self, series: Series, labels: Labels) -> Slot:
        """Show a series under these labels."""
        key = identity(labels)
        slot = self.by_labels.get(key)
        if slot is None:
            slot = self.by_labels[key] = Slot(self, labels, len(self._slots))
            self._slots.append(slot)
            self._points.append(None)
        slot.series.append(series)
        slot.touch()
        return slot

    def remove(self, series: Series, slot: Slot) -> None:
        """Stop showing a series; the slot goes with its last one."""
        slot.series.remove(series)
        if slot.series:
            slot.touch()
            return
        del self.by_labels[identity(slot.labels)]
        # The last slot moves into the gap, so that removing many stays cheap.
        last, point = self._slots.pop(), self._points.pop()
        if last is not slot:
            last.index = slot.index
            self._slots[last.index], self._points[last.index] = last, point
        self._frozen = None

    def freeze(self, findings: Findings) -> MetricFamily:
        """The family as it is now: the same object as before if nothing changed."""
        if self.stale or self._frozen is None:
            kind = self.kind
            while self.stale:
                slot = self.stale.pop()
                slot.stale = False
                group = slot.series
                try:
                    if len(group) == 1:
                        self._points[slot.index] = group[0].freeze(slot.labels, kind)
                    elif group:  # else it was removed since
                        self._points[slot.index] = slot.merged(findings)
                except Exception as error:  # the point before stays, if there is one
                    self._has_gaps = True
                    what = "a series of metric %r could not be brought up to date: %r"
                    findings.report(("freeze", self.empty.name), what, self.empty.name, error)
            points = filter(None, self._points) if self._has_gaps else self._points
            self._frozen = replace(self.empty, points=tuple(cast("Iterable[Point]", points)))
        return self._frozen


class Catalog:
    """The families of one reader, in the order in which they appeared."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._families: dict[str, Family] = {}
        self._owners: dict[str, str] = {}  # every claimed name → the family that claimed it

    def claim(self, name: str, kind: Kind) -> None:
        """Reserve a name and all that its samples use.

        Raises :class:`ConflictError` if another family has one of them.
        """
        names = claimed_names(name, kind)
        for claimed in names:
            if claimed in self._owners:
                raise ConflictError(
                    f"{kind.value} {name!r} needs the name {claimed!r}, which belongs to "
                    f"{self._owners[claimed]!r}"
                )
        self._owners.update(dict.fromkeys(names, name))

    def family(self, wanted: MetricFamily, *, take: str = "value") -> Family:
        """The family of that name, made from this one, which has no points, if there is none.

        Raises :class:`ConflictError` if the name belongs to a family of another kind: "Exporters MUST drop
        entire metrics to prevent conflicting TYPE comments". The same goes for the counts and the sums of
        histograms (``take``): both are counters, and add up to nothing. A different help text or unit is not
        a reason to drop points; the first one is kept.
        """
        name, kind = wanted.name, wanted.kind
        family = self._families.get(name)
        if family is None:
            self.claim(name, kind)
            family = self._families[name] = Family(wanted)
        elif family.kind is not kind:
            raise ConflictError(f"{name!r} is a {family.kind.value} already, not a {kind.value}")
        if take != "value":
            if family.take not in ("value", take):
                raise ConflictError(f"{name!r} has the {family.take} of a histogram already, not a {take}")
            family.take = take
        kept = family.empty
        if kept.help and wanted.help and kept.help != wanted.help:
            reason = f"the first one is kept: {kept.help!r}"
            self._findings.conflict(Conflict(name, f"the description {wanted.help!r}", reason))
        if kept.unit != wanted.unit:
            reason = f"the first one is kept: {kept.unit!r}, and values are as recorded; {_ONE_UNIT}"
            self._findings.conflict(Conflict(name, f"the unit {wanted.unit!r}", reason))
        return family

    def freeze(self) -> tuple[MetricFamily, ...]:
        """All families that have a series."""
        return tuple(family.freeze(self._findings) for family in self._families.values() if family.by_labels)
