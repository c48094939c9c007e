"""What options cannot say together, whichever ways they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from otel_prom_bridge.configuration.environment import is_alias
from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Given:
    """A value, the name under which it was given, and how near its way is: 0 is the nearest."""

    name: str
    value: Any
    rank: int


# An option, and the one that it is about.
_NEEDS = (
    ("rate_burst", "rate_limit"),
    ("peer_rate_burst", "peer_rate_limit"),
    ("tls_cert_file", "tls_key_file"),
    ("tls_key_file", "tls_cert_file"),
    ("tls_client_ca_file", "tls_cert_file"),
    ("tls_client_allowed_sans", "tls_client_ca_file"),
    ("tls_min_version", "tls_cert_file"),
)


def resolved(given: Mapping[str, Given]) -> dict[str, Given]:
    """What was given, without what something nearer makes pointless.

    A variable that a platform sets for everything must not keep ``start(unix_socket=...)`` from its socket.
    The other way round, nothing but a correction leads from a socket to a port: that is another audience. And
    a burst of somebody else's (``METRICS_…``) is no burst of ours.
    """
    kept = dict(given)
    socket = kept.get("unix_socket")
    for key in ("host", "port"):
        other = kept.get(key)
        if socket is not None and other is not None and (socket.rank < other.rank or is_alias(other.name)):
            del kept[key]
            if socket.rank > other.rank:
                logger.warning("%s: %s counts, so it is passed over", other.name, socket.name)
    burst = kept.get("rate_burst")
    if burst is not None and "rate_limit" not in kept and is_alias(burst.name):
        logger.warning("%s: there is no rate limit that it could be about, so it is passed over", burst.name)
        del kept["rate_burst"]
    return kept


def contradictions(given: Mapping[str, Given]) -> Iterator[ConfigurationError]:
    """What is wrong with what is left."""
    for key in ("host", "port"):
        yield from _exclusive(given, "unix_socket", key)
    for key in given:
        if key.startswith("tls_"):
            yield from _exclusive(given, "web_config", key)
    for key, needed in _NEEDS:
        is_said = key.startswith("tls_") and "web_config" in given  # by the error above
        if key in given and needed not in given and not is_said:
            found = given[key]
            yield ConfigurationError(found.name, found.value, f"{needed} beside it, or neither")


def _exclusive(given: Mapping[str, Given], key: str, other: str) -> Iterator[ConfigurationError]:
    if key in given and other in given:
        found = given[key]
        yield ConfigurationError(found.name, found.value, f"nothing beside {given[other].name}, or only that")
