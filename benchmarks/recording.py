"""What it costs to record, and the whole interval between two scrapes: ``python -m benchmarks.recording``.

Each party runs in processes of its own, since the heap of one makes every garbage collection of another
dearer:

* ``direct``: ``DirectMeterProvider``;
* ``reader``: the SDK's provider with ``PrometheusMetricReader`` of this package, as ``start()`` makes it;
* ``exporter``: the SDK's provider with ``opentelemetry-exporter-prometheus``;
* ``client``: ``prometheus_client`` by itself, with ``labels()`` for each call.

Times are those of the processor, the best of several rounds. ``--quick`` has fewer series and rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

PARTIES = ("direct", "reader", "exporter", "client")
Record = Callable[[float, dict[str, str]], object]
_LIMIT = 1_000_000
_HISTOGRAMS = 10  # one histogram series for so many counters
_STATM = Path("/proc/self/statm")
_PAGE = 4096


class Party:
    """Somebody who records, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.add: Record
        self.record: Record
        self._scrape: Callable[[], bytes]
        if name == "client":
            self._use_client()
        else:
            self._use_meter(name)

    def _use_client(self) -> None:
        import prometheus_client

        def made(kind: Any, method: str) -> Record:
            metrics: dict[int, Any] = {}

            def record(value: float, attributes: dict[str, str]) -> None:
                metric = metrics.get(len(attributes))
                if metric is None:
                    name = f"{kind.__name__}_{len(attributes)}"
                    metric = metrics[len(attributes)] = kind(name, "", list(attributes))
                child = metric.labels(*attributes.values()) if attributes else metric
                getattr(child, method)(value)

            return record

        self.add, self.record = (
            made(prometheus_client.Counter, "inc"),
            made(prometheus_client.Histogram, "observe"),
        )
        self._scrape = prometheus_client.generate_latest

    def _use_meter(self, name: str) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.view import View

        provider: Any
        if name == "exporter":
            import prometheus_client
            from opentelemetry.exporter.prometheus import PrometheusMetricReader as Exporter

            view = View(instrument_name="*", aggregation_cardinality_limit=_LIMIT)
            provider = MeterProvider([Exporter()], views=[view])
            self._scrape = prometheus_client.generate_latest
        else:
            from otel_prom_bridge import PrometheusMetricReader
            from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

            options: Any = {"registry": None, "max_series_per_metric": _LIMIT, "max_lines_per_metric": 0}
            if name == "direct":
                direct = DirectReader(**options, collect_interval=0)
                provider, self._scrape = DirectMeterProvider(direct), lambda: direct.expose().body
            else:
                reader = PrometheusMetricReader(**options, collect_interval=0)
                provider = MeterProvider([reader], views=reader.policy.sdk_views())
                self._scrape = lambda: reader.expose().body
        meter = provider.get_meter("benchmark")
        self.add = meter.create_counter("c").add
        self.record = meter.create_histogram("h").record

    def scrape(self) -> int:
        """The size of what a scrape gets."""
        return len(self._scrape())


def attributes(number: int) -> dict[str, str]:
    """So many attributes."""
    return {f"attribute_{index}": f"value {index}" for index in range(number)}


def series(count: int) -> list[dict[str, str]]:
    """The attribute sets of so many series, with three attributes each."""
    return [{"method": "GET", "route": f"/things/{number}", "status": "200"} for number in range(count)]


def span(sampled: bool) -> AbstractContextManager[object]:
    """A sampled span around the recordings, or none."""
    if not sampled:
        return nullcontext()
    from opentelemetry.sdk.trace import TracerProvider

    return TracerProvider().get_tracer("benchmark").start_as_current_span("work")


