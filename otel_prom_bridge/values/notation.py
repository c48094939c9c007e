"""Calls, written as mappings: ``{keep: slowest, hold: 60}`` for ``Exemplars(keep="slowest", hold=60)``.

The keys are the arguments, by the signature of what is called; it says itself what is wrong with a value. The
key of an error is put together on its way out, by those who know the parts: ``views``, ``[2]``, ``.rules``,
``['http.route']``, ``.allow``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeGuard

from otel_prom_bridge.errors import ConfigurationError

Read: TypeAlias = Callable[[Any], Any]
"""From the written form to what it stands for; raises ConfigurationError, with the rest of the key."""


def called(
    make: Callable[..., Any],
    given: Mapping[Any, object],
    *,
    title: str = "",
    read: Mapping[str, Read] | None = None,
) -> Any:
    """What ``make`` makes of a mapping of its arguments; null is an argument that is not given.

    ``read`` is for arguments that are not written as they are; ``title`` is how the keys of the errors of
    ``make`` begin.
    """
    names = arguments_of(make)
    for key in given:
        if key not in names:
            raise unknown(key, given[key], names, "keys", at=part(key))
    arguments = {key: value for key, value in given.items() if value is not None}
    for key, read_value in (read or {}).items():
        if key in arguments:
            arguments[key] = read_at(f".{key}", read_value, arguments[key])
    for name in sorted(required_by(make) - arguments.keys()):
        raise ConfigurationError("", given, f"a mapping of {listed(names)}, of which {name!r} is required")
    try:
        return make(**arguments)
    except ConfigurationError as error:
        raise ConfigurationError(error.key.removeprefix(title), error.value, error.expected) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError("", given, f"other values of {listed(names)} ({error})") from None


@lru_cache(maxsize=100)  # there are few, and a profile has a hundred views
def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(make).parameters


def arguments_of(make: Callable[..., Any]) -> tuple[str, ...]:
    """The names of its arguments."""
    return tuple(_parameters(make))


def required_by(make: Callable[..., Any]) -> set[str]:
    """The names of the arguments without a default."""
    parameters = _parameters(make).values()
    return {parameter.name for parameter in parameters if parameter.default is parameter.empty}


def first_of(make: Callable[..., Any]) -> str | None:
    """The name of the argument that needs no name."""
    parameters = _parameters(make).values()
    positional = (item.name for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD)
    return next(positional, None)


def read_at(where: str, read: Read, value: object) -> Any:
    """What ``read`` makes of a part of a value; errors then say which part."""
    try:
        return read(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}{error.key}", error.value, error.expected) from None


def each(read: Read, expected: str) -> Read:
    """Reads a mapping, of which ``read`` reads every value."""

    def read_all(value: object) -> dict[object, object]:
        if not isinstance(value, Mapping):
            raise ConfigurationError("", value, expected)
        return {key: read_at(f"[{key!r}]", read, item) for key, item in value.items()}

    return read_all


def tables(read: Read, *, name: str = "name", required: bool = False) -> Read:
    """Reads a list of tables, of which each has a name at the key ``name``, or a number if it has none."""

    def read_all(value: object) -> tuple[Any, ...]:
        if not is_list(value) or (required and not value):
            raise ConfigurationError("", value, "a list of tables")
        found = []
        for number, item in enumerate(value):
            given = item.get(name) if isinstance(item, Mapping) else None
            found.append(read_at(f"[{given or number!r}]", read, item))
        return tuple(found)

    return read_all


def as_table(value: object) -> dict[str, Any]:
    """A copy of a table."""
    if not isinstance(value, Mapping):
        raise ConfigurationError("", value, "a table")
    return dict(value)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether this is what TOML and YAML call a list, or its like."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def part(key: object) -> str:
    """A key as a part of a longer one: ``.take``, ``['http.route']``."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(map(repr, names))


def unknown(
    name: object, value: object, known: Iterable[str], kind: str, *, at: str, hint: str = ""
) -> ConfigurationError:
    """The error of a name that nobody knows: it lists those that there are, and names the nearest."""
    names = list(known)
    nearest = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.65)
    meant = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return ConfigurationError(at, value, f"one of the {kind} {', '.join(names)}{meant}{hint}")
