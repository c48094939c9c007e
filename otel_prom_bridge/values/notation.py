"""Calls, written as mappings: ``{keep: slowest, hold: 60}`` is ``Exemplars(keep="slowest", hold=60)``.

The keys of the mapping are the arguments of the function or class that is called. Which there are is read
from its signature, and it says itself what is wrong with a value.

The key of an error is put together on the error's way out. Each caller knows one part of it and puts it in
front: ``views``, ``[2]``, ``.rules``, ``['http.route']``, ``.allow``.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeGuard

from otel_prom_bridge.errors import ConfigurationError

Read: TypeAlias = Callable[[Any], Any]
"""Turns the written form into what it stands for. Its ConfigurationError has the rest of the key."""


def called(
    make: Callable[..., Any],
    given: Mapping[Any, object],
    *,
    title: str = "",
    read: Mapping[str, Read] | None = None,
) -> Any:
    """Call ``make`` with the arguments of a mapping, and return what it returns.

    An argument that is null was not given. ``read`` has functions for the arguments whose written form is
    not what ``make`` takes. ``title`` is how the keys of the errors of ``make`` begin; it is taken off.

    Raises:
        ConfigurationError: an argument is unknown, is missing, or has a value that is not allowed.
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
        raise error.renamed(error.key.removeprefix(title)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError("", given, f"other values of {listed(names)} ({error})") from None


# There are few classes, and a profile calls them for a hundred views.
_remembered = lru_cache(maxsize=100)


@_remembered
def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(make).parameters


@_remembered
def arguments_of(make: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments of ``make``."""
    return tuple(_parameters(make))


@_remembered
def required_by(make: Callable[..., Any]) -> frozenset[str]:
    """The names of the arguments of ``make`` that have no default."""
    parameters = _parameters(make).values()
    return frozenset(parameter.name for parameter in parameters if parameter.default is parameter.empty)


def first_of(make: Callable[..., Any]) -> str | None:
    """The name of the first argument that can be given without its name, or None if there is none."""
    parameters = _parameters(make).values()
    positional = (item.name for item in parameters if item.kind is item.POSITIONAL_OR_KEYWORD)
    return next(positional, None)


def read_at(where: str, read: Read, value: object) -> Any:
    """Read a part of a value with ``read``. Errors then say which part it was."""
    try:
        return read(value)
    except ConfigurationError as error:
        raise error.renamed(f"{where}{error.key}") from None


def each(read: Read, expected: str) -> Read:
    """A function that reads a mapping; ``read`` reads each of its values."""

    def read_all(value: object) -> dict[object, object]:
        if not isinstance(value, Mapping):
            raise ConfigurationError("", value, expected)
        return {key: read_at(f"[{key!r}]", read, item) for key, item in value.items()}

    return read_all


def tables(read: Read, *, name: str = "name", required: bool = False) -> Read:
    """A function that reads a list of tables; ``read`` reads each of them.

    Errors call a table what stands at its key ``name``, or by its number if it has no such key.
    """

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
    """A copy of a table, which is what TOML calls a mapping."""
    if not isinstance(value, Mapping):
        raise ConfigurationError("", value, "a table")
    return dict(value)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether this is a list, or a sequence that can stand for one. Strings and bytes cannot."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def part(key: object) -> str:
    """A key as it is written within a longer one: ``.take``, ``['http.route']``."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def listed(names: Iterable[str]) -> str:
    """Names as a message lists them: in quotes, with commas."""
    return ", ".join(map(repr, names))


class UnknownNameError(ConfigurationError):
    """A name that nobody knows. It is the last part of the error's key."""

    @property
    def name(self) -> str:
        """The name."""
        return self.key.rpartition(".")[2]


def unknown(
    name: object, value: object, known: Iterable[str], kind: str, *, at: str, meant: str = "", hint: str = ""
) -> UnknownNameError:
    """The error about a name that nobody knows.

    The name that was probably meant comes first in the message. Without ``meant`` it is the one that is
    spelled most like the unknown one. All names that there are follow, and then the ``hint``.
    """
    names = list(known)
    if not meant and (near := nearest(str(name), names)):
        meant = f"did you mean {near!r}?"
    first = f" ({meant}):" if meant else ""
    return UnknownNameError(at, value, f"one of the {kind}{first} {', '.join(names)}{hint}")


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.65) -> str | None:
    """The name among these that is spelled most like another one, or None if none is like it.

    Of several that are equally near, it is the first: ``instrument`` is near to ``instrument_name`` and
    ``instrument_unit``.
    """
    matcher = difflib.SequenceMatcher(b=name.lower())
    best, ratio = None, 0.0
    for candidate in names:
        matcher.set_seq1(candidate.lower())
        if matcher.ratio() > ratio:
            best, ratio = candidate, matcher.ratio()
    return best if ratio >= cutoff else None
