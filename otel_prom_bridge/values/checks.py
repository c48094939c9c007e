"""What a value may be. There is one check for each type of value, and every way in uses it.

A value arrives as a Python object or as text. Arguments, TOML and YAML give objects; environment variables
give text. A check first *reads* text into the object that YAML would have held. Whether the value is allowed
is then decided in one place, so the same mistake gets the same answer wherever it was made.

This module imports nothing of the package but the common words, so everybody may use it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, TypeGuard

from otel_prom_bridge.errors import ConfigurationError, Described
from otel_prom_bridge.families import is_legacy_label, is_legacy_name
from otel_prom_bridge.values.notation import is_list, listed, nearest
from otel_prom_bridge.values.patterns import Filter, filter_of, glob

# The longest time that anything here waits: eleven days. A wait has to fit into the number in which the
# system counts it, and the milliseconds of epoll end at 24 days.
LONGEST_WAIT = 1_000_000.0


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a number. NaN and infinity are numbers; ``True`` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, lowest: float = 1, highest: float = math.inf) -> TypeGuard[int]:
    """Whether this is a whole number within these limits. ``True`` is not."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def is_text(value: object) -> TypeGuard[str]:
    """Whether this is a string that can be written as UTF-8; it may be empty. A lone surrogate cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A type of value, and what is said about a value that is not of it.

    ``allowed`` says in words what is allowed, for messages and for the documentation. ``check`` returns the
    value in the form in which the code uses it, or raises ValueError, TypeError or OverflowError. ``read``
    turns text into what ``check`` takes; it may return text that makes no sense as it is, because ``check``
    refuses it then. ``example`` shows how the value is written as text where that is not obvious. ``secret``
    keeps the value out of messages: they name its type instead.
    """

    allowed: str
    check: Callable[[Any], Any]
    read: Callable[[str], object] = str
    example: str = ""
    secret: bool = False

    @property
    def allowed_text(self) -> str:
        """What is allowed as text."""
        return f"{self.allowed}, written like {self.example!r}" if self.example else self.allowed

    def value(self, key: str, value: object) -> Any:
        """The checked value; raises :class:`ConfigurationError`."""
        shown = Described(f"a value of type {type(value).__name__}") if self.secret else value
        return _checked(key, shown, lambda: self.check(value), self.allowed)

    def optional(self, key: str, value: object, default: object = None) -> Any:
        """The checked value, or the default for None."""
        return default if value is None else self.value(key, value)

    def text(self, key: str, text: str) -> Any:
        """The checked value that this text stands for; raises :class:`ConfigurationError`."""
        return _checked(key, text, lambda: self.check(self.read(text)), self.allowed_text)


def _checked(key: str, shown: object, check: Callable[[], Any], allowed: str) -> Any:
    try:
        return check()
    except ConfigurationError as error:  # about a part of the value, which its key names
        raise error.renamed(f"{key}{error.key}") from None
    except _NoWordError as error:
        raise ConfigurationError(key, shown, f"{allowed} (did you mean {error.meant!r}?)") from None
    except (ValueError, TypeError, OverflowError):
        raise ConfigurationError(key, shown, allowed) from None


def check_fields(instance: Any, checks: Mapping[str, Check], *, title: str = "") -> None:
    """Replace fields of a frozen dataclass by their checked values.

    A field whose default is None may be None. The keys of errors begin with ``title``.

    Raises:
        ConfigurationError: a field has a value that is not allowed.
    """
    may_be_none = {field.name for field in fields(instance) if field.default is None}
    for key, check in checks.items():
        value = getattr(instance, key)
        if value is not None or key not in may_be_none:
            object.__setattr__(instance, key, check.value(f"{title}{key}", value))


def _string(value: object) -> str:
    if not is_text(value):
        raise ValueError
    return value


def _text(value: object) -> str:
    if not (is_text(value) and value):
        raise ValueError
    return value


def _host(value: object) -> str:
    host = _string(value).strip()
    if not host:  # a socket would take it for all addresses of the machine
        raise ValueError
    name, _, port = host.partition(":")
    if "/" in host or (port.isdigit() and name != "systemd"):
        raise ValueError
    return host


