"""Who is waited for: in which way, since when, and how long that may still take.

``conversations.py`` has the table of the ways, and does what it says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeAlias

from otel_prom_bridge.endpoint.messages import Request
from otel_prom_bridge.endpoint.server.client import Client, Encrypted, Plain
from otel_prom_bridge.native import Socket

# Nobody is cut off who took a part of a response within so many seconds. With 512 connections, this lets
# 25,000 clients come in each second who do not read, before one who comes then hears that there is no room.
_STALLED_SECONDS = 0.02


class Wait(Enum):
    """What a client is waited for."""

    HANDSHAKE = "the TLS handshake"
    HEAD = "the head of a request"
    BODY = "the body of a request"
    IDLE = "another request"
    ANSWER = "the response to be made"
    WRITE = "the response to be taken"
    LINGER = "the end, after the last response"
    CLOSED = "nothing"


class Conversation(Client):
    """A client, what it is waited for, and what the selector watches its socket for.

    ``request`` is one whose body is not complete yet, and ``held`` is how much of bodies it has in memory.
    """

    __slots__ = ("held", "interest", "request", "wait")

    def __init__(self, sock: Socket, peer: str | None, channel: Plain | Encrypted) -> None:
        super().__init__(sock, peer, channel)
        self.wait: Wait | None = None
        self.interest = 0
        self.request: Request | None = None
        self.held = 0

    def abandon(self) -> None:
        """Close the descriptor and do nothing else."""
        self.wait = Wait.CLOSED
        super().abandon()


_Since: TypeAlias = tuple[float, Conversation]


class Deadlines:
    """The deadlines of all clients. A client has one at most."""

    def __init__(self, waits: Mapping[Wait, float]) -> None:
        self._seconds = waits
        self._queues: dict[Wait, dict[Conversation, float]] = {wait: {} for wait in waits}

    def start(self, client: Conversation, wait: Wait, now: float) -> None:
        """Wait for this client from now on. What it was waited for before does not matter any more."""
        self.cancel(client)
        client.wait = wait
        if wait in self._queues:
            self._queues[wait][client] = now + self._seconds[wait]

    def cancel(self, client: Conversation) -> None:
        """Wait for this client no longer."""
        if client.wait in self._queues:
            self._queues[client.wait].pop(client, None)

    def next(self) -> float | None:
        """When the first of all deadlines passes, or None if there is none."""
        firsts = [next(iter(queue.values())) for queue in self._queues.values() if queue]
        return min(firsts, default=None)

    def passed(self, now: float) -> list[Conversation]:
        """The clients whose deadline has passed."""
        return [client for queue in self._queues.values() for client in _late(queue, now)]

    def oldest(self, wait: Wait) -> _Since | None:
        """Who has been waited for longest in this way, and since when."""
        for client, deadline in self._queues[wait].items():
            return deadline - self._seconds[wait], client
        return None


def _late(queue: Mapping[Conversation, float], now: float) -> Iterator[Conversation]:
    for client, deadline in queue.items():
        if deadline > now:
            return
        yield client


class Readers:
    """Those whose response did not fit into their buffers at once, and when each took a part of it.

    The kernel says that there is room again when a good part of its megabytes has been taken. Whoever reads
    slowly may be at that for longer than a flood needs to come around, so the kernel is asked for the rest.
    """

    def __init__(self) -> None:
        # In each, who waits for longest comes first: since when, and how much it had not taken then.
        self._never: dict[Conversation, tuple[float, int | None]] = {}
        self._before: dict[Conversation, tuple[float, int | None]] = {}

    def begin(self, client: Conversation) -> None:
        """There is no room for more of its response."""
        self._never[client] = (time.monotonic(), client.untaken)

    def took(self, client: Conversation) -> None:
        """There was room for a part of it."""
        self.end(client)
        self._before[client] = (time.monotonic(), client.untaken)

    def end(self, client: Conversation) -> None:
        """It has all of its response, or is gone."""
        self._never.pop(client, None)
        self._before.pop(client, None)

    @property
    def silent(self) -> _Since | None:
        """Who has taken nothing of its response for longest, and never did."""
        return self._stalled(self._never)

    @property
    def slowest(self) -> _Since | None:
        """Who has taken nothing of its response for longest, but did before."""
        return self._stalled(self._before)

    def _stalled(self, readers: Mapping[Conversation, tuple[float, int | None]]) -> _Since | None:
        for client, (since, before) in list(readers.items()):
            now = client.untaken
            # With nothing left it is us for whom it waits.
            if now is None or before is None or now >= before > 0:
                return (since, client) if time.monotonic() - since >= _STALLED_SECONDS else None
            self.took(client)
        return None
