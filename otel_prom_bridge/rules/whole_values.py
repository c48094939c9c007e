"""Rules that look at a value as a whole: by a list, a table, an expression, the first values, or a length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.native import Lock
from otel_prom_bridge.rules.rule import ONE_GROUP, OTHER, SOME_TABLE, TEXTS
from otel_prom_bridge.values.checks import POSITIVE, TEXT, check_fields

_STATUS = re.compile(r"([1-5])(?:[0-9]{2}|xx)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Allow:
    """The values of a list. Anything else is ``other``, so there is one more value than the list has.

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
        """The number of values in the list, and one for ``other``."""
        return len(self.values | {self.other})

    def __call__(self, value: str) -> str:
        """The value if it is on the list, else ``other``."""
        return value if value in self.values else self.other

    def __repr__(self) -> str:
        return f"Allow({sorted(self.values)}, other={self.other!r})"


@dataclass(frozen=True, slots=True, eq=False)
class First:
    """The first ``limit`` values that come. Later ones are ``other``, so there are ``limit`` + 1 at most.

    A value that was let in stays for the life of the object. ``other`` itself takes no place. An object
    remembers its values for every view that has it, so two objects are never equal.

    >>> first = First(2)
    >>> [first(value) for value in ("a", "b", "c", "a")]
    ['a', 'b', 'other', 'a']
    """

    limit: int
    other: str = field(default=OTHER, kw_only=True)
    _seen: set[str] = field(default_factory=set, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self, {"limit": POSITIVE, "other": TEXT}, title="First.")

    @property
    def max_values(self) -> int:
        """The limit, and one for ``other``."""
        return self.limit + 1

    def __call__(self, value: str) -> str:
        """The value if it is among the first, else ``other``."""
        if value in self._seen:
            return value
        # Values never leave, so no lock is needed to see that there is no room. A flood would wait for it.
        if value == self.other or len(self._seen) >= self.limit:
            return self.other
        with self._lock:
            if len(self._seen) < self.limit:
                self._seen.add(value)
        return value if value in self._seen else self.other


@dataclass(frozen=True, slots=True, init=False)
class Translate:
    """A table of values and what they become. Anything else is ``other``.

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
        """The number of different values in the table, and one for ``other``."""
        return len({*self.table.values(), self.other})

    def __call__(self, value: str) -> str:
        """What the value becomes by the table, else ``other``."""
        return self.table.get(value, self.other)


@dataclass(frozen=True, slots=True, init=False)
class Extract:
    """The part of a value that the group of a regular expression matches, if the value matches as a whole.

    Other values stay as they are. There is no bound on the number of values.

    >>> Extract("(.*)/[^/]*")("shop.Orders/Place"), Extract("(.*)/[^/]*")("shop.Orders")
    ('shop.Orders', 'shop.Orders')
    """

    pattern: re.Pattern[str]

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        object.__setattr__(self, "pattern", ONE_GROUP.value("Extract.pattern", pattern))

    @property
    def max_values(self) -> None:
        """None: the rule has no bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The part that the group matches, unless that is empty."""
        found = self.pattern.fullmatch(value)
        return (found[1] if found else None) or value


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusClass:
    """The class of an HTTP status code, ``1xx`` to ``5xx``. Anything else is ``other``.

    >>> StatusClass()("404"), StatusClass()("timeout")
    ('4xx', 'other')
    """

    other: str = OTHER

    def __post_init__(self) -> None:
        check_fields(self, {"other": TEXT}, title="StatusClass.")

    @property
    def max_values(self) -> int:
        """Six: the five classes, and ``other``."""
        return 6

    def __call__(self, value: str) -> str:
        """The class of a status code. A class stays what it is."""
        found = _STATUS.fullmatch(value)
        return f"{found[1]}xx" if found else self.other


@dataclass(frozen=True, slots=True)
class Truncate:
    """At most ``length`` characters, of which the last is an ellipsis if the value was longer.

    There is no bound on the number of values.

    >>> Truncate(8)("gpt-4o-mini-audio")
    'gpt-4o-…'
    """

    length: int

    def __post_init__(self) -> None:
        check_fields(self, {"length": POSITIVE}, title="Truncate.")

    @property
    def max_values(self) -> None:
        """None: the rule has no bound of its own."""
        return None

    def __call__(self, value: str) -> str:
        """The value, or its beginning if it is too long."""
        return value if len(value) <= self.length else value[: self.length - 1] + "…"


@dataclass(frozen=True, slots=True)
class Forbid:
    """Leaves the label out, whatever its value is.

    >>> Forbid()("user-17") is None
    True
    """

    @property
    def max_values(self) -> int:
        """One, because being left out is the only result."""
        return 1

    def __call__(self, value: str) -> None:
        """None for every value."""
        return
