"""What it means that a profile extends another.

Tables are put over those of the other by key, families and instruments by name: what has the same name takes
its place. Of the dashboard, where one wants a threshold or a query changed and not all the words around it,
panels, rules and alerts are changed key by key, and new ones come at the end of their row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_prom_bridge.errors import ConfigurationError

# What a panel, a recording rule, an alert and a variable are known by.
_DASHBOARD_NAMES = {"panels": "title", "recording_rules": "record", "alerts": "alert", "variables": "name"}


def extend(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a profile, and over them what another one changes.

    Raises ConfigurationError for a change that may mean several.
    """
    result = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = _dashboard(below, value) if key == "dashboard" else {**below, **value}
        elif isinstance(value, list) and isinstance(below, list):
            names = {_named(item, "name") for item in value} - {None}
            result[key] = [item for item in below if _named(item, "name") not in names] + value
        else:
            result[key] = value
    return result


def _dashboard(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """An empty list takes away all that there were."""
    result = {**base, **over}
    for key, name in _DASHBOARD_NAMES.items():
        below, above = base.get(key), over.get(key)
        if isinstance(below, list) and isinstance(above, list) and above:
            result[key] = _changed(below, above, name, f"dashboard.{key}")
    return result


def _changed(below: Sequence[Any], above: Sequence[Any], key: str, where: str) -> list[Any]:
    result = list(below)
    for item in above:
        same = [at for at, other in enumerate(result) if _is_same(item, other, key)]
        if len(same) > 1:  # alerts of one name and several severities, say
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
