"""What a worker and the hub agree on: addresses, names of sources, headers."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge import ConfigurationError, PushReader
from otel_prom_bridge.push import wire


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:/run/hub.sock", wire.HubAddress(path="/run/hub.sock")),
        ("unix:///run/hub.sock", wire.HubAddress(path="/run/hub.sock")),
        ("http://127.0.0.1:4318", wire.HubAddress(host="127.0.0.1", port=4318)),
        ("http://[::1]:4318/", wire.HubAddress(host="::1", port=4318)),
    ],
)
def test_addresses(text: str, expected: wire.HubAddress) -> None:
    """An address is read from text, and written so that it is read again."""
    assert wire.HUB.text("hub", text) == expected
    assert wire.HUB.text("hub", str(expected)) == expected
    assert wire.HUB.value("hub", expected) is expected


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "unix:",
        "unix:hub.sock",
        "/run/hub.sock",
        "http://localhost",
        "https://a:1",
        "http://a:1/v1/metrics",
        "http://u@a:1",
        "http://a:99999",
        "http://[a:1",
        "unix:/a\0b",
        5,
        b"unix:/a",
    ],
)
def test_wrong_addresses(wrong: object) -> None:
    """The error says what is allowed."""
    with pytest.raises(ConfigurationError, match=r"hub: .* expected the address of a hub: 'unix:' and"):
        PushReader(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["", "a b", "a\nb", "ä", 5])
def test_wrong_tokens(wrong: object) -> None:
    """A token stands in a header. The error does not show it."""
    with pytest.raises(ConfigurationError, match=f"token: a value of type {type(wrong).__name__}"):
        PushReader("unix:/a", token=wrong)  # type: ignore[arg-type]


def test_sources() -> None:
    """A name is new each time, and has the process."""
    one, other = wire.SourceName(), wire.SourceName()
    assert one != other
    assert one.pid == os.getpid()
    assert str(one) == f"{one.id};{os.getpid()}"


@given(st.frozensets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_names_in_a_header(names: frozenset[str]) -> None:
    """Any names go through a header as they are."""
    text = wire.failing_text(names)
    assert text.isascii()
    assert wire.read_failing(text) == names
