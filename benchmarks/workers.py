"""Several processes and one scrape, side by side: ``python -m benchmarks.workers``.

Each party runs in processes of its own:

* ``hub``: workers with the SDK and ``PushReader`` of this package, and ``otel-prom-bridge hub``;
* ``direct``: workers with ``DirectMeterProvider`` and ``DirectPushReader``, and the same hub;
* ``client``: the multiprocess mode of ``prometheus_client``, whose workers write files that a scrape reads;
* ``extension``: the same mode behind the API of OpenTelemetry, through
  ``opentelemetry-sdk-extension-prometheus-multiprocess``;
* ``reader``: ``PrometheusMetricReader`` in one process, which has no workers.

All workers have the same series: nine of ten are counters, one is a histogram of 15 buckets. Scrapes go over
HTTP, without a cache. Recordings and pushes are in time of the processor. ``--quick`` has fewer rounds.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTIES = ("hub", "direct", "client", "extension", "reader")
PUSHING = ("hub", "direct")
# Which of them have workers. A hub cannot tell who records, and the extension writes the client's files.
SHARING = ("hub", "client")
SERIES, COUNTERS = 1000, 900
BUCKETS = tuple(float(10 * 2**step) for step in range(15))
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
LIVE, EVER = 4, (4, 32, 128)  # workers at a time, and as many as ever were
LONGEST_INTERVAL = 3600.0

Record = Callable[[float, dict[str, str]], object]


class Recorder:
    """Somebody who records in this process, by the party's name."""

    def __init__(self, party: str, hub: str, *, interval: float = LONGEST_INTERVAL) -> None:
        self.add: Record
        self.record: Record
        self.flush: Callable[[], object] = lambda: None
        self.close: Callable[[], object] = lambda: None
        if party == "client":
            self._use_client()
        elif party == "extension":
            from opentelemetry.sdk.extension import prometheus_multiprocess

            self._use(prometheus_multiprocess.provider.PrometheusMeterProvider())
        elif party == "direct":
            self._use_direct(hub, interval)
        else:
            self._use_sdk(party, hub, interval)

    def _use_client(self) -> None:
        import prometheus_client

        names = list(attributes(0))
        counter = prometheus_client.Counter("c", "", names)
        histogram = prometheus_client.Histogram("h", "", names, buckets=BUCKETS)
        self.add = lambda value, given: counter.labels(*given.values()).inc(value)
        self.record = lambda value, given: histogram.labels(*given.values()).observe(value)

    def _use(self, provider: Any) -> None:
        meter = provider.get_meter("benchmark")
        self.add = meter.create_counter("c").add
        self.record = meter.create_histogram("h", explicit_bucket_boundaries_advisory=BUCKETS).record

    def _use_direct(self, hub: str, interval: float) -> None:
        from otel_prom_bridge.direct import DirectMeterProvider, DirectPushReader

        pushing = DirectPushReader(hub, interval=interval)
        provider = DirectMeterProvider(pushing)
        self.flush, self.close = pushing.force_flush, provider.shutdown
        self._use(provider)

    def _use_sdk(self, party: str, hub: str, interval: float) -> None:
        from opentelemetry.sdk.metrics import MeterProvider

        from otel_prom_bridge import PrometheusMetricReader, PushReader

        if party == "hub":
            pushing = PushReader(hub, interval=interval)
            provider = MeterProvider([pushing], views=pushing.policy.sdk_views())
            self.flush = pushing.force_flush
        else:
            reader = PrometheusMetricReader(registry=None, collect_interval=0)
            provider = MeterProvider([reader], views=reader.policy.sdk_views())
            self.flush = lambda: reader.expose(OPENMETRICS)
        self.close = provider.shutdown
        self._use(provider)

    def record_all(self, sets: Sequence[dict[str, str]]) -> None:
        """One measurement for each series."""
        for given in sets[:COUNTERS]:
            self.add(1, given)
        for given in sets[COUNTERS:]:
            self.record(30, given)


