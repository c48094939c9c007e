"""One HTTP connection without its socket. Bytes come in; requests and the bytes of responses go out.

Requests come one at a time, and the next one is looked for when the last was answered. So pipelined requests
are answered in order, and the buffer bounds what waits. Bodies are only read for those who take them.
Otherwise a request with a small body is answered, and nothing after it is taken for a request. After a
refusal the connection is over, so that one piece of input cannot get two responses.

The head of a response is written here, in a few lines. h11 would write it only as part of its state machine,
which wants every byte of the body to pass through it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate

from otel_prom_bridge.endpoint.messages import Response
from otel_prom_bridge.endpoint.server.bodies import Body
from otel_prom_bridge.endpoint.server.heads import Head, HeadScanner, Refusal, parse
from otel_prom_bridge.exposition import Pieces

# Two heads of the largest size. A client that sends more has to wait until they are answered.
_ROOM = 32 * 1024
# A body up to this size is copied behind its head, so that one send is enough. Copying 64 KB takes 5 µs.
_COPIED = 64 * 1024
_WITHOUT_LENGTH = (204, 304)
_date: tuple[int, str] = (0, "")  # the second, and its text


def _now() -> str:
    """The time for a Date header: its text is made once in a second.

    https://www.rfc-editor.org/rfc/rfc9110#name-date
    """
    global _date
    second, (known, text) = int(time.time()), _date
    if second != known:
        text = formatdate(second, usegmt=True)
        _date = (second, text)
    return text


class Connection:
    """The state of one connection. Several threads must not use it at the same time.

    ``max_body`` is the size of the largest body that is read.
    """

    def __init__(self, *, max_body: int = 0) -> None:
        self._max_body = max_body
        self._body: Body | None = None
        self._buffer = bytearray()
        self._scanner = HeadScanner()
        self._asked: Head | None = None
        self._may_skip = True  # an empty line
        self._ended = False
        self.requests = 0
        self.closes = False  # nothing comes after the response that was made last
        self.was_refused = False

    def receive(self, data: bytes) -> None:
        """Take what the client sent. It is ignored when nothing of it can matter any more."""
        if not self.closes:
            self._buffer += data

    def end(self) -> None:
        """The client sends no more. What it asked for already is still answered."""
        self._ended = True

    @property
    def has_room(self) -> bool:
        """More input is welcome. Otherwise it waits in the kernel."""
        return not self._ended and len(self._buffer) < _ROOM

    @property
    def has_input(self) -> bool:
        """Bytes wait that are not part of a request which was given out."""
        return bool(self._buffer)

    @property
    def is_over(self) -> bool:
        """There is nothing to answer and there will not be."""
        return self._ended or self.closes

    @property
    def leaves_input(self) -> bool:
        """The client may be sending what nobody will read: a body, or what follows a refusal."""
        return self.was_refused or self.has_input or self._is_unread

    @property
    def _is_unread(self) -> bool:
        """A body belongs to the last request that was not read to its end."""
        has_body = self._asked is not None and self._asked.has_body
        return has_body and (self._body is None or not self._body.is_whole)

    def next(self) -> Head | Refusal | None:
        """The next request, once its head is complete. Each has to be answered before the next call."""
        if self.closes:
            return None
        if self._may_skip and self._buffer == b"\r":
            return None
        if self._may_skip and self._buffer.startswith(b"\r\n"):
            # https://www.rfc-editor.org/rfc/rfc9112#section-2.2-6
            del self._buffer[:2]
            self._may_skip = False
        end = self._scanner.scan(self._buffer)
        if end == 0:
            return None
        if not isinstance(end, int):
            return end
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._scanner = HeadScanner()
        self._may_skip = True
        found = parse(head, max_body=self._max_body)
        if isinstance(found, Head):
            self._asked = found
            self._body = Body(head, most=self._max_body) if found.has_body and self._max_body else None
            self.requests += 1
        return found

    @property
    def body_size(self) -> int:
        """How much of the body there is."""
        return 0 if self._body is None else self._body.size

    def body(self) -> bytes | Refusal | None:
        """The body of the request that :meth:`next` gave, once it is complete."""
        if self._body is None:
            return b""
        data = bytes(self._buffer)
        self._buffer.clear()
        if (refusal := self._body.receive(data)) is not None:
            return refusal
        if not self._body.is_whole:
            return None
        self._buffer += self._body.rest
        return self._body.data

    def go_ahead(self) -> memoryview:
        """The bytes that let the client send its body.

        https://www.rfc-editor.org/rfc/rfc9110#name-100-continue
        """
        return memoryview(b"HTTP/1.1 100 Continue\r\n\r\n")

    def refuse(self, refusal: Refusal) -> list[memoryview]:
        """The bytes that answer what is no request. The connection is over after them."""
        self.was_refused = self.closes = True
        self._buffer.clear()
        body = f"{refusal.reason}\n".encode()
        response = Response(refusal.status, (("Content-Type", "text/plain; charset=utf-8"),), body)
        return self._pieces(response, response.pieces)

    def answer(self, response: Response) -> list[memoryview]:
        """The bytes of a response to the request that :meth:`next` gave. A small response is one piece.

        Raises:
            ValueError: a header has a line break in it, or letters that are not Latin-1.
        """
        asked = self._asked
        if asked is None:
            raise ValueError("nothing was asked")
        # After the end of input whole requests may still be in the buffer.
        keeps = asked.keep_alive and (not self._ended or self.has_input)
        keeps = keeps and not (self._max_body and self._is_unread)
        body = Pieces() if asked.method == "HEAD" else response.pieces
        pieces = self._pieces(response, body, keeps=keeps)
        self.closes = not keeps
        return pieces

    def _pieces(self, response: Response, body: Pieces, *, keeps: bool = False) -> list[memoryview]:
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines += self._added(response, keeps=keeps)
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
            raise ValueError("a line break in a header")
        if body.size <= _COPIED:
            return [memoryview(b"".join((head, *body)))]
        return [memoryview(head), *(memoryview(piece) for piece in body if piece)]

    def _added(self, response: Response, *, keeps: bool) -> Iterator[str]:
        yield f"Date: {_now()}"
        has_length = any(name.lower() == "content-length" for name, _ in response.headers)
        if not has_length and response.status not in _WITHOUT_LENGTH:
            yield f"Content-Length: {response.pieces.size}"
        if not keeps:
            yield "Connection: close"
        elif self._asked is not None and self._asked.says_keep_alive:
            yield "Connection: keep-alive"
