"""The tables of profiles, put over each other: what a file takes from others, and what it changes of it.

This is about tables as they stand in files, before anything in them is looked up. Families and instruments
are put over each other by name: one with the same name takes the place of the other. In a dashboard one wants
to change a threshold or a query without repeating all that stands around it. So panels, rules and alerts are
changed key by key, and new ones come at the end of their row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import Check, is_text
from otel_prom_bridge.values.notation import as_table, is_list, read_at, tables, unknown
from otel_prom_bridge.values.patterns import glob

# The key by which a panel, a recording rule, an alert and a variable is known.
_DASHBOARD_NAMES = {"panels": "title", "recording_rules": "record", "alerts": "alert", "variables": "name"}
# In conditions: the words that name patterns of the profile, and those that have patterns themselves.
NAMING_PATTERNS = {"in": "included", "not_in": "excluded"}
# The keys of these that have names of metrics in them.
_EXPRESSIONS = {"queries", "expr", "query"}


class PartTable(NamedTuple):
    """``[[parts]]``: what is taken of another profile, by patterns of the names that it has there.

    What these refer to is taken, too: the labels, buckets, sources and patterns of a family, the variables
    and recording rules of a panel.
    """

    of: str
    labels: Sequence[str] = ()
    buckets: Sequence[str] = ()
    patterns: Sequence[str] = ()
    sources: Sequence[str] = ()
    families: Sequence[str] = ()
    instruments: Sequence[str] = ()
    variables: Sequence[str] = ()
    panels: Sequence[str] = ()
    recording_rules: Sequence[str] = ()
    alerts: Sequence[str] = ()


def _patterns(value: object) -> Sequence[str]:
    patterns = listed(value)
    if not all(is_text(item) and item for item in patterns):
        raise TypeError
    return patterns


_PATTERNS = Check(allowed="a list of names, with '*' and '?'", check=_patterns)
_KINDS = PartTable._fields[1:]
# The lists of tables of which each has a name.
_NAMED = ("families", "instruments")


def listed(value: object) -> Sequence[Any]:
    """The value if it is a list, else a list of it alone."""
    return value if is_list(value) else [value]


def beside(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What a family says, together with what all families say. Lists are joined, and so are tables."""
    result = {**defaults, **given}
    for key in defaults.keys() & given.keys():
        if isinstance(defaults[key], Mapping) and isinstance(given[key], Mapping):
            result[key] = {**defaults[key], **given[key]}
        elif is_list(defaults[key]) and is_list(given[key]):
            result[key] = [*defaults[key], *given[key]]
    return result


