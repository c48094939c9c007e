"""All connected clients: what each is waited for, what the selector watches it for, and how it goes.

Whatever goes wrong with a client ends that client's connection and nothing else.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from functools import partial

from otel_prom_bridge.endpoint.server.client import Client, Wait
from otel_prom_bridge.endpoint.server.limits import Deadlines, ServerLimits
from otel_prom_bridge.endpoint.server.log import RateLimitedLog

# Who goes first when there is no room: who was answered, who never asked, who asked before.
_EVICTABLE = (Wait.LINGER, Wait.HANDSHAKE, Wait.HEAD, Wait.IDLE)

# Idle connections stay so much longer than was said. A timeout is a round number, and so is the interval of a
# scraper: if both are the same, its next request and our end of the connection meet, and a VictoriaMetrics
# with a short timeout loses that scrape (it sleeps for a second before it tries again).
_IDLE_GRACE = 0.5


class Clients:
    """The clients of a loop; for the thread of the loop only.

    ``serve`` is called with a client for which the selector has news.
    """

    def __init__(
        self, selector: selectors.BaseSelector, log: RateLimitedLog, *, limits: ServerLimits
    ) -> None:
        self._selector = selector
        self._log = log
        self._deadlines = Deadlines({**limits.waits, Wait.IDLE: limits.idle_timeout + _IDLE_GRACE})
        self._clients: set[Client] = set()
        self.serve: Callable[[Client], None] = self.close

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._clients))

    def add(self, client: Client, wait: Wait) -> None:
        """A new client. The selector does not hear of it before :meth:`enter`."""
        self._clients.add(client)
        self._deadlines.start(client, wait, time.monotonic())

    def enter(self, client: Client, wait: Wait) -> None:
        """Wait for this from now on; what a client is waited for already keeps its deadline."""
        if wait is not client.wait:
            self._deadlines.start(client, wait, time.monotonic())
        self.watch(client)

    def watch(self, client: Client) -> None:
        """Tell the selector what the client is waited for."""
        interest = _interest(client)
        if interest == client.interest:
            return
        if client.interest:
            self._selector.modify(client.sock, interest, partial(self.ready, client))
        else:
            self._selector.register(client.sock, interest, partial(self.ready, client))
        client.interest = interest

    def ignore(self, client: Client) -> None:
        """Hear nothing of this client until it is waited for again."""
        self._selector.unregister(client.sock)
        client.interest = 0

    def ready(self, client: Client, _: int = 0) -> None:
        """Serve a client for which there is news."""
        self.safely(self.serve, client)

    def safely(self, action: Callable[[Client], None], client: Client) -> None:
        """Do something for a client that is still there; if that fails, it is not there any more."""
        if client.wait is Wait.CLOSED:
            return
        try:
            action(client)
        except OSError as error:  # it went away, or its TLS is wrong: everyday life
            self._log.debug("a connection from %s ended: %r", client.origin, error)
            self.close(client)
        except Exception as error:
            self._log.warn("fault", "a connection failed; this is a fault of the bridge: %r", error)
            self.close(client)

    def close(self, client: Client) -> None:
        """End a connection."""
        if client.wait is Wait.CLOSED:
            return
        self._deadlines.cancel(client)
        if client.interest:
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._selector.unregister(client.sock)
        self._clients.discard(client)
        client.close()

    def evict(self) -> bool:
        """End the connection whose request is unfinished for longest; False if all are being answered."""
        oldest = self._deadlines.oldest(*_EVICTABLE)
        if oldest is not None:
            self.close(oldest)
        return oldest is not None

    def late(self) -> list[Client]:
        """Those who have been waited for too long."""
        return self._deadlines.passed(time.monotonic())

    def next_deadline(self) -> float | None:
        """When the next will be late."""
        return self._deadlines.next()


def _interest(client: Client) -> int:
    if client.wait is Wait.WRITE:
        return selectors.EVENT_WRITE
    if client.wait is Wait.ANSWER:
        return client.interest  # whatever it is: an answer comes soon, and changing it is a system call
    if client.wait is Wait.HANDSHAKE and client.is_sending:
        return selectors.EVENT_READ | selectors.EVENT_WRITE
    return selectors.EVENT_READ
