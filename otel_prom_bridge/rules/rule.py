"""What a rule is, and what the arguments of rules may be.

A wrong argument is reported when the rule is made, since a rule that is running must not raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import is_text, is_whole

# The catch-all that all rules use unless told otherwise.
OTHER = "other"

# A regular expression, compiled or not, and what is shown in its place.
Pattern: TypeAlias = tuple[str | re.Pattern[str], str]
Compiled: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]


@runtime_checkable
class Rule(Protocol):
    """A function from a label's value to the value to show.

    Called once per new attribute set, in the application's process and under a lock: it must be fast, must
    not raise, and must give the same result for the same value.
    """

    def __call__(self, value: str, /) -> str | None:
        """The value to show; None leaves the label out."""
        ...

    @property
    def max_values(self) -> int | None:
        """How many different results there can be, "left out" being one; None is no bound."""
        ...


def checked_text(key: str, value: object) -> str:
    """A label value of our own: an empty one would be no label, a lone surrogate could not be written."""
    if is_text(value) and value:
        return value
    raise ConfigurationError(key, value, "a string that is not empty")


def checked_texts(key: str, values: Iterable[str]) -> frozenset[str]:
    """At least one string; a single string is a mistake for a list of one."""
    expected = "a list with at least one string"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigurationError(key, values, expected)
    texts = list(values)
    if not texts or not all(map(is_text, texts)):
        raise ConfigurationError(key, texts, expected)
    return frozenset(texts)


def checked_table(key: str, table: Mapping[str, str], *, empty: bool = False) -> dict[str, str]:
    """A copy of a table from strings to label values."""
    expected = "a mapping of strings to strings that are not empty"
    if not isinstance(table, Mapping) or not (table or empty):
        raise ConfigurationError(key, table, expected)
    if not all(isinstance(name, str) and is_text(value) and value for name, value in table.items()):
        raise ConfigurationError(key, table, expected)
    return dict(table)


def checked_whole(key: str, value: int, lowest: int = 1) -> int:
    """A whole number that is not too small."""
    if not is_whole(value, lowest):
        raise ConfigurationError(key, value, f"a whole number of at least {lowest}")
    return value


def checked_patterns(key: str, patterns: Iterable[Pattern]) -> Compiled:
    """Pairs of a regular expression and what is shown in its place, compiled."""
    expected = "a list of pairs of a regular expression and a placeholder"
    if isinstance(patterns, str | Mapping) or not isinstance(patterns, Iterable):
        raise ConfigurationError(key, patterns, expected)
    return tuple(_compiled(key, pair, expected) for pair in patterns)


def _compiled(key: str, pair: object, expected: str) -> tuple[re.Pattern[str], str]:
    try:
        if not isinstance(pair, tuple | list):
            raise TypeError
        pattern, placeholder = pair
        # An expression over bytes compiles, and raises for every value.
        if not isinstance(getattr(pattern, "pattern", pattern), str):
            raise TypeError
        return re.compile(pattern), checked_text(key, placeholder)
    except (TypeError, ValueError, re.error, RecursionError, OverflowError):
        raise ConfigurationError(key, pair, expected) from None
