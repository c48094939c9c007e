"""What each source says at present, and which of it is gone.

Deltas are added to the same series, whoever brings them. Of current values a source says all that there is,
each time. So what it does not mention any more is gone, and what it mentioned last leaves with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

from otel_prom_bridge.points import Source, SourcePoint, Stream
from otel_prom_bridge.store.intake import SetClock
from otel_prom_bridge.store.keys import items_key
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.origins import Origin
from otel_prom_bridge.store.series import Current, Series, Target

# The streams of which a callback failed, or where only those are known the names of their instruments. None
# where nobody knows anything.
Failing: TypeAlias = Collection[str | Stream] | None


class Said:
    """What one source says of one stream of current values.

    ``seen`` holds the series in which it has a part, each with the number of the collection that last had a
    point for it.
    """

    __slots__ = ("_sets", "seen")

    def __init__(self) -> None:
        self.seen: dict[Series, int] = {}
        # Where several attribute sets became one series: those that the source's part is made of.
        self._sets: dict[Target, Sequence[Mapping[str, object]]] = {}

    def has_all(self, target: Target, group: Sequence[SourcePoint], *, is_whole: bool) -> bool:
        """Whether these current values are those of all attribute sets that the part is made of.

        If the collection is not ``is_whole``, some of them may be missing, and the sum of the others is
        wrong.
        """
        known = self._sets.get(target)
        if known is None and len(group) == 1:
            return True
        sets = [point.attributes or {} for point in group]
        # Only now are they compared: keys for all of them would cost more than the rest of a collection.
        if not is_whole and target in self.seen and _keys(sets) != _keys(known or ()):
            return False
        self._sets[target] = sets
        return True

    def last_seen(self, collection: int) -> list[Series]:
        """The series of which it said something in this collection or before, and nothing since."""
        return [series for series, number in self.seen.items() if number <= collection]

    def taken_back(self, unsaid: Iterable[Series]) -> list[Current]:
        """The source has no part in these series any more; those of them that are there."""
        found = []
        for series in unsaid:
            del self.seen[series]
            self._sets.pop(series, None)
            if isinstance(series, Current) and not series.gone:
                found.append(series)
        return found


class Speaker:
    """What the store knows of a source as long as that is there.

    ``number`` is that of its latest collection, in the order in which they were made. ``failing`` names the
    instruments of which a callback failed in it. ``said`` is what it says of each stream of current values.
    ``origin`` is the service that it is of, by its ``resource``. ``clock`` knows when its clock was set back.
    """

    __slots__ = ("clock", "failing", "number", "origin", "resource", "said", "source")

    def __init__(self, source: Source, *, shift: float) -> None:
        self.source = source
        self.number = 0
        self.failing: Failing = ()
        self.said: dict[StreamRecord, Said] = {}
        self.origin: Origin | None = None
        self.resource: Mapping[str, object] | None = None
        # What a worker pushed may have been under way for long, as its times say nothing of ours.
        self.clock = SetClock(shift=shift) if source.worker is None else SetClock(clock=None, shift=shift)

    def is_whole(self, record: StreamRecord) -> bool:
        """Whether no callback of the stream failed, so that what was not said is gone."""
        failing, key = self.failing, record.key
        return failing is not None and key.name not in failing and key not in failing


def _keys(sets: Sequence[Mapping[str, object]]) -> set[tuple[object, ...] | None]:
    return {items_key(attributes) for attributes in sets}
