"""From a name or a path to a profile, with the profiles that it extends and the parts that it takes.

``inheritance.py`` puts the tables of these over each other. What several built-in profiles share is in files
of ``parts/``. These can be extended and taken from, and they are no profiles to choose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.profiles.inheritance import PartTable, extended, listed, picked
from otel_prom_bridge.profiles.profile import PRESENT, Profile
from otel_prom_bridge.profiles.reading import ProfileTable, read_profile
from otel_prom_bridge.profiles.remembering import with_rules_of_its_own
from otel_prom_bridge.values.checks import Check, one_of
from otel_prom_bridge.values.notation import (
    arguments_of,
    as_table,
    called,
    nearest,
    read_at,
    tables,
    unknown,
)
from otel_prom_bridge.values.toml import read_config_file

_HERE = Path(__file__).parent
BUILT_IN = tuple(sorted(path.stem for path in _HERE.glob("*.toml")))
PARTS = tuple(sorted(path.stem for path in _HERE.glob("parts/*.toml")))
# What a file may say: what it is made of, which is looked up here, and what it says itself.
_KEYS = ("extends", "parts", *arguments_of(ProfileTable))


def load_profile(profile: str | os.PathLike[str], *, key: str = "profile") -> Profile:
    """A profile by name (``"semconv"``, ``"llmdevops"``), or by the path of a TOML file (``./my.toml``).

    A file names with ``extends`` the profiles that it changes. Its labels, buckets, sources, families and
    instruments take the place of those of the same name, and its options are put over the other ones. With
    ``[[parts]]`` it takes some of them from another profile.

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
    if text in BUILT_IN:
        return with_rules_of_its_own(_built_in(text))
    if not _is_path(text):
        raise ConfigurationError(key, text, _expected(given=text))
    return read_profile(_merged(text, key, ()), name=Path(text).stem, where=f"{text}: ")


@cache
def _built_in(name: str) -> Profile:
    """A profile of the package, as its file has it: that says the same to all readers."""
    return read_profile(_merged(name, "profile", ()), name=name, where=f"profile {name!r}: ")


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


def _merged(text: str, key: str, below: tuple[str, ...]) -> dict[str, Any]:
    """The tables of a profile and of all that it is made of. ``below`` it are the files that need it."""
    values = _tables(text, key)
    for name in values.keys() - {*_KEYS}:
        hint = "; options of the bridge stand below [options]"
        raise unknown(name, values[name], _KEYS, "keys", at=f"{text}: {name}", hint=hint)
    below = (*below, _identity(text))
    result: dict[str, Any] = {}
    where = f"{text}: extends"
    for parent in listed(values.pop("extends", [])):
        result = extended(result, _other(parent, text, where, below))
    where = f"{text}: parts"
    for number, part in enumerate(read_at(where, tables(_part, name="of"), values.pop("parts", []))):
        at = f"{where}[{number}]"
        there = _other(part.of, text, f"{at}.of", below)
        result = extended(result, read_at(at, partial(picked, part=part), there))
    try:
        return extended(result, values)
    except ConfigurationError as error:
        raise error.renamed(f"{text}: {error.key}") from None


def _other(name: object, text: str, where: str, below: tuple[str, ...]) -> dict[str, Any]:
    """The tables of another profile that the file ``text`` names. Paths are relative to that file."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(where, name, _expected(PARTS))
    path = str(Path(text).parent / name) if _is_path(name) and _is_path(text) else name
    if _identity(path) in below:
        raise ConfigurationError(where, name, "a profile that does not extend this one")
    return _merged(path, where, below)


def _part(value: object) -> PartTable:
    part: PartTable = called(PartTable, as_table(value))
    return part


def _identity(text: str) -> str:
    return os.path.realpath(text) if _is_path(text) else text


def _tables(text: str, key: str) -> dict[str, Any]:
    if _is_path(text):
        return dict(read_config_file(key, text))
    if text not in (*BUILT_IN, *PARTS):
        raise ConfigurationError(key, text, _expected(PARTS, given=text))
    return dict(_contents(text))


def _expected(parts: Sequence[str] = (), *, given: str = "") -> str:
    near = nearest(given, (*BUILT_IN, *parts))
    meant = f" (did you mean {near!r}?)" if near else ""
    profiles = f"one of the profiles {', '.join(map(repr, BUILT_IN))}"
    others = f", one of the parts {', '.join(map(repr, parts))}" if parts else ""
    return f"{profiles}{others}, or the path of a file that ends with .toml{meant}"


@cache
def _contents(name: str) -> Mapping[str, object]:
    path = f"{name}.toml" if name in BUILT_IN else f"parts/{name}.toml"
    return read_config_file(name, _HERE / path)


PROFILES = Check(allowed=_expected(), check=_checked)
GENERATION = one_of(*PRESENT)