def _path(value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    path = os.fspath(value)
    if not isinstance(path, str) or not path:
        raise ValueError
    return path


def _socket(value: object) -> str:
    path = _path(value)
    if "/" not in path or "\0" in path:
        raise ValueError
    return path


def _threshold(value: object) -> int | bool:
    if value is False:
        return False
    if not is_whole(value, 0):
        raise ValueError
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _positive(value: object) -> float:
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError
    return float(value)


def _seconds(value: object) -> float:
    if (seconds := _positive(value)) > LONGEST_WAIT:
        raise ValueError
    return seconds


def read_whole(text: str) -> object:
    """A whole number that is written as text, or the text itself where it is none.

    Only digits are read. ``int()`` would also take "+80", "9_464" and the digits of other scripts.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text


def _bounds(value: object) -> tuple[float, ...]:
    if not is_list(value):
        raise TypeError
    bounds = tuple(float(bound) for bound in value if is_number(bound))
    if (
        len(bounds) < len(value)
        or not all(map(math.isfinite, bounds))
        or any(b <= a for a, b in pairwise(bounds))
    ):
        raise ValueError
    return bounds


def _patterns(value: object) -> Filter:
    chosen = filter_of(value)
    for pattern in (item for items in value.values() for item in items or ()):  # type: ignore[attr-defined]
        if not pattern:
            raise ValueError
        _string(pattern)
    return chosen


def _read_patterns(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in read_list(text):
        key = "excluded" if item.startswith("!") else "included"
        found.setdefault(key, []).append(item.removeprefix("!").strip())
    return found


def _key_patterns(value: object) -> tuple[str, ...]:
    glob(value)
    return tuple(value)  # type: ignore[arg-type]  # glob() refuses what is no list


def _common_labels(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise TypeError
    found = {}
    for label, keys in value.items():
        keys = (keys,) if isinstance(keys, str) else tuple(keys)
        if not is_legacy_label(label) or label.startswith("__") or label in ("le", "quantile") or not keys:
            raise ValueError
        found[label] = tuple(map(_text, keys))
    return found


def _read_common_labels(text: str) -> dict[str, list[str]]:
    pairs = (item.partition("=") for item in read_list(text))
    return {label.strip(): [key.strip() for key in keys.split("|")] for label, _, keys in pairs}


def _names(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    if not all(isinstance(name, str) and is_legacy_name(name) for pair in value.items() for name in pair):
        raise ValueError
    return dict(value)


def read_list(text: str) -> list[str]:
    """The items of a list that is written as text, with commas between them."""
    return [item.strip() for item in text.split(",")]


class _NoWordError(ValueError):
    """A value, or a part of it, is none of some words, and this one was probably meant."""

    def __init__(self, meant: str) -> None:
        super().__init__(meant)
        self.meant = meant


def no_word(value: object, words: Sequence[str]) -> ValueError:
    """The error about what is none of these words. Of several, it says which one was probably meant."""
    near = nearest(value, words) if isinstance(value, str) and len(words) > 1 else None
    return _NoWordError(near) if near else ValueError()


def one_of(*words: str) -> Check:
    """A check for one of these words."""
    allowed = f"one of {listed(words)}"

    def check(value: object) -> str:
        if value in words:
            return words[words.index(value)]
        raise no_word(value, words)

    return Check(allowed=allowed, check=check)


def instance_of(kind: Any, allowed: str) -> Check:
    """A check for the instances of a class."""

    def check(value: object) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return Check(allowed=allowed, check=check)


def list_of(item: Check, allowed: str, *, least: int = 0, example: str = "") -> Check:
    """A check for lists of at least ``least`` values, each of which passes the check ``item``."""

    def check(value: object) -> tuple[Any, ...]:
        if not is_list(value):
            raise TypeError
        if len(value) < least:
            raise ValueError
        return tuple(map(item.check, value))

    return Check(allowed=allowed, check=check, read=read_list, example=example)


def whole(lowest: int, highest: float = math.inf) -> Check:
    """A check for whole numbers within these limits."""

    def check(value: object) -> int:
        if not is_whole(value, lowest, highest):
            raise ValueError
        return value

    limits = f"of at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
    return Check(allowed=f"a whole number {limits}", check=check, read=read_whole)


STRING = Check(allowed="a string", check=_string)
TEXT = Check(allowed="a string that is not empty", check=_text)
PATH = Check(allowed="the path of a file", check=_path)
SOCKET = Check(allowed="a path with a slash in it", check=_socket)
HOST = Check(allowed="a host name or an IP address, without a port", check=_host)
PORT = whole(0, 65535)
POSITIVE = whole(1)
BOUND = Check(allowed="a whole number, 0 for no limit", check=whole(0).check, read=read_whole)
INTERVAL = Check(
    allowed=f"a number of seconds up to {LONGEST_WAIT:.0f}, 0 for never",
    check=lambda value: 0.0 if value == 0 and not isinstance(value, bool) else _seconds(value),
    read=float,
)
FACTOR = Check(allowed="a finite number above zero", check=_positive, read=float)
SECONDS = Check(
    allowed=f"a number of seconds above zero, up to {LONGEST_WAIT:.0f}", check=_seconds, read=float
)
BOOLEAN = Check(
    allowed="true or false",
    check=_boolean,
    read=lambda text: {"true": True, "false": False}.get(text.lower(), text),
)
THRESHOLD = Check(
    allowed="a whole number of bytes, or false for never",
    example="1024",
    check=_threshold,
    read=lambda text: False if text.lower() == "false" else read_whole(text),
)
BOUNDS = Check(
    allowed="a list of finite numbers, each greater than the one before",
    example="0.1,0.5,1",
    check=_bounds,
    read=lambda text: [float(item) for item in read_list(text)],
)
PATTERNS = Check(
    allowed="a mapping with 'included' or 'excluded' or both, lists of patterns with '*' and '?'",
    example="service.*,!service.instance.id",
    check=_patterns,
    read=_read_patterns,
)
KEY_PATTERNS = Check(allowed="a list of attribute keys, with '*' and '?'", check=_key_patterns)
COMMON_LABELS = Check(
    allowed="a mapping of labels (of letters, digits and '_'; not 'le', 'quantile' or '__…') to resource"
    " attributes, each a key or a list of keys",
    example="service=service.name,environment=deployment.environment.name|deployment.environment",
    check=_common_labels,
    read=_read_common_labels,
)
NAMES = Check(
    allowed="a mapping of names of metrics to other names",
    example="otel_prom_bridge_series=metrics_series",
    check=_names,
    read=lambda text: {name: other for name, _, other in (item.partition("=") for item in read_list(text))},
)
# A value that only Python code can give.
FUNCTION = instance_of(Callable, "a function from an attribute's key to True or False, or None")
