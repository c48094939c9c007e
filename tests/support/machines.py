"""Machines for tests of docs/scaling.md: programs under hubs, and the files of examples/ for here."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pages import DOCS, blocks
from servers import Running, free_port, running, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN, TOKEN_FILE = "6d2f0c5a7be94e1c8a37d5f0b1e29c84", "shop-token"
# A server that forks four workers, each of which imports the application. At its end each says how many
# orders it has taken.
SHOP = """
import os, signal, sys, time
import otel_prom_bridge
from opentelemetry import metrics
from opentelemetry.sdk.trace import TracerProvider

tracer = TracerProvider().get_tracer("shop")
orders = metrics.get_meter("shop").create_counter("orders")
latency = metrics.get_meter("shop").create_histogram("latency", unit="s")
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
parent, children = os.getpid(), []


def work():
    otel_prom_bridge.start(resource={"service.name": "shop"})
    taken = 0
    try:
        while os.getppid() == parent:
            orders.add(1, {"payment.method": "card"})
            taken += 1
            with tracer.start_as_current_span("order"):
                latency.record(0.2)
            time.sleep(0.05)
    finally:
        os.write(1, f"taken {taken}\\n".encode())


for _ in range(4):
    if not (child := os.fork()):
        work()
        sys.exit()
    children.append(child)
try:
    signal.pause()
finally:
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)
"""


class Machine:
    """A program with workers under a hub, which is at this address."""

    def __init__(self, running: Running, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._running = running

    def wait_for_workers(self) -> None:
        """Wait until all four push."""

        def has_all() -> bool:
            assert self._running.process.poll() is None, self._running.output
            return b"otel_prom_bridge_sources 4" in self._shown()

        wait_for(has_all, seconds=40, what="four workers")

    def stop(self) -> int:
        """End the program, but not yet its hub; how many orders its workers have taken."""
        self._running.process.send_signal(signal.SIGTERM)
        self._running.wait(10)
        lines = [line.split() for line in self._running.output.splitlines()]
        return sum(int(line[1]) for line in lines if line[:1] == ["taken"])

    def is_gone(self) -> bool:
        """Nothing is shown any more."""
        return self._shown() == b""

    def _shown(self) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"http://{self.address}/metrics", headers=headers)
        try:
            with opener.open(request, timeout=5) as response:
                return bytes(response.read())
        except OSError:
            return b""


@contextmanager
def machine(folder: Path, runtime: Path, *, linger: int = 2) -> Iterator[Machine]:
    """A machine with a program that has just begun."""
    port = free_port()
    (folder / TOKEN_FILE).write_text(TOKEN)
    environment = {
        "OTEL_PROM_BRIDGE_BEARER_TOKENS_FILE": str(folder / TOKEN_FILE),
        "XDG_RUNTIME_DIR": str(runtime),
        "OTEL_PROM_BRIDGE_PORT": str(port),
        "OTEL_PROM_BRIDGE_LINGER": str(linger),
        "OTEL_PROM_BRIDGE_CACHE_TTL": "0",
    }
    command = [sys.executable, "-m", "otel_prom_bridge", "run", "--", sys.executable, "-c", SHOP]
    with running(command, log=folder / f"machine-{port}.log", env=environment) as program:
        yield Machine(program, port)


def here(folder: Path, name: str, places: Mapping[str, str]) -> Path:
    """A file of examples/ in this folder, with other words for some of its words, each of which it has."""
    text = (EXAMPLES / name).read_text()
    for written, place in places.items():
        assert written in text, f"{name} has no {written}"
        text = text.replace(written, place)
    assert ".internal" not in re.sub("^ *#.*$", "", text, flags=re.MULTILINE), name
    path = folder / Path(name).name
    path.write_text(text)
    return path


@dataclass(frozen=True, slots=True)
class Command:
    """A command as a page shows it: the variables before it, and its words."""

    variables: Mapping[str, str]
    words: tuple[str, ...]


def command(page: str, *words: str) -> Command:
    """The one command in the blocks of a page that has these words."""
    found = []
    for block in blocks(DOCS / page):
        for line in block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else ():
            split = shlex.split(line, comments=True)
            if {*words} <= {*split}:
                count = next(number for number, word in enumerate(split) if "=" not in word)
                given = dict(word.split("=", 1) for word in split[:count])
                found.append(Command(given, tuple(split[count:])))
    (only,) = found
    return only


def path_with_scripts() -> str:
    """A PATH that has the commands of this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
