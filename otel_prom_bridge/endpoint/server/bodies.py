"""The body of a request, as it comes: with a length, or in chunks.

h11 reads it, since it knows the head. Nothing here waits, and nothing larger than was agreed is kept.
"""

from __future__ import annotations

import h11

from otel_prom_bridge.endpoint.server.heads import MAX_HEAD, Refusal, larger_than

_MALFORMED = Refusal(400, "the body of the request is malformed")


class Body:
    """The body that follows this head, of ``most`` bytes at most."""

    def __init__(self, head: bytes, *, most: int) -> None:
        self._most = most
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._parser.receive_data(head)
        self._parser.next_event()
        self._pieces: list[bytes] = []
        self.size = 0
        self.is_whole = False

    def receive(self, data: bytes) -> Refusal | None:
        """Take what the client sent; why it is refused, if it is."""
        if not data:  # to h11 this would be the end
            return None
        try:
            self._parser.receive_data(data)
            while not self.is_whole:
                event = self._parser.next_event()
                if isinstance(event, h11.EndOfMessage):
                    self.is_whole = True
                elif not isinstance(event, h11.Data):
                    return None
                elif self._grow(event.data):
                    return larger_than(self._most)
        except h11.RemoteProtocolError:
            return _MALFORMED
        return None

    def _grow(self, data: bytes) -> bool:
        self.size += len(data)
        if self.size > self._most:
            self._pieces.clear()
            return True
        self._pieces.append(bytes(data))
        return False

    @property
    def data(self) -> bytes:
        """What came."""
        return b"".join(self._pieces)

    @property
    def rest(self) -> bytes:
        """What came after it."""
        return bytes(self._parser.trailing_data[0])
