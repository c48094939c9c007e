"""Patterns of names and values, as OpenTelemetry's configuration writes them.

``*`` stands for any number of characters and ``?`` for exactly one. Nothing else has a meaning, and case
matters. ``fnmatch`` cannot be used, because it gives ``[...]`` a meaning and ignores case on some systems.
https://github.com/open-telemetry/opentelemetry-configuration/blob/main/schema/common.yaml
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

Filter: TypeAlias = Callable[[str], bool]


def glob(patterns: object) -> re.Pattern[str]:
    """One regular expression for a list of patterns. Use it with ``fullmatch``.

    Raises TypeError or ValueError for anything that is not a list of patterns.
    """
    if not isinstance(patterns, Sequence) or isinstance(patterns, str | bytes):
        raise TypeError("no list of patterns")
    if not all(isinstance(item, str) for item in patterns):
        raise TypeError("a pattern is a string")
    return _expression(tuple(patterns))


@lru_cache(maxsize=1000)
def one_pattern(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    """The expression for one pattern. It is remembered: every view is asked about every instrument."""
    return _expression((pattern,), re.IGNORECASE if any_case else re.NOFLAG)


@lru_cache(maxsize=200)  # the views of a profile have the same few lists, and each of them asks several times
def _expression(patterns: tuple[str, ...], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    escaped = (re.escape(item).replace(r"\*", ".*").replace(r"\?", ".") for item in patterns)
    return re.compile("|".join(escaped) if patterns else r"(?!)", re.DOTALL | flags)


def is_pattern(text: str) -> bool:
    """Whether a text stands for more than itself."""
    return "*" in text or "?" in text


def filter_of(value: object) -> Filter:
    """The filter that a mapping with ``included``, ``excluded`` or both describes.

    What is excluded stays excluded, even if it is included as well. Without ``included``, everything is
    included. Raises TypeError or ValueError for a value that is no such mapping.
    """
    if not isinstance(value, Mapping) or not value.keys() <= {"included", "excluded"}:
        raise TypeError("no mapping with 'included' or 'excluded'")
    included, excluded = (_listed(value.get(key)) for key in ("included", "excluded"))

    def chosen(text: str) -> bool:
        if excluded is not None and excluded.fullmatch(text):
            return False
        return included is None or included.fullmatch(text) is not None

    return chosen


def condition(value: object) -> Filter:
    """The filter that a pattern, a list of patterns, or a mapping as of :func:`filter_of` describes.

    Raises TypeError or ValueError for anything else.
    """
    if isinstance(value, Mapping):
        if not value:  # says neither "all" nor "nothing" plainly
            raise ValueError("an empty mapping")
        return filter_of(value)
    if not value and not isinstance(value, str):  # an empty list would never choose anything
        raise ValueError("an empty list")
    expression = glob((value,) if isinstance(value, str) else value)
    return partial(_matches, expression)


def _matches(expression: re.Pattern[str], text: str) -> bool:
    return expression.fullmatch(text) is not None


def _listed(patterns: object) -> re.Pattern[str] | None:
    if patterns is None:
        return None
    if not patterns:  # an empty list says neither "all" nor "nothing" plainly
        raise ValueError("an empty list")
    return glob(patterns)
