"""What a statement of SQL does, and to which table. Nothing else of it may ever be in a label.

The text is taken apart into words, names, literals and signs. What is said of it is a verb out of a fixed
list, and a name that stands where only the name of a table can stand. So nothing of a literal or a comment
gets out, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_LONGEST = 4000  # characters that are looked at
_OTHER = "_OTHER"
_VERBS = frozenset(
    {
        *("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT", "VALUES", "COPY", "CALL"),
        *("CREATE", "ALTER", "DROP", "TRUNCATE", "REFRESH", "REINDEX", "VACUUM", "ANALYZE", "LOCK", "EXEC"),
        *("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "DECLARE", "FETCH", "CLOSE"),
        *("SET", "SHOW", "USE", "PRAGMA", "EXPLAIN", "DESCRIBE", "GRANT", "REVOKE", "ATTACH", "DETACH"),
        *("LISTEN", "NOTIFY", "EXECUTE"),
    }
)
_TOKEN = re.compile(
    r"""
      (?P<skip>\s+ | --[^\n]* | \#[^\n]* | /\*.*?(?:\*/|\Z))
    | (?P<literal>
          [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
        | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
        | \$(?P<tag>[A-Za-z_]*)\$.*?(?:\$(?P=tag)\$|\Z)
        | \d[\w.]*
      )
    | (?P<quoted>"(?:[^"]|"")*(?:"|\Z) | `[^`]*(?:`|\Z) | \[[A-Za-z_][^\]]*(?:\]|\Z))
    | (?P<word>[^\W\d][\w$]*)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# Of a quote after a backslash, MySQL says that the literal goes on, and others that it ends. So of nothing
# behind it is it known whether it stands in a literal.
_AMBIGUOUS = re.compile(r"""\\['"]""")
_NAME = re.compile(r"[^\W\d][\w$]{0,62}")
# A table's name comes after one of these. "FROM" has other meanings, too: EXTRACT(year FROM created).
_BEFORE_A_TABLE = frozenset({"FROM", "INTO", "UPDATE", "JOIN", "TABLE", "COPY"})
# These may stand between that and the name.
_BETWEEN = frozenset(
    {"ONLY", "IF", "NOT", "EXISTS", "LATERAL", "IGNORE", "OVERWRITE", "TABLE", "LOW_PRIORITY"}
)
# After these it means something else: IS DISTINCT FROM, FOR UPDATE, ON CONFLICT DO UPDATE.
_NOT_AFTER = frozenset({"DISTINCT", "FOR", "DO", "KEY"})
_QUERIES = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE"})


class Statement(NamedTuple):
    """What a statement does, in capital letters, and to which table; None if that is not known."""

    operation: str
    table: str | None


class _Token(NamedTuple):
    kind: str
    text: str
    is_query: bool
    """Whether it stands in the statement or in a query within it, and not in brackets of something else."""
    depth: int


def read_statement(text: str) -> Statement:
    """What a statement does, and to which table it does it first.

    >>> read_statement("SELECT name FROM shop.users WHERE mail = 'x FROM y'")
    Statement(operation='SELECT', table='shop.users')
    """
    return _read(text[:_LONGEST])  # what is kept of a statement must not be as long as that may be


@lru_cache(maxsize=1024)
def _read(text: str) -> Statement:
    tokens = list(_tokens(text))
    words = [token.text.upper() if token.kind == "word" else "" for token in tokens]
    first = next((place for place, word in enumerate(words) if word), None)
    if first is None:
        return Statement(_OTHER, None)
    known: set[str] = set()  # names of queries, which look like tables: WITH recent AS (…)
    operation = words[first]
    if operation == "WITH":
        operation = _main_verb(tokens, words)
        known = {tokens[place - 1].text for place, word in enumerate(words) if word == "AS" and place}
    if operation not in _VERBS:  # it is no SQL that we know, so nothing in it is known to be a table
        return Statement(_OTHER, None)
    # FETCH reads from a cursor, which is no table.
    return Statement(operation, None if operation == "FETCH" else _table(tokens, words, known))


def _tokens(text: str) -> Iterator[_Token]:
    brackets: list[bool] = []  # for each that is open, whether a query stands in it
    opened = False
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "sign"
        if kind == "skip":
            continue
        if kind == "tag":
            kind = "literal"
        token = found[0]
        if kind in ("literal", "quoted") and token[0] not in "eE$" and _AMBIGUOUS.search(token):
            return
        if opened:
            brackets[-1] = kind == "word" and token.upper() in _QUERIES
            opened = False
        if token == ")" and brackets:
            brackets.pop()
        yield _Token(kind, token, all(brackets), len(brackets))
        if token == "(":
            brackets.append(False)
            opened = True


def _main_verb(tokens: list[_Token], words: list[str]) -> str:
    for token, word in zip(tokens[1:], words[1:], strict=True):
        if word in _QUERIES and not token.depth:
            return word
    return _OTHER


def _table(tokens: list[_Token], words: list[str], known: set[str]) -> str | None:
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word not in _BEFORE_A_TABLE or before in _NOT_AFTER or not tokens[place].is_query:
            continue
        name = _name(tokens, words, place + 1, may_be_function=word in ("FROM", "JOIN"))
        if name is not None and name not in known:
            return name
    return None


def _name(tokens: list[_Token], words: list[str], place: int, *, may_be_function: bool) -> str | None:
    """The name of a table that begins at this place, with its schema."""
    while place < len(words) and words[place] in _BETWEEN:
        place += 1
    parts: list[str] = []
    for token in tokens[place:]:
        if len(parts) % 2:
            if token.text != ".":
                if token.text == "(" and may_be_function:  # FROM generate_series(1, 2)
                    return None
                break
        elif token.kind not in ("word", "quoted") or token.text.upper() in _QUERIES:
            break
        parts.append(token.text.strip('"`[]') if token.kind == "quoted" else token.text)
    names = parts[::2]
    if not names or len(names) > 4 or not all(map(_NAME.fullmatch, names)):
        return None
    return ".".join(names)
