"""Who asks: networks, folded addresses, and what proxies say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.endpoint.guards.networks import ClientAddresses, Networks, OriginError, address_of
from otel_prom_bridge.errors import ConfigurationError


@pytest.mark.parametrize(
    ("entry", "peer", "inside"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "::ffff:a01:203", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.1.2.3", False),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", "1.2.3.4", True),
        (" 10.0.0.0/8 ", "10.0.0.1", True),
    ],
)
def test_membership(entry: str, peer: str, inside: bool) -> None:
    """An address is in a network whichever way a socket spells it."""
    address = address_of(peer)
    assert address is not None
    assert (address in Networks("allow", [entry])) is inside


@pytest.mark.parametrize(
    "entry", ["", "10.0.0.0/33", "localhost", "10.0.0", "1.2.3.4/-1", "10.0.0.0/8/8", "*"]
)
def test_what_is_no_network(entry: str) -> None:
    """Something that is no network is refused when it is given, with the place in the list."""
    with pytest.raises(ConfigurationError, match=r"^allow\[1\]: .* is not allowed, expected networks like"):
        Networks("allow", ["10.0.0.0/8", entry])


def test_bits_behind_the_prefix() -> None:
    """A network with bits behind its prefix is refused, and the network that was probably meant is shown."""
    with pytest.raises(ConfigurationError, match=r"like '10\.1\.0\.0/16'"):
        Networks("allow", ["10.1.2.3/16"])


@pytest.mark.parametrize("entries", ["10.0.0.0/8", [1], [None], None, 7, b"10.0.0.1"])
def test_what_is_no_list(entries: object) -> None:
    """A single string is not taken for a list of its letters, and numbers are not taken for addresses."""
    with pytest.raises(ConfigurationError):
        Networks("allow", entries)  # type: ignore[arg-type]


def test_peers_without_address() -> None:
    """Only the entry ``unix`` stands for peers that have no address."""
    assert None in Networks("allow", ["unix"])
    assert None not in Networks("allow", ["0.0.0.0/0", "::/0"])
    assert not Networks("allow", [])
    assert Networks("allow", ["unix"])


PROXIES = ClientAddresses(Networks("trusted_proxies", ["10.0.0.0/8", "unix"]))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", " ", "10.0.0.1"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),
        (None, "192.0.2.7", "192.0.2.7"),
        ("", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.1", "127.0.0.1", "192.0.2.1"),  # not a proxy of ours: not believed
        ("10.0.0.1", "127.0.0.1, 192.0.2.7", "192.0.2.7"),  # the client wrote the first one itself
        ("10.0.0.1", "nonsense, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_the_client_behind_proxies(peer: str | None, forwarded: str | None, client: str) -> None:
    """What trusted proxies wrote at the end of the header counts, and nothing else."""
    assert str(PROXIES.of(peer, forwarded)) == client


@pytest.mark.parametrize(
    "forwarded", ["unknown", "192.0.2.7,", "_hidden", "1" * 5000, "192.0.2.7;10.0.0.1", "[", ":"]
)
def test_what_a_proxy_must_not_say(forwarded: str) -> None:
    """If a trusted proxy says something that is no address, nobody can say who asks."""
    with pytest.raises(OriginError):
        PROXIES.of("10.0.0.1", forwarded)


def test_a_peer_that_is_no_address() -> None:
    """A framework that calls the peer something else does not make it one of those without address."""
    with pytest.raises(OriginError):
        PROXIES.of("localhost", None)


@given(
    st.one_of(st.none(), st.text(), st.ip_addresses().map(str)),
    st.text(st.one_of(st.sampled_from("0123456789abcdef.:,[]% "), st.characters())),
)
def test_a_stranger_cannot_become_an_insider(peer: str | None, header: str) -> None:
    """No peer outside of the trusted proxies changes who it is with a header; none raises anything else."""
    origins = ClientAddresses(Networks("trusted_proxies", ["10.0.0.0/8"]))
    try:
        client = origins.of(peer, header)
    except OriginError:
        return
    if address_of(peer or "") is None or address_of(peer or "") not in Networks("n", ["10.0.0.0/8"]):
        assert client == (address_of(peer) if peer else None)


@given(st.text(st.one_of(st.sampled_from("0123456789abcdef.:,[]% "), st.characters())))
def test_a_proxy_cannot_be_talked_into_an_insider(prefix: str) -> None:
    """Whatever a client sends in front, it remains the address that the trusted proxy saw."""
    assert str(PROXIES.of("10.0.0.1", f"{prefix}, 192.0.2.7")) == "192.0.2.7"
