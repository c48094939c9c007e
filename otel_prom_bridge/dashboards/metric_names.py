"""The names of metrics in PromQL. A name that begins like the profile's own has to be one of the profile.

A panel that asks for a name that nobody exposes shows "No data" and no error. So the names are checked before
anything is written. A profile that extends another one and has another namespace gets the panels of the other
with names of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from otel_prom_bridge.dashboards.model import Dashboard
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.profiles import Profile
from otel_prom_bridge.values.notation import unknown

_STRING = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'|`[^`]*`"
# Not within a word or a number: [30d:1h] is a range and its step.
_WORD = r"(?<![\w:])[a-zA-Z_:][a-zA-Z0-9_:]*"
# Of all strings only that of this matcher may have names of metrics in it.
_NAME_MATCHER = rf"__name__\s*=~?\s*(?:{_STRING})"
_PART = re.compile(f"({_NAME_MATCHER})|({_STRING})|({_WORD})")
_IN_MATCHER = re.compile(r"(?P<before>__name__\s*=~?\s*.)(?P<text>.*)(?P<after>.)", re.DOTALL)
_APART = re.compile(rf"{_STRING}|#[^\n]*")  # brackets in strings and comments mean nothing
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}
_SAMPLES = ("_bucket", "_count", "_sum")


def with_names_of(profile: Profile, dashboard: Dashboard) -> Dashboard:
    """The dashboard, with the names that the profile's families have.

    Raises:
        ConfigurationError: an expression has a name that begins like the profile's names and is none of them.
    """
    exposed = _exposed(profile)
    new = _prefix(profile.namespace)

    def rename(expression: str, namespace: str) -> str:
        old = _prefix(namespace)

        def renamed(found: re.Match[str]) -> str:
            if found[1]:
                return _matching(found[1], old, new, exposed)
            return found[2] or _renamed(found[3], old, new, exposed)

        return _PART.sub(renamed, expression) if old not in ("", new) else expression

    dashboard = dashboard.renamed(rename)
    known = exposed | {rule.record for rule in dashboard.recording_rules}
    for key, expression, namespace in dashboard.expressions():
        prefixes = [prefix for prefix in (_prefix(namespace), new) if prefix]
        for pattern in patterns_in(expression):
            if any(map(pattern.startswith, prefixes)) and not _matched(pattern, known):
                raise ConfigurationError(key, pattern, "names of metrics of the profile")
        for name in names_in(expression):
            ours = ":" in name or any(map(name.startswith, prefixes))
            if ours and name not in known:
                raise unknown(name, name, sorted(known), "metrics of the profile", at=key)
    return dashboard


def _prefix(namespace: str) -> str:
    return f"{namespace}_" if namespace else ""


def is_balanced(expression: str) -> bool:
    """Whether every bracket and every quote of an expression is closed."""
    waiting = []
    for character in _APART.sub("", expression):
        if character in _CLOSED_BY:
            waiting.append(_CLOSED_BY[character])
        elif character in ")]}\"'`" and (not waiting or waiting.pop() != character):
            return False
    return not waiting


def names_in(expression: str) -> Iterator[str]:
    """The words of an expression that may be names of metrics, besides labels and functions."""
    return (found[3] for found in _PART.finditer(expression) if found[3])


def patterns_in(expression: str) -> Iterator[str]:
    """The texts of the matchers of names of metrics: regular expressions, or names as they are."""
    found = (_IN_MATCHER.fullmatch(part[1]) for part in _PART.finditer(expression) if part[1])
    return (matcher["text"] for matcher in found if matcher)


def _matched(pattern: str, names: Iterable[str]) -> bool:
    """Whether a name matches. A pattern with a variable, or one that Python cannot read, might match."""
    if "$" in pattern:
        return True
    try:
        # In PromQL the backslashes of a string are written twice, unless it is in backticks.
        return any(map(re.compile(pattern.replace(r"\\", "\\")).fullmatch, names))
    except re.error:
        return True


def _matching(matcher: str, old: str, new: str, exposed: set[str]) -> str:
    """The matcher with names in the new namespace, if there are such names."""

    def renamed(found: re.Match[str]) -> str:
        other = re.sub(rf"(?<![\w:]){re.escape(old)}", new, found["text"])
        text = other if _matched(other, exposed) else found["text"]
        return f"{found['before']}{text}{found['after']}"

    return _IN_MATCHER.sub(renamed, matcher)


def _exposed(profile: Profile) -> set[str]:
    """The names of the samples of all families of the profile, with any setting of ``present``."""
    found = set()
    for family in profile.families:
        ends = _SAMPLES if family.type == "histogram" else ("",)
        found |= {f"{family.name}{end}" for end in ends}
    own = profile.options.get("self_metric_names", {})
    for name in own.values() if isinstance(own, dict) else ():
        found |= {name, *(f"{name}{end}" for end in _SAMPLES)}
    return found


def _renamed(name: str, old: str, new: str, exposed: set[str]) -> str:
    """The metric's name in the new namespace. A recording rule may have it as a part of its own name."""
    if ":" in name:
        return ":".join(
            f"{new}{part.removeprefix(old)}" if part.startswith(old) else part for part in name.split(":")
        )
    if name in exposed or not name.startswith(old):
        return name
    other = f"{new}{name.removeprefix(old)}"
    return other if other in exposed else name
