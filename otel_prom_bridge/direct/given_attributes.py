"""The attributes of a measurement, as applications and callbacks give them: anything.

A mapping with texts as keys is taken as it is. From all else that is made which the SDK makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import Stream

TEXT = frozenset({str})
_KNOWN = frozenset({str, bool, int, float, bytes, bytearray, type(None), list, tuple, dict})
_LIKE_KNOWN = (str, int, float, Sequence, Mapping)


def usable(given: Any, stream: Stream, findings: Findings) -> Mapping[str, object]:
    """The attributes with keys that are texts, and none without a name. What is no mapping has none."""
    if type(given) is not dict and not isinstance(given, Mapping):  # which takes as long as all the rest
        message = "instrument %r: attributes that are no mapping are left out: %s"
        findings.report(("attributes", stream), message, stream.name, type(given))
        return {}
    if TEXT.issuperset(map(type, given)) and "" not in given and _KNOWN.issuperset(map(type, given.values())):
        return given
    return {key if isinstance(key, str) else str(key): _said(value) for key, value in given.items() if key}


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
    except Exception:
        return None
