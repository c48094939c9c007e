"""Bodies in pieces: each client gets all of them, and nobody puts them together for it."""

from __future__ import annotations

import random
import socket
import ssl
import time

import pytest
from certificates import SERVER, client_context
from setups import Setup
from wire import LAST_GET, Always, connect, get, looping, received, serve

from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.messages import Response
from otel_prom_bridge.endpoint.server import client as clients
from otel_prom_bridge.exposition import Pieces


def pieces(*sizes: int) -> Pieces:
    """Pieces of so many bytes, each of another one."""
    return Pieces(bytes([number % 256]) * size for number, size in enumerate(sizes))


def of_all_sizes() -> Pieces:
    """Thousands of small ones, empty ones, and some that are larger than what is sent at once."""
    chosen = random.Random(0)
    sizes = [chosen.choice((0, 1, 100, 5000)) for _ in range(3000)] + [3_000_000, 0, 1, 70_000, 1_048_576]
    chosen.shuffle(sizes)
    return pieces(*sizes)


class InPieces(Always):
    """A handler whose body is in pieces."""

    def __init__(self, content: Pieces) -> None:
        super().__init__()
        self.response = Response(200, (("Content-Length", str(content.size)),), content)


class OneCertificate(Certificates):
    """TLS for the loop."""

    def __init__(self) -> None:
        self.served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        SERVER.configure_cert(self.served)

    @property
    def problem(self) -> None:
        return None

    def context(self) -> ssl.SSLContext:
        return self.served

    def complaint(self, connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        return None


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may put pieces together."""
    monkeypatch.setattr(Pieces, "body", property(lambda _: pytest.fail("put together")))


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("most", [1, 2, 256])
@pytest.mark.parametrize("takes_several", [True, False])
def test_all_pieces_arrive(monkeypatch: pytest.MonkeyPatch, most: int, takes_several: bool) -> None:
    """In their order, however many are sent at once, and where a system takes one at a time."""
    monkeypatch.setattr(clients, "_MOST_PIECES", most)
    monkeypatch.setattr(clients, "_TAKES_SEVERAL", takes_several)
    content = of_all_sizes()
    with looping(InPieces(content)) as server:
        assert get(server).raw.partition(b"\r\n\r\n")[2] == b"".join(content)


@pytest.mark.usefixtures("apart")
def test_who_reads_in_small_portions_gets_all() -> None:
    """The kernel takes a part of a piece, and the rest follows."""
    content = pieces(*range(0, 3000), 200_000)
    with looping(InPieces(content)) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect((server.address, server.port))
        client.sendall(LAST_GET)
        time.sleep(0.05)
        assert received(client).partition(b"\r\n\r\n")[2] == b"".join(content)
        client.close()


@pytest.mark.usefixtures("apart")
def test_all_pieces_arrive_by_tls() -> None:
    """Encrypted, too."""
    content = of_all_sizes()
    tls = client_context()
    with looping(InPieces(content), tls=OneCertificate()) as server, connect(server) as client:
        secure = tls.wrap_socket(client, server_hostname="127.0.0.1")
        secure.sendall(LAST_GET)
        assert received(secure).partition(b"\r\n\r\n")[2] == b"".join(content)
        secure.close()


def test_a_scrape_puts_nothing_together(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the reader to the socket: what did not change is sent from where it was rendered."""
    sent: list[list[memoryview]] = []
    queue = clients.Client.queue
    monkeypatch.setattr(clients.Client, "queue", lambda self, new: (sent.append(new), queue(self, new)))
    counter = setup.meter.create_counter("c")
    for number in range(1000):
        counter.add(1, {"number": str(number), "text": "x" * 100})
    with serve(setup, cache_ttl=0) as server:
        answer, again = get(server), get(server)
        assert answer.body.count(b"c_total{") == again.body.count(b"c_total{") == 1000
        assert int(answer.headers["content-length"]) == len(answer.body)
        kept = [one.obj for one in sent[0] for other in sent[1] if one.obj is other.obj]
        assert sum(map(len, kept)) > 0.9 * len(answer.body)
        assert get(server, path="/metrics?name[]=none").body == b""
        assert len(sent[-1]) == 1


def test_a_body_is_its_pieces() -> None:
    """Whoever wants it in one gets it, and its size is known before."""
    content = pieces(1, 0, 3)
    response = Response(200, (), content)
    assert (response.body, response.pieces, content.size) == (b"\0\2\2\2", content, 4)
    assert Response(200, (), b"abc").pieces == (b"abc",)
