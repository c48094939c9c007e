"""What an option may be: one check per type of value, whichever way the value came.

A value comes as a Python object (from an argument, or from YAML, which has the same types) or as text (from
an environment variable). Text is only *read* here, into what YAML would have held; the check is one.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prometheus_client import CollectorRegistry

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import is_legacy_label, is_legacy_name
from otel_prom_bridge.once import LONGEST_WAIT
from otel_prom_bridge.sdk.instruments import INSTRUMENTS
from otel_prom_bridge.translate.strategies import TranslationStrategy
from otel_prom_bridge.values.notation import listed
from otel_prom_bridge.values.patterns import Filter, filter_of
from otel_prom_bridge.values.primitives import is_number, is_text, is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A type of value.

    ``check`` gives what the reader takes, or raises ValueError, TypeError or OverflowError. ``read`` makes of
    text what ``check`` takes; text that makes no sense it may hand on, to be refused there. ``example`` shows
    how it is written as text, where that is not obvious.
    """

    allowed: str
    check: Callable[[Any], Any]
    read: Callable[[str], object] = str
    example: str = ""

    @property
    def allowed_text(self) -> str:
        """What is allowed as text."""
        return f"{self.allowed}, written like {self.example!r}" if self.example else self.allowed

    def value(self, key: str, value: object) -> Any:
        """The checked value; raises :class:`ConfigurationError`."""
        return _checked(key, value, self.check, self.allowed)

    def optional(self, key: str, value: object) -> Any:
        """The checked value, or None for None."""
        return None if value is None else self.value(key, value)

    def text(self, key: str, text: str) -> Any:
        """The checked value that this text stands for; raises :class:`ConfigurationError`."""
        return _checked(key, text, lambda given: self.check(self.read(given)), self.allowed_text)


def _checked(key: str, given: Any, check: Callable[[Any], Any], allowed: str) -> Any:
    try:
        return check(given)
    except ConfigurationError as error:  # of a part of the value
        raise ConfigurationError(f"{key}{error.key}", error.value, error.expected) from None
    except (ValueError, TypeError, OverflowError):
        raise ConfigurationError(key, given, allowed) from None


def _string(value: object) -> str:
    if not is_text(value):
        raise ValueError
    return value


def _text(value: object) -> str:
    if not (is_text(value) and value):
        raise ValueError
    return value


def _host(value: object) -> str:
    if not _string(value).strip():  # to the socket that would be all addresses of the machine
        raise ValueError
    return _string(value).strip()


def _path(value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    path = os.fspath(value)
    if not isinstance(path, str) or not path:
        raise ValueError
    return path


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _of(kind: Any) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return check


def _positive(value: object) -> float:
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError
    return float(value)


def _seconds(value: object) -> float:
    if (seconds := _positive(value)) > LONGEST_WAIT:
        raise ValueError
    return seconds


def _read_whole(text: str) -> object:
    # Nothing but digits: int() also takes "+80", "9_464" and digits of other scripts.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else text


def _bounds(value: object) -> tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError
    if not all(map(is_number, value)):
        raise TypeError
    bounds = tuple(map(float, value))
    if not all(map(math.isfinite, bounds)) or any(b <= a for a, b in pairwise(bounds)):
        raise ValueError
    return bounds


# The keys of the declarative configuration's `cardinality_limits`: counter, observable_up_down_counter, ….
INSTRUMENTS_BY_NAME = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__.lstrip("_")).lower(): kind for kind in INSTRUMENTS
}


def _instrument(value: object) -> str | type:
    if isinstance(value, str) and value in INSTRUMENTS_BY_NAME:
        return value
    if isinstance(value, type) and value in INSTRUMENTS:
        return value
    raise ValueError


_LIMIT_KEYS = ", ".join(f"'{name}'" for name in (*INSTRUMENTS_BY_NAME, "default"))


def _limits(value: object) -> dict[type, int]:
    if not isinstance(value, Mapping):
        raise TypeError
    given = {key: POSITIVE.check(limit) for key, limit in value.items() if limit is not None}
    default = given.pop("default", None)
    limits = {} if default is None else dict.fromkeys(INSTRUMENTS, default)
    for key, limit in given.items():
        kind = INSTRUMENTS_BY_NAME.get(key, key)
        if kind not in INSTRUMENTS:
            raise ValueError
        limits[kind] = limit
    return limits


def _read_limits(text: str) -> dict[str, object]:
    pairs = (item.partition("=") for item in text.split(","))
    return {key.strip(): _read_whole(value.strip()) for key, _, value in pairs}


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
    """The items of a list that is written as text."""
    return [item.strip() for item in text.split(",")]


def one_of(*allowed: str) -> Check:
    """A check of words, of which there are these."""
    return Check(allowed=f"one of {listed(allowed)}", check=lambda value: allowed[allowed.index(value)])


def whole(lowest: int, highest: float = math.inf) -> Check:
    """A check of whole numbers within these limits."""

    def check(value: object) -> int:
        if not is_whole(value, lowest, highest):
            raise ValueError
        return value

    limits = f"of at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
    return Check(allowed=f"a whole number {limits}", check=check, read=_read_whole)


STRING = Check(allowed="a string", check=_string)
TEXT = Check(allowed="a string that is not empty", check=_text)
PATH = Check(allowed="the path of a file", check=_path)
HOST = Check(allowed="a host name or an IP address", check=_host)
PORT = whole(0, 65535)
POSITIVE = whole(1)
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
STRATEGY = Check(
    allowed=f"one of {listed(strategy.value for strategy in TranslationStrategy)}",
    check=TranslationStrategy,
)
INSTRUMENT = Check(
    allowed=f"one of {listed(INSTRUMENTS_BY_NAME)}",
    check=_instrument,
)
BOUNDS = Check(
    allowed="a list of finite numbers, each greater than the one before",
    example="0.1,0.5,1",
    check=_bounds,
    read=lambda text: [float(item) for item in read_list(text)],
)
LIMITS = Check(
    allowed=f"a mapping of {_LIMIT_KEYS} to whole numbers of at least 1",
    example="counter=500,default=1000",
    check=_limits,
    read=_read_limits,
)
PATTERNS = Check(
    allowed="a mapping with 'included' or 'excluded' or both, lists of patterns with '*' and '?'",
    example="service.*,!service.instance.id",
    check=_patterns,
    read=_read_patterns,
)
COMMON_LABELS = Check(
    allowed="a mapping of labels (not 'le', 'quantile' or '__…') to resource attributes, each a key or a list"
    " of keys",
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
# What only Python can give.
FUNCTION = Check(allowed="a function from an attribute's key to True or False, or None", check=_of(Callable))
CLIENT_REGISTRY = Check(
    allowed="a prometheus_client CollectorRegistry, or None", check=_of(CollectorRegistry)
)
