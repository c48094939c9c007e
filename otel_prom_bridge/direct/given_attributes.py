"""The attributes of a measurement, as applications and callbacks give them: anything.

A mapping with texts as keys is taken as it is. From all else that is made which the SDK makes of it.
"""

from __future__ import annotations

from collections import UserString
from collections.abc import Mapping, Sequence
from typing import Any

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.interrupts import raise_interrupt
from otel_prom_bridge.points import Stream

TEXT = frozenset({str})
_UNCHANGING = frozenset({str, bool, int, float, bytes, type(None)})
_KNOWN = _UNCHANGING | {bytearray, list, tuple, dict}
_LIKE_KNOWN = (str, int, float, Sequence, Mapping)
_WITH_CHARACTERS = (str, bytes, bytearray)
# How many characters (see `size_of`) may be in the long attribute sets of a table together, or in all that a
# stream tells apart at a hub.
MOST_CHARACTERS = 16_000_000
# As many characters take about the memory of one number in a list, of which the key has another one.
_PER_ELEMENT = 64


def usable(given: Any, stream: Stream, findings: Findings) -> Mapping[str, object]:
    """The attributes with keys that are texts, and none without a name. What is no mapping has none."""
    if type(given) is not dict and not isinstance(given, Mapping):  # which takes as long as all the rest
        message = "instrument %r: attributes that are no mapping are left out: %s"
        findings.report(("attributes", stream), message, stream.name, type(given))
        return {}
    if TEXT.issuperset(map(type, given)) and "" not in given and _KNOWN.issuperset(map(type, given.values())):
        return given
    return {key if isinstance(key, str) else str(key): _said(value) for key, value in given.items() if key}


def size_of(attributes: Mapping[str, Any]) -> int:
    """About how many bytes the attributes take, in characters: of their names, and of all that is in them."""
    values = attributes.values()
    return sum(map(len, attributes)) + sum(
        [len(each) if type(each) is str else _size(each) for each in values]
    )


def _size(value: Any) -> int:
    if isinstance(value, _WITH_CHARACTERS):
        return len(value)
    if isinstance(value, Mapping):
        return sum([_PER_ELEMENT + _size(key) + _size(each) for key, each in value.items()])
    if isinstance(value, Sequence):
        return sum([_PER_ELEMENT + _size(each) for each in value])
    return 0


def lasting(value: Any) -> Any:
    """The value as it is now, of types that have a key: the application may change it, and whatever is in it.

    None if it cannot be read.
    """
    try:
        return _lasting(value)
    except Exception as error:
        raise_interrupt(error, _lasting, value)
        return None


def _lasting(value: Any) -> Any:
    kind = type(value)
    if kind in _UNCHANGING:
        return value
    if kind is list or kind is tuple:
        return (*map(_lasting, value),)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _lasting(each) for key, each in value.items()}
    if isinstance(value, UserString):  # which is made of others of its kind
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return (*map(_lasting, value),)
    return _said(value)


def _said(value: object) -> object:
    """The value, or the text that an object of another type has.

    None if that would only name its address, or cannot be had.
    """
    kind = type(value)
    if kind in _KNOWN or isinstance(value, _LIKE_KNOWN):
        return value
    has_text = kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
    try:
        return str(value) if has_text else None
    except Exception as error:
        raise_interrupt(error, str, value)
        return None
