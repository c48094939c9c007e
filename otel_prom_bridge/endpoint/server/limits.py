"""How long to wait for whom, and how much of everything there may be.

All waits of one kind last equally long, so the order in which they began is the order in which they end: one
dictionary per kind is its own queue. The clock is monotonic; the wall clock may jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from otel_prom_bridge.endpoint.server.client import Client, Wait
from otel_prom_bridge.values.checks import POSITIVE, SECONDS, check_fields, instance_of

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MOST_CONNECTIONS, _FEWEST_CONNECTIONS = 512, 8
_TIMEOUTS = (
    "head_timeout",
    "handshake_timeout",
    "write_timeout",
    "idle_timeout",
    "linger_timeout",
    "worker_idle_timeout",
)
_CHECKS = {**dict.fromkeys(_TIMEOUTS, SECONDS), "max_connections": POSITIVE, "max_in_flight": POSITIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """The deadlines and bounds of a server; the defaults suit scrapers on a network that is not only theirs.

    ``max_connections``: None is a quarter of the file descriptors that the process may have, 512 at most.

    Raises:
        ConfigurationError: a number of seconds is none that can be waited for, or a bound none.
    """

    head_timeout: float = 5.0
    handshake_timeout: float = 5.0
    write_timeout: float = 10.0
    idle_timeout: float = 120.0
    linger_timeout: float = 2.0
    max_connections: int | None = None
    max_in_flight: int = 40
    worker_idle_timeout: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)

    @property
    def waits(self) -> Mapping[Wait, float]:
        """How many seconds each wait lasts. A response is made without a deadline: that is its maker's."""
        return {
            Wait.HANDSHAKE: self.handshake_timeout,
            Wait.HEAD: self.head_timeout,
            Wait.IDLE: self.idle_timeout,
            Wait.WRITE: self.write_timeout,
            Wait.LINGER: self.linger_timeout,
        }

    @property
    def most_connections(self) -> int:
        """How many connections there may be."""
        if self.max_connections is not None:
            return self.max_connections
        descriptors = -1 if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors < 0:  # without a limit
            return _MOST_CONNECTIONS
        return max(_FEWEST_CONNECTIONS, min(_MOST_CONNECTIONS, descriptors // 4))


LIMITS = instance_of(ServerLimits, "ServerLimits, or None")


class Deadlines:
    """The deadlines of all clients; a client has one at most."""

    def __init__(self, waits: Mapping[Wait, float]) -> None:
        self._seconds = waits
        self._queues: dict[Wait, dict[Client, float]] = {wait: {} for wait in waits}

    def start(self, client: Client, wait: Wait, now: float) -> None:
        """Wait for this client from now on; what it was waited for before does not matter any more."""
        self.cancel(client)
        client.wait = wait
        if wait in self._queues:
            self._queues[wait][client] = now + self._seconds[wait]

    def cancel(self, client: Client) -> None:
        """This client is waited for no longer."""
        if client.wait in self._queues:
            self._queues[client.wait].pop(client, None)

    def next(self) -> float | None:
        """When the first of all deadlines passes."""
        firsts = [next(iter(queue.values())) for queue in self._queues.values() if queue]
        return min(firsts, default=None)

    def passed(self, now: float) -> list[Client]:
        """The clients whose deadline has passed."""
        return [client for queue in self._queues.values() for client in _late(queue, now)]

    def oldest(self, *waits: Wait) -> Client | None:
        """Who has been waited for longest, for the first of these that anybody is waited for."""
        for wait in waits:
            if queue := self._queues[wait]:
                return next(iter(queue))
        return None


def _late(queue: Mapping[Client, float], now: float) -> Iterator[Client]:
    for client, deadline in queue.items():
        if deadline > now:
            return
        yield client
