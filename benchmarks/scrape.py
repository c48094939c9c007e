"""One scrape, side by side: this bridge, opentelemetry-exporter-prometheus, prometheus_client, the bare SDK.

Every row records the same measurements on all of them and then times one scrape each: collecting and
writing the body, without HTTP. Times are the best of several rounds; what matters are the ratios, because
they are taken in one process run on the same work.

    python -m benchmarks.scrape            # the full table, several minutes
    python -m benchmarks.scrape --quick    # a small one; CI runs it so that this file does not rot
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import prometheus_client
from opentelemetry.exporter.prometheus import PrometheusMetricReader as PeerReader
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import CardinalityLimits, InMemoryMetricReader, MetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.utils import INF

from otel_prom_bridge import PrometheusMetricReader

BOUNDS = tuple(float(10 * 2**step) for step in range(15))
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
SHARES = (1.0, 0.1, 0.01, 0.0)
PEERS = ("exporter", "client", "sdk")


@dataclass(frozen=True)
class Mode:
    """What a table asks for. The peers have OpenMetrics and text only; beside other modes they write text."""

    name: str
    accept: str | None = None
    strategy: str = "UnderscoreEscapingWithSuffixes"
    exponential: bool = False


MODES = (
    Mode("text 0.0.4"),
    Mode("OpenMetrics", OPENMETRICS),
    Mode("protobuf", PROTOBUF),
)
# Names with dots, quoted for the scraper or escaped for it at every scrape.
NAME_MODES = (
    Mode("UTF-8 names, OpenMetrics", f"{OPENMETRICS};escaping=allow-utf-8", "NoTranslation"),
    Mode("UTF-8 names escaped, OpenMetrics", OPENMETRICS, "NoTranslation"),
)
EXPONENTIAL_MODES = (
    Mode("exponential histograms, protobuf", PROTOBUF, exponential=True),
    Mode("exponential histograms, text 0.0.4", exponential=True),
)


@dataclass(frozen=True)
class Size:
    """How many series of each kind a row has; every series has 3 attributes."""

    counters: int
    histograms: int

    def __str__(self) -> str:
        return f"{self.counters:>7,} counters {self.histograms:>6,} histograms"


FULL = {
    Size(1_000, 0): MODES,
    Size(0, 1_000): MODES + EXPONENTIAL_MODES,
    Size(10_000, 0): MODES,
    Size(10_000, 1_000): MODES + NAME_MODES,
    Size(0, 10_000): MODES,
    Size(100_000, 0): MODES,
}
QUICK = {Size(200, 20): MODES + NAME_MODES + EXPONENTIAL_MODES}


def attributes(index: int) -> dict[str, str]:
    return {"http.route": f"/r/{index}", "method": "GET", "status": "200"}


class Subject:
    """Something that records measurements and can be scraped."""

    def record(self, size: Size, share: float) -> None:
        """Change this share of the series, evenly spread."""
        raise NotImplementedError

    def scrape(self) -> object:
        raise NotImplementedError


class OTel(Subject):
    """A MeterProvider with one reader; ``write`` makes the body."""

    def __init__(
        self, reader: MetricReader, write: Callable[[], object], *, exponential: bool = False
    ) -> None:
        view = View(instrument_name="*latency", aggregation=ExponentialBucketHistogramAggregation())
        provider = MeterProvider([reader], views=[view] if exponential else [], shutdown_on_exit=False)
        meter = provider.get_meter("benchmark")
        self._counter = meter.create_counter("http.requests")
        self._histogram = meter.create_histogram(
            "http.latency", unit="ms", explicit_bucket_boundaries_advisory=BOUNDS
        )
        self._write = write

    def record(self, size: Size, share: float) -> None:
        for index in chosen(size.counters, share):
            self._counter.add(1, attributes(index))
        for index in chosen(size.histograms, share):
            self._histogram.record(index % 400, attributes(index))

    def scrape(self) -> object:
        return self._write()


class Client(Subject):
    """``prometheus_client`` without OpenTelemetry."""

    def __init__(self, generate: Callable[[prometheus_client.CollectorRegistry], bytes]) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        names = ("route", "method", "status")
        self._counter = prometheus_client.Counter("requests", "", names, registry=self._registry)
        self._histogram = prometheus_client.Histogram(
            "latency", "", names, registry=self._registry, buckets=(*BOUNDS, INF)
        )
        self._generate = generate

    def record(self, size: Size, share: float) -> None:
        for index in chosen(size.counters, share):
            self._counter.labels(*attributes(index).values()).inc()
        for index in chosen(size.histograms, share):
            self._histogram.labels(*attributes(index).values()).observe(index % 400)

    def scrape(self) -> object:
        return self._generate(self._registry)


def chosen(count: int, share: float) -> Iterator[int]:
    return iter(range(0, count, round(1 / share))) if share else iter(())


def subjects(size: Size, mode: Mode) -> dict[str, Subject]:
    limit = 10 * (size.counters + size.histograms)
    limits: CardinalityLimits = {Counter: limit, Histogram: limit}
    ours = PrometheusMetricReader(
        registry=None,
        cardinality_limits=limits,
        disable_target_info=True,
        translation_strategy=mode.strategy,
    )
    registry = prometheus_client.CollectorRegistry()
    exporter = PeerReader(registry=registry, cardinality_limits=limits, disable_target_info=True)
    # The in-memory reader takes no limits; this is the one that the other readers were given.
    bare = InMemoryMetricReader()
    bare._instrument_class_cardinality_limit = exporter._instrument_class_cardinality_limit
    as_openmetrics = "openmetrics" in (mode.accept or "")
    generate = openmetrics.generate_latest if as_openmetrics else prometheus_client.generate_latest
    return {
        "ours": OTel(ours, lambda: ours.expose(mode.accept).body, exponential=mode.exponential),
        # The exporter fails on exponential histograms; it gets explicit ones.
        "exporter": OTel(exporter, lambda: generate(registry)),
        "client": Client(generate),
        "sdk": OTel(bare, bare.get_metrics_data, exponential=mode.exponential),
    }


def best_time(subject: Subject, size: Size, share: float, rounds: int) -> float:
    """Seconds of the fastest of several scrapes, each after the same share of the series changed."""
    times = []
    for _ in range(rounds):
        subject.record(size, share)
        gc.collect()
        start = time.perf_counter()
        subject.scrape()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory(subject: Subject, size: Size) -> float:
    """Megabytes allocated at the worst moment of one scrape after a tenth of the series changed."""
    subject.record(size, 0.1)
    tracemalloc.start()
    subject.scrape()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def run(size: Size, mode: Mode, rounds: int) -> None:
    tested = subjects(size, mode)
    print(f"\n{size}, {mode.name}")
    print(f"  {'changed':>8}  {'ours':>10}" + "".join(f"{peer:>12}  ratio" for peer in PEERS))
    for subject in tested.values():
        subject.record(size, 1.0)
        subject.scrape()
    for share in SHARES:
        times = {key: best_time(subject, size, share, rounds) for key, subject in tested.items()}
        columns = "".join(
            f"{times[peer] * 1e3:>9.2f} ms {times[peer] / times['ours']:>5.0f}x" for peer in PEERS
        )
        print(f"  {share:>7.0%}  {times['ours'] * 1e3:>7.2f} ms{columns}", flush=True)
    memory = {key: peak_memory(subject, size) for key, subject in tested.items()}
    print("  peak of a scrape at 10 %: " + ", ".join(f"{k} {v:.1f} MB" for k, v in memory.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small table that takes seconds")
    parser.add_argument("--only", default="", help="only rows whose size and mode contain this text")
    options = parser.parse_args()
    for size, modes in (QUICK if options.quick else FULL).items():
        for mode in modes:
            if options.only in f"{size}, {mode.name}":
                run(size, mode, rounds=2 if options.quick else 5)


if __name__ == "__main__":
    main()
