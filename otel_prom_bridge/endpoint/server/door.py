"""Where connections come in: who is let in, and what happens when there is no room.

When all connections are taken, the one whose request has been unfinished for longest has to go, or else the
one that has taken nothing of its response for longest. So clients who say nothing, or who read nothing,
cannot keep scrapers out. When the process has no file descriptors left, nothing spins: one of our connections
goes, and after a moment there is another attempt.
"""

from __future__ import annotations

import errno
import selectors
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.server.client import Encrypted, Plain
from otel_prom_bridge.endpoint.server.conversations import Conversations
from otel_prom_bridge.endpoint.server.listeners import Listener
from otel_prom_bridge.endpoint.server.log import RateLimitedLog
from otel_prom_bridge.endpoint.server.waiting import Conversation
from otel_prom_bridge.native import Socket

_ACCEPTS_PER_TURN = 64
_PAUSE_SECONDS = 0.25
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Somebody who shares the socket has shut it down. It is readable for ever then.
_BROKEN = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)
_NOT_ALLOWED = (
    "a connection from %s was refused: it is in no network of the option allow; add it there if it may ask"
)


class Door:
    """Accepts connections from listeners. ``accepts`` says whose address may connect; it must not block."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        selector: selectors.BaseSelector,
        conversations: Conversations,
        log: RateLimitedLog,
        *,
        most: int,
        tls: Certificates | None = None,
        accepts: Callable[[str | None], bool] | None = None,
    ) -> None:
        self._listeners = listeners
        self._selector = selector
        self._conversations = conversations
        self._log = log
        self._most = most
        self._tls = tls
        self._accepts = accepts
        self.opens_at: float | None = None  # when a pause ends

    def open(self) -> None:
        """Accept connections from now on."""
        self.opens_at = None
        for listener in self._listeners:
            self._selector.register(listener.sock, selectors.EVENT_READ, partial(self._accept, listener.sock))

    def close(self) -> None:
        """Accept no more; what listens has to be closed by the owner."""
        if self.opens_at is None:
            for listener in self._listeners:
                self._selector.unregister(listener.sock)

    def open_after_pause(self) -> None:
        """Accept again, if it is time."""
        if self.opens_at is not None and time.monotonic() >= self.opens_at:
            self.open()

    def _accept(self, sock: Socket, _: int) -> None:
        try:
            self._accept_some(sock)
        except Exception as error:  # no memory, perhaps: as with descriptors, there may be some in a moment
            self._pause(error)

    def _accept_some(self, sock: Socket) -> None:
        for _ in range(_ACCEPTS_PER_TURN if self.opens_at is None else 0):
            try:
                accepted, address = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS + _BROKEN:
                    raise
                continue  # the client was gone before we came
            try:
                client = Conversation(accepted, _peer(address), Plain())
            except BaseException:
                accepted.close()
                raise
            if self._is_welcome(client):
                self._let_in(client)
            else:
                client.abandon()

    def _pause(self, error: Exception) -> None:
        self._log.warn("descriptors", "the endpoint cannot accept connections: %r", error)
        if not isinstance(error, OSError) or error.errno not in _BROKEN:
            self._conversations.evict()
        self.close()
        self.opens_at = time.monotonic() + _PAUSE_SECONDS

    def _is_welcome(self, client: Conversation) -> bool:
        try:
            client.sock.setblocking(False)
            if self._accepts is not None and not self._accepts(client.peer):
                self._log.warn("peer", _NOT_ALLOWED, client.origin)
                return False
            if self._tls is not None:
                client.channel = Encrypted(self._tls.context())
        except Exception as error:  # what others gave us: certificates, networks
            self._log.warn("welcome", "a connection could not be accepted: %r", error)
            return False
        return True

    def _let_in(self, client: Conversation) -> None:
        connections = len(self._conversations)
        is_room = connections < self._most
        if not is_room:
            message = "the endpoint has %d connections, its maximum; the oldest without a request has to go"
            self._log.warn("full", message, connections)
            is_room = self._conversations.evict()
        self._conversations.begin(client)
        if is_room:
            # A scraper's request is usually here already; then the selector need not hear of this client.
            self._conversations.ready(client)
        else:
            self._conversations.turn_away(client)


def _peer(address: Any) -> str | None:
    if not isinstance(address, tuple):
        return None  # a Unix socket
    host: str = address[0]
    # IPv4 through a socket for both.
    return host.removeprefix("::ffff:") if "." in host else host
