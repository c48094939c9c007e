"""Faults after which a server is gone or never was, by their numbers in the research.

What must hold after every fault is seen at another endpoint of the same process: its scrapes, and the
threads, descriptors and memory of all.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from setups import Setup
from wire import GET, LAST_GET, SHORT, connect, exchange, looping, received, statuses, undated, unharmed

from otel_prom_bridge import EndpointError, MetricsServer, start_http_server
from otel_prom_bridge.endpoint.messages import Handler, Request, Response

pytestmark = pytest.mark.clocked

Make = Callable[..., Setup]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def neighbour(setup: Setup) -> Iterator[MetricsServer]:
    """An endpoint that nothing is done to."""
    with start_http_server(setup.reader, port=0, limits=SHORT) as server:
        yield server


def test_20_methods(neighbour: MetricsServer, capfd: Capture) -> None:
    """HEAD has the headers of GET and no body, OPTIONS says what is allowed, and others learn it with 405."""
    with unharmed(neighbour, capfd):
        answer = undated(exchange(neighbour, GET.replace(b"GET", b"HEAD") + LAST_GET))
        head, _, get = answer.partition(b"\r\n\r\n")
        assert get.replace(b"\r\nConnection: close", b"").startswith(head + b"\r\n\r\n# TYPE c_total")
        for method, status in (
            (b"OPTIONS", b"204"),
            (b"POST", b"405"),
            (b"PUT", b"405"),
            (b"DELETE", b"405"),
        ):
            answer = exchange(neighbour, LAST_GET.replace(b"GET", method))
            assert statuses(answer) == [status]
            assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in answer


def test_33_a_taken_port(
    setup: Setup, neighbour: MetricsServer, capfd: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """Who starts on it hears of it by an exception or by one line, and who has it serves on."""
    with unharmed(neighbour, capfd):
        with pytest.raises(EndpointError, match=rf"port {neighbour.port}"):
            start_http_server(setup.reader, port=neighbour.port)
        late = start_http_server(setup.reader, port=neighbour.port, strict=False)
        assert not late.is_serving
        late.close()
    assert [f"port {neighbour.port}" in message for message in caplog.messages] == [True]


def test_38_starts_and_stops(setup: Setup, neighbour: MetricsServer, capfd: Capture) -> None:
    """Five times on the same port with connections of all kinds, each soon, twice, and from all sides."""
    port = 0
    with unharmed(neighbour, capfd):
        for _ in range(5):
            server = start_http_server(setup.reader, port=port, limits=SHORT)
            port = server.port
            clients = [connect(server, data) for data in (b"", GET[:9], GET, b"\x16", GET * 50)]
            threads = [threading.Thread(target=server.close) for _ in range(3)]
            start = time.monotonic()
            for thread in threads:
                thread.start()
            server.close()
            for thread in threads:
                thread.join(5)
            assert time.monotonic() - start < 2.5
            assert not server.is_serving
            with pytest.raises(ConnectionRefusedError):
                connect(server)
            for client in clients:
                received(client)
                client.close()


def test_42_a_selector_that_hears_only_of_time(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose request came while the process was stopped is answered even if its deadline has passed."""
    with looping() as server, unharmed(server, capfd):
        client, selector = connect(server, GET[:9]), server.loop._selector

        def stopped(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            monkeypatch.undo()
            time.sleep(SHORT.head_timeout + 0.2)
            return []

        time.sleep(0.2)
        monkeypatch.setattr(selector, "select", stopped)
        with connect(server):  # the loop has its next turn
            time.sleep(0.2)
            client.sendall(GET[9:])
            assert statuses(client.recv(1000)) == [b"200"]
        client.close()


class Large(Handler):
    """A handler with a large body."""

    def respond(self, request: Request) -> Response:
        return Response(200, (), bytes(20_000_000))


def test_46_a_stop_in_the_middle_of_a_response(neighbour: MetricsServer, capfd: Capture) -> None:
    """The length was announced, so the scraper sees that something is missing."""
    with unharmed(neighbour, capfd), looping(Large()) as server:
        client = connect(server, GET)
        answer = client.recv(1000)
        server.loop.stop()
        assert b"\r\nContent-Length: 20000000\r\n" in answer
        assert len(answer + received(client)) < 20_000_000
        client.close()


def test_45_unix_sockets(setup: Setup, tmp_path: Path, capfd: Capture) -> None:
    """A stale file is replaced, a live one is refused, others may not use it, and it goes with the server."""
    path = str(tmp_path / "m.sock")
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(path)
    with start_http_server(setup.reader, unix_socket=path, limits=SHORT) as server, unharmed(server, capfd):
        assert os.stat(path).st_mode & 0o777 == 0o660
        with pytest.raises(EndpointError, match="somebody serves there"):
            start_http_server(setup.reader, unix_socket=path)
        clients = [connect(server, data) for data in (b"", GET[:9], GET, b"\x16")]
        for client in clients:
            with suppress(TimeoutError):
                received(client)
            client.close()
    assert not os.path.exists(path)
