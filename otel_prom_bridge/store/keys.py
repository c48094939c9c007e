"""Keys by which attribute sets are found in tables: equal for equal sets, and for no others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from otel_prom_bridge.points import PLAIN_TYPES, AttributeSet, plain, plain_key
from otel_prom_bridge.translate.labels import attribute_identity

_SEQUENCES = (tuple, list)


def set_key(attributes: Mapping[str, object]) -> Hashable:
    """The key of an attribute set, in whatever order it is.

    That of an :class:`AttributeSet` is its own if that is in order, so it is kept once.
    """
    names = sorted(attributes)
    if type(attributes) is AttributeSet and names == [*attributes]:
        return attributes.key
    given = plain(attributes)
    values = [given[name] for name in names]
    key = plain_key(names, values)
    if key is None:
        key = items_key(dict(zip(names, values, strict=True)))
    return attribute_identity(given) if key is None else key


def as_set(attributes: Mapping[str, object], key: Hashable) -> Mapping[str, object]:
    """The attributes as nothing but their ``set_key`` where that says everything; otherwise a copy."""
    if type(attributes) is AttributeSet and attributes.key is key:
        return attributes
    if isinstance(key, tuple) and PLAIN_TYPES.issuperset(map(type, attributes.values())):
        return AttributeSet(key)
    return dict(attributes)


def items_key(attributes: Mapping[str, object]) -> tuple[object, ...] | None:
    """Keys, values and types, which are equal for equal attribute sets only.

    None if some value is of no type that OTel knows. Plain values are part of the key as they are.
    """
    values = attributes.values()
    types = tuple(map(type, values))
    try:
        return (*attributes, *map(_hashable, values, types), *types)
    except (TypeError, RecursionError):
        return None


def _hashable(value: object, kind: type) -> object:
    """What stands for a value in a key. Among values of one type it is equal for equal texts only."""
    if kind in PLAIN_TYPES:
        return value
    if isinstance(value, float):
        number = float.__float__(value)
        # 0.0 == -0.0, and a NaN is not even equal to itself.
        return number if number and number == number else float.__repr__(number)
    if isinstance(value, _SEQUENCES):
        # A type is no value, so with its types this cannot equal another sequence that is a key as it is.
        types = tuple(map(type, value))
        return (*map(_hashable, value, types), *types)
    if isinstance(value, str):  # of an enum
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, dict):
        return _hashable([*value, *value.values()], list)
    raise TypeError  # it may change, or say something else each time
