"""How a server begins and ends: stops, signals, forks, interpreter exit, gevent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
from servers import running, wait_for
from setups import Setup
from wire import GET, SHORT, Always, connect, descriptors, received, scrape_seconds, workers

from otel_prom_bridge import MetricsServer, start_http_server
from otel_prom_bridge.endpoint.server.listeners import open_tcp
from otel_prom_bridge.endpoint.server.loop import Loop

pytestmark = pytest.mark.clocked

Make = Callable[..., Setup]
# For processes of their own: a server with a large body, whose port is the first line of output.
PROCESS = """
import os, signal, socket, sys, threading, time
from otel_prom_bridge.endpoint.server.listeners import open_tcp
from otel_prom_bridge.endpoint.server.loop import Loop
from otel_prom_bridge.endpoint import messages
from otel_prom_bridge.endpoint.messages import Response

class Handler(messages.Handler):
    def respond(self, request):
        if request.path == "/hang":
            time.sleep(60)
        return Response(200, (), b"x" * (20_000_000 if request.path == "/large" else 5))

def serve():
    listener = open_tcp("127.0.0.1", 0)
    loop = Loop([listener], Handler())
    loop.start()
    print(listener.port, flush=True)
    return loop, listener.port

def get(port, path="/", timeout=5):
    client = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    client.sendall(b"GET %s HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n" % path.encode())
    answer = b"".join(iter(lambda: client.recv(65536), b""))
    client.close()
    return answer[9:12]

