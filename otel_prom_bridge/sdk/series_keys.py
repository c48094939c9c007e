"""Finding the series of a measurement by a key that costs little to make.

Since 1.45 the SDK sorts the attributes of each measurement and pairs every value with the name of its type.
That takes a third of a recording with five attributes. What reads deltas does not need the order: attributes
in another order make one more point in that collection, and the points are added up.

The key of texts has no types, and no value of another type equals one of its own. So as long as an
instrument was recorded with nothing else, nobody has to look at the types of what is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_prom_bridge.points import AttributeSet
from otel_prom_bridge.sdk.private import private, private_class

_TEXT = {str}
_PLAIN = {str, bool, int, float}
_EXACT = {str, bool, int}  # of which equal ones say the same
_MOST_FOUND = 2000  # keys of an instrument: what a view leaves out makes many of one series
_slow_key = private("._view_instrument_match", "_hash_attributes")


def key_of(attributes: Mapping[str, Any]) -> object:
    """What tells these attributes apart: names, values and their types, since 1, 1.0 and True are equal."""
    values = attributes.values()
    if _TEXT.issuperset(map(type, values)):
        return (*attributes, *values)
    kinds = (*map(type, values),)
    if _PLAIN.issuperset(kinds):
        return (*attributes, *values, *kinds)
    return (_slow_key(attributes),)  # what is in a sequence has a type, too


def attributes_of(key: Any, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Attributes that are nothing but their key, where that says everything; otherwise these."""
    return AttributeSet(key) if _EXACT.issuperset(map(type, attributes.values())) else attributes


class QuickMatch(private_class("._view_instrument_match", "_ViewInstrumentMatch")):  # type: ignore[misc]
    """Aggregates measurements as the class of the SDK does where a collection empties its table."""

    _typed = False  # some value was no text

    def consume_measurement(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Take a measurement."""
        with self._lock:
            series = self.series_of(measurement, self._attributes_aggregation)
            series.aggregate(measurement, should_sample_exemplar)

    def series_of(self, measurement: Any, table: Mapping[object, Any]) -> Any:
        """The series in which to record. If it is not in the table, it is a new one in that of the match."""
        # What recorders of ours hand over has its key already. A series is found by it only if the view has
        # kept all of these attributes.
        key = getattr(measurement, "key", None)
        found = None if key is None else table.get(key)
        if found is not None:
            return found
        attributes: Mapping[str, Any] = measurement.attributes or {}
        kept = self._view._attribute_keys
        if kept is not None and not all(map(kept.__contains__, attributes)):
            attributes = {key: value for key, value in attributes.items() if key in kept}
        values = attributes.values()
        try:
            if self._typed and not _TEXT.issuperset(kinds := (*map(type, values),)):
                series = table.get((*attributes, *values, *kinds))
            else:
                series = table.get((*attributes, *values))
        except TypeError:  # a value that has no hash
            series = None
        return self._made(attributes) if series is None else series

    def _made(self, attributes: Mapping[str, Any]) -> Any:
        if not _TEXT.issuperset(map(type, attributes.values())):
            self._typed = True
        key: Any = key_of(attributes)
        with self._lock:
            return self._get_or_create_aggregation(key, attributes_of(key, attributes))


class LastingMatch(private_class("._view_instrument_match", "_ViewInstrumentMatch")):  # type: ignore[misc]
    """Finds series by the keys that recorders of ours hand over, where a collection leaves them in the table.

    The table is one that has ``found``: the series by these keys, of which it forgets all when it is emptied.
    """

    def consume_measurement(self, measurement: Any, should_sample_exemplar: bool = True) -> None:
        """Take a measurement."""
        key, found = getattr(measurement, "key", None), self._attributes_aggregation.found
        series = None if key is None else found.get(key)
        if series is not None:
            series.aggregate(measurement, should_sample_exemplar)
            return
        super().consume_measurement(measurement, should_sample_exemplar)
        if key is not None:
            self._remember(key, measurement.attributes, found)

    def _remember(self, key: object, attributes: Mapping[str, Any], found: dict[object, Any]) -> None:
        kept = self._view._attribute_keys
        own = frozenset([item for item in attributes.items() if kept is None or item[0] in kept])
        series = self._attributes_aggregation.get(own)  # None where the SDK makes another key
        if series is not None:
            if len(found) >= _MOST_FOUND:
                found.clear()
            found[key] = series


def is_known(match: object) -> bool:
    """Whether ours can record in the place of this one of the SDK, which is only slower."""
    is_like_ours = type(match) is QuickMatch.__base__ and hasattr(match, "_get_or_create_aggregation")
    return is_like_ours and _slow_key is not None
