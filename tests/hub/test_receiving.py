"""Pushes over real sockets: who may connect, bodies of all kinds, and clients that mean no good."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubs import counter, own, request_of, total
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from servers import wait_for

from otel_prom_bridge.endpoint.messages import Request, Response, busy
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.listeners import open_tcp
from otel_prom_bridge.endpoint.server.loop import Loop
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.hub import places
from otel_prom_bridge.hub.hub import Hub
from otel_prom_bridge.push.reader import PushReader

HEAD = (
    "POST /v1/metrics HTTP/1.1\r\nHost: hub\r\nContent-Type: application/x-protobuf\r\n"
    "Authorization: Bearer secret\r\n"
)


@pytest.fixture
def served(runtime: Path) -> Iterator[tuple[Hub, str, int]]:
    """A hub that listens on a socket and on a port, with short deadlines and small bodies."""
    hub = Hub({}, token="secret", max_push_size=200_000)
    path = str(runtime / "hub.sock")
    listeners = [places.open_socket(path, shared=False), open_tcp("127.0.0.1", 0)]
    loop = Loop(listeners, hub.receiver, limits=ServerLimits(head_timeout=0.5))
    loop.start()
    yield hub, path, listeners[1].port
    loop.stop()
    hub.shutdown()


def answer(sock: socket.socket) -> bytes:
    """Everything that comes until the end, or until it takes too long."""
    sock.settimeout(5)
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := sock.recv(65536):
            found += piece
            if found.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" in found:
                return found
    return found


def connected(port: int) -> socket.socket:
    """A connection to a port."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def with_length(body: bytes, *, more: str = "") -> bytes:
    """A push as most clients send it."""
    return f"{HEAD}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def in_chunks(body: bytes, size: int) -> bytes:
    """A push as those send it who compress while they send."""
    head = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def test_the_standard_exporter_pushes(served: tuple[Hub, str, int]) -> None:
    """Several times over one connection, and every event is counted once."""
    hub, _, port = served
    exporter = OTLPMetricExporter(
        endpoint=f"http://127.0.0.1:{port}/v1/metrics", headers={"Authorization": "Bearer secret"}
    )
    provider = MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter, 3_600_000)])
    orders = provider.get_meter("shop").create_counter("orders")
    for count in (1, 2, 3):
        orders.add(count)
        assert provider.force_flush()
    provider.shutdown()
    assert total(hub, "orders_total") == 6


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunks(served: tuple[Hub, str, int], size: int) -> None:
    """However a body is cut, also in the middle of everything; and the connection goes on."""
    hub, _, port = served
    with connected(port) as sock:
        for number in range(3):
            body = request_of(counter("orders", 1, attributes={"n": "x" * number}))
            data = in_chunks(body, size)
            for at in range(0, len(data), 11):
                sock.sendall(data[at : at + 11])
            assert answer(sock).startswith(b"HTTP/1.1 200")
    assert total(hub, "orders_total") == 3


def test_requests_behind_each_other(served: tuple[Hub, str, int]) -> None:
    """What follows a body is the next request."""
    hub, _, port = served
    bodies = [request_of(counter("orders", 1, attributes={"n": n})) for n in range(5)]
    with connected(port) as sock:
        sock.sendall(b"".join(map(with_length, bodies)))
        found = b""
        while found.count(b"HTTP/1.1 200") < 5:
            found += sock.recv(65536)
    assert total(hub, "orders_total") == 5


