"""Faults of and around whole processes, by the numbers of the faults in the research.

The host is a process of its own that called ``start()``: what it writes to stderr, its descriptors, threads
and memory are seen from outside, and a gauge of its own says for how long its thread had to wait.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from oracles import samples
from servers import Running, free_port, running, wait_for
from wire import GET, LAST_GET, MEMORY, NEXT_SCRAPE, SOON, received, statuses

pytestmark = pytest.mark.clocked

HALF = GET[:20]
SECONDS = 30.0  # for a process to start, on a busy machine

# The port is the first line of its output, and there should be no other. SIGUSR1 makes it do ``signalled``.
HOST = """
import os, resource, signal, sys, threading, time
import otel_prom_bridge
from opentelemetry import metrics
from opentelemetry.metrics import Observation

gap = 0.0

def tick():
    global gap
    last = time.monotonic()
    while True:
        time.sleep(0.005)
        now = time.monotonic()
        gap = max(gap, now - last)
        last = now

def longest_gap(_):
    global gap
    found, gap = gap, 0.0
    return [Observation(found)]

def signalled():
    pass

bridge = otel_prom_bridge.start(port=0, cache_ttl=0, head_timeout=1)
meter = metrics.get_meter("host")
meter.create_observable_gauge("host.gap", [longest_gap])
meter.create_counter("orders").add(7)
threading.Thread(target=tick, daemon=True).start()
"""
READY = """
print(bridge.server.port, flush=True)
"""
WAIT = """
signal.signal(signal.SIGUSR1, lambda *_: signalled())
while True:
    time.sleep(60)
"""


class Host:
    """A process with an endpoint, seen from outside."""

    def __init__(self, process: Running, port: int) -> None:
        self.process = process
        self.pid = process.process.pid
        self.port = port

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection on which so much was said."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(data)
        return client

    def fetch(self, port: int = 0) -> tuple[float, bytes]:
        """How long a scrape takes, and its body; it must succeed."""
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port or self.port), timeout=10) as client:
            client.sendall(LAST_GET)
            answer = received(client)
        seconds = time.monotonic() - start
        assert statuses(answer) == [b"200"], answer[:200]
        return seconds, answer.partition(b"\r\n\r\n")[2]

    def scrape(self) -> tuple[float, dict[str, float]]:
        """How long a scrape takes, and the samples of the application without its own labels."""
        seconds, body = self.fetch()
        lines = [line for line in body.splitlines(keepends=True) if line.startswith((b"orders", b"host"))]
        found = samples("text/plain", b"".join(lines))
        return seconds, {name: value for (name, _), value in found.items()}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.process.send_signal(number)

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    @property
    def memory(self) -> int:
        """Resident, in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu(self) -> float:
        """The seconds that it has run."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def lines(self) -> list[str]:
        """What it has written, but for its port and what it reports of itself."""
        return [line for line in self.process.output.splitlines()[1:] if not line.startswith("child ")]


Hosts = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Hosts]:
    """Start a host with these lines before and after the endpoint is made; it ends with the test."""
    with ExitStack() as stack:

        def start(code: str = "", *, first: str = "", last: str = WAIT, **env: str) -> Host:
            command = [sys.executable, "-c", first + HOST + code + READY + last]
            process = stack.enter_context(running(command, log=tmp_path / "log", env=env))
            return Host(process, int(process.until("\n", SECONDS).splitlines()[0]))

        yield start


@contextmanager
def unharmed_host(
    host: Host, *, lines: int = 0, longest: float = SOON / 2, slowest: float = NEXT_SCRAPE
) -> Iterator[None]:
    """Whatever is done to a host in this block, afterwards everything is as before: see ``wire.unharmed``.

    It may have written so many ``lines``, a thread of it may have waited for ``longest``, and the next scrape
    may take ``slowest``.
    """
    threads = host.threads + 1  # one waits for the next callbacks
    for _ in range(3):
        host.scrape()
    before, size = host.descriptors, host.memory
    yield
    seconds, values = host.scrape()
    assert seconds < slowest
    assert values["orders_total"] == 7
    assert values["host_gap"] < longest
    wait_for(lambda: host.descriptors <= before, seconds=6, what="descriptors of clients are closed")
    wait_for(lambda: host.threads <= threads, seconds=6, what="threads end")
    assert host.memory - size < MEMORY
    assert len(host.lines) <= lines, host.process.output


def test_5_clients_take_all_descriptors(host: Hosts) -> None:
    """Nothing spins, one line is logged, and a scrape succeeds within a second when they are gone."""
    few = """
def signalled():
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    print("child few", flush=True)
"""
    it = host(few)
    with unharmed_host(it, lines=1):
        it.signal(signal.SIGUSR1)
        it.process.until("few", 10)
        clients = [it.connect(HALF) for _ in range(60)]
        time.sleep(0.3)
        start, cpu = time.monotonic(), it.cpu
        time.sleep(1)
        assert it.cpu - cpu < 0.3 * (time.monotonic() - start)
        for client in clients:
            client.close()
        time.sleep(0.5)


def test_16_the_interpreter_does_not_wait_for_a_callback(host: Hosts) -> None:
    """A process whose callback hangs for ever ends as soon as its main thread does."""
    it = host(
        """
def hang(_):
    time.sleep(600)
    return []
meter.create_observable_gauge("hanging", [hang])
""",
        last="bridge.reader.expose(timeout=1.1)",
    )
    assert it.process.wait(10) == 0
    assert it.lines == []


def test_34_a_fork(host: Hosts) -> None:
    """The child does not answer for the parent and can start its own, and the port dies with the parent."""
    it = host(
        """