def extended(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a profile, with what another profile changes put over them.

    Raises ConfigurationError for a change that may mean several. Also for a table without a name: once it
    stands behind those of other files, nobody knows its number in its own file any more.
    """
    result = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = _dashboard(below, value) if key == "dashboard" else {**below, **value}
        elif isinstance(value, list) and isinstance(below, list):
            names = {_named(item, "name") for item in value} - {None}
            if key in _NAMED and len(names) < len(value):
                _check_names(key, value)
            result[key] = [item for item in below if _named(item, "name") not in names] + value
        else:
            result[key] = value
    return result


def _check_names(key: str, items: Sequence[object]) -> None:
    for number, item in enumerate(items):
        if _named(item, "name") is None:
            raise ConfigurationError(f"{key}[{number}]", item, "a table with a name")


def picked(values: Mapping[str, Any], part: PartTable) -> dict[str, Any]:
    """The tables that a profile takes of another one, whose tables are ``values``.

    Raises ConfigurationError if it names nothing, or what is not there.
    """
    if not any(getattr(part, kind) for kind in _KINDS):
        raise ConfigurationError("", {"of": part.of}, f"what to take of it: {', '.join(map(repr, _KINDS))}")
    there = _Tables(values, of=part.of)
    taken = {kind: there.names(kind, getattr(part, kind)) for kind in _KINDS}
    for item in there.only("families", taken["families"]) + there.only("instruments", taken["instruments"]):
        taken["labels"] += listed(item.get("labels", []))
        taken["sources"] += listed(item.get("source", []))
        taken["buckets"] += listed(item.get("buckets", []))
    taken["labels"] = there.with_alike(taken["labels"])
    for kind in ("families", "sources"):
        taken["patterns"] += _named_patterns(there.only(kind, taken[kind]))
    # A rule comes after those that it needs, so those are found when the last one is looked at first.
    for kind in ("alerts", "panels", "recording_rules"):
        for item in reversed(there.of(kind)):
            if _named(item, _DASHBOARD_NAMES[kind]) in taken[kind]:
                text = repr([item.get(key) for key in _EXPRESSIONS])
                taken["recording_rules"] += [name for name in there.known("recording_rules") if name in text]
                taken["variables"] += [name for name in there.known("variables") if f"${name}" in text]
    found = {kind: items for kind in _KINDS if (items := there.only(kind, taken[kind]))}
    dashboard = {kind: found.pop(kind) for kind in _DASHBOARD_NAMES if kind in found}
    return {**found, **({"dashboard": dashboard} if dashboard else {})}


class _Tables:
    """What a profile has of each kind. Its families say what all of its families say, too."""

    def __init__(self, values: Mapping[str, Any], *, of: str) -> None:
        def read(key: str, read_value: Callable[[Any], Any], default: object, *, within: Any = values) -> Any:
            try:
                return read_at(key, read_value, within.get(key, default))
            except ConfigurationError as error:
                raise error.renamed(f"{of}: {error.key}") from None

        defaults = read("defaults", as_table, {})
        dashboard = _marked(read("dashboard", as_table, {}), unless_said="")
        self._named = {
            kind: read(kind, as_table, {}) for kind in ("labels", "buckets", "patterns", "sources")
        }
        self._lists: dict[str, list[dict[str, Any]]] = {
            "families": [beside(defaults, family) for family in read("families", tables(as_table), [])],
            "instruments": [*read("instruments", tables(as_table), [])],
            **{kind: [*read(kind, tables(as_table), [], within=dashboard)] for kind in _DASHBOARD_NAMES},
        }

    def known(self, kind: str) -> list[str]:
        """The names of all that there is of a kind."""
        if kind in self._named:
            return [*self._named[kind]]
        key = _DASHBOARD_NAMES.get(kind, "name")
        return [name for item in self._lists[kind] if (name := _named(item, key)) is not None]

    def names(self, kind: str, patterns: object) -> list[object]:
        """The names of this kind that one of the patterns matches, where each pattern has to match one."""
        known, found = self.known(kind), list[object]()
        for pattern in _PATTERNS.value(f".{kind}", patterns):
            matching = list(filter(glob([pattern]).fullmatch, known))
            if not matching:
                raise unknown(pattern, pattern, known, f"{kind} that it has", at=f".{kind}")
            found += matching
        return found

    def with_alike(self, labels: Sequence[object]) -> list[object]:
        """The names of labels, and of those that they are ``like``."""
        found = list(dict.fromkeys(name for name in labels if isinstance(name, str)))
        for name in found:  # which grows meanwhile
            table = self._named["labels"].get(name)
            like = table.get("like") if isinstance(table, Mapping) else None
            if isinstance(like, str) and like in self._named["labels"] and like not in found:
                found.append(like)
        return [*found]

    def of(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """The tables of a kind of which there is a list."""
        return self._lists[kind]

    def only(self, kind: str, names: Sequence[object]) -> Any:
        """What there is of this kind with one of these names. Others, such as numbers, are left out."""
        if kind in self._named:
            return {name: value for name, value in self._named[kind].items() if name in names}
        key = _DASHBOARD_NAMES.get(kind, "name")
        return [item for item in self._lists[kind] if _named(item, key) in names]


def _named_patterns(value: object) -> list[object]:
    """What conditions in these tables name of the patterns of their profile."""
    if is_list(value):
        return [name for item in value for name in _named_patterns(item)]
    if not isinstance(value, Mapping):
        return []
    return [
        name
        for key, item in value.items()
        for name in ([item] if key in NAMING_PATTERNS else _named_patterns(item))
    ]


def _marked(dashboard: Mapping[str, Any], *, unless_said: str | None = None) -> dict[str, Any]:
    """The dashboard, in which each panel, rule, … with expressions says the namespace of the names in them.

    So it may be put beside those of another dashboard.
    """
    namespace = dashboard.get("namespace", unless_said)
    result = dict(dashboard)
    for kind in _DASHBOARD_NAMES:
        if isinstance(namespace, str) and isinstance(items := dashboard.get(kind), list):
            result[kind] = [
                {"namespace": namespace, **item}
                if isinstance(item, Mapping) and item.keys() & _EXPRESSIONS
                else item
                for item in items
            ]
    return result


def _dashboard(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the dashboard. An empty list takes away everything that was in the other list."""
    # Who says no namespace uses the one of the dashboard below.
    below_it, above_it = _marked(base, unless_said=""), _marked(over)
    result = {**below_it, **above_it}
    for key, name in _DASHBOARD_NAMES.items():
        below, above = below_it.get(key), above_it.get(key)
        if isinstance(below, list) and isinstance(above, list) and above:
            result[key] = _with_changes(below, above, name, f"dashboard.{key}")
    return result


def _with_changes(below: Sequence[Any], above: Sequence[Any], key: str, where: str) -> list[Any]:
    result = list(below)
    for item in above:
        same = [at for at, other in enumerate(result) if _is_same(item, other, key)]
        if len(same) > 1:  # as with several alerts of one name that differ in their severity
            raise ConfigurationError(f"{where}[{key}]", item[key], "what only one has that is extended")
        if not same:
            result.insert(_end_of_row(result, item), item)
            continue
        before = result.pop(same[0])
        moved = _named(item, "row") not in (None, _named(before, "row"))
        result.insert(_end_of_row(result, item) if moved else same[0], {**before, **item})
    return result


def _is_same(item: object, other: object, key: str) -> bool:
    name = _named(item, key)
    return name is not None and name == _named(other, key)


def _end_of_row(items: Sequence[Any], item: object) -> int:
    row = _named(item, "row")
    last = [at for at, other in enumerate(items) if row is not None and _named(other, "row") == row]
    return last[-1] + 1 if last else len(items)


def _named(item: object, key: str) -> str | None:
    name = item.get(key) if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else None