def test_who_waits_to_be_asked_is_asked(served: tuple[Hub, str, int]) -> None:
    """curl does that before a large body."""
    hub, _, port = served
    body = request_of(counter("orders", 1))
    head, rest = with_length(body, more="Expect: 100-continue\r\n").split(b"\r\n\r\n", 1)
    with connected(port) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(rest)
        assert answer(sock).startswith(b"HTTP/1.1 200")
    assert total(hub, "orders_total") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (with_length(bytes(200_001)), b"413"),
        (f"{HEAD}Content-Length: 99999999999\r\n\r\n".encode(), b"413"),
        (in_chunks(bytes(300_000), 50_000), b"413"),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(), b"400"),
        (f"{HEAD}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc".encode(), b"400"),
        (f"{HEAD}Content-Length: 10\r\n\r\nabc".encode(), b"408"),
        (with_length(b"abc").replace(b"Bearer secret", b"Bearer other"), b"401"),
        (with_length(b"abc").replace(b"/v1/metrics", b"/v1/traces"), b"404"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"\x16\x03\x01\x02\x00\x01", b"400"),
    ],
    ids=str,
)
def test_hostile_clients_hear_why(served: tuple[Hub, str, int], data: bytes, status: bytes) -> None:
    """And nobody else notices anything."""
    _, _, port = served
    with connected(port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        found = answer(sock)
        assert found.startswith(b"HTTP/1.1 " + status), found
        if status == b"505":
            assert b"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in found
    with connected(port) as sock:
        sock.sendall(with_length(request_of(counter("orders", 1))))
        assert answer(sock).startswith(b"HTTP/1.1 200")


def test_the_body_of_a_stranger_is_not_read(served: tuple[Hub, str, int]) -> None:
    """Who has no token cannot fill the memory of the hub: the answer comes before the body."""
    _, _, port = served
    with connected(port) as sock:
        sock.sendall(with_length(bytes(150_000)).split(b"\r\n\r\n")[0].replace(b"secret", b"x") + b"\r\n\r\n")
        assert answer(sock).startswith(b"HTTP/1.1 401")


def test_scrapes_do_not_wait_for_pushes(served: tuple[Hub, str, int]) -> None:
    """While others push as fast as they can, a scrape is answered as usual."""
    hub, _, port = served
    stop = threading.Event()

    def go(name: int) -> None:
        with connected(port) as sock:
            number = 0
            while not stop.is_set():
                number += 1
                metrics = [counter("orders", 1, attributes={"n": str(n)}) for n in range(50)]
                headers = own(f"{name};{name}", number)
                more = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
                sock.sendall(with_length(request_of(*metrics), more=more))
                if not answer(sock).startswith(b"HTTP/1.1 200"):
                    return

    threads = [threading.Thread(target=go, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        hub.expose()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert slowest < 2


def test_the_socket_is_for_its_user_alone(runtime: Path) -> None:
    """The folder is made for it, and a folder of somebody else's is not used."""
    path = places.new_socket()
    with contextlib.closing(places.open_socket(path, shared=False)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(places.folder().stat().st_mode) == 0o700
    places.tidy(path)
    assert list(runtime.iterdir()) == []
    assert places.folder().parent == runtime
    places.folder().symlink_to("/tmp")
    with pytest.raises(ConfigurationError, match="somebody else"):
        places.open_socket(path, shared=False)


NOBODY = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
try:
    sock.connect(sys.argv[1])
    sock.sendall(bytes.fromhex(sys.argv[2]))
    print(sock.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("shared", [False, True])
def test_another_user_is_refused(shared: bool) -> None:
    """By the modes of the file; and where those let it in, by what the system says of who connected."""
    hub = Hub({}, users=[4711])
    path = f"/tmp/otel-prom-bridge-test-{os.getpid()}-{shared}.sock"
    listener = places.open_socket(path, shared=shared)
    loop = Loop([listener], hub.receiver)
    loop.start()
    try:
        command = [sys.executable, "-S", "-c", NOBODY, path, with_length(b"").hex()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert result.stdout.startswith("HTTP/1.1 403" if shared else "PermissionError"), result
    finally:
        loop.stop()
        hub.shutdown()


@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "the standard exporter"])
def test_lost_answers_lose_and_double_nothing(is_ours: bool, runtime: Path) -> None:
    """A push that was taken in comes again when its answer is lost, and is known then."""
    hub, chance = Hub({}, token="secret"), random.Random(4)
    respond = hub.receiver.respond

    def losing(request: Request) -> Response:
        response = respond(request)
        return busy("lost") if chance.random() < 0.3 else response

    hub.receiver.respond = losing  # type: ignore[method-assign]
    path = str(runtime / "hub.sock")
    listeners = [places.open_socket(path, shared=False), open_tcp("127.0.0.1", 0)]
    loop = Loop(listeners, hub.receiver)
    loop.start()
    reader: Any
    if is_ours:
        reader = PushReader(f"unix:{path}", interval=0.05)
    else:
        exporter = OTLPMetricExporter(
            endpoint=f"http://127.0.0.1:{listeners[1].port}/v1/metrics",
            headers={"Authorization": "Bearer secret"},
        )
        reader = PeriodicExportingMetricReader(exporter, 50)
    provider = MeterProvider(metric_readers=[reader])
    orders = provider.get_meter("shop").create_counter("orders")
    try:
        for _ in range(100):
            orders.add(1)
            time.sleep(0.01)
        wait_for(lambda: total(hub, "orders_total") == 100, seconds=20, what="all orders")
        assert total(hub, "otel_prom_bridge_duplicate_pushes_total") > 0
        provider.shutdown()
        assert total(hub, "orders_total") == 100
    finally:
        loop.stop()
        hub.shutdown()


def test_hubs_begin_and_end_at_the_same_time(runtime: Path) -> None:
    """The last one removes the folder, in which the next one is just about to listen."""
    failed: list[BaseException] = []

    def go() -> None:
        try:
            for _ in range(100):
                path = places.new_socket()
                places.open_socket(path, shared=False).close()
                places.tidy(path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(runtime.iterdir()) == []