def signalled():
    if os.fork() == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        own = otel_prom_bridge.start(port=0, set_global=False)
        print("child", os.getpid(), own.server.port, bridge.server.is_serving, flush=True)
        time.sleep(60)
        os._exit(0)
"""
    )
    child = 0
    try:
        with unharmed_host(it):
            it.signal(signal.SIGUSR1)
            words = it.process.until("False", 20).split()
            child, port = int(words[2]), int(words[3])
            assert b"orders_total" not in it.fetch(port)[1]
            assert it.scrape()[1]["orders_total"] == 7
        it.signal(signal.SIGKILL)
        it.process.wait(5)
        with pytest.raises(ConnectionRefusedError):
            it.connect()
        socket.create_server(("127.0.0.1", it.port)).close()
        it.fetch(port)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)


# --- hosts of all kinds -------------------------------------------------------------------------------

APPLICATION = """
import otel_prom_bridge
from opentelemetry import metrics
bridge = otel_prom_bridge.start(port={port}, strict=False, cache_ttl=0)
metrics.get_meter("shop").create_counter("orders").add(7)

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"books"]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}})
        await send({{"type": "http.response.body", "body": b"books"}})
"""
GUNICORN = ["gunicorn", "--no-control-socket", "--chdir", "{folder}", "--bind", "127.0.0.1:{web}"]
HOSTS = {
    "two workers for one port": [*GUNICORN, "--workers", "2", "shop:app"],
    "preload": [*GUNICORN, "--workers", "2", "--preload", "shop:app"],
    "gevent": [*GUNICORN, "--worker-class", "gevent", "shop:app"],
    "uvicorn": ["uvicorn", "--app-dir", "{folder}", "--host", "127.0.0.1", "--port", "{web}", "shop:asgi"],
}


@pytest.mark.parametrize("name", HOSTS)
def test_35_web_servers_as_hosts(name: str, tmp_path: Path) -> None:
    """The application starts and answers, and so does its endpoint, whoever of the workers has it."""
    web, port = free_port(), free_port()
    (tmp_path / "shop.py").write_text(APPLICATION.format(port=port))
    words = [word.format(folder=tmp_path, web=web) for word in HOSTS[name]]
    with running([sys.executable, "-m", *words], log=tmp_path / "log") as process:
        it = Host(process, port)

        def answers() -> bool:
            assert process.process.poll() is None, process.output
            with suppress(OSError), socket.create_connection(("127.0.0.1", web), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return received(client).endswith(b"books")
            return False

        def scrapes() -> bool:
            with suppress(OSError):
                return it.scrape()[1].get("orders_total") == 7
            return False

        wait_for(answers, seconds=SECONDS, what="an answer of the application")
        wait_for(scrapes, seconds=SECONDS, what="a scrape")
        with socket.create_connection(("127.0.0.1", port)), it.connect(HALF):  # idle, and half-open
            assert it.scrape()[0] < SOON
            assert answers()
    assert "Traceback" not in process.output, process.output
    assert process.output.count("not served") <= 1, process.output


def test_35_a_pool_of_forked_workers(host: Hosts) -> None:
    """Workers that were forked like those of Celery leave the endpoint to their parent, and end."""
    it = host(
        """
def work(number):
    return number * 2, bridge.server.is_serving

def signalled():
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print("child", pool.map(work, range(3)), flush=True)
"""
    )
    with unharmed_host(it):
        it.scrape()
        it.signal(signal.SIGUSR1)
        assert "child [(0, False), (2, False), (4, False)]" in it.process.until("child", 20)


def test_36_gevent(host: Hosts) -> None:
    """Under gevent scrapes succeed beside idle and half-open connections, and greenlets go on."""
    it = host(first="from gevent import monkey\nmonkey.patch_all()\n")
    with unharmed_host(it):
        clients = [it.connect(data) for data in (b"", HALF, GET)]
        for _ in range(10):
            assert it.scrape()[0] < SOON
        for client in clients:
            client.close()


def test_37_a_busy_host(host: Hosts, record_property: Callable[[str, object], None]) -> None:
    """Ten thousand series are scraped while none, one and two threads compute, and how fast is reported."""
    it = host(
        """
counters = [meter.create_counter(f"calls.{number}") for number in range(10)]
for counter in counters:
    for number in range(1000):
        counter.add(1, {"k": str(number)})

busy = []

def compute():
    while threading.current_thread() in busy:
        sum(range(1000))

def signalled():
    if len(busy) == 2:
        busy.clear()
    else:
        busy.append(threading.Thread(target=compute, daemon=True))
        busy[-1].start()
    print("child", "busy", len(busy), flush=True)
"""
    )
    with unharmed_host(it, longest=5.0):
        for busy in (1, 2, 0):
            it.signal(signal.SIGUSR1)
            it.process.until(f"busy {busy}", 20)
            seconds = sorted(it.fetch()[0] for _ in range(7))
            record_property(f"p50 with {busy} busy threads", seconds[3])
            assert seconds[3] < SOON  # with up to one of them 0.2, on a machine that is not busy


def test_42_a_process_that_was_stopped(host: Hosts) -> None:
    """After SIGSTOP and SIGCONT who was waiting is answered, and nobody is left over."""
    it = host()
    with unharmed_host(it, longest=20):
        half = it.connect(HALF)
        time.sleep(0.2)
        it.signal(signal.SIGSTOP)
        half.sendall(GET[20:])
        waiting, silent = it.connect(GET), it.connect()
        time.sleep(2)  # longer than the deadline for a head
        it.signal(signal.SIGCONT)
        for client in (half, waiting):
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        for client in (half, waiting, silent):
            client.close()
