"""Raw clients for the endpoint, and what must hold after every fault that they make."""

from __future__ import annotations

import ctypes
import gc
import http.client
import io
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from oracles import samples
from servers import wait_for
from setups import Setup

from otel_prom_bridge import MetricsServer, start_http_server
from otel_prom_bridge.endpoint.messages import Handler, Request, Response
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.listeners import Listener, open_tcp
from otel_prom_bridge.endpoint.server.loop import Loop

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
LAST_GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
# What a fault may leave in memory: pools and stacks of threads that come and go, no body and no connections.
MEMORY = 10_000_000
# How long a scrape may take once a fault is over.
NEXT_SCRAPE = 1.0
# How long something else may take that happens at once: a shared machine may stop for a second.
SOON = 4.0
# Faults are made with short deadlines, so that the tests do not take the real ones' time.
SHORT = ServerLimits(
    head_timeout=1.0,
    handshake_timeout=1.0,
    write_timeout=1.0,
    idle_timeout=1.0,
    linger_timeout=0.5,
    worker_idle_timeout=0.1,
)
# Where a scrape has to be sooner than the end of others' time.
PATIENT = replace(SHORT, head_timeout=3.0, handshake_timeout=3.0)

HOST = b"Host: x\r\n"
OK = Response(200, (("Content-Type", "text/plain"), ("Content-Length", "5")), b"up 1\n")
# Requests that are answered with an error, and which.
REFUSED = [
    (b"NONSENSE\r\n", 400),
    (b"\r\n\r\n", 400),  # one empty line may come before a request
    (b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"\r\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    *(
        (b"GET / HTTP/1.%d\r\nHost: %b\r\n\r\n" % (minor, host), 400)
        for host in (b"a b/c", b"a/b", b"a,b c", b"u@x", b"x:y", b"x:1:2", b"[::1", b"[]", b"%zz", b"\xe4")
        for minor in (0, 1)
    ),
    (b"\x16\x03\x01\x02\x00", 400),  # the beginning of TLS
    (b"\0", 400),
    (b" GET / HTTP/1.1\r\n", 400),
    (b"GET /\r\n", 400),  # HTTP/0.9
    (b"GET / HTTP/0.9\r\n", 505),
    (b"GET / HTTP/1.2\r\n", 505),
    (b"GET / HTTP/3.0\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / http/1.1\r\n", 400),
    (b"GET / HTTP/1.1\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\n\n", 400),
    (b"GET / HTTP/1.1\r\n\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n", 400),
    (b"GET / HTTP/1.1\r\n\tHost: x\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
    (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 16385\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    (b"GET /" + b"x" * 8200, 414),
    (b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16384, 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16384 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 100 + b"\r\n", 431),
]


class Always(Handler):
    """A handler that always has the same answer."""

    def __init__(self, body: bytes = b"up 1\n") -> None:
        headers = (("Content-Type", "text/plain"), ("Content-Length", str(len(body))))
        self.response = Response(200, headers, body)
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response


class Port:
    """Where a loop listens."""

    def __init__(self, loop: Loop, listener: Listener) -> None:
        self.loop = loop
        self.address = listener.address
        self.port = listener.port

    @property
    def is_serving(self) -> bool:
        return self.loop.is_running


@contextmanager
def looping(handler: object = None, **options: object) -> Iterator[Port]:
    """A loop on a free port, without a reader behind it."""
    listener = open_tcp("127.0.0.1", 0)
    loop = Loop([listener], handler or Always(), **{"limits": SHORT, **options})  # type: ignore[arg-type]
    loop.start()
    try:
        yield Port(loop, listener)
    finally:
        loop.stop()
        assert not loop.is_running


def connect(server: MetricsServer | Port, data: bytes = b"", *, timeout: float = 10) -> socket.socket:
    """A connection on which so much was said."""
    if server.port:
        client = socket.create_connection((server.address, server.port), timeout=timeout)
    else:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(timeout)
        client.connect(server.address)
    if data:
        client.sendall(data)
    return client


def received(client: socket.socket) -> bytes:
    """All that comes until the other end closes.

    In large pieces: each takes the lock of the interpreter, for which the server's threads wait, too.
    """
    pieces = []
    with suppress(ConnectionResetError):
        while piece := client.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def exchange(server: MetricsServer | Port, data: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    with connect(server) as client:
        with suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(data)
        return received(client)


@dataclass(frozen=True)
class Answer:
    """What came back from one request on a connection of its own."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    raw: bytes = field(default=b"", repr=False)

    @property
    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Its samples, by a strict parser."""
        assert self.status == 200, self
        return samples(self.headers["content-type"], self.body)

    def values(self) -> dict[str, float]:
        """The samples without labels, by name."""
        return {name: value for (name, labels), value in self.samples.items() if not labels}


def asking(*fields: str, path: str = "/metrics", last: bool = True) -> bytes:
    """A request with these header fields."""
    ending = ("Connection: close",) if last else ()
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, *ending, "", ""]).encode("latin-1")


def get(server: MetricsServer | Port, *fields: str, path: str = "/metrics") -> Answer:
    """The answer to a request whose header fields are sent as they are."""
    raw = exchange(server, asking(*fields, path=path))
    head, _, body = raw.partition(b"\r\n\r\n")
    first, _, lines = head.partition(b"\r\n")
    headers = http.client.parse_headers(io.BytesIO(lines))
    return Answer(int(first.split()[1]), headers, body, raw)


def ask(port: int, path: str, *, address: str = "127.0.0.1", method: str = "GET", **headers: str) -> Answer:
    """The answer to the standard library's client; ``accept_encoding`` is ``Accept-Encoding``."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def serve(setup: Setup, *, limits: ServerLimits = SHORT, **options: object) -> MetricsServer:
    """An endpoint with short deadlines."""
    where = {} if "unix_socket" in options else {"port": 0}
    return start_http_server(setup.reader, limits=limits, **where, **options)  # type: ignore[arg-type]


def reset(client: socket.socket) -> None:
    """End a connection with a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def statuses(answer: bytes) -> list[bytes]:
    """The status codes of all responses in an answer, in order."""
    return re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)


