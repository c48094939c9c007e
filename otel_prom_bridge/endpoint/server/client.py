"""One client of the loop: its socket, its channel and its HTTP connection. Nothing here blocks or decides.

Reads and writes go as far as the socket allows now. A large body is sent in slices of a memoryview, so all
clients share one copy of it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Iterable
from enum import Enum

from otel_prom_bridge.endpoint.server.channels import Encrypted, Plain
from otel_prom_bridge.endpoint.server.connection import Connection

_RECEIVED = 32 * 1024
# What the kernel is given at once: each call of send() wakes the reader, so a megabyte in four pieces takes
# twice the time of one.
_SLICE = 1024 * 1024
# What is encrypted at once. Clients share a body, but not what it is encrypted to: with 256 KB each of those
# who do not read would cost 650 KB until its time is over, with this a third, at the same speed.
_SEALED = 64 * 1024
# After so many slices the others have their turn, however fast this client reads.
_SLICES_PER_TURN = 8
# A host that has set SIGPIPE to its default would die when a client goes away.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
# The head of a large response waits for its body, so that the client is not woken for it alone.
_MORE = _NO_SIGNAL | getattr(socket, "MSG_MORE", 0)


class Wait(Enum):
    """What a client is waited for; each but ANSWER has its deadline."""

    HANDSHAKE = "the TLS handshake"
    HEAD = "the head of a request"
    IDLE = "another request"
    ANSWER = "the response to be made"
    WRITE = "the response to be taken"
    LINGER = "the end, after the last response"
    CLOSED = "nothing"


class Client:
    """A connected client."""

    __slots__ = ("_pieces", "_wire", "channel", "http", "interest", "peer", "sock", "wait")

    def __init__(self, sock: socket.socket, peer: str | None, channel: Plain | Encrypted) -> None:
        self.sock = sock
        self.peer = peer
        self.channel = channel
        self.http = Connection()
        self.wait: Wait | None = None
        self.interest = 0
        self._pieces: deque[memoryview] = deque()
        self._wire = memoryview(b"")

    @property
    def origin(self) -> str:
        """Where it comes from, for the log."""
        return self.peer or "the Unix socket"

    def read(self) -> None:
        """Take what has arrived, if anything.

        Raises:
            OSError: the connection broke, or TLS did.
        """
        try:
            data = self.sock.recv(_RECEIVED)
        except (BlockingIOError, InterruptedError):
            return
        plain = self.channel.receive(data)
        if plain:
            self.http.receive(plain)
        if self.channel.is_over or not data:
            self.http.end()

    def discard(self) -> int:
        """Throw away what has arrived; how much it was, or -1 at the end."""
        try:
            return len(self.sock.recv(_RECEIVED)) or -1
        except (BlockingIOError, InterruptedError):
            return 0

    @property
    def is_sending(self) -> bool:
        """Something is still to be sent."""
        return bool(self._wire) or bool(self._pieces)

    def queue(self, pieces: Iterable[memoryview]) -> None:
        """Put these behind what is still to be sent."""
        self._pieces.extend(pieces)

    def write(self) -> bool:
        """Send what can be sent now; True when nothing is left."""
        for _ in range(_SLICES_PER_TURN):
            if not self._wire and not self._next_slice():
                return True
            try:
                sent = self.sock.send(self._wire, _MORE if self._pieces else _NO_SIGNAL)
            except (BlockingIOError, InterruptedError):
                return False
            self._wire = self._wire[sent:]
        return not self.is_sending

    def _next_slice(self) -> bool:
        if isinstance(self.channel, Encrypted) and (pending := self.channel.pending()):
            self._wire = memoryview(pending)
            return True
        if not self._pieces:
            return False
        piece = self._pieces.popleft()
        size = _SEALED if isinstance(self.channel, Encrypted) else _SLICE
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
        self._wire = self.channel.seal(piece[:size])
        return True

    def say_goodbye(self) -> None:
        """Tell the client that nothing more comes, while it may still be sending."""
        self._send_farewell()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection. TLS says so, unless a response is cut off: that must not look like its end."""
        if not self.is_sending:
            self._send_farewell()
        self.abandon()

    def cut(self) -> None:
        """End the connection while another thread may be writing: the descriptor stays, lest it be reused."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close the descriptor and nothing else: whoever shares the connection after a fork keeps it."""
        self.wait = Wait.CLOSED
        with contextlib.suppress(OSError):
            self.sock.close()

    def _send_farewell(self) -> None:
        # Also what is left of a failed handshake: the alert that says why.
        with contextlib.suppress(OSError, ssl.SSLError):
            if farewell := self.channel.farewell():
                self.sock.send(farewell, _NO_SIGNAL)