def attributes(number: int) -> dict[str, str]:
    """Those of one series."""
    return {"method": "GET", "route": f"/things/{number}", "status": "200"}


def megabytes() -> float:
    """What this process has in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor_seconds(process: int) -> float:
    """What a process has used of the processor, whoever it is."""
    return time.clock_gettime((~process) << 3 | 2)  # what clock_getcpuclockid() gives on Linux


# Servers.


@dataclass(frozen=True)
class Served:
    """Where to push to, where to scrape, and the process that answers."""

    address: str
    url: str
    process: int


@contextmanager
def hub() -> Iterator[Served]:
    """A hub."""
    with tempfile.TemporaryDirectory(prefix="hub-") as folder:
        path = f"{folder}/hub.sock"
        command = [sys.executable, "-m", "otel_prom_bridge", "hub", "--port", "0", "--otlp-socket", path]
        with subprocess.Popen([*command, "--cache-ttl", "0"], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                url = process.stderr.readline().split()[-1]
                process.stderr.readline()
                yield Served(f"unix:{path}", url, process.pid)
            finally:
                process.terminate()


@contextmanager
def files() -> Iterator[Served]:
    """A process that serves the files of prometheus_client's workers, which find them in the environment."""
    command = [sys.executable, "-m", "benchmarks.workers", "--party", "client", "--what", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Served("", process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()


def serve_files() -> None:
    """What that process does."""
    import prometheus_client
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = prometheus_client.CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    server, _ = prometheus_client.start_http_server(0, "127.0.0.1", registry)
    print(f"http://127.0.0.1:{server.server_port}/metrics", flush=True)
    sys.stdin.read()


def scrape(url: str) -> bytes:
    """What a scraper gets."""
    request = urllib.request.Request(url, headers={"Accept": OPENMETRICS})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        found: bytes = response.read()
    return found


def scraped(url: str) -> float:
    """Milliseconds that a scrape takes."""
    start = time.perf_counter()
    scrape(url)
    return (time.perf_counter() - start) * 1000


def shown(url: str) -> float:
    """The sum of a counter of the workers."""
    lines = scrape(url).decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1].split("#")[0]) for line in lines if line.startswith("c_total{"))


# Workers.


class Workers:
    """Forked processes that have the same series, and record when they are told to."""

    def __init__(self, party: str, address: str) -> None:
        self._party = party
        self._address = address
        self._sets = [attributes(number) for number in range(SERIES)]
        # Here, and not in each worker again.
        importlib.import_module("otel_prom_bridge.push.reader" if party == "hub" else "prometheus_client")
        self._all: list[tuple[int, socket.socket]] = []

    def start(self, count: int, *, interval: float = LONGEST_INTERVAL) -> None:
        """Fork so many more."""
        for _ in range(count):
            ours, theirs = socket.socketpair()
            process = os.fork()
            if process == 0:
                for other in (ours, *(worker for _, worker in self._all)):
                    other.close()
                try:
                    self._work(theirs, interval)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            theirs.close()
            self._all.append((process, ours))

    def _work(self, told: socket.socket, interval: float) -> None:
        recorder = Recorder(self._party, self._address, interval=interval)
        while word := told.recv(1):
            if word == b"r":
                recorder.record_all(self._sets)
                if interval == LONGEST_INTERVAL:
                    recorder.flush()
            told.send(b".")
        recorder.close()

    def record(self) -> None:
        """All of them record each series once, and a hub has it."""
        for _, worker in self._all:
            worker.send(b"r")
        for _, worker in self._all:
            worker.recv(1)

    def end(self) -> None:
        """All of them end."""
        for process, worker in self._all:
            worker.close()
            os.waitpid(process, 0)
            if self._party == "client":
                from prometheus_client.multiprocess import mark_process_dead

                mark_process_dead(process)  # type: ignore[no-untyped-call]
        self._all.clear()


@contextmanager
def serving(party: str) -> Iterator[tuple[Workers, Served]]:
    """Workers of this party, and where they are served."""
    with hub() if party == "hub" else files() as served:
        workers = Workers(party, served.address)
        try:
            yield workers, served
        finally:
            workers.end()


