"""The attributes of a measurement, as applications and callbacks give them: anything.

A mapping with texts as keys is taken as it is. From all else that is made which the SDK makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import Stream

TEXT = frozenset({str})


def usable(given: Any, stream: Stream, findings: Findings) -> Mapping[str, object]:
    """The attributes with keys that are texts, and none without a name. What is no mapping has none."""
    if not isinstance(given, Mapping):
        message = "instrument %r: attributes that are no mapping are left out: %s"
        findings.report(("attributes", stream), message, stream.name, type(given))
        return {}
    if TEXT.issuperset(map(type, given)) and "" not in given:
        return given
    return {key if isinstance(key, str) else str(key): value for key, value in given.items() if key}
