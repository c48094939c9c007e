"""A hub in a process of its own, a program with workers that push to it, and a connection that is bad."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import programs
from servers import free_port, get


class HubProcess:
    """``otel-prom-bridge hub``, which may be killed, stopped and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "hub.sock")
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it listens."""
        command = [sys.executable, "-m", "otel_prom_bridge", "hub", "--otlp-socket", self.path]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
        self._process = programs.Program(
            [*command, "--port", str(self.port), "--cache-ttl", "0"],
            env={**kept, "XDG_RUNTIME_DIR": str(self._folder)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        assert "metrics" in self._process.stderr.readline()
        assert "pushes" in self._process.stderr.readline()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: int) -> None:
        """Send it a signal that ends it."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.communicate(timeout=20)

    def values(self, name: str) -> list[float]:
        """The values of all samples of this name."""
        text = get(f"http://127.0.0.1:{self.port}/metrics", timeout=10)[1].decode()
        return [float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)]


@contextlib.contextmanager
def hub_process(folder: Path) -> Iterator[HubProcess]:
    """One that runs."""
    hub = HubProcess(folder)
    hub.start()
    try:
        yield hub
    finally:
        with contextlib.suppress(ProcessLookupError):
            hub.end(9)


# Its workers record while they may, and count for themselves. When they may no longer, they flush.
_PROGRAM = """
import json, mmap, os, struct, sys, time
from opentelemetry import metrics
from otel_prom_bridge import start

bridge = start()
meter = metrics.get_meter("shop")
jobs, sizes = meter.create_counter("jobs"), meter.create_histogram("sizes")
level, limit = meter.create_up_down_counter("level"), meter.create_gauge("limit")
NUMBER = int(sys.argv[1])
memory = mmap.mmap(-1, 24 * NUMBER + 1)  # for each worker: recordings, the longest one, flushed

def work(number):
    limit.set(number)
    level.add(1)
    count, longest = 0, 0.0
    while memory[0] != 2:
        while memory[0] == 1:
            began = time.thread_time()
            jobs.add(1, {"kind": str(count % 5)})
            sizes.record(count % 7)
            longest = max(longest, time.thread_time() - began)
            count += 1
            struct.pack_into("<qdq", memory, 1 + 24 * number, count, longest, 0)
            time.sleep(0.001)
        done = count == 0 or bridge.reader.force_flush(30_000)
        struct.pack_into("<qdq", memory, 1 + 24 * number, count, longest, int(done))
        while memory[0] == 0:
            time.sleep(0.01)
    bridge.shutdown()

children = []
for number in range(NUMBER):
    pid = os.fork()
    if pid == 0:
        work(number)
        os._exit(0)
    children.append(pid)
print(json.dumps(children), flush=True)
for line in sys.stdin:
    memory[0] = int(line)
    if memory[0] == 0:
        while not all(struct.unpack_from("<q", memory, 17 + 24 * number)[0] for number in range(NUMBER)):
            time.sleep(0.01)
    if memory[0] == 2:
        for pid in children:
            os.waitpid(pid, 0)
    found = [struct.unpack_from("<qdq", memory, 1 + 24 * number) for number in range(NUMBER)]
    counts, times, _ = zip(*found)
    print(json.dumps([sum(counts), max(times)]), flush=True)
"""


class Workers:
    """A program with so many forked workers that push to the hub at this path."""

    def __init__(self, path: str, number: int, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
        self._process = programs.Program(
            [sys.executable, "-c", _PROGRAM, str(number)],
            env={**kept, "OTEL_PROM_BRIDGE_HUB": f"unix:{path}", **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pids: list[int] = self._line()
        self.longest = 0.0  # seconds of the processor that a recording took

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def _tell(self, state: int) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{state}\n")
        self._process.stdin.flush()
        count, self.longest = self._line()
        return int(count)

    def record(self, seconds: float = 0.0) -> int:
        """Record from now on, and for so many seconds at least; how often they did."""
        self._tell(1)
        time.sleep(seconds)
        return self._tell(1)

    def flush(self) -> int:
        """Let them stop, and push what they have; how much they recorded."""
        return self._tell(0)

    def end(self) -> tuple[int, str]:
        """Let them end; how much they recorded, and the log."""
        count = self._tell(2)
        return count, self._process.communicate(timeout=30)[1]

    def kill(self) -> None:
        """End it if it is there."""
        self._process.kill()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        with self._process:  # which closes its pipes
            pass

    @property
    def resident(self) -> float:
        """The memory of the biggest worker in MB."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids]
        return max(pages) * 4096 / 1e6


@contextlib.contextmanager
def workers(path: str, number: int, **variables: str) -> Iterator[Workers]:
    """Workers that run."""
    found = Workers(path, number, **variables)
    try:
        yield found
    finally:
        found.kill()


@contextlib.contextmanager
def bad_connection(hub: HubProcess, path: Path, *, lose: float = 0.0, delay: float = 0.0) -> Iterator[str]:
    """A socket that leads to the hub. This share of its answers gets lost, and each comes so much later."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    chance = random.Random(3)

    def pass_on(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
            server.connect(hub.path)
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            while piece := server.recv(65536):
                time.sleep(delay)
                if chance.random() < lose:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(piece)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=pass_on, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield str(path)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
