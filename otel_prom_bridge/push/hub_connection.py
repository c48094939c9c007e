"""The connection to a hub, and one request at a time.

It stays open between pushes, so the hub notices at once when this process is killed: then the system closes
it. All of it is done with the interpreter's own sockets, since a push runs in a thread of ours, which has no
hub of gevent.
"""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h11

from otel_prom_bridge.native import Socket, addresses
from otel_prom_bridge.push.wire import CONTENT_TYPE, PATH, HubAddress

_READ_SIZE = 65536
# From here on a body is compressed. Below, the copy costs less than the compression; above, it may be more
# than a hub takes.
_COMPRESSED_FROM = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
_UNIX = getattr(socket, "AF_UNIX", -1)  # not on Windows
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the hub said: a status, and after how many seconds to come again."""

    status: int
    retry_after: float | None = None


class HubConnection:
    """A connection to the hub at this address, opened when it is needed."""

    def __init__(self, address: HubAddress, token: str | None) -> None:
        self._address = address
        self._token = token
        self._socket: Any = None
        self._http = h11.Connection(h11.CLIENT)

    def post(self, body: bytes, headers: Mapping[str, str], seconds: float) -> HubAnswer:
        """Send a request, and wait for the answer, for so many seconds at most.

        A connection that was open already may have been closed by the hub since. Then a new one is made.

        Raises:
            OSError: there is no hub, or no answer in time.
        """
        deadline = time.monotonic() + seconds
        was_open = self._socket is not None
        try:
            return self._post(body, headers, deadline)
        except TimeoutError:
            raise
        except OSError:
            if not was_open:
                raise
        return self._post(body, headers, deadline)

    def close(self) -> None:
        """Close it. In a forked child this leaves the parent's end as it is."""
        found, self._socket = self._socket, None
        if found is not None:
            with contextlib.suppress(OSError):
                found.close()

    def _post(self, body: bytes, headers: Mapping[str, str], deadline: float) -> HubAnswer:
        try:
            if self._socket is None:
                self._open(deadline)
            self._send(body, headers, deadline)
            answer = self._read(deadline)
        except h11.ProtocolError as error:
            self.close()
            raise OSError(f"no answer: {error}") from error
        except BaseException:
            self.close()
            raise
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:  # the hub closes it
            self.close()
        return answer

    def _open(self, deadline: float) -> None:
        path = self._address.path
        places = [(_UNIX, path)] if path else addresses(self._address.host, self._address.port)
        for number, (family, place) in enumerate(places, start=1):
            try:
                self._socket = Socket(family, socket.SOCK_STREAM)
                self._socket.settimeout(_left(deadline))
                self._socket.connect(place)
            except OSError:
                self.close()
                if number == len(places):
                    raise
            else:
                break
        self._http = h11.Connection(h11.CLIENT)

    def _send(self, body: bytes, headers: Mapping[str, str], deadline: float) -> None:
        given = {"Host": "localhost", "Content-Type": CONTENT_TYPE, **headers}
        if len(body) >= _COMPRESSED_FROM:
            packer = zlib.compressobj(1, wbits=_GZIP)
            body = packer.compress(body) + packer.flush()
            given["Content-Encoding"] = "gzip"
        if self._token is not None:
            given["Authorization"] = f"Bearer {self._token}"
        given["Content-Length"] = str(len(body))
        request = h11.Request(method="POST", target=PATH, headers=list(given.items()))
        head, data = self._http.send(request), self._http.send(h11.Data(body))
        self._http.send(h11.EndOfMessage())
        self._socket.settimeout(_left(deadline))
        self._socket.sendall((head or b"") + (data or b""))

    def _read(self, deadline: float) -> HubAnswer:
        answer = HubAnswer(0)
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._socket.settimeout(_left(deadline))
                self._http.receive_data(self._socket.recv(_READ_SIZE))
            elif isinstance(event, h11.Response):
                answer = HubAnswer(event.status_code, _retry_after(event))
            elif isinstance(event, h11.EndOfMessage):
                return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _retry_after(response: h11.Response) -> float | None:
    """The seconds that it names. It may also name a date, which no hub of ours does."""
    for name, value in response.headers:
        if name == b"retry-after":
            with contextlib.suppress(ValueError):
                return min(max(0.0, float(value)), _LONGEST_PAUSE)
    return None
