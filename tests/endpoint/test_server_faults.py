"""What clients do to a server, by the numbers of the faults in the research, and that it does no harm.

``unharmed`` is what must hold after all of them. Deadlines are short here; the real ones are in
``ServerLimits``.
"""

from __future__ import annotations

import contextlib
import gc
import http.client
import os
import resource
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from certificates import SERVER, client_context
from servers import wait_for
from setups import Setup
from wire import (
    GET,
    LAST_GET,
    NEXT_SCRAPE,
    PATIENT,
    SHORT,
    SOON,
    Always,
    Port,
    connect,
    descriptors,
    exchange,
    looping,
    memory,
    received,
    reset,
    scrape_seconds,
    serve,
    statuses,
    ticking,
    undated,
    unharmed,
)

from otel_prom_bridge import MetricsServer
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.messages import Handler, Request, Response
from otel_prom_bridge.endpoint.server import waiting

pytestmark = pytest.mark.clocked

Capture = pytest.CaptureFixture[str]
HALF = b"GET /metrics HTTP/1.1\r\nHo"


@pytest.fixture
def server(setup: Setup) -> Iterator[MetricsServer]:
    """An endpoint of a real reader, with short deadlines."""
    with serve(setup) as server:
        yield server


@pytest.fixture
def patient(setup: Setup) -> Iterator[MetricsServer]:
    """The same, where heads may take longer than a scrape ever does."""
    with serve(setup, limits=PATIENT) as server:
        yield server


class Body(Handler):
    """A handler with a body of so many bytes."""

    def __init__(self, size: int) -> None:
        self.body = bytes(size)

    def respond(self, request: Request) -> Response:
        return Response(200, (), self.body)


# --- slow and silent ----------------------------------------------------------------------------------


def test_1_half_requests(patient: MetricsServer, capfd: Capture) -> None:
    """Two hundred half heads do not delay a scrape, and each gets 408 when its time is over."""
    with unharmed(patient, capfd):
        clients = [connect(patient, HALF) for _ in range(200)]
        assert scrape_seconds(patient) < SOON / 2
        for client in clients:
            assert statuses(received(client)) == [b"408"]
            client.close()


def test_2_silence(patient: MetricsServer, capfd: Capture) -> None:
    """Two hundred connections that say nothing are closed without a word."""
    with unharmed(patient, capfd):
        clients = [connect(patient) for _ in range(200)]
        assert scrape_seconds(patient) < SOON / 2
        for client in clients:
            assert received(client) == b""
            client.close()


def test_3_trickling(server: MetricsServer, capfd: Capture) -> None:
    """The deadline is that of the whole head: a byte now and then does not move it."""
    with unharmed(server, capfd), connect(server) as client:
        client.settimeout(0.05)
        start, answer = time.monotonic(), b""
        for byte in (HALF + b"x" * 1000)[:1000]:
            try:
                client.sendall(bytes([byte]))
                answer += client.recv(65536)
            except TimeoutError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.5 < time.monotonic() - start < 4


def test_4_more_connections_than_there_may_be(capfd: Capture) -> None:
    """The oldest unfinished request goes; scrapes and those who came last stay."""
    with (
        looping(limits=replace(SHORT, head_timeout=20, max_connections=50)) as server,
        unharmed(server, capfd),
    ):
        before = descriptors()
        clients = [connect(server, HALF) for _ in range(200)]
        assert scrape_seconds(server) < SOON
        assert descriptors() - before - len(clients) <= 50
        assert received(clients[0]) == b""
        clients[-1].sendall(b"st: x\r\n\r\n")
        assert clients[-1].recv(100).startswith(b"HTTP/1.1 200 ")
        for client in clients:
            client.close()


