"""What became of an attribute set, and how that is found by its names alone.

Nearly all series of a metric have attributes of the same names, and most views keep the same of these,
whatever the values are. So what a view makes of some names is found out once (:class:`KeysShape`). Of a
further attribute set with these names only the values are looked at, for one that is not usual: a long one,
or a new one where it matters how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from otel_prom_bridge.points import AttributeSet

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#overflow-attribute
OVERFLOW_KEY = "otel.metric.overflow"
OVERFLOW_ATTRIBUTES: Mapping[str, object] = {OVERFLOW_KEY: True}


class Fold(NamedTuple):
    """Says that a rule replaced a value by another one: the label, and the name of the rule."""

    label: str
    rule: str


class Mapped(NamedTuple):
    """The attributes that a view made of others, the folds on the way, and whose they are.

    ``key`` is that of the attributes where they are an :class:`AttributeSet` in order.
    """

    attributes: Mapping[str, object]
    folds: tuple[Fold, ...] = ()
    tenant: str | None = None
    # The attributes of the series that takes the point past a limit.
    overflow: Mapping[str, object] = OVERFLOW_ATTRIBUTES
    key: tuple[object, ...] | None = None


class KeysShape(NamedTuple):
    """What becomes of attribute sets with the same names, as long as their values are usual.

    ``names`` are those of what becomes labels, in order, and ``places`` where their values are among those
    that were recorded; None if that is all of them, in order. ``watched`` are places with what says of a
    value there whether it is known, so that it changes nothing. ``is_unusual`` says of any other value than
    a text of at most ``short`` characters whether it is to be shown otherwise.
    """

    names: tuple[str, ...]
    places: tuple[int, ...] | None
    folds: tuple[Fold, ...]
    watched: Sequence[tuple[int, Callable[[object], bool]]]
    short: int
    is_unusual: Callable[[object], bool]

    def of(self, attributes: Mapping[str, object], values: tuple[object, ...]) -> Mapped | None:
        """What becomes of these attributes, which have these values; None if that takes a closer look."""
        for place, is_known in self.watched:
            if not is_known(values[place]):
                return None
        if self.places is not None:
            values = tuple([values[place] for place in self.places])
        for value in values:
            if (type(value) is not str or len(value) > self.short) and self.is_unusual(value):
                return None
        is_kept = self.places is None and type(attributes) is AttributeSet
        kept = attributes if is_kept else AttributeSet.of(self.names, values)
        if type(kept) is not AttributeSet:
            return None
        return Mapped(kept, self.folds, None, OVERFLOW_ATTRIBUTES, kept.key)
