"""Who asks: addresses, networks, and what proxies say about them."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.values.checks import STRING, Check, list_of, read_list

IPAddress = IPv4Address | IPv6Address

UNIX = "unix"
_MAPPED = int(IPv6Address("::ffff:0.0.0.0"))
# No address is longer, and the parser need not look at kilobytes of text.
_LONGEST = 64


def address_of(text: str) -> IPAddress | None:
    """The address that a text is, or None. It never raises.

    A socket for both protocols shows an IPv4 address as one that is mapped into IPv6. That is the IPv4
    address.
    """
    if len(text) > _LONGEST:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:  # the interface that it came over does not make it another host
        address = IPv6Address(int(address))
    return address.ipv4_mapped or address


class Networks:
    """A set of networks. The entry ``unix`` stands for peers that have no address, as on a Unix socket."""

    def __init__(self, key: str, entries: Sequence[str]) -> None:
        entries = PROXIES.value(key, entries)
        self._nameless = UNIX in entries
        self._ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for network in _parsed(entries):
            first, last = int(network.network_address), int(network.broadcast_address)
            self._ranges[network.version].append((first, last))

    def __bool__(self) -> bool:
        return self._nameless or any(self._ranges.values())

    def __contains__(self, address: IPAddress | None) -> bool:
        if address is None:
            return self._nameless
        number = int(address)
        return any(first <= number <= last for first, last in self._ranges[address.version])


def _network(entry: str) -> IPv4Network | IPv6Network:
    network = ip_network(entry.strip(), strict=False)
    try:
        ip_network(entry.strip())
    except ValueError:
        expected = f"a network without bits behind its prefix, like '{network}'"
        raise ConfigurationError("", entry, expected) from None
    first = int(network.network_address)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and first >> 32 == _MAPPED >> 32:
        return IPv4Network((first & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _parsed(value: object) -> list[IPv4Network | IPv6Network]:
    entries = enumerate(_ENTRIES.check(value))
    return [_NETWORK.value(f"[{number}]", entry) for number, entry in entries if entry != UNIX]


def _entries(value: object) -> tuple[str, ...]:
    _parsed(value)
    return tuple(_ENTRIES.check(value))


def _some(value: object) -> tuple[str, ...]:
    # No list at all means "everybody". An empty one may mean "nobody", or it may be a template whose values
    # are missing. It must not become "everybody".
    if not value:
        raise ValueError
    return _entries(value)


_NETWORK = Check(
    allowed=f"networks like '10.0.0.0/8', addresses, or {UNIX!r} for peers without an address", check=_network
)
_ENTRIES = list_of(STRING, f"a list of {_NETWORK.allowed}")
PROXIES = Check(allowed=_ENTRIES.allowed, example=f"10.0.0.7,{UNIX}", check=_entries, read=read_list)
NETWORKS = Check(
    allowed=f"{_ENTRIES.allowed}, at least one", example="10.0.0.0/8,::1", check=_some, read=read_list
)


class OriginError(Exception):
    """Nobody can say who asks."""


class ClientAddresses:
    """Tells who asks: the peer, or whoever a trusted proxy says it asks for."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted

    def of(self, peer: str | None, forwarded: str | None) -> IPAddress | None:
        """The address of the client, None if it has none.

        Raises:
            OriginError: the peer's address, or what a trusted proxy says, is no address.
        """
        address = _required(peer) if peer else None
        if not (forwarded and forwarded.strip()) or address not in self._trusted:
            return address
        # Every proxy appends whom it heard from. So only what trusted proxies wrote, at the end, is evidence.
        # A client may send whatever it likes in front of that.
        for entry in reversed(forwarded.split(",")):
            address = _required(_without_port(entry.strip()))
            if address not in self._trusted:
                break
        return address

    def may_speak_for_others(self, peer: str | None) -> bool:
        """Whether the peer is a trusted proxy, so that its own address says nothing yet. It never raises."""
        address = address_of(peer) if peer else None
        return (address is not None or not peer) and address in self._trusted


def _required(text: str) -> IPAddress:
    address = address_of(text)
    if address is None:
        raise OriginError
    return address


def _without_port(entry: str) -> str:
    """Some proxies write ``192.0.2.1:4711`` and ``[2001:db8::1]:4711``."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, _ = entry.partition(":")
    return host if colon and entry.count(":") == 1 else entry
