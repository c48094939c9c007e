"""One client of the server: its socket, the encryption on it, and its HTTP connection.

Nothing here blocks, and nothing here decides what comes next. Reads and writes go as far as the socket allows
at the moment. A large body is sent in pieces from where they are, so that all clients share one copy of it.

TLS runs over memory buffers (``ssl.SSLObject``), so a handshake is a matter of bytes like everything else. A
client that stops in the middle of it holds up nothing but its own connection, and there is no
``ssl.SSLSocket``, which would have its own ways of saying when it is ready.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Iterable

from otel_prom_bridge.endpoint.messages import Link
from otel_prom_bridge.endpoint.server.connection import Connection
from otel_prom_bridge.native import Socket

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

_RECEIVED = 32 * 1024
# What the kernel is given at once. Each call of send() wakes the reader, so a megabyte in four pieces takes
# twice the time of a megabyte in one. It comes from so many places at most: 1024 is what these systems take,
# and 16 what all of them do. https://man7.org/linux/man-pages/man3/sysconf.3.html (IOV_MAX)
_SLICE = 1024 * 1024
_MOST_PIECES = 256 if sys.platform in ("linux", "darwin") else 16
_TAKES_SEVERAL = hasattr(Socket, "sendmsg")  # not on Windows
# What is encrypted at once. Clients share a body, but not what it is encrypted to. With 256 KB at once, each
# client that does not read costs 650 KB until its time is over; with this it costs a third of that, at the
# same speed.
_SEALED = 64 * 1024
# What is decrypted at once.
_PIECE = 64 * 1024
# After so many slices the other clients have their turn, however fast this one reads.
_SLICES_PER_TURN = 8
_CREDENTIALS = struct.Struct("3i")
# A host that has set SIGPIPE to its default would die when a client goes away.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
# The head of a large response waits in the kernel for its body, so that the client is not woken for it alone.
_MORE = _NO_SIGNAL | getattr(socket, "MSG_MORE", 0)


class Plain:
    """What lies between the socket and HTTP where there is no encryption: nothing."""

    is_shaking = False
    is_over = False

    def receive(self, data: bytes) -> bytes:
        """What the client said, in plain text."""
        self.is_over = not data
        return data

    def seal(self, pieces: list[memoryview]) -> list[memoryview]:
        """What has to be sent so that these arrive."""
        return pieces

    def farewell(self) -> bytes:
        """What is sent at the end of the connection."""
        return b""


class Encrypted:
    """What lies between the socket and HTTP where there is TLS: the server's end of it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_shaking = True
        self.is_over = False

    def receive(self, data: bytes) -> bytes:
        """What the client said, in plain text. It is empty while the handshake lasts.

        Raises:
            ssl.SSLError: the handshake failed, or this is not TLS. :meth:`pending` may have an alert.
        """
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        try:
            if self.is_shaking:
                self.object.do_handshake()
                self.is_shaking = False
            return self._plain()
        except ssl.SSLWantReadError:
            return b""

    def _plain(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := self.object.read(_PIECE):
                pieces.append(piece)
            self.is_over = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.is_over = True
        return b"".join(pieces)

    def pending(self) -> bytes:
        """What TLS itself wants to send: parts of the handshake, tickets, alerts."""
        return self._outgoing.read()

    def seal(self, pieces: list[memoryview]) -> list[memoryview]:
        """What has to be sent so that these arrive."""
        self.object.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return [memoryview(self._outgoing.read())]

    def farewell(self) -> bytes:
        """What is sent at the end of the connection."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.object.unwrap()  # it always complains that the other end has not said goodbye yet
        return self._outgoing.read()


class Client:
    """A connected client. ``peer`` is its IP address, or None on a Unix socket."""

    __slots__ = ("_pieces", "_wire", "channel", "http", "link", "peer", "sent", "sock")

    def __init__(self, sock: Socket, peer: str | None, channel: Plain | Encrypted) -> None:
        self.sock = sock
        self.peer = peer
        self.link = _link(sock)
        self.channel = channel
        self.http = Connection()
        self.sent = 0  # how many bytes it has taken so far
        self._pieces: deque[memoryview] = deque()
        self._wire: list[memoryview] = []  # the kernel has taken none of these, or a part of the first

    @property
    def origin(self) -> str:
        """Where the client is, in words for the log."""
        return self.peer or "the Unix socket"

    def read(self) -> None:
        """Take what has arrived, if anything has.

        Raises:
            OSError: the connection broke, or its TLS did.
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

    def discard(self) -> bool:
        """Throw away what has arrived; False when the client has closed its end.

        Raises:
            OSError: the connection broke.
        """
        try:
            return bool(self.sock.recv(_RECEIVED))
        except (BlockingIOError, InterruptedError):
            return True

    @property
    def is_sending(self) -> bool:
        """Something is still to be sent."""
        return bool(self._wire) or bool(self._pieces)

    def queue(self, pieces: Iterable[memoryview]) -> None:
        """Put these behind what is still to be sent."""
        self._pieces.extend(pieces)

    def write(self) -> bool:
        """Send what can be sent now; True when nothing is left.

        Raises:
            OSError: the connection broke.
        """
        for _ in range(_SLICES_PER_TURN):
            if not self._wire and not self._next_slice():
                return True
            try:
                sent = self._send(_MORE if self._pieces else _NO_SIGNAL)
            except (BlockingIOError, InterruptedError):
                return False
            self._wire = _without(self._wire, sent)
            self.sent += sent
        return not self.is_sending

    def _send(self, flags: int) -> int:
        if _TAKES_SEVERAL and len(self._wire) > 1:
            return self.sock.sendmsg(self._wire, (), flags)
        return self.sock.send(self._wire[0], flags)

    def _next_slice(self) -> bool:
        if isinstance(self.channel, Encrypted) and (pending := self.channel.pending()):
            self._wire = [memoryview(pending)]
            return True
        if not self._pieces:
            return False
        room = _SEALED if isinstance(self.channel, Encrypted) else _SLICE
        found: list[memoryview] = []
        while self._pieces and room and len(found) < _MOST_PIECES:
            piece = self._pieces.popleft()
            if len(piece) > room:
                self._pieces.appendleft(piece[room:])
                piece = piece[:room]
            found.append(piece)
            room -= len(piece)
        self._wire = self.channel.seal(found)
        return True

    @property
    def untaken(self) -> int | None:
        """How many bytes of what was sent have not reached the client's machine; None where nobody knows.

        https://man7.org/linux/man-pages/man7/tcp.7.html (SIOCOUTQ, which is TIOCOUTQ)
        """
        if sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError):
                return int.from_bytes(ioctl(self.sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return None

    def say_goodbye(self) -> None:
        """Tell the client that nothing more comes, although it may still be sending."""
        self._send_farewell()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection.

        TLS says goodbye, unless a response is cut off: that must not look like the response's end.
        """
        if not self.is_sending:
            self._send_farewell()
        self.abandon()

    def cut(self) -> None:
        """End the connection while another thread may be writing.

        The descriptor stays open, because the other thread would write into whatever got its number next.
        """
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close the descriptor and do nothing else. After a fork, the parent keeps the connection."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def _send_farewell(self) -> None:
        # This also sends what is left of a failed handshake: the alert that says why it failed.
        with contextlib.suppress(OSError, ssl.SSLError):
            if farewell := self.channel.farewell():
                self.sock.send(farewell, _NO_SIGNAL)


def _without(pieces: list[memoryview], size: int) -> list[memoryview]:
    """What is left of these when so many bytes are gone."""
    for number, piece in enumerate(pieces):
        if size < len(piece):
            return [piece[size:], *pieces[number + 1 :]]
        size -= len(piece)
    return []


def _link(sock: Socket) -> Link:
    """Who connected, as the system says it."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        return Link()
    try:
        # Those of the process at the time when it connected: struct ucred of unix(7).
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (AttributeError, OSError):  # not on Linux
        return Link(is_local=True)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return Link(is_local=True, pid=pid or None, uid=uid)
