"""How often somebody may ask: token buckets.

A bucket is one number: the time at which it will be full again. Taking a token moves that time by one
interval. A bucket whose time has passed is full, so it need not be remembered at all. This is the generic
cell rate algorithm, which admits exactly what a bucket of ``burst`` tokens does.

The number of buckets for peers is bounded. When there is no room, the bucket that was used longest ago is
forgotten. To be forgotten early, a client needs as many addresses as there is room for. With those it may
send that many times the limit anyway, which is what the limit for all clients together is for.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

from otel_prom_bridge.endpoint.guards.networks import IPAddress
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Lock
from otel_prom_bridge.values.checks import FACTOR, POSITIVE, check_fields, instance_of

MAX_PEERS = 4096
# A host on IPv6 has a network of this size for itself, and it may change its address with every request.
_HOST_BITS = 64
# Sums of intervals are not exact. A request is not too early for that.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """``burst`` requests at once, and one more for every ``interval`` seconds."""

    interval: float
    burst: int

    def __post_init__(self) -> None:
        check_fields(self, {"interval": FACTOR, "burst": POSITIVE})

    @property
    def slack(self) -> float:
        """How far ahead of time a bucket may be full and still give a token."""
        return self.interval * (self.burst - 1)


LIMIT = instance_of(RateLimit, "a RateLimit, like `RateLimit(interval=0.1, burst=20)`, or None")


class Limiter:
    """A limit for all requests together, one for each client, or both. Safe to use from any thread."""

    def __init__(self, *, rate_limit: RateLimit | None, peer_rate_limit: RateLimit | None) -> None:
        self._rate_limit = rate_limit
        self._peer_rate_limit = peer_rate_limit
        self.renew()
        renew_in_child(self)
        self._full = -math.inf
        self._peers: OrderedDict[object, float] = OrderedDict()

    def renew(self) -> None:
        """In a forked child: no thread is there to release the lock."""
        self._lock = Lock()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._peers)

    def wait(self, client: IPAddress | None, now: float) -> float:
        """How many seconds until a request of this client would pass. This takes no token."""
        with self._lock:
            return self._wait(host_of(client), now)

    def take(self, client: IPAddress | None, now: float) -> float:
        """The same, but if it is 0, the request has passed and is counted."""
        host = host_of(client)
        with self._lock:
            wait = self._wait(host, now)
            if wait <= 0:
                self._count(host, now)
            return wait

    def _wait(self, host: object, now: float) -> float:
        wait = 0.0
        if self._rate_limit is not None:
            wait = self._full - now - self._rate_limit.slack
        if self._peer_rate_limit is not None:
            wait = max(wait, self._peers.get(host, -math.inf) - now - self._peer_rate_limit.slack)
        return wait if wait > _ROUNDING else 0.0

    def _count(self, host: object, now: float) -> None:
        if self._rate_limit is not None:
            self._full = max(self._full, now) + self._rate_limit.interval
        if self._peer_rate_limit is not None:
            self._peers[host] = max(self._peers.get(host, -math.inf), now) + self._peer_rate_limit.interval
            self._peers.move_to_end(host)
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Forget two buckets at most, so that no request pays for a flood, and the full ones still go."""
        for host, full in list(islice(self._peers.items(), 2)):
            if full > now and len(self._peers) <= MAX_PEERS:
                return
            del self._peers[host]


def host_of(client: IPAddress | None) -> object:
    """What stands for a client where clients are counted."""
    if client is None or client.version == 4:
        return client
    return int(client) >> (128 - _HOST_BITS)