"""


def run(code: str, *, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a process to its end."""
    command = [sys.executable, "-W", "error", "-c", PROCESS + code]
    return programs.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def ended_well(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The words of the output of a process that ended well and silently."""
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.split()


# --- stopping -----------------------------------------------------------------------------------------


def test_38_stops_with_connections_of_all_kinds(bridge: Make) -> None:
    """Five times on the same port: soon, twice, and with no thread and no descriptor left."""
    reader, port, before = bridge().reader, 0, descriptors()
    for _ in range(5):
        server = start_http_server(reader, port=port, limits=SHORT)
        port = server.port
        clients = [connect(server, data) for data in (b"", b"GET /met", GET, b"\x16")]
        scrape_seconds(server)
        start = time.monotonic()
        server.close()
        server.close()
        assert time.monotonic() - start < 2.5
        assert not server.is_serving
        for client in clients:
            received(client)
            client.close()
    wait_for(lambda: workers() == 0, seconds=5, what="the threads end")
    wait_for(lambda: descriptors() <= before, seconds=5, what="the descriptors are closed")
    assert "otel-prom-bridge-server" not in {thread.name for thread in threading.enumerate()}


def test_38_a_loop_may_be_stopped_before_it_starts() -> None:
    """That does nothing."""
    listener = open_tcp("127.0.0.1", 0)
    loop = Loop([listener], Always())
    loop.stop()
    assert not loop.is_running
    loop.abandon()


def test_38_stops_from_all_sides(bridge: Make) -> None:
    """Many threads at once, a callback of its own, and the reader's shutdown."""
    setup = bridge()
    server = start_http_server(setup.reader, port=0, limits=SHORT)
    threads = [threading.Thread(target=server.close) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not server.is_serving
    again = start_http_server(setup.reader, port=0, limits=SHORT)
    setup.meter.create_observable_gauge("g", [lambda _: again.close() or []])  # type: ignore[func-returns-value]
    with connect(again, GET) as client:
        received(client)
    wait_for(lambda: not again.is_serving, seconds=5, what="the server closes")
    last = start_http_server(setup.reader, port=0, limits=SHORT)
    setup.provider.shutdown()
    assert not last.is_serving


def test_38_stops_in_a_signal_handler() -> None:
    """Wherever the main thread was interrupted, also in stop() itself; with a client in mid-download."""
    result = run(
        """
loop, port = serve()
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"GET /large HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
hanging = socket.create_connection(("127.0.0.1", port))
hanging.sendall(b"GET /hang HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
client.recv(10)
times, depth = [], 0
def handle(*_):
    global depth
    depth += 1
    if depth < 5:  # a handler may be interrupted by itself
        start = time.monotonic()
        loop.stop()
        times.append(time.monotonic() - start)
    depth -= 1
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.001)
while not times:
    time.sleep(0.01)
for _ in range(100):
    loop.stop()
signal.setitimer(signal.ITIMER_REAL, 0)
print(max(times) < 2.5, loop.is_running)
socket.create_server(("127.0.0.1", port)).close()
client.close()
hanging.close()
"""
    )
    assert ended_well(result)[1:] == ["True", "False"]


@pytest.mark.parametrize("path", ["/large", "/hang", "/"])
def test_39_the_interpreter_does_not_wait(path: str) -> None:
    """For a client in mid-download, a callback that hangs, an idle connection; and it is silent."""
    start = time.monotonic()
    result = run(
        f"""
loop, port = serve()
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"GET {path} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
time.sleep(0.3)
client.detach()
"""
    )
    ended_well(result)
    assert time.monotonic() - start < 10


# --- other circumstances ------------------------------------------------------------------------------


def test_34_after_a_fork(tmp_path: Path) -> None:
    """The child does not answer, may start its own, and holds neither the port nor the connections."""
    code = (
        PROCESS
        + """
loop, port = serve()
kept = socket.create_connection(("127.0.0.1", port))
kept.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
kept.recv(1000)
child = os.fork()
if child == 0:
    kept.close()
    own, own_port = serve()
    os.write(1, f"child {loop.is_running} {own.is_running} {get(own_port)}\\n".encode())
    loop.stop()
    own.stop()
    os.write(1, b"waits\\n")
    time.sleep(60)
    os._exit(0)
kept.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
os.write(1, f"parent {kept.recv(1000)[9:12]} {get(port)} {loop.is_running} {child}\\n".encode())
time.sleep(60)
"""
    )
    with running([sys.executable, "-c", code], log=tmp_path / "log") as process:
        process.until("waits", 20)
        output = process.until("parent", 20)
        assert "child False True b'200'" in output
        assert "parent b'200' b'200' True" in output
        port = int(output.split()[0])
        child = int(output.partition("parent")[2].split()[3])
        try:
            process.process.send_signal(signal.SIGKILL)
            process.wait(5)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
            socket.create_server(("127.0.0.1", port)).close()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_36_a_host_with_gevent() -> None:
    """Patched before anything else: scrapes succeed beside idle and half-open connections, and it stops."""
    code = (
        "from gevent import monkey\nmonkey.patch_all()\n"
        + PROCESS
        + """
ticks = []
def tick():
    while len(ticks) < 10_000:
        time.sleep(0.01)
        ticks.append(time.monotonic())
threading.Thread(target=tick, daemon=True).start()
loop, port = serve()
others = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
others[0].sendall(b"GET / HT")
others[1].sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(*[get(port).decode() for _ in range(10)], get(port, "/large").decode())
hanging = socket.create_connection(("127.0.0.1", port))
hanging.sendall(b"GET /hang HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
time.sleep(0.1)
print(get(port).decode(), max(b - a for a, b in zip(ticks, ticks[1:])) < 3)
start = time.monotonic()
loop.stop()
print(time.monotonic() - start < 2.5, loop.is_running)
socket.create_server(("127.0.0.1", port)).close()
os._exit(0)
"""
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=False
    )
    assert ended_well(result)[1:] == ["200"] * 12 + ["True", "True", "False"]


@pytest.mark.slow
def test_42_a_process_that_was_stopped(tmp_path: Path) -> None:
    """After SIGSTOP and SIGCONT who was waiting is answered or closed, and scrapes go on."""
    code = (
        PROCESS.replace("Loop([listener], Handler())", "Loop([listener], Handler(), limits=limits)")
        + """
from otel_prom_bridge.endpoint.server.limits import ServerLimits
limits = ServerLimits(head_timeout=1, idle_timeout=1)
serve()
time.sleep(60)
"""
    )
    with running([sys.executable, "-c", code], log=tmp_path / "log") as process:
        port = int(process.until("\n", 20))

        def new(data: bytes) -> socket.socket:
            client = socket.create_connection(("127.0.0.1", port), timeout=10)
            client.sendall(data)
            return client

        half = new(GET[:9])
        time.sleep(0.2)
        process.process.send_signal(signal.SIGSTOP)
        half.sendall(GET[9:])  # complete before its deadline passed, as far as the client can tell
        waiting, silent = new(GET), new(b"")
        time.sleep(2)
        process.process.send_signal(signal.SIGCONT)
        for client in (half, waiting):
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert received(silent) == b""
        with new(GET) as client:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        for client in (half, waiting, silent):
            client.close()
        assert process.output == f"{port}\n"


def test_a_host_that_dies_of_broken_pipes() -> None:
    """With SIGPIPE at its default, as command-line tools have it, a client that goes does not kill it."""
    result = run(
        """
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
loop, port = serve()
for _ in range(20):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET /large HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    client.recv(10)
    client.close()
print(get(port).decode())
"""
    )
    assert ended_well(result)[1:] == ["200"]


def test_a_server_knows_whether_it_serves(bridge: Make) -> None:
    """From its start to its close."""
    server = start_http_server(bridge().reader, port=0)
    assert isinstance(server, MetricsServer)
    assert server.is_serving
    server.close()
    assert not server.is_serving
