"""What one hub carries: memory and processor time for each series, and for each push.

The hub is a process of its own, as `otel-prom-bridge hub` starts it. This program pushes to it over its
Unix socket as workers do, in the same requests, and scrapes it as Prometheus does. Memory and processor time
are those of the hub alone, by what the system counts. docs/scaling.md has the model that is made of them.

    python -m benchmarks.capacity            # two minutes
    python -m benchmarks.capacity --quick    # some seconds
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from benchmarks.endpoint import Client
from benchmarks.latency import HEADERS
from otel_prom_bridge.push.hub_connection import HubConnection
from otel_prom_bridge.push.wire import NUMBER, SOURCE, HubAddress

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# Of a push, as in the tables of docs/performance.md: each metric has so many series with three attributes.
PER_METRIC = 1000
LINES = {"counters": 1, "histograms": len(BOUNDS) + 3}


def metric_of(kind: str, name: str, count: int, moment: int) -> Metric:
    """A metric with so many points."""
    metric = Metric(name=name, unit="s")
    for number in range(count):
        labels = {"http.route": f"/r/{number % 50}", "tool": f"t{number // 50}", "code": "200"}
        attributes = [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in labels.items()]
        times = {"start_time_unix_nano": moment - 10**9, "time_unix_nano": moment}
        if kind == "counters":
            metric.sum.aggregation_temporality = DELTA
            metric.sum.is_monotonic = True
            metric.sum.data_points.add(as_int=1, attributes=attributes, **times)
        else:
            metric.histogram.aggregation_temporality = DELTA
            metric.histogram.data_points.add(
                count=3,
                sum=0.6,
                explicit_bounds=BOUNDS,
                bucket_counts=[3 if index == 6 else 0 for index in range(len(BOUNDS) + 1)],
                attributes=attributes,
                **times,
            )
    return metric


def request_of(kind: str, series: int, first: int = 0) -> bytes:
    """What a worker pushes of which so many series have changed."""
    request = ExportMetricsServiceRequest()
    found = request.resource_metrics.add()
    name = KeyValue(key="service.name", value=AnyValue(string_value="shop"))
    found.resource.attributes.append(name)
    scope = found.scope_metrics.add()
    scope.scope.name = "benchmark"
    moment = time.time_ns()
    for number in range(first, first + max(1, series // PER_METRIC)):
        scope.metrics.append(metric_of(kind, f"{kind}.m{number}", min(series, PER_METRIC), moment))
    return request.SerializeToString()


class Worker:
    """Pushes to a hub."""

    def __init__(self, socket: str, name: str) -> None:
        self._connection = HubConnection(HubAddress(path=socket, host="", port=0), None)
        self._name, self._number = name, 0

    def push(self, body: bytes) -> None:
        self._number += 1
        answer = self._connection.post(body, {SOURCE: self._name, NUMBER: str(self._number)}, 30)
        assert answer.status == 200, answer

    def close(self) -> None:
        self._connection.close()


class Used:
    """What a process uses, by the system's count."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def memory(self) -> int:
        """Bytes that are its own."""
        text = Path(f"/proc/{self._pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private")) * 1024

    def seconds(self) -> float:
        """What it has computed so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Measured(Used):
    """A hub that runs."""

    def __init__(self, pid: int, socket: str, port: int) -> None:
        super().__init__(pid)
        self.socket, self._port = socket, port
        self._client = Client(port, keep_alive=True, headers=HEADERS)

    def scrape(self) -> None:
        """Ask as Prometheus does."""
        self._client.ask()

    def size(self) -> int:
        """Bytes of an answer, packed."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = dict(line.split(": ", 1) for line in HEADERS.splitlines())
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers=headers)
            return len(connection.getresponse().read())


@contextmanager
def hub() -> Iterator[Measured]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        socket = f"{folder}/hub.sock"
        command = [sys.executable, "-m", "otel_prom_bridge", "hub", "--port=0", f"--otlp-socket={socket}"]
        options = ["--cache-ttl=0", "--max-series-per-metric=100000", "--max-lines-per-metric=1000000"]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            try:
                process.stderr.readline()
                yield Measured(process.pid, socket, int(line.rpartition(":")[2].split("/")[0]))
            finally:
                process.terminate()


def spent(found: Measured, work: Callable[[], object]) -> float:
    """Seconds that the hub computes for it."""
    begun = found.seconds()
    work()
    return found.seconds() - begun


def report_series(kind: str, series: int, rounds: int) -> None:
    """One worker that changes each of its series before each scrape, and then none."""
    with hub() as found:
        worker = Worker(found.socket, "worker-1")
        empty = found.memory()

        def push() -> None:
            for body in bodies:
                worker.push(body)

        bodies = [request_of(kind, PER_METRIC, first) for first in range(series // PER_METRIC)]
        push()
        found.scrape()
        memory, size = found.memory() - empty, found.size()
        pushed = changed = 0.0
        for _ in range(rounds):
            pushed += spent(found, push)
            changed += spent(found, found.scrape)
        steady = sum(spent(found, found.scrape) for _ in range(rounds))
        worker.close()
    times = [seconds / rounds / series * 1e6 for seconds in (pushed, changed, steady)]
    shown = "{:>8.1f} {:>8.1f} {:>17.1f} {:>13.2f}".format(memory / series / 1024, *times)
    print(f"{kind:<11} {series:>7,} {LINES[kind]:>6} {shown} {size / series:>12.1f}")


def report_pushes(workers: int, rounds: int) -> None:
    """Many who push little: what a push costs beside its series."""
    with hub() as found:
        pushing = [Worker(found.socket, f"worker-{number}") for number in range(workers)]
        body = request_of("counters", 10)
        before = found.memory()
        for worker in pushing:
            worker.push(body)
        memory, begun = found.memory() - before, found.seconds()
        started = time.perf_counter()
        for _ in range(rounds):
            for worker in pushing:
                worker.push(body)
        pushes = rounds * workers
        seconds, took = found.seconds() - begun, time.perf_counter() - started
        for worker in pushing:
            worker.close()
    each = f"{memory / workers / 1024:>15.1f} {seconds / pushes * 1e6:>19.0f} {pushes / took:>13,.0f}"
    print(f"{workers:>7,} {each}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller, so less exact")
    quick = parser.parse_args().quick
    with hub() as found:
        print(f"a hub without series: {found.memory() / 2**20:.1f} MB of its own\n")
    print("for each series:              memory     push   scrape, changed   scrape, not   body, gzip")
    print("             series  lines       kB   µs CPU            µs CPU        µs CPU        bytes")
    for kind, series in (("counters", 50_000), ("histograms", 10_000)):
        report_series(kind, series // 10 if quick else series, 3 if quick else 10)
    print("\nworkers   kB for each worker   µs of CPU a push   pushes/s")
    for workers in (8, 100) if quick else (8, 100, 1000):
        report_pushes(workers, max(3, (300 if quick else 6000) // workers))


if __name__ == "__main__":
    main()