def test_4_when_all_are_being_answered(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes then hears 503; nobody is cut off who took something of a response just now."""
    monkeypatch.setattr(waiting, "_STALLED_SECONDS", 20.0)
    limits = replace(SHORT, max_connections=8, write_timeout=20)
    with looping(Body(10_000_000), limits=limits) as server:
        scrape_seconds(server)
        clients = [connect(server, LAST_GET) for _ in range(8)]
        for client in clients:
            assert client.recv(10) == b"HTTP/1.1 2"
        assert statuses(exchange(server, GET)) == [b"503"]
        for client in clients:
            assert len(received(client)) > 10_000_000
            client.close()
        scrape_seconds(server)
    assert capfd.readouterr().err == ""


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """A process that has only about ten descriptors left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_5_no_descriptors_left(server: MetricsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing spins and nothing floods the log; when there are some again, scrapes are answered."""
    before = descriptors()
    clients: list[socket.socket] = []
    late = socket.socket()  # made while it can be: the server has none left to accept it with
    late.settimeout(5)
    with contextlib.suppress(OSError):  # the clients are in this process as well
        while len(clients) < 1000:
            clients.append(connect(server, HALF))
    assert 3 <= len(clients) < 1000
    start, cpu = time.monotonic(), time.process_time()
    late.connect((server.address, server.port))
    time.sleep(0.7)
    assert time.process_time() - cpu < 0.5 * (time.monotonic() - start)
    late.close()
    for client in clients:
        client.close()
    wait_for(lambda: descriptors() <= before, seconds=5, what="connections are closed")
    assert scrape_seconds(server) < NEXT_SCRAPE
    assert len([record for record in caplog.records if "cannot accept" in record.message]) <= 1


def test_6_readers_that_do_not_read(capfd: Capture) -> None:
    """Thirty of them share one body, and are cut off when their time is over."""
    with looping(Body(20_000_000)) as server, unharmed(server, capfd):
        gc.collect()
        before = memory()
        clients = []
        for _ in range(30):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect((server.address, server.port))
            client.sendall(GET)
            clients.append(client)
        time.sleep(0.5)
        assert memory() - before < 20_000_000
        time.sleep(1.0)
        for client in clients:
            assert len(received(client)) < 20_000_000
            client.close()


class Kept(Body):
    """A handler whose response takes no time, as one that is kept."""

    def quick(self, request: Request) -> Response:
        return self.respond(request)


def unread(server: Port) -> socket.socket:
    """A client with a tiny buffer that has asked and does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect((server.address, server.port))
    client.sendall(GET)
    return client


def read_slowly(server: Port) -> bytes:
    """Read to the end, a piece every few milliseconds."""
    pieces = []
    with connect(server, LAST_GET) as client, contextlib.suppress(ConnectionResetError):
        while piece := client.recv(128 * 1024):
            pieces.append(piece)
            time.sleep(0.01)
    return b"".join(pieces)


def gets_all(read: Callable[[], bytes], size: int) -> None:
    """Who reads gets a response of more than this size.

    A busy machine may stop the server or readers for longer than one may stop who is not to be cut off. Then
    who was cut off meanwhile asks again, as a scraper does.
    """
    for _ in range(10):
        with ticking() as longest_gap:
            answer = read()
        if statuses(answer[:1000]) == [b"200"] and len(answer) > size:
            return
        assert longest_gap() > waiting._STALLED_SECONDS, answer[:1000]
    raise AssertionError("ten times it did not get all")


@contextlib.contextmanager
def flood(server: Port) -> Iterator[None]:
    """A hundred readers that do not read come in every second, and the last 200 of them stay."""
    done = threading.Event()

    def come() -> None:
        clients: deque[socket.socket] = deque()
        while not done.is_set():
            with contextlib.suppress(OSError):
                clients.append(unread(server))
            if len(clients) > 200:
                clients.popleft().close()
            time.sleep(0.01)
        for client in clients:
            client.close()

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("scrapes", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_6_readers_that_do_not_read_give_way(scrapes: int) -> None:
    """However many come, scrapers get in, and one that reads slowly gets all of its answer."""
    size = 10_000_000
    limits = replace(SHORT, max_connections=64, write_timeout=30)
    with (
        looping(Kept(size), limits=limits) as server,
        ThreadPoolExecutor() as pool,
        flood(server),
    ):
        slow = pool.submit(gets_all, lambda: read_slowly(server), size)
        time.sleep(1.5)
        for _ in range(scrapes):
            gets_all(lambda: exchange(server, LAST_GET), size)
        slow.result(120)


def test_7_resets(capfd: Capture) -> None:
    """Clients that vanish before, in and after a request, and in the middle of a response."""
    with looping(Body(5_000_000)) as server, unharmed(server, capfd):
        for data in (b"", HALF, GET, GET * 5, b"\x16\x03"):
            for _ in range(10):
                reset(connect(server, data))
        for _ in range(10):
            client = connect(server, GET)
            client.recv(1000)
            reset(client)


# --- TLS ----------------------------------------------------------------------------------------------


class Certificate(Certificates):
    """What the loop wants for TLS: a context of a test CA, and nobody to refuse."""

    def __init__(self) -> None:
        self.served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        SERVER.configure_cert(self.served)
        self.reason: str | None = None
        self.error: Exception | None = None

    @property
    def problem(self) -> None:
        return None

    def context(self) -> ssl.SSLContext:
        if self.error:
            raise self.error
        return self.served

    def complaint(self, connection: ssl.SSLObject | ssl.SSLSocket) -> str | None:
        assert connection.version() is not None
        return self.reason


def tls_get(server: Port, context: ssl.SSLContext, times: int = 1) -> list[tuple[int, int]]:
    """Status and length of so many scrapes on one connection."""
    client = http.client.HTTPSConnection(server.address, server.port, timeout=10, context=context)
    found = []
    for _ in range(times):
        client.request("GET", "/metrics")
        response = client.getresponse()
        found.append((response.status, len(response.read())))
    client.close()
    return found


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """A client's context that trusts the test CA."""
    return client_context()


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_tls_serves(trusting: ssl.SSLContext, size: int) -> None:
    """Several scrapes on one connection, small and large bodies, and each gets all of its answer."""
    handler = Always(bytes(size))
    with looping(handler, tls=Certificate()) as server:
        assert tls_get(server, trusting, 3) == [(200, size)] * 3
        with connect(server) as client, trusting.wrap_socket(client, server_hostname="127.0.0.1") as secure:
            secure.sendall(LAST_GET)
            assert len(received(secure)) > size
    assert {request.peer for request in handler.requests} == {"127.0.0.1"}


@pytest.mark.slow  # test_server_guard_faults.py has it with a whole server
def test_8_silence_on_a_tls_port(trusting: ssl.SSLContext, capfd: Capture) -> None:
    """Connections without a handshake are closed when their time is over; others are served meanwhile."""
    with looping(tls=Certificate(), limits=PATIENT) as server:
        clients = [connect(server) for _ in range(50)]
        start = time.monotonic()
        assert tls_get(server, trusting) == [(200, 5)]
        assert time.monotonic() - start < SOON / 2
        for client in clients:
            assert received(client) == b""
            client.close()
        assert tls_get(server, trusting) == [(200, 5)]
    assert capfd.readouterr().err == ""


@pytest.mark.slow  # as well
def test_9_what_is_no_tls(trusting: ssl.SSLContext, capfd: Capture) -> None:
    """Half a ClientHello, plain HTTP, garbage and resets on a TLS port: closed, and nobody else notices."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    hello = outgoing.read()
    with looping(tls=Certificate()) as server:
        before = descriptors()
        for data in (hello[:100], hello, GET, b"\x16\x03\x01" + b"\xff" * 500, b"\0" * 5000, b"\r\n"):
            with connect(server, data) as client:
                assert b"HTTP/1.1 2" not in received(client)
            reset(connect(server, data))
        assert tls_get(server, trusting) == [(200, 5)]
        wait_for(lambda: descriptors() <= before, seconds=4, what="descriptors of clients are closed")
    assert capfd.readouterr().err == ""


def test_clients_that_tls_complains_of(trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture) -> None:
    """A complaint ends the connection after the handshake; a context that cannot be made, before it."""
    certificate = Certificate()
    with looping(tls=certificate) as server:
        certificate.reason = "wrong name"
        with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
            tls_get(server, trusting)
        certificate.reason, certificate.error = None, ValueError("no certificate")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            tls_get(server, trusting)
        certificate.error = None
        assert tls_get(server, trusting) == [(200, 5)]
        wait_for(lambda: "wrong name" in caplog.text, seconds=5, what="the complaint")
        wait_for(lambda: "no certificate" in caplog.text, seconds=5, what="the other one")


# --- many ---------------------------------------------------------------------------------------------


def test_13_bursts(capfd: Capture) -> None:
    """Thirty clients that connect at the same moment are all answered, none after a lost packet's second."""
    with looping(Body(50_000)) as server, unharmed(server, capfd), ThreadPoolExecutor(30) as pool:
        barrier = threading.Barrier(30)

        def timed(_: int) -> float:
            barrier.wait(10)
            return scrape_seconds(server)

        for _ in range(5):
            assert max(pool.map(timed, range(30))) < 0.9


@pytest.mark.parametrize("times", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_44_ten_thousand_scrapes(capfd: Capture, times: int) -> None:
    """Threads, descriptors and memory stay as they are."""
    with looping() as server, unharmed(server, capfd):

        def scrape(number: int) -> None:
            client = connect(server)
            for _ in range(number):
                client.sendall(GET)
                assert client.recv(1000).endswith(b"up 1\n")
            client.close()

        scrape(500)
        server_threads, before = threading.active_count(), memory()
        for _ in range(8):
            scrape(times)
        for _ in range(2 * times):
            scrape(1)
        # A request may come before the last one's worker is idle again; thousands of them change nothing.
        assert threading.active_count() <= server_threads + 4
        assert memory() - before < 5_000_000


# --- odd requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b"431", id="18 head"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", b"431", id="18 fields"),
        pytest.param(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414", id="18 target"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + GET,
            b"400",
            id="19 two lengths",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + GET,
            b"400",
            id="19 length and chunks",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
            b"413",
            id="19 chunks",
        ),
        pytest.param(
            b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n" + bytes(3_000_000),
            b"413",
            id="19 huge",
        ),
        pytest.param(
            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET,
            b"405",
            id="19 small body",
        ),
        pytest.param(b"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405", id="20"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"204", id="20 options"),
        pytest.param(b"GET /metrics\r\n", b"400", id="21 HTTP/0.9"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505", id="21 HTTP/2"),
        pytest.param(b"GET /metrics HTTP/3.0\r\nHost: x\r\n\r\n", b"505", id="21 HTTP/3"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", id="21 TLS"),
        pytest.param(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", b"400", id="21 NUL"),
        pytest.param(b"GET /metrics HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", b"400", id="21 folded"),
        pytest.param(b"GET /metrics HTTP/1.1\nHost: x\n\n", b"400", id="21 bare LF"),
        pytest.param(LAST_GET.replace(b"Host", b"Expect: 100-continue\r\nHost"), b"200", id="23 expect"),
        pytest.param(
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
            b"200",
            id="23 h2c",
        ),
        pytest.param(b"GET /metrics HTTP/1.0\r\n\r\n", b"200", id="HTTP/1.0"),
    ],
)
def test_odd_requests_get_one_answer(
    server: MetricsServer, capfd: Capture, request_bytes: bytes, status: bytes
) -> None:
    """Exactly one, with a status line and a length, and the connection ends."""
    with unharmed(server, capfd):
        answer = exchange(server, request_bytes)
        assert statuses(answer) == [status]
        assert b"\r\nConnection: close\r\n" in answer
        assert status == b"204" or b"\r\nContent-Length: " in answer


def test_20_head_has_the_headers_of_get(server: MetricsServer) -> None:
    """And no body: what follows on the connection is the next response."""
    answer = undated(exchange(server, GET.replace(b"GET", b"HEAD") + LAST_GET))
    head, get = answer.split(b"\r\n\r\n", 1)
    assert get.replace(b"\r\nConnection: close", b"") == head + b"\r\n\r\n# TYPE c_total counter\nc_total 1\n"


def test_22_pipelining(server: MetricsServer, capfd: Capture) -> None:
    """Answers come in the order of the requests; a thousand of them are answered out of a bounded buffer."""
    paths = [b"/metrics", b"/nothing"] * 500
    with unharmed(server, capfd), connect(server) as client:
        data = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
        sender = threading.Thread(target=client.sendall, args=(data + LAST_GET,))
        sender.start()
        answer = received(client)
        sender.join()
        assert statuses(answer) == [b"200", b"404"] * 500 + [b"200"]


def test_46_a_response_that_is_cut_off_shows(capfd: Capture) -> None:
    """A scraper that is being answered when the server stops sees that something is missing."""
    with looping(Body(20_000_000)) as server:
        client = http.client.HTTPConnection(server.address, server.port, timeout=10)
        client.request("GET", "/metrics")
        response = client.getresponse()
        assert response.read(1000) == bytes(1000)
        server.loop.stop()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
        client.close()
        response.close()
    assert capfd.readouterr().err == ""
