"""What a view can compute a label from.

A computation is called once per new attribute set with the attributes as they were recorded. It returns the
label's value, or None for no label. Any function will do. If a computation also says which ``attributes`` it
reads, the SDK can leave out the others (see ``sdk_views.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from otel_prom_bridge.values.checks import POSITIVE, STRING, TEXT, Check, check_fields
from otel_prom_bridge.values.notation import is_list

Computation: TypeAlias = Callable[[Mapping[str, object]], object]

# The codes of gRPC in their order from 0, and the HTTP statuses that they stand for. With these, what is an
# error for a server (500 and above) and for a client (400 and above) is what the conventions say of gRPC.
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/#grpc-status
_RPC: Mapping[str, int] = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
_STATUSES_OF_RPC = {**_RPC, **{str(code): status for code, status in enumerate(_RPC.values())}}


def _keys(value: object) -> tuple[str, ...]:
    if isinstance(value, str):  # its letters would be the keys
        return (TEXT.value("", value),)
    if not is_list(value) or not value:
        raise TypeError
    return tuple(TEXT.value(f"[{number}]", item) for number, item in enumerate(value))


KEYS = Check(allowed="an attribute key, or a list of them", check=_keys)
_OUTCOME = {
    **dict.fromkeys(("success", "error", "error_attribute"), TEXT),
    "error_status": POSITIVE,
    "status_attribute": KEYS,
}


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The value of the first of these attributes that is there, or else the default.

    Raises:
        ConfigurationError: there are no attribute keys, or the default is not a string.

    >>> FirstOf(("gen_ai.provider.name", "gen_ai.system"), default="unknown")({"gen_ai.system": "openai"})
    'openai'
    """

    attributes: Sequence[str]
    default: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, {"attributes": KEYS, "default": STRING}, title="FirstOf.")

    def __call__(self, attributes: Mapping[str, object]) -> object:
        """The value for an attribute set."""
        for key in self.attributes:
            value = attributes.get(key)
            if value is not None:
                return value
        return self.default


@dataclass(frozen=True, slots=True)
class Completed:
    """Another computation, where some attributes are ``known`` although they were not recorded.

    >>> Completed(FirstOf("gen_ai.token.type"), {"gen_ai.token.type": "input"})({})
    'input'
    """

    compute: Computation
    known: Mapping[str, str]

    @property
    def attributes(self) -> tuple[str, ...] | None:
        """The attributes that the other one reads."""
        return attributes_of(self.compute)

    def __call__(self, attributes: Mapping[str, object]) -> object:
        """The value for an attribute set."""
        return self.compute({**self.known, **attributes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``error`` if there is an error type or the status of an error, else ``success``.

    ``status_attribute`` is the attribute with the status, or a list of attributes, each of which may say that
    the operation failed. A status is one of HTTP. In an attribute of ``rpc.…`` it is a code of gRPC, which
    counts as the HTTP status that it stands for. ``error_status`` is the lowest status that counts as an
    error. The default, 500, is right for a server, because the client is to blame for lower ones. Use 400 for
    a client.
    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status

    Raises:
        ConfigurationError: an argument has a value that is not allowed.

    >>> Outcome()({"http.response.status_code": 503}), Outcome()({})
    ('error', 'success')
    """

    success: str = "success"
    error: str = "error"
    error_status: int = 500
    error_attribute: str = "error.type"
    status_attribute: str | Sequence[str] = "http.response.status_code"

    def __post_init__(self) -> None:
        check_fields(self, _OUTCOME, title="Outcome.")

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it reads."""
        return (self.error_attribute, *self.status_attribute)

    @property
    def max_values(self) -> int:
        """Success and error."""
        return 2

    def __call__(self, attributes: Mapping[str, object]) -> str:
        """The value for an attribute set."""
        if attributes.get(self.error_attribute):
            return self.error
        for key in self.status_attribute:
            if key in attributes and _status(key, str(attributes[key])) >= self.error_status:
                return self.error
        return self.success


def _status(key: str, text: str) -> int:
    if key.startswith("rpc."):
        return _STATUSES_OF_RPC.get(text, 0)
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 0


def computation(value: object) -> Computation:
    """The computation that an attribute's key, a list of keys, or a function stands for.

    Raises ValueError or TypeError for anything else, and for a computation that reads no attribute.
    """
    if isinstance(value, type):  # Outcome instead of Outcome()
        raise TypeError("a class")
    if not callable(value):
        return FirstOf(value)  # type: ignore[arg-type]  # it checks its argument
    if not getattr(value, "attributes", True):
        raise ValueError("a computation from nothing")
    return value


def attributes_of(compute: Computation) -> tuple[str, ...] | None:
    """The attributes that a computation reads, or None if it may read any."""
    attributes = getattr(compute, "attributes", None)
    return tuple(attributes) if isinstance(attributes, tuple | list | set | frozenset) else None
