"""What points do to the series of their stream: deltas are added, and current values replace the last ones.

A series is found by the raw attributes of a point (``lookup.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import AttributeSet, SourcePoint
from otel_prom_bridge.store.leaving import Leaving
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.placing import Placing
from otel_prom_bridge.store.series import Folded, Series, Target, each
from otel_prom_bridge.store.sources import Said, Speaker
from otel_prom_bridge.store.trouble import point_failed


class Applying:
    """Applies the points of a collection, which has the number ``collection``."""

    def __init__(self, findings: Findings, placing: Placing, leaving: Leaving) -> None:
        self._findings = findings
        self._placing = placing
        self._leaving = leaving

    def add(self, record: StreamRecord, points: Sequence[SourcePoint], collection: int) -> None:
        """Add deltas to what there is."""
        rest = iter(points)
        while True:
            try:
                self._add(record, rest, collection)
                return
            except BaseException as error:  # it costs the point that it came out of, and no other
                point_failed(self._findings, record.key, error)

    def _add(self, record: StreamRecord, points: Iterator[SourcePoint], collection: int) -> None:
        # This loop runs for each changed series at each scrape.
        by_texts, by_items, has_types = record.by_texts, record.by_items, record.has_types
        by_key = by_items.get
        for point in points:
            attributes: Any = point.attributes
            targets: Any  # mypy does not see that what is no tuple is a target
            if type(attributes) is AttributeSet:
                targets = by_key(attributes.key)
                if targets is None:
                    targets = record.resolve(point)
            else:
                try:
                    values = attributes.values()
                    if has_types:
                        targets = by_items[(*attributes, *values, *map(type, values))]
                    else:
                        targets = by_texts[(*attributes, *values)]
                except Exception:  # it is new, or some value of it cannot be hashed
                    targets = record.find(point)
            if type(targets) is tuple:
                self._add_to_each(record, targets, point, collection)
                continue
            try:
                targets.add(point)
            except BaseException as error:
                point_failed(self._findings, record.key, error)
            targets.seen = collection
            slot = targets.slot
            if slot is None:
                self._placing.touch(targets)
            elif not slot.stale:  # as `touch` does it, which takes as long as all of this
                slot.queue.append(slot)
                slot.stale = True

    def _add_to_each(
        self, record: StreamRecord, targets: Iterable[Target], point: SourcePoint, collection: int
    ) -> None:
        for target in targets:
            try:
                target.add(point)
            except BaseException as error:
                point_failed(self._findings, record.key, error)
            target.seen = collection
            self._placing.touch(target)

    def replace(
        self, speaker: Speaker, record: StreamRecord, points: Sequence[SourcePoint], collection: int
    ) -> None:
        """Let these be what the source says of the stream at present."""
        is_whole = speaker.is_whole(record)
        said = speaker.said.get(record)
        if said is None:
            said = speaker.said[record] = Said()
        if record.may_be_full:
            self._make_room(speaker, record, points, collection, is_whole=is_whole)
        groups, found_all = self._grouped(record, points)
        seen, source = said.seen, speaker.source
        for series, group in groups.items():
            if not said.has_all(series, group, is_whole=is_whole and found_all):
                continue
            number = collection
            try:
                changed = series.replace(source, group) or series.slot is None
            except BaseException as error:
                point_failed(self._findings, record.key, error)
                number, changed = seen.get(series, 0), False  # type: ignore[call-overload]
            if type(series) is not Folded:  # isinstance() takes as long as all the rest
                seen[series] = number  # type: ignore[index]
            if changed:
                series.updated = collection
                self._placing.touch(series)

    def _grouped(
        self, record: StreamRecord, points: Sequence[SourcePoint]
    ) -> tuple[Mapping[Target, Sequence[SourcePoint]], bool]:
        """What takes the points, each with its points, and whether that is known of all of them.

        Several attribute sets may have become one series, which shows all of them together.
        """
        groups: dict[Target, list[SourcePoint]] = {}
        found_all = True
        for point in points:
            try:
                for series in each(record.find(point)):
                    groups.setdefault(series, []).append(point)
            except BaseException as error:
                point_failed(self._findings, record.key, error)
                found_all = False
        if len(groups) < len(points) and not record.key.meaning.additive:
            record.report_left_out_ids(self._findings)
        return groups, found_all

    def _make_room(
        self,
        speaker: Speaker,
        record: StreamRecord,
        points: Sequence[SourcePoint],
        collection: int,
        *,
        is_whole: bool,
    ) -> None:
        # What is gone, or is only kept, gives its place to what is new in the same collection.
        is_new = False
        mentioned: set[Series] = set()
        for point in points:
            known = record.known(point)
            is_new = is_new or not known
            mentioned.update(known)
        if is_whole or is_new:
            before = speaker.said[record].last_seen(collection - 1)
            unsaid = [item for item in before if item not in mentioned and not item.room.overflowed]
            self._leaving.leave(speaker, record, unsaid, collection)
            record.take_back()
