"""What a view can compute a label from.

A computation is called once per new attribute set with its attributes, as recorded, and returns the label's
value, or None for no label. Any function will do; one that also says which ``attributes`` it reads lets the
SDK leave out the others (see ``sdk_views.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Computation: TypeAlias = Callable[[Mapping[str, object]], object]


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The value of the first of these attributes that is there; else the default.

    >>> FirstOf(("gen_ai.provider.name", "gen_ai.system"), default="unknown")({"gen_ai.system": "openai"})
    'openai'
    """

    attributes: Sequence[str]
    default: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attributes, str):  # its letters would be the keys
            object.__setattr__(self, "attributes", (self.attributes,))
        object.__setattr__(self, "attributes", tuple(self.attributes))

    def __call__(self, attributes: Mapping[str, object]) -> object:
        """The value for an attribute set."""
        for key in self.attributes:
            value = attributes.get(key)
            if value is not None:
                return value
        return self.default


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``error`` where there is an error type or an HTTP status of an error; else ``success``.

    ``error_status`` is the lowest status that counts as an error: 500 for a server, whose client is to blame
    for the others; use 400 for a client.
    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status

    >>> Outcome()({"http.response.status_code": 503}), Outcome()({})
    ('error', 'success')
    """

    success: str = "success"
    error: str = "error"
    error_status: int = 500
    error_attribute: str = "error.type"
    status_attribute: str = "http.response.status_code"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it reads."""
        return (self.error_attribute, self.status_attribute)

    @property
    def max_values(self) -> int:
        """Success and error."""
        return 2

    def __call__(self, attributes: Mapping[str, object]) -> str:
        """The value for an attribute set."""
        failed = bool(attributes.get(self.error_attribute))
        status = str(attributes.get(self.status_attribute, ""))
        if status.isascii() and status.isdigit() and len(status) == 3:
            failed = failed or int(status) >= self.error_status
        return self.error if failed else self.success


def computation(value: object) -> Computation:
    """The computation that a view's author wrote: an attribute's key, several, or a function.

    Raises ValueError where there is nothing to compute from, TypeError for anything else.
    """
    if isinstance(value, type):  # Outcome instead of Outcome()
        raise TypeError("a class")
    if callable(value):
        if not getattr(value, "attributes", True):
            raise ValueError("a computation from nothing")
        return value
    keys = (value,) if isinstance(value, str) else value
    if not isinstance(keys, Sequence) or not all(isinstance(key, str) for key in keys):
        raise TypeError("no attribute keys")
    if not all(keys) or not keys:
        raise ValueError("a computation from nothing")
    return FirstOf(tuple(keys))


def attributes_of(compute: Computation) -> tuple[str, ...] | None:
    """The attributes that a computation reads; None if it may read any."""
    attributes = getattr(compute, "attributes", None)
    return tuple(attributes) if isinstance(attributes, tuple | list | set | frozenset) else None
