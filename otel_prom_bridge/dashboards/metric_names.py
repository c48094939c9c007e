"""The names of metrics in PromQL: every one that looks like the profile's own has to be one of it.

A panel that asks for a name that nobody exposes shows "No data" and no error, so this is looked at before
anything is written. A profile that extends another and has another namespace gets its panels with its names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_prom_bridge.dashboards.model import Dashboard
from otel_prom_bridge.notation import unknown
from otel_prom_bridge.profiles import Profile

_STRING = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'|`[^`]*`"
_WORD = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_PART = re.compile(f"({_STRING})|({_WORD})")
_SAMPLES = ("_bucket", "_count", "_sum")


def with_names_of(profile: Profile, dashboard: Dashboard) -> Dashboard:
    """The dashboard with the names that the profile's families have.

    Raises:
        ConfigurationError: an expression has a name that begins as the profile's do, and is none of them.
    """
    exposed = _exposed(profile)
    old = f"{dashboard.namespace}_" if dashboard.namespace else ""
    new = f"{profile.namespace}_" if profile.namespace else ""

    def rename(expression: str) -> str:
        return _PART.sub(lambda found: found[1] or _renamed(found[2], old, new, exposed), expression)

    if old and old != new:
        dashboard = dashboard.renamed(rename)
    known = exposed | {rule.record for rule in dashboard.recording_rules}
    for key, expression in dashboard.expressions():
        for name in names_in(expression):
            ours = ":" in name or any(prefix and name.startswith(prefix) for prefix in (old, new))
            if ours and name not in known:
                raise unknown(name, name, sorted(known), "metrics of the profile", at=key)
    return dashboard


def names_in(expression: str) -> Iterator[str]:
    """The words of an expression that may be names of metrics, and others, such as labels and functions."""
    return (found[2] for found in _PART.finditer(expression) if found[2])


def _exposed(profile: Profile) -> set[str]:
    """The names of the samples that the profile's families have, whatever is presented."""
    found = set()
    for family in profile.families:
        ends = _SAMPLES if family.type == "histogram" else ("",)
        found |= {f"{family.name}{end}" for end in ends}
    own = profile.options.get("self_metric_names", {})
    for name in own.values() if isinstance(own, dict) else ():
        found |= {name, *(f"{name}{end}" for end in _SAMPLES)}
    return found


def _renamed(name: str, old: str, new: str, exposed: set[str]) -> str:
    """The metric's name in the new namespace; also as a part of the name of a recording rule."""
    if ":" in name:
        return ":".join(
            f"{new}{part.removeprefix(old)}" if part.startswith(old) else part for part in name.split(":")
        )
    if name in exposed or not name.startswith(old):
        return name
    other = f"{new}{name.removeprefix(old)}"
    return other if other in exposed else name