# What is measured.


def recordings(party: str, quick: bool) -> dict[str, float]:
    """Microseconds of one recording."""
    calls, rounds = (2000, 2) if quick else (20_000, 5)
    with hub() if party in PUSHING else nullcontext(Served("", "", 0)) as served:
        recorder = Recorder(party, served.address)
        given = attributes(0)
        found = {
            "add": _each(calls, rounds, lambda: recorder.add(1, given)),
            "record": _each(calls, rounds, lambda: recorder.record(30, given)),
        }
        sets = iter([attributes(number) for number in range(1, 2001)])
        found["record, a new series"] = _each(1000, 1, lambda: recorder.record(30, next(sets)))
        recorder.close()
    return found


def _each(calls: int, rounds: int, work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, time.process_time() - start)
    return best / calls * 1e6


def pushes(party: str, quick: bool) -> dict[str, float]:
    """What pushes of 1,000 changed series cost both sides, and what the worker has of memory then."""
    sets = [attributes(number) for number in range(SERIES)]
    rounds, seconds = (10, 3) if quick else (50, 20)
    with hub() as served:
        recorder = Recorder(party, served.address)
        for _ in range(2):  # the first ones make the series
            recorder.record_all(sets)
            recorder.flush()
        theirs = processor_seconds(served.process)
        recording, changed = zip(*(_pushed(recorder, sets) for _ in range(rounds)), strict=True)
        theirs = (processor_seconds(served.process) - theirs) / rounds * 1000
        _, idle = zip(*(_pushed(recorder, ()) for _ in range(rounds)), strict=True)
        memory = megabytes()
        recorder.close()
        # As it is by default: once a second, or less often if that costs too much.
        recorder = Recorder(party, served.address, interval=1.0)
        used, own = time.process_time(), time.thread_time()
        for _ in range(seconds):
            recorder.record_all(sets)
            time.sleep(1)
        used = (time.process_time() - used) - (time.thread_time() - own)
        recorder.close()
    return {
        "recording them before a push, ms": statistics.median(recording),
        "a push, its worker, ms": statistics.median(changed),
        "a push, the hub, ms": theirs,
        "with nothing changed, its worker, ms": statistics.median(idle),
        "pushing, % of the worker's time": used / seconds * 100,
        "the worker, MB": memory,
    }


def _pushed(recorder: Recorder, sets: Sequence[dict[str, str]]) -> tuple[float, float]:
    """Milliseconds of the processor that it takes to record these series, and to push them."""
    start = time.process_time()
    recorder.record_all(sets)
    recorded = time.process_time()
    recorder.flush()
    return (recorded - start) * 1000, (time.process_time() - recorded) * 1000


def scrapes(party: str, count: int, quick: bool) -> dict[str, float]:
    """Milliseconds of scrapes of so many workers: the first, and the next ones."""
    rounds = 1 if quick else 7
    with serving(party) as (workers, served):
        workers.start(count)
        workers.record()
        found = {"first": scraped(served.url)}
        changed = []
        for _ in range(rounds):
            workers.record()
            changed.append(_timed(served))
        found |= _medians("all series changed", changed)
        found |= _medians("nothing changed", [_timed(served) for _ in range(2 * rounds)])
    return found


def _timed(served: Served) -> tuple[float, float]:
    """Milliseconds of a scrape, and those of the processor that the answer takes."""
    before = processor_seconds(served.process)
    taken = scraped(served.url)
    return taken, (processor_seconds(served.process) - before) * 1000


def _medians(what: str, times: Sequence[tuple[float, float]]) -> dict[str, float]:
    taken, used = zip(*times, strict=True)
    return {what: statistics.median(taken), f"{what}, processor": statistics.median(used)}


