"""What lies between a socket and HTTP: nothing, or TLS. Bytes in, bytes out; no sockets here.

TLS runs over memory buffers (``ssl.SSLObject``), so the handshake is a matter of bytes like everything
else: a client that stops in the middle of it holds nothing but its own connection, and no ``ssl.SSLSocket``
tells us about readiness in its own ways (or in those of gevent).
"""

from __future__ import annotations

import contextlib
import ssl

_PIECE = 64 * 1024


class Plain:
    """No encryption."""

    is_shaking = False
    is_over = False

    def receive(self, data: bytes) -> bytes:
        """What the client said, in plain text."""
        self.is_over = not data
        return data

    def seal(self, data: memoryview) -> memoryview:
        """What has to be sent for this to arrive."""
        return data

    def farewell(self) -> bytes:
        """What is sent at the end of the connection."""
        return b""


class Encrypted:
    """The server's end of a TLS connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.is_shaking = True
        self.is_over = False

    def receive(self, data: bytes) -> bytes:
        """What the client said, in plain text; b"" while the handshake lasts.

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
        """What TLS itself wants to send: the handshake, tickets, alerts."""
        return self._outgoing.read()

    def seal(self, data: memoryview) -> memoryview:
        """What has to be sent for this to arrive."""
        self.object.write(data)
        return memoryview(self._outgoing.read())

    def farewell(self) -> bytes:
        """What is sent at the end of the connection."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.object.unwrap()  # always complains that the other end has not said goodbye yet
        return self._outgoing.read()
