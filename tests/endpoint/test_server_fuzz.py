"""Requests that were mutated, cut into pieces and broken off: a seeded, bounded stream of them.

Whatever comes, each answer has a status line and a length, and is the whole answer; nothing is answered
twice; the server is as before.
"""

from __future__ import annotations

import random
import re
import socket
import time
from contextlib import suppress

import pytest
from wire import GET, LAST_GET, OK, REFUSED, SHORT, Always, connect, looping, received, reset, unharmed

from otel_prom_bridge.endpoint.server.connection import Connection
from otel_prom_bridge.endpoint.server.heads import Head, Refusal

pytestmark = pytest.mark.clocked

SECONDS = 4.0
MANY = pytest.mark.parametrize("share", [0.2, pytest.param(1, marks=pytest.mark.slow)])
SEEDS = [
    GET,
    LAST_GET,
    b"HEAD /metrics?name[]=a HTTP/1.1\r\nHost: x\r\nAccept: */*;q=0.1\r\nAccept-Encoding: gzip\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    b"GET http://x:1/metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    *(data for data, _ in REFUSED if len(data) < 500),
]
PIECES = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\xff", b"HTTP/1.1", b"\r\n\r\n", b"Host: y\r\n"]
PIECES += [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b"%", b"x" * 9000, b"X: y\r\n" * 60]
ONE_ANSWER = re.compile(
    rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+\r\n(?:[A-Za-z-]+: [^\r\n]*\r\n)*Content-Length: ([0-9]+)\r\n"
    rb"(?:[A-Za-z-]+: [^\r\n]*\r\n)*\r\n"
)


def mutated(chance: random.Random) -> bytes:
    """Some requests in a row, with some changes."""
    data = bytearray(b"".join(chance.choices(SEEDS, k=chance.choice((1, 1, 1, 2, 5)))))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        start = chance.randrange(len(data) + 1)
        end = start + chance.choice((0, 0, 1, 1, 5, 50))
        data[start:end] = chance.choice((b"", chance.choice(PIECES), bytes([chance.randrange(256)])))
    return bytes(data)


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in some pieces."""
    if chance.random() < 0.2:
        return [bytes([byte]) for byte in data]
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def outcome(pieces: list[bytes]) -> list[object]:
    """What a connection makes of these pieces, to the end."""
    connection, found = Connection(), []
    for piece in pieces:
        connection.receive(piece)
        while (asked := connection.next()) is not None:
            found.append(asked)
            if isinstance(asked, Refusal):
                connection.refuse(asked)
            else:
                connection.answer(OK)
    return [*found, connection.closes]


@MANY
def test_pieces_make_no_difference(share: float) -> None:
    """However bytes are cut, the requests are the same; after a refusal or the last request nothing comes."""
    chance, end = random.Random(1), time.monotonic() + SECONDS
    for _ in range(int(share * 20_000)):
        data = mutated(chance)
        whole = outcome([data])
        assert outcome(cut(chance, data)) == whole, data
        *asked, closes = whole
        assert all(isinstance(one, Head) for one in asked[:-1])
        if asked and isinstance(asked[-1], Refusal):
            assert closes
        if time.monotonic() > end:
            break


def check(answer: bytes, heads: int) -> None:
    """An answer is a row of whole responses; not more of them than requests (those to HEAD have no body)."""
    count = 0
    while answer:
        found = ONE_ANSWER.match(answer)
        assert found, answer
        count += 1
        rest = answer[found.end() :]
        length = int(found[2])
        # After HEAD the next response follows at once.
        answer = rest if rest.startswith(b"HTTP/1.1 ") or not rest else rest[length:]
    assert count <= heads


def talk(server: object, chance: random.Random) -> None:
    """One client: says something in pieces, and then listens, leaves or resets."""
    data = mutated(chance)
    *asked, _ = outcome([data])
    client = connect(server)  # type: ignore[arg-type]
    with suppress(ConnectionResetError, BrokenPipeError):
        for piece in cut(chance, data)[:50]:
            client.sendall(piece)
    manner = chance.random()
    if manner < 0.2:
        reset(client)
    elif manner < 0.4:
        client.close()
    else:
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        check(received(client), len(asked))
        client.close()


@MANY
def test_the_server_survives_them(capfd: pytest.CaptureFixture[str], share: float) -> None:
    """Over real sockets."""
    chance, end = random.Random(2), time.monotonic() + SECONDS
    with looping(Always(), limits=SHORT) as server, unharmed(server, capfd):
        for _ in range(int(share * 3000)):
            talk(server, chance)
            if time.monotonic() > end:
                break
