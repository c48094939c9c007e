"""Host processes for benchmarks: an application with 10,000 series that is scraped, and does work of its own.

A host does what it is told through a pipe (:class:`Host`): record, run busy threads, run cycles of work, say
how much memory it has. ``ours`` serves through this bridge; ``peer`` through the exporter of the OTel project
and ``prometheus_client.start_http_server``; ``none`` records to this bridge, and nobody can scrape it.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

import prometheus_client
from opentelemetry.exporter.prometheus import PrometheusMetricReader as PeerReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader

from otel_prom_bridge import PrometheusMetricReader, start_http_server

METRICS, SERIES_PER_METRIC = 10, 1000
KINDS = ("none", "ours", "peer")
# So short that every scrape collects, and those that come at the same moment still share an answer.
CACHE_SECONDS = 0.05
_CYCLE_SECONDS = 0.0002
_PATIENCE_SECONDS = 60


@dataclass
class Application:
    """What runs in a host process."""

    meter: Meter
    cycles: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._counters = [self.meter.create_counter(f"requests.{number}") for number in range(METRICS)]
        self._attributes = [
            {"route": f"/things/{number}", "method": "GET", "status": "200"}
            for number in range(SERIES_PER_METRIC)
        ]
        self._is_cycling = False

    def record(self, share: float) -> None:
        """A measurement for this share of all series."""
        for attributes in self._attributes[: int(share * SERIES_PER_METRIC)]:
            for counter in self._counters:
                counter.add(1, attributes)

    def be_busy(self) -> None:
        """One more thread that computes without end."""

        def spin() -> None:
            while True:
                sum(range(1000))

        threading.Thread(target=spin, daemon=True).start()

    def cycle(self) -> None:
        """One thread that does a bit of work and waits a bit for something, and notes how long that takes."""
        steps, took = 100, 0.0
        while took < _CYCLE_SECONDS:  # what 0.2 ms can do
            steps += 100
            took = min(_seconds_of(steps) for _ in range(20))

        def work() -> None:
            while True:
                start = time.perf_counter()
                _seconds_of(steps)
                time.sleep(_CYCLE_SECONDS)
                self.cycles.append(time.perf_counter() - start)

        threading.Thread(target=work, daemon=True).start()

    def taken_cycles(self) -> list[float]:
        """The seconds of all cycles since the last call."""
        taken, self.cycles = self.cycles, []
        return taken

    def rest(self) -> float:
        """Throw away what is not needed, and forget the peak of memory; the memory in use, in MB."""
        gc.collect()
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return _status("VmRSS")

    def peak(self) -> float:
        """The most memory in use since the last rest, in MB."""
        return _status("VmHWM")


def _seconds_of(steps: int) -> float:
    start = time.perf_counter()
    sum(number * number for number in range(steps))
    return time.perf_counter() - start


def _status(name: str) -> float:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return float("nan")


def _serve(kind: str) -> tuple[MetricReader, int]:
    if kind == "peer":
        server, _ = prometheus_client.start_http_server(0, "127.0.0.1")
        return PeerReader(), server.server_port
    reader = PrometheusMetricReader()
    if kind == "none":
        return reader, 0
    return reader, start_http_server(reader, port=0, addr="127.0.0.1", cache_ttl=CACHE_SECONDS).port


def run(kind: str, pipe: Pipe) -> None:
    """A host process: says its port, then does what it is told and answers with what comes of it."""
    reader, port = _serve(kind)
    application = Application(MeterProvider([reader], shutdown_on_exit=False).get_meter("host"))
    pipe.send(port)
    while True:
        name, *arguments = pipe.recv()
        pipe.send(getattr(application, name)(*arguments))


class Host:
    """A host process, from outside: its port, and :meth:`tell` for the methods of :class:`Application`."""

    def __init__(self, kind: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=run, args=(kind, there), daemon=True)
        self._process.start()
        there.close()  # or its end would not be noticed here
        self.port: int = self._answer()

    def tell(self, name: str, *arguments: float) -> Any:
        """What a method gives when it is called there."""
        self._pipe.send((name, *arguments))
        return self._answer()

    def _answer(self) -> Any:
        if not self._pipe.poll(_PATIENCE_SECONDS):
            raise TimeoutError("the host does not answer")
        return self._pipe.recv()

    def end(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def hosting(kind: str) -> Iterator[Host]:
    """A host with all its series, for as long as it is needed."""
    host = Host(kind)
    try:
        host.tell("record", 1.0)
        yield host
    finally:
        host.end()