def scrapes_under_load(count: int, quick: bool) -> dict[str, float]:
    """Milliseconds of scrapes while workers push 1,000 changed series each second, and the hub's share."""
    seconds, times = 2 if quick else 20, []
    with serving("hub") as (workers, served):
        workers.start(count, interval=1.0)
        workers.record()
        time.sleep(1)
        scraped(served.url)
        used = processor_seconds(served.process)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            workers.record()
            time.sleep(0.3)
            times.append(scraped(served.url))
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
        used = processor_seconds(served.process) - used
    return {
        "while all push": statistics.median(times),
        "the hub, % of a core": used / seconds * 100,
    }


def ever(party: str, count: int, quick: bool) -> dict[str, float]:
    """Milliseconds of a scrape when there were so many workers, four at a time."""
    with serving(party) as (workers, served):
        for generation in range(count // LIVE):
            if generation:
                workers.end()
            workers.start(LIVE)
            workers.record()
        found = [_timed(served) for _ in range(2 if quick else 8)]
    return _medians(f"{count} ever", found[1:])


def staleness(party: str, quick: bool) -> dict[str, float]:
    """Milliseconds until a scrape shows what a worker has recorded."""
    times: list[float] = []
    with serving(party) as (_, served):
        recorder = Recorder(party, served.address, interval=1.0)
        for number in range(4 if quick else 20):
            time.sleep(0.137 * (number % 7))
            recorder.add(1, attributes(0))
            start = time.perf_counter()
            while shown(served.url) <= number:
                time.sleep(0.01)
            times.append((time.perf_counter() - start) * 1000)
        recorder.close()
    return {"median": statistics.median(times), "longest": max(times)}


# One process for each.


def measured(party: str, what: str, count: int, *, quick: bool) -> dict[str, float]:
    """What one party takes for one thing, in this process."""
    match what:
        case "recordings":
            return recordings(party, quick)
        case "pushes":
            return pushes(party, quick)
        case "scrapes":
            return scrapes(party, count, quick)
        case "load":
            return scrapes_under_load(count, quick)
        case "ever":
            return ever(party, count, quick)
    return staleness(party, quick)


def elsewhere(party: str, what: str, count: int = 0, *, quick: bool) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.workers", "--party", party, "--what", what]
    with tempfile.TemporaryDirectory(prefix="multiprocess-") as folder:
        shared = {MULTIPROCESS: folder} if party in ("client", "extension") else {}
        done = subprocess.run(
            [*command, "--count", str(count), *(["--quick"] if quick else [])],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
            env={**os.environ, **shared},
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(title: str, found: dict[str, dict[str, float]]) -> None:
    """Print it: a column for each party."""
    print(f"\n{title:40}" + "".join(f"{name:>12}" for name in found))
    for row in next(iter(found.values())):
        cells = (f"{values[row]:12.2f}" if row in values else f"{'-':>12}" for values in found.values())
        print(f"{row:40}" + "".join(cells), flush=True)


def main() -> None:
    """Measure and print: one process for each party and kind of figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--party", choices=PARTIES)
    parser.add_argument("--what")
    parser.add_argument("--count", type=int, default=0)
    given = parser.parse_args()
    quick: bool = given.quick
    if given.what == "serve":
        serve_files()
    elif given.what:
        print(json.dumps(measured(given.party, given.what, given.count, quick=quick)))
    else:
        report(quick)


def report(quick: bool) -> None:
    """All tables."""
    table("µs for one recording", {name: elsewhere(name, "recordings", quick=quick) for name in PARTIES})
    table(
        "pushes of 1,000 changed series", {name: elsewhere(name, "pushes", quick=quick) for name in PUSHING}
    )
    for count in (4, 32):
        found = {name: elsewhere(name, "scrapes", count, quick=quick) for name in SHARING}
        found["hub"] |= elsewhere("hub", "load", count, quick=quick)
        table(f"ms for a scrape of {count} workers", found)
    found = {name: {} for name in SHARING}
    for name in SHARING:
        for count in EVER[: 2 if quick else 3]:
            found[name] |= elsewhere(name, "ever", count, quick=quick)
    table("ms for a scrape of 4 workers, of", found)
    table("ms until a scrape shows it", {name: elsewhere(name, "staleness", quick=quick) for name in SHARING})


if __name__ == "__main__":
    main()
