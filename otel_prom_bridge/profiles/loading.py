"""From a name or a path to a profile, with the profiles that it extends.

When a profile extends another one, its tables are put over those of the other key by key. Families and
instruments are put over each other by name: one with the same name takes the place of the other. In a
dashboard one wants to change a threshold or a query without repeating all that stands around it. So panels,
rules and alerts are changed key by key, and new ones come at the end of their row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.profiles.profile import PRESENT, Profile
from otel_prom_bridge.profiles.reading import read_profile
from otel_prom_bridge.values.checks import Check, one_of
from otel_prom_bridge.values.toml import read_config_file

_HERE = Path(__file__).parent
BUILT_IN = tuple(sorted(path.stem for path in _HERE.glob("*.toml")))
# A profile without labels has no rules, so it remembers nothing, and all readers can share it.
_stateless: dict[str, Profile] = {}
# The key by which a panel, a recording rule, an alert and a variable is known.
_DASHBOARD_NAMES = {"panels": "title", "recording_rules": "record", "alerts": "alert", "variables": "name"}
_DEEPEST = 8  # so many profiles can extend each other; a file that extends itself ends here


def load_profile(profile: str | os.PathLike[str], *, key: str = "profile") -> Profile:
    """A profile by name (``"semconv"``, ``"llmdevops"``), or by the path of a TOML file (``./my.toml``).

    A file names with ``extends`` the profile that it changes. Its labels, buckets, sources, families and
    instruments take the place of those of the same name, and its options are put over the other ones.

    Args:
        profile: a text that has a slash or ends with ``.toml`` is a path.
        key: how errors call the option.

    Raises:
        ConfigurationError: there is no such profile, or something in it cannot work. The message names the
            file, the key, the value and what is allowed.
    """
    if not isinstance(profile, str | os.PathLike):
        raise ConfigurationError(key, profile, _expected())
    text = os.fspath(profile)
    if text in _stateless:
        return _stateless[text]
    where = f"{text}: " if _is_path(text) else f"profile {text!r}: "
    found = read_profile(_merged(text, key, _DEEPEST), name=Path(text).stem, where=where)
    if text in BUILT_IN and not found.labels:
        _stateless[text] = found
    return found


def _checked(value: object) -> Profile:
    if isinstance(value, Profile):
        return value
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    try:
        return load_profile(value, key="")
    except ConfigurationError as error:
        key = error.key and f": {error.key}"
        raise error.renamed(key) from None


def _is_path(text: str) -> bool:
    return text.endswith(".toml") or "/" in text or os.sep in text


def _merged(text: str, key: str, depth: int) -> dict[str, Any]:
    values = dict(read_config_file(key, text)) if _is_path(text) else dict(_built_in(text, key))
    parent = values.pop("extends", None)
    if parent is None:
        return values
    where = f"{text}: extends"
    if not isinstance(parent, str) or not parent:
        raise ConfigurationError(where, parent, _expected())
    if depth == 0:
        raise ConfigurationError(where, parent, "a profile that does not extend this one")
    if _is_path(parent) and _is_path(text):
        parent = str(Path(text).parent / parent)
    base = _merged(parent, where, depth - 1)
    try:
        return _extended(base, values)
    except ConfigurationError as error:
        raise error.renamed(f"{text}: {error.key}") from None


def _extended(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a profile, with what another profile changes put over them.

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
    """The same for the dashboard. An empty list takes away everything that was in the other list."""
    result = {**base, **over}
    for key, name in _DASHBOARD_NAMES.items():
        below, above = base.get(key), over.get(key)
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


def _expected() -> str:
    return f"one of the profiles {', '.join(map(repr, BUILT_IN))}, or the path of a file that ends with .toml"


def _built_in(name: str, key: str) -> dict[str, object]:
    if name not in BUILT_IN:
        raise ConfigurationError(key, name, _expected())
    return _contents(name)


@cache
def _contents(name: str) -> dict[str, object]:
    return read_config_file(name, _HERE / f"{name}.toml")


PROFILES = Check(allowed=_expected(), check=_checked)
GENERATION = one_of(*PRESENT)
