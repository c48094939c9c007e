"""The server of the endpoint beside prometheus_client's, in one run: requests per second, and bursts.

Both serve the same body, each in a process of its own, to the same small client. Ours keeps it for a second,
as it does in an application; prometheus_client has no cache, but its rendering is taken out here: what is
measured is the server. A request counts when its whole body has arrived. What matters are the ratios.

    python -m benchmarks.endpoint            # about a minute
    python -m benchmarks.endpoint --quick    # some seconds; CI runs it so that this file does not rot
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection as Pipe

import prometheus_client

from otel_prom_bridge import start_http_server
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.report.self_metrics import SelfMetrics

SIZES = {"50 KB": 50_000, "1 MB": 1_000_000}
CONNECTIONS = (1, 10)
BURST = 30
# Linux then drops the body's bytes instead of copying them, so that the client costs little.
_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
_PATIENCE_SECONDS = 10


class Prebuilt:
    """A source that always exposes the same body."""

    is_ready = is_healthy = True
    is_shut_down = False

    def __init__(self, size: int) -> None:
        self.observer = SelfMetrics(findings=Findings())
        self._exposition = Exposition("text/plain", b"x" * size)

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        return self._exposition

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        return hook


def serve_ours(size: int, pipe: Pipe) -> None:
    with start_http_server(Prebuilt(size), port=0, addr="127.0.0.1") as server:
        pipe.send(server.port)
        pipe.recv()


def serve_theirs(size: int, pipe: Pipe) -> None:
    import prometheus_client.exposition as exposition

    body = b"x" * size
    # Their server, without their rendering.
    exposition._bake_output = lambda *_: ("200 OK", [("Content-Type", "text/plain")], body)
    registry = prometheus_client.CollectorRegistry()
    server, _ = exposition.start_http_server(0, "127.0.0.1", registry)
    pipe.send(server.server_port)
    pipe.recv()


SERVERS: dict[str, Callable[[int, Pipe], None]] = {"ours": serve_ours, "prometheus_client": serve_theirs}


@contextlib.contextmanager
def serving(serve: Callable[[int, Pipe], None], size: int) -> Iterator[int]:
    """Run a server in a process of its own; gives its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(size, there), daemon=True)
    process.start()
    try:
        if not here.poll(_PATIENCE_SECONDS):
            raise TimeoutError("the server did not start")
        yield here.recv()
    finally:
        process.kill()
        process.join()


class Client:
    """Asks again and again, on one connection or on a new one for each request."""

    def __init__(self, port: int, *, keep_alive: bool, headers: str = "") -> None:
        self._address = ("127.0.0.1", port)
        self._keep_alive = keep_alive
        connection = "" if keep_alive else "Connection: close\r\n"
        self._request = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{headers}{connection}\r\n".encode()
        self._sock: socket.socket | None = None
        self._buffer = bytearray(1 << 18)

    def ask(self) -> None:
        sock = self._sock or self._connected()
        self._sock = None
        sock.sendall(self._request)
        closes = self._read(sock)
        if self._keep_alive and not closes:
            self._sock = sock
        else:
            sock.close()

    def _connected(self) -> socket.socket:
        sock = socket.socket()
        # In the kernel: Python's timeouts would add a poll to every call, and measure the client.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE_SECONDS, 0))
        sock.connect(self._address)
        return sock

    def _read(self, sock: socket.socket) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = sock.recv(1 << 16)
            if not piece:
                raise ConnectionError("closed in the head")
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        lowered = head.lower()
        length = lowered.partition(b"content-length:")[2].split(b"\r\n")[0]
        left = (int(length) if length else 1 << 60) - len(body)
        while left > 0:
            count = sock.recv_into(self._buffer, 0, _DISCARD)
            if not count:
                break
            left -= count
        return not length or b"connection: close" in lowered or lowered.startswith(b"http/1.0")


def throughput(port: int, connections: int, seconds: float, *, keep_alive: bool) -> float:
    """Requests per second of so many clients at once."""
    counts = [0] * connections
    end = time.perf_counter() + seconds

    def ask(number: int) -> None:
        client = Client(port, keep_alive=keep_alive)
        while time.perf_counter() < end:
            client.ask()
            counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def burst(port: int) -> list[float]:
    """How long each of many new connections takes that come at the same moment, in milliseconds."""
    times: list[float] = []
    barrier = threading.Barrier(BURST)

    def ask() -> None:
        client = Client(port, keep_alive=False)
        barrier.wait()
        start = time.perf_counter()
        client.ask()
        times.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=ask) for _ in range(BURST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def report_throughput(size: str, *, seconds: float, rounds: int) -> None:
    found: dict[tuple[str, int, bool], list[float]] = {}
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(serving(serve, SIZES[size])) for name, serve in SERVERS.items()}
        for _ in range(rounds):  # interleaved: what else the machine does hits both
            for name, port in ports.items():
                for connections in CONNECTIONS:
                    for keep_alive in (True, False):
                        rate = throughput(port, connections, seconds, keep_alive=keep_alive)
                        found.setdefault((name, connections, keep_alive), []).append(rate)
    for connections in CONNECTIONS:
        for keep_alive in (True, False):
            ours, theirs = (statistics.median(found[name, connections, keep_alive]) for name in SERVERS)
            kind = "keep-alive" if keep_alive else "new each time"
            print(
                f"{size:>6} {connections:>3} {kind:<14} {ours:>9,.0f} {theirs:>18,.0f} {ours / theirs:>7.1f}x"
            )


def report_bursts(bursts: int) -> None:
    print(f"\nbursts of {BURST} new connections, 50 KB, ms:   p50      p99      max")
    for name, serve in SERVERS.items():
        with serving(serve, SIZES["50 KB"]) as port:
            burst(port)
            times = sorted(time for _ in range(bursts) for time in burst(port))
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        print(f"{name:<36} {p50:>10.1f} {p99:>8.1f} {times[-1]:>8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args().quick
    seconds, rounds, bursts = (0.2, 1, 2) if quick else (1.0, 3, 10)
    print("requests/s: body, connections           ours  prometheus_client   ratio")
    for size in SIZES:
        report_throughput(size, seconds=seconds, rounds=rounds)
    report_bursts(bursts)


if __name__ == "__main__":
    main()