def each(calls: int, rounds: int, work: Callable[[], object]) -> float:
    """Microseconds of processor time that one of so many calls takes."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, time.process_time() - start)
    return best / calls * 1e6


def recordings(party: Party, calls: int, rounds: int) -> dict[str, float]:
    """Microseconds of one recording."""
    found = {}
    for number in (0, 3, 8):
        given = attributes(number)
        found[f"add, {number} attributes"] = each(calls, rounds, partial(party.add, 1, given))
        found[f"record, {number} attributes"] = each(calls, rounds, partial(party.record, 0.3, given))
    given = attributes(3)
    found["add, 3 attributes, 8 threads"] = in_threads(8, calls, lambda: party.add(1, given))
    if party.name != "client":
        with span(True):
            found["add, 3 attributes, in a sampled span"] = each(calls, rounds, lambda: party.add(1, given))
    sets = iter(series(calls))
    found["add, a new series"] = each(calls, 1, lambda: party.add(1, next(sets)))
    return found


def in_threads(count: int, calls: int, work: Callable[[], object]) -> float:
    """Microseconds of one call, if so many threads do it at a time."""

    def run() -> None:
        for _ in range(calls):
            work()

    threads = [threading.Thread(target=run) for _ in range(count)]
    start = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - start) / (calls * count) * 1e6


def interval(party: Party, count: int, times: int, rounds: int) -> dict[str, float]:
    """Milliseconds that recording each series so many times and a scrape take, and memory per series."""
    sets = series(count)
    before = memory()

    def record() -> None:
        for given in sets:
            for _ in range(times):
                party.add(1, given)
        for given in sets[::_HISTOGRAMS]:
            for _ in range(times):
                party.record(0.3, given)

    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        start = time.process_time()
        record()
        middle = time.process_time()
        party.scrape()
        end = time.process_time()
        if turn:  # the first one makes the series
            found = {"recording": middle - start, "scrape": end - middle, "interval": end - start}
            best = {key: min(value, best.get(key, value)) for key, value in found.items()}
    result = {f"{key}, {times} times": value * 1000 for key, value in best.items()}
    used = memory() - before
    return {**result, "kB per series": used / (count + count // _HISTOGRAMS) / 1000}


def stall(party: Party, count: int) -> dict[str, float]:
    """The longest time in milliseconds that a recording takes while a scrape goes on."""
    sets = series(count)
    for given in sets:
        party.add(1, given)
    party.scrape()
    for given in sets:
        party.add(1, given)
    scraper = threading.Thread(target=party.scrape)
    longest, given = 0.0, sets[0]
    # A thread gets the interpreter every 5 ms by default, whoever records; this makes locks the rest of it.
    sys.setswitchinterval(0.0001)
    scraper.start()
    while scraper.is_alive():
        start = time.perf_counter()
        party.add(1, given)
        longest = max(longest, time.perf_counter() - start)
    return {"longest stall": longest * 1000}


def memory() -> float:
    """Bytes in use by this process; 0 where nobody says."""
    return int(_STATM.read_text().split()[1]) * _PAGE if _STATM.exists() else 0.0


def measured(name: str, what: str, *, quick: bool) -> dict[str, float]:
    """What one party takes for one thing, in this process."""
    party, count, rounds = Party(name), 2000 if quick else 10_000, 2 if quick else 5
    if what == "recordings":
        return recordings(party, 5000 if quick else 50_000, rounds)
    if what == "stall":
        return stall(party, count)
    return interval(party, count, int(what), rounds)


def elsewhere(name: str, what: str, *, quick: bool) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.recording", "--party", name, "--what", what]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(title: str, rows: Sequence[str], found: dict[str, dict[str, float]]) -> None:
    print(f"\n{title:40}" + "".join(f"{name:>12}" for name in found))
    for row in rows:
        cells = (f"{values[row]:12.2f}" if row in values else f"{'-':>12}" for values in found.values())
        print(f"{row:40}" + "".join(cells))


def main() -> None:
    """Measure and print: one process for each party and kind of figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--party", choices=PARTIES)
    parser.add_argument("--what")
    given = parser.parse_args()
    if given.party:
        print(json.dumps(measured(given.party, given.what, quick=given.quick)))
        return
    for what, title in (
        ("recordings", "µs for one recording"),
        ("1", "ms, each series once"),
        ("10", "ms, each series 10 times"),
        *(() if given.quick else (("100", "ms, each series 100 times"),)),
        ("stall", "ms"),
    ):
        found = {name: elsewhere(name, what, quick=given.quick) for name in PARTIES}
        table(title, list(next(iter(found.values()))), found)


if __name__ == "__main__":
    main()
