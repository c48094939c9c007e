"""One check for each type of value: what it takes as an object, what it takes as text, and what it says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.values.checks import (
    BOOLEAN,
    BOUNDS,
    FACTOR,
    HOST,
    INTERVAL,
    KEY_PATTERNS,
    LONGEST_WAIT,
    PATH,
    PORT,
    POSITIVE,
    SECONDS,
    SOCKET,
    STRING,
    TEXT,
    THRESHOLD,
    Check,
    check_fields,
    instance_of,
    list_of,
    one_of,
)
from otel_prom_bridge.values.notation import nearest

SURROGATE = "\ud800"
NO_TEXTS = (None, 5, b"x", SURROGATE, ["x"])
NO_NUMBERS = (None, "5", True, math.nan, math.inf, -math.inf, -1, [1])

GOOD: list[tuple[Check, Any, Any]] = [
    (STRING, "", ""),
    (TEXT, "x", "x"),
    (PATH, Path("a/b"), "a/b"),
    (SOCKET, Path("./m.sock").absolute(), str(Path("./m.sock").absolute())),
    (HOST, " ::1 ", "::1"),
    (PORT, 0, 0),
    (PORT, 65535, 65535),
    (POSITIVE, 10**20, 10**20),
    (FACTOR, 5, 5.0),
    (SECONDS, LONGEST_WAIT, LONGEST_WAIT),
    (INTERVAL, 0, 0.0),
    (INTERVAL, 0.5, 0.5),
    (BOOLEAN, False, False),
    (THRESHOLD, 0, 0),
    (THRESHOLD, False, False),
    (BOUNDS, [1, 2.5], (1.0, 2.5)),
    (BOUNDS, (), ()),
    (KEY_PATTERNS, ["a.*"], ("a.*",)),
    (one_of("a", "b"), "b", "b"),
    (list_of(TEXT, "texts"), ["a"], ("a",)),
    (instance_of(dict, "a dict"), {}, {}),
]
BAD: list[tuple[Check, Any]] = [
    *((STRING, value) for value in NO_TEXTS),
    *((TEXT, value) for value in (*NO_TEXTS, "")),
    *((PATH, value) for value in (None, 5, b"x", "")),
    *((SOCKET, value) for value in ("m.sock", "a/\0b", "")),
    *((HOST, value) for value in (*NO_TEXTS, "", " ")),
    *((PORT, value) for value in (*NO_NUMBERS, 65536, 80.0)),
    *((POSITIVE, value) for value in (*NO_NUMBERS, 0, 1.0)),
    *((FACTOR, value) for value in (*NO_NUMBERS, 0)),
    *((SECONDS, value) for value in (*NO_NUMBERS, 0, LONGEST_WAIT + 1)),
    *((INTERVAL, value) for value in (*NO_NUMBERS, False, LONGEST_WAIT + 1)),
    *((BOOLEAN, value) for value in (None, 0, 1, "true")),
    *((THRESHOLD, value) for value in (*NO_NUMBERS, 1.0)),
    *((BOUNDS, value) for value in (None, 5, "12", [2, 1], [1, 1], [True], [math.inf], ["1"], {1: 2})),
    *((KEY_PATTERNS, value) for value in (None, "a", [1], {"a"})),
    *((one_of("a", "b"), value) for value in (None, "c", ["a"], 1)),
    *((list_of(TEXT, "texts", least=1), value) for value in (None, "a", [], [""], {"a": 1})),
    *((instance_of(int, "a number"), value) for value in (None, "1", int)),
]


@pytest.mark.parametrize(("check", "value", "expected"), GOOD)
def test_what_is_allowed(check: Check, value: Any, expected: Any) -> None:
    """The value comes back in the form in which the code uses it."""
    found = check.value("key", value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("check", "value"), BAD)
def test_what_is_not_allowed(check: Check, value: Any) -> None:
    """The error has the key, the value and what is allowed; None is the default where it may be left out."""
    with pytest.raises(ConfigurationError) as caught:
        check.value("key", value)
    assert (caught.value.key, caught.value.value, caught.value.expected) == ("key", value, check.allowed)
    assert check.optional("key", None, "default") == "default"


@given(st.text())
def test_whatever_text_is_read_or_refused(text: str) -> None:
    """No text makes a check raise anything else."""
    for check in {id(check): check for check, *_ in GOOD}.values():
        refused: list[ConfigurationError] = []
        try:
            check.text("key", text)
        except ConfigurationError as error:
            refused.append(error)
        for error in refused:
            expected, _, nearest = error.expected.partition(" (did you mean ")
            assert (error.value, expected) == (text, check.allowed_text)
            assert nearest == "" or nearest.removesuffix(")").strip("'?") in check.allowed_text


@pytest.mark.parametrize("text", ["+80", "8_0", "\uff18\uff10", "80.0", "", " 80"])
def test_whole_numbers_are_digits(text: str) -> None:
    """`int()` reads these; nobody means them."""
    with pytest.raises(ConfigurationError):
        PORT.text("key", text)
    assert PORT.text("key", "80") == 80


def test_a_secret_is_not_shown() -> None:
    """Only its type is."""
    with pytest.raises(ConfigurationError) as caught:
        replace(STRING, secret=True).value("key", b"my password")
    assert str(caught.value) == "key: a value of type bytes is not allowed, expected a string"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A class that says what its fields may be."""

    port: int = 1
    name: str | None = None
    bounds: Any = field(default=())

    def __post_init__(self) -> None:
        check_fields(self, {"port": PORT, "name": TEXT, "bounds": BOUNDS}, title="Settings.")


WRONG_FIELDS: list[tuple[Mapping[str, Any], str]] = [
    ({"port": None}, "Settings.port"),
    ({"port": -1}, "Settings.port"),
    ({"name": ""}, "Settings.name"),
    ({"bounds": [2, 1]}, "Settings.bounds"),
]


def test_fields_of_a_class() -> None:
    """They have the checked values afterwards. None is allowed where it is the default."""
    settings = Settings(bounds=[1, 2])
    assert (settings.port, settings.name, settings.bounds) == (1, None, (1.0, 2.0))


@pytest.mark.parametrize(("fields", "key"), WRONG_FIELDS)
def test_wrong_fields_of_a_class(fields: Mapping[str, Any], key: str) -> None:
    """The error names class and field."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**fields)
    assert caught.value.key == key


@given(st.text(min_size=1), st.lists(st.text(min_size=1), max_size=5))
def test_the_nearest_name(name: str, names: list[str]) -> None:
    """It is one of the names, and the name itself if that is among them."""
    found = nearest(name, names)
    assert found is None or found in names
    if name.lower() in names:
        assert found is not None
        assert found.lower() == name.lower()
