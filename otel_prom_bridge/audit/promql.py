"""What an expression in PromQL asks for: metrics, labels and values of labels.

This is no parser of PromQL. It knows the tokens and what stands in front of braces and parentheses, which is
all it takes to find selectors and groupings. Variables of Grafana (``$model``) may be anything, so they are
not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*`)
    | (?P<range>\[[^\]]*\])
    | (?P<number>(?:\d[\w.]*|\.\d+))
    | (?P<variable>\$\{[^}]*\} | \$\w+ | \[\[\w+\]\])
    | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:.]*)
    | (?P<op>=~|!~|!=|==|=|[{}(),])
    | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)
_GROUPING = frozenset({"by", "on"})
_OTHER_GROUPING = frozenset({"without", "ignoring", "group_left", "group_right"})
_WORDS = frozenset(
    {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end", "smoothed", "anchored"}
)
_AGGREGATIONS = frozenset(
    {"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk"}
    | {"quantile", "limitk", "limit_ratio"}
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(slots=True)
class Selector:
    """A metric, and the matchers of its labels: name, operator and value. None is for a value that varies."""

    name: str
    matchers: list[tuple[str, str, str | None]] = field(default_factory=list)


@dataclass(slots=True)
class Asked:
    """What an expression asks for. ``grouping`` are the labels by which it groups."""

    selectors: list[Selector] = field(default_factory=list)
    grouping: set[str] = field(default_factory=set)


def asked(expression: str) -> Asked:
    """Read an expression."""
    tokens = [
        (found.lastgroup or "", found[0])
        for found in _TOKEN.finditer(expression)
        if found.lastgroup not in ("comment", "range")
    ]
    result = Asked()
    reader = iter(range(len(tokens)))
    for index in reader:
        kind, text = tokens[index]
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if kind == "word" and text.lower() in _GROUPING | _OTHER_GROUPING and following == "(":
            labels = set(_until(tokens, index + 2, ")", reader))
            result.grouping |= labels if text.lower() in _GROUPING else set()
        elif kind == "word" and following == "{":
            next(reader)
            result.selectors.append(_selector(text, _until(tokens, index + 2, "}", reader)))
        elif text == "{":
            result.selectors.append(_selector("", _until(tokens, index + 1, "}", reader)))
        elif kind == "word" and _is_name(text, following):
            result.selectors.append(Selector(text))
    result.selectors = [selector for selector in result.selectors if selector.name]
    return result


def _is_name(text: str, following: str) -> bool:
    if following == "(" or text.lower() in _WORDS:
        return False
    is_aggregation = text in _AGGREGATIONS and following.lower() in ("by", "without")
    return not is_aggregation and text.lower() not in _OTHER_GROUPING


def _until(tokens: list[tuple[str, str]], start: int, end: str, reader: Iterator[int]) -> list[str]:
    """The tokens up to the closing one; the reader goes on behind them."""
    found: list[str] = []
    for _, text in tokens[start:]:
        next(reader, None)
        if text == end:
            break
        if text not in (",", "("):
            found.append(text)
    return found


def _selector(name: str, tokens: list[str]) -> Selector:
    selector = Selector(name)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if index + 2 < len(tokens) and tokens[index + 1] in ("=", "!=", "=~", "!~"):
            label, op, value = _unquoted(token), tokens[index + 1], _value(tokens[index + 2])
            if label == "__name__" and op == "=" and value is not None:
                selector.name = value
            else:
                selector.matchers.append((label, op, value))
            index += 3
        else:
            if not selector.name and token[:1] in "\"'":  # {"http.requests", method="GET"}
                selector.name = _unquoted(token)
            index += 1
    return selector


def _value(token: str) -> str | None:
    text = _unquoted(token)
    return None if "$" in text or "[[" in text or token[:1] not in "\"'`" else text


def _unquoted(token: str) -> str:
    if token[:1] == "`":
        return token[1:-1]
    return _ESCAPE.sub(r"\1", token[1:-1]) if token[:1] in ("'", '"') else token
