"""The targets with numbers that the project was asked for, measured: ``python -m benchmarks.targets``.

docs/requirements.md has what it printed beside each target. Times are those of the processor, so that other
work on the machine counts little. Of many short pieces of work it is the median, of scrapes also the 99th of
a hundred.
"""

from __future__ import annotations

import logging
import resource
import statistics
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import grpc
from opentelemetry.sdk.metrics import MeterProvider

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.exposition import Exposer
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.instrument import Storage, WsgiMetrics
from otel_prom_bridge.instrument.grpc import ServerInterceptor

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
LABELS = {"route": "/orders", "method": "POST", "status": "200"}


def median(work: Callable[[], object], *, times: int = 2000, each: int = 1) -> float:
    """Seconds of one piece of work."""
    found = []
    for _ in range(times // each):
        began = time.process_time()
        for _ in range(each):
            work()
        found.append((time.process_time() - began) / each)
    return statistics.median(found)


def show(name: str, seconds: float) -> None:
    """A line of the table."""
    scale, unit = (1e9, "ns") if seconds < 1e-6 else (1e6, "µs") if seconds < 1e-3 else (1e3, "ms")
    print(f"{name:58}{seconds * scale:10.1f} {unit}")


def size(name: str, bytes: int) -> None:
    """A line of the table."""
    print(f"{name:58}{bytes / 1e6:10.2f} MB")


class Filled:
    """A reader with counters of so many series, and what changes some of them."""

    def __init__(self, series: int) -> None:
        self.reader = PrometheusMetricReader(registry=None, collect_interval=0, max_series_per_metric=series)
        self._provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self._counter = self._provider.get_meter("targets").create_counter("orders")
        self._attributes = [{"route": f"/{number}", "method": "POST"} for number in range(series)]
        self.change(1)
        self.reader.expose()

    def change(self, share: float) -> None:
        """Record to the first of them."""
        for attributes in self._attributes[: int(len(self._attributes) * share)]:
            self._counter.add(1, attributes)

    def scrape(self) -> float:
        """The seconds of a scrape."""
        began = time.process_time()
        self.reader.expose(OPENMETRICS)
        return time.process_time() - began


def scrapes() -> None:
    """Scrapes of 1,000 and of 10,000 series."""
    for series, share in ((1000, 1.0), (10_000, 0.1)):
        filled = Filled(series)
        times = []
        for _ in range(100):
            filled.change(share)
            times.append(filled.scrape())
        name = f"scrape of {series:,} series, {share:.0%} changed"
        show(f"{name}, p50", statistics.median(times))
        show(f"{name}, p99", sorted(times)[98])


def writing() -> None:
    """What it takes to write series that all changed: families become a body, and nothing is collected."""
    for series in (100, 10_000):
        filled, exposer = Filled(series), Exposer(findings=Findings())
        times = []
        for _ in range(20):
            filled.change(1)
            families = filled.reader.families()
            began = time.process_time()
            exposer.expose(families, accept=OPENMETRICS)
            times.append(time.process_time() - began)
        show(f"writing {series:,} series that all changed", statistics.median(times))


def memory() -> None:
    """The peak of a scrape, and what many scrapes leave behind."""
    filled = Filled(10_000)
    filled.scrape()  # the first one in this format renders all of it
    tracemalloc.start()
    filled.change(0.1)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    filled.scrape()
    size("memory of a scrape of 10,000 series, at its peak", tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    reader = PrometheusMetricReader(registry=None, collect_interval=0, max_series_per_metric=500)
    counter = MeterProvider([reader], shutdown_on_exit=False).get_meter("targets").create_counter("orders")

    def come_and_go(first: int, scrapes: int) -> None:
        for number in range(first, first + scrapes):
            for key in range(500):
                counter.add(1, {"number": number * 500 + key})
            reader.expose(OPENMETRICS)

    tracemalloc.start()
    # At most 40,000 attribute sets are remembered, then the table is emptied: so as many come in between.
    come_and_go(0, 10)
    begin = tracemalloc.get_traced_memory()[0]
    come_and_go(10, 80)
    size("memory that 40,000 new attribute sets leave behind", tracemalloc.get_traced_memory()[0] - begin)
    tracemalloc.stop()
    size("the whole process, at its peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def together() -> None:
    """Ten scrapers that come at once."""
    filled = Filled(10_000)
    times: list[float] = []
    for _ in range(10):
        filled.change(0.1)
        began = time.process_time()
        threads = [threading.Thread(target=filled.scrape) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times.append(time.process_time() - began)
    show("10 scrapes of 10,000 series at once, all of them", statistics.median(times))


def compression() -> None:
    """A kilobyte and a hundred of an exposition, as the endpoint compresses them."""
    text = Filled(3000).reader.expose(OPENMETRICS).body
    for size in (1_000, 100_000):
        body = text[:size]
        show(f"gzip of {size // 1000} kB", median(partial(zlib.compress, body, 1, 31), times=200))


def recordings() -> None:
    """One recording, by both doors, with labels and without."""
    sdk = MeterProvider([PrometheusMetricReader(registry=None)], shutdown_on_exit=False)
    for door, provider in (("direct", DirectMeterProvider(DirectReader())), ("SDK", sdk)):
        meter = provider.get_meter("targets")
        counter, histogram = meter.create_counter("orders"), meter.create_histogram("duration", unit="s")
        show(f"a counter, {door}", median(partial(counter.add, 1), each=100))
        show(f"a counter with three labels, {door}", median(partial(counter.add, 1, LABELS), each=100))
        show(f"a histogram, {door}", median(partial(histogram.record, 0.1), each=100))
        show(
            f"a histogram with three labels, {door}", median(partial(histogram.record, 0.1, LABELS), each=100)
        )


def recorders() -> None:
    """What recorders add to what they measure."""
    provider = MeterProvider([PrometheusMetricReader(registry=None)], shutdown_on_exit=False)
    recorder, storage = LLMRecorder(provider), Storage("disk", meter_provider=provider)

    def call() -> None:
        with recorder.call(model="gpt-4o", provider="openai") as running:
            running.tokens(input=100, output=10)

    def store() -> None:
        with storage.operation("read"):
            pass

    def application(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    measured = WsgiMetrics(application, meter_provider=provider)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/orders",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
    }
    show("LLMRecorder, a call", median(call))
    show("Storage, an operation", median(store))

    def respond(*_: object) -> Callable[[bytes], object]:
        return lambda _: None

    show("WsgiMetrics, a request", median(lambda: list(measured(dict(environ), respond))))


class Context:
    """What a server of gRPC says of a call that goes well."""

    def code(self) -> None:
        """The application set none."""

    def time_remaining(self) -> None:
        """There is no deadline."""

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Nobody is told of the end, since nothing follows it."""
        return callable(callback)


def interceptor() -> None:
    """What the interceptor adds to a call, from the way to its handler to its answer, without a network."""
    reader = PrometheusMetricReader(registry=None)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    details = SimpleNamespace(method="/incidents.Service/Create", invocation_metadata=())
    intercept = ServerInterceptor(meter_provider=provider).intercept_service

    def call() -> None:
        intercept(lambda _: handler, details).unary_unary(b"", Context())

    taken = median(call)
    assert b"rpc_server_call_duration_seconds_count" in reader.expose().body
    show("ServerInterceptor, a call", taken)


def main() -> None:
    """Print all of it."""
    logging.getLogger("otel_prom_bridge").setLevel("ERROR")  # a limit that is reached is no news here
    for part in (scrapes, writing, together, memory, compression, recordings, recorders, interceptor):
        part()


if __name__ == "__main__":
    main()
