"""Rules that look at a value as a whole: lists, tables, the first few, a length."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.rules.rule import OTHER, SOME_TABLE, TEXTS
from otel_prom_bridge.values.checks import POSITIVE, TEXT, check_fields

_STATUS = re.compile(r"([1-5])(?:[0-9]{2}|xx)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Allow:
    """The values of a list; anything else is ``other``. At most one more value than the list has.

    >>> Allow(["chat", "embeddings"])("chat"), Allow(["chat", "embeddings"])("rerank")
    ('chat', 'other')
    """

    values: frozenset[str]
    other: str

    def __init__(self, values: Iterable[str], *, other: str = OTHER) -> None:
        object.__setattr__(self, "values", TEXTS.value("Allow.values", values))
        object.__setattr__(self, "other", TEXT.value("Allow.other", other))

    @property
    def max_values(self) -> int:
        """The list and ``other``."""
        return len(self.values | {self.other})

    def __call__(self, value: str) -> str:
        """The value, if it is on the list."""
        return value if value in self.values else self.other

    def __repr__(self) -> str:
        return f"Allow({sorted(self.values)}, other={self.other!r})"


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """The first ``limit`` values that come; what comes later is ``other``. Limit + 1 values at most.

    A value once let in stays, for the life of the object; ``other`` itself takes no place. One object
    remembers for everything that it is given to, so two objects are never equal.

    >>> first = First(2)
    >>> [first(value) for value in ("a", "b", "c", "a")]
    ['a', 'b', 'other', 'a']
    """

    limit: int
    other: str = field(default=OTHER, kw_only=True)
    _seen: set[str] = field(default_factory=set, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self, {"limit": POSITIVE, "other": TEXT}, title="First.")

    @property
    def max_values(self) -> int:
        """The limit and ``other``."""
        return self.limit + 1

    def __call__(self, value: str) -> str:
        """The value, if it was among the first."""
        if value in self._seen:
            return value
        # Values never leave, so "full" needs no lock; without this line a flood would queue up at it.
        if value == self.other or len(self._seen) >= self.limit:
            return self.other
        with self._lock:
            if len(self._seen) < self.limit:
                self._seen.add(value)
        return value if value in self._seen else self.other


@dataclass(frozen=True, slots=True, init=False)
class Translate:
    """A table from values to values; anything else is ``other``, the one value more than the table has.

    >>> Translate({"0": "ok", "1": "failed"}, other="unknown")("1")
    'failed'
    """

    table: Mapping[str, str] = field(hash=False)
    other: str

    def __init__(self, table: Mapping[str, str], *, other: str = OTHER) -> None:
        object.__setattr__(self, "table", SOME_TABLE.value("Translate.table", table))
        object.__setattr__(self, "other", TEXT.value("Translate.other", other))

    @property
    def max_values(self) -> int:
        """The different values of the table, and ``other``."""
        return len({*self.table.values(), self.other})

    def __call__(self, value: str) -> str:
        """What the table says."""
        return self.table.get(value, self.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusClass:
    """HTTP status codes by class, ``1xx`` to ``5xx``; anything else is ``other``. Six values at most.

    >>> StatusClass()("404"), StatusClass()("timeout")
    ('4xx', 'other')
    """

    other: str = OTHER

    def __post_init__(self) -> None:
        check_fields(self, {"other": TEXT}, title="StatusClass.")

    @property
    def max_values(self) -> int:
        """Five classes and ``other``."""
        return 6

    def __call__(self, value: str) -> str:
        """The class of a status code, or of a class."""
        found = _STATUS.fullmatch(value)
        return f"{found[1]}xx" if found else self.other


@dataclass(frozen=True, slots=True)
class Truncate:
    """At most ``length`` characters, the ellipsis that says so included. No bound on the number of values.

    >>> Truncate(8)("gpt-4o-mini-audio")
    'gpt-4o-…'
    """

    length: int

    def __post_init__(self) -> None:
        check_fields(self, {"length": POSITIVE}, title="Truncate.")

    @property
    def max_values(self) -> None:
        """No bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The beginning of the value."""
        return value if len(value) <= self.length else value[: self.length - 1] + "…"


@dataclass(frozen=True, slots=True)
class Forbid:
    """Never a label, whatever the value. One result: left out.

    >>> Forbid()("user-17") is None
    True
    """

    @property
    def max_values(self) -> int:
        """One, "left out": a label that is never there multiplies the series by one."""
        return 1

    def __call__(self, value: str) -> None:
        """Left out."""
        return
