"""What a rule is, and what the arguments of rules may be.

A wrong argument is reported when the rule is made, because a rule that is running must not raise. The label
values that a rule makes are strings that are not empty: an empty one would be no label, and a string with a
lone surrogate could not be written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import TEXT, Check, is_text

# The catch-all of all rules unless they are told otherwise.
OTHER = "other"

# A regular expression, compiled or not, and what is shown in place of what matches it.
Pattern: TypeAlias = tuple[str | re.Pattern[str], str]
Compiled: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]


@runtime_checkable
class Rule(Protocol):
    """A function from a label's value to the value to show.

    It is called once per new attribute set, in the application's process and under a lock. So it must be
    fast, must not raise, and must give the same result for the same value.
    """

    def __call__(self, value: str, /) -> str | None:
        """The value to show, or None to leave the label out."""
        ...

    @property
    def max_values(self) -> int | None:
        """How many different results there can be, of which leaving out is one. None means no bound."""
        ...


def _texts(value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):  # one string is a mistake for a list of one
        raise TypeError
    texts = frozenset(value)
    if not texts or not all(map(is_text, texts)):
        raise ValueError
    return texts


def _any_table(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    if not all(isinstance(name, str) and is_text(text) for name, text in value.items()):
        raise ValueError
    return dict(value)


def _table(value: object) -> dict[str, str]:
    found = _any_table(value)
    if not all(found.values()):
        raise ValueError
    return found


def _some_table(value: object) -> dict[str, str]:
    if not value:
        raise ValueError
    return _table(value)


def _patterns(value: object) -> Compiled:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise TypeError
    return tuple(map(_compiled, value))


def _compiled(pair: object) -> tuple[re.Pattern[str], str]:
    try:
        if not isinstance(pair, tuple | list):
            raise TypeError
        pattern, placeholder = pair
        # An expression over bytes compiles, and then raises for every value.
        if not isinstance(getattr(pattern, "pattern", pattern), str):
            raise TypeError
        return re.compile(pattern), TEXT.check(placeholder)
    except (TypeError, ValueError, re.error, RecursionError, OverflowError):
        raise ConfigurationError("", pair, PATTERNS.allowed) from None


def _one_group(value: object) -> re.Pattern[str]:
    if not is_text(getattr(value, "pattern", value)):  # one over bytes raises for every value
        raise TypeError
    try:
        pattern = re.compile(value)  # type: ignore[call-overload]
    except (re.error, RecursionError, OverflowError):
        raise ValueError from None
    if pattern.groups != 1:
        raise ValueError
    found: re.Pattern[str] = pattern
    return found


TEXTS = Check(allowed="a list with at least one string", check=_texts)
TABLE = Check(allowed="a mapping of strings to strings that are not empty", check=_table)
ANY_TABLE = Check(allowed="a mapping of strings to strings", check=_any_table)
SOME_TABLE = replace(TABLE, check=_some_table)
PATTERNS = Check(allowed="a list of pairs of a regular expression and a placeholder", check=_patterns)
ONE_GROUP = Check(allowed="a regular expression with one group", check=_one_group)