def undated(answer: bytes) -> bytes:
    """An answer without its Date headers: two of them may be of different seconds."""
    return re.sub(rb"Date: [^\r]*\r\n", b"", answer)


def scrape_seconds(server: MetricsServer | Port) -> float:
    """How long a scrape on a new connection takes; it must succeed."""
    start = time.monotonic()
    answer = exchange(server, LAST_GET)
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]
    return time.monotonic() - start


def descriptors() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def memory() -> int:
    """The resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_in_use() -> int:
    """The same, without what was freed and kept by the allocator: the clients of tests read large bodies."""
    gc.collect()
    with suppress(AttributeError):  # not everybody's C library has it
        ctypes.CDLL(None).malloc_trim(0)
    return memory()


@contextmanager
def ticking() -> Iterator[Callable[[], float]]:
    """A thread of the host that wants to run every 5 ms; gives the longest it had to wait so far."""
    gaps, done = [0.0], threading.Event()

    def tick() -> None:
        last, ended = time.monotonic(), False
        while not ended:  # also how long it had to wait at last
            ended = done.wait(0.005)
            now = time.monotonic()
            gaps[0] = max(gaps[0], now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield lambda: gaps[0]
    finally:
        done.set()
        thread.join()


@contextmanager
def unharmed(
    server: MetricsServer | Port,
    capfd: pytest.CaptureFixture[str],
    *,
    seconds: float = 6.0,
    scrape: Callable[[MetricsServer | Port], float] = scrape_seconds,
) -> Iterator[None]:
    """Whatever is done to the server in this block, afterwards everything is as before.

    The host's thread went on, the next scrape succeeds within a second, threads, descriptors and memory go
    back to what they were within ``seconds``, and there is nothing on stderr. ``scrape`` is how to scrape a
    server that does not answer everybody; it gives the seconds that it took.
    """
    scrape(server)
    wait_for(lambda: workers() == 0, seconds=seconds, what="idle workers end")
    before, threads, size = descriptors(), bridge_threads(), memory_in_use()
    with ticking() as longest_gap:
        yield
        assert scrape(server) < NEXT_SCRAPE
    assert longest_gap() < SOON / 2
    assert server.is_serving
    wait_for(lambda: descriptors() <= before, seconds=seconds, what="descriptors of clients are closed")
    wait_for(lambda: workers() == 0, seconds=seconds, what="idle workers end")
    wait_for(lambda: bridge_threads() <= threads, seconds=seconds, what="all other threads end")
    assert memory_in_use() - size < MEMORY
    assert capfd.readouterr().err == ""


def workers() -> int:
    """How many worker threads of endpoints there are."""
    return sum(thread.name == "otel-prom-bridge-scrape" for thread in threading.enumerate())


def bridge_threads() -> int:
    """How many threads of the bridge there are, of any kind."""
    return sum(thread.name.startswith("otel-prom-bridge-") for thread in threading.enumerate())
