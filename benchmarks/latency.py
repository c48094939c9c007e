"""What scrapes cost a host, and what its load costs scrapes; beside the peer in the same run.

The peer is opentelemetry-exporter-prometheus with ``prometheus_client.start_http_server``. Each host is a
process of its own with 10,000 series (``hosts.py``), of which a tenth gets a measurement between two scrapes;
this process scrapes it as Prometheus does: OpenMetrics, gzip, connections that are kept. The tables:

- how long a scrape takes, with threads in the host that compute without end: one scraper, and ten at once;
- how long the host's own cycles take (0.2 ms of work, 0.2 ms of waiting) while it is scraped every second;
- how much memory a scrape takes.

    python -m benchmarks.latency            # several minutes
    python -m benchmarks.latency --quick    # some seconds; CI runs it so that this file does not rot
"""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.endpoint import Client
from benchmarks.hosts import CACHE_SECONDS, KINDS, Host, hosting

# As Prometheus 2.42 asks.
HEADERS = (
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n"
)
BUSY = (0, 1, 2)
SCRAPERS = 10
SHARE = 0.1


def quantile(times: Sequence[float], part: float) -> float:
    """The value below which this part of them is."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


class Scraper:
    """Clients of one host, as many as ask at once."""

    def __init__(self, host: Host, count: int) -> None:
        self._host = host
        self._clients = [Client(host.port, keep_alive=True, headers=HEADERS) for _ in range(count)]

    def scrape(self) -> list[float]:
        """Record something, then scrape with all of them at the same moment; milliseconds of each."""
        self._host.tell("record", SHARE)
        time.sleep(CACHE_SECONDS * 2)
        times: list[float] = []
        barrier = threading.Barrier(len(self._clients))

        def ask(client: Client) -> None:
            barrier.wait()
            start = time.perf_counter()
            with contextlib.suppress(OSError):  # after 10 s, as Prometheus: then it took at least that
                client.ask()
            times.append((time.perf_counter() - start) * 1000)

        threads = [threading.Thread(target=ask, args=(client,)) for client in self._clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return times


def report_scrapes(count: int, rounds: int, levels: Sequence[int] = BUSY) -> None:
    print(f"\nscrape of 10,000 series, {count} at once, ms:       ours               peer            ratio")
    print("busy threads in the host             p50     p99       p50      p99       p50   p99")
    ours, theirs = (_by_busy_threads(kind, count, rounds, levels) for kind in KINDS[1:])
    for busy in levels:
        found = [quantile(times[busy], part) for times in (ours, theirs) for part in (0.5, 0.99)]
        ratios = [f"{found[2] / found[0]:>5.1f}x", f"{found[3] / found[1]:>5.1f}x"]
        shown = "{:>9.1f} {:>7.1f} {:>9.1f} {:>8.1f}".format(*found)
        print(f"{busy:>2} {'':<27} {shown}    {' '.join(ratios)}")


def _by_busy_threads(kind: str, count: int, rounds: int, levels: Sequence[int]) -> dict[int, list[float]]:
    found = {}
    with hosting(kind) as host:  # one host at a time: busy threads of another would take its processor
        scraper = Scraper(host, count)
        for busy in levels:
            if busy:
                host.tell("be_busy")
            found[busy] = _rounds(scraper, rounds)
    return found


def _rounds(scraper: Scraper, rounds: int) -> list[float]:
    scraper.scrape()  # connections, caches
    return [milliseconds for _ in range(rounds) for milliseconds in scraper.scrape()]


def report_cycles(seconds: float) -> None:
    print("\nthe host's own cycles (0.2 ms of work, 0.2 ms of waiting), scraped every second, ms")
    print("                                     p50     p99    p99.9      max    cycles/s")
    for kind in KINDS:
        with hosting(kind) as host:
            scraper = None if kind == "none" else Scraper(host, 1)
            host.tell("cycle")
            _each_second(host, scraper, 1)
            host.tell("taken_cycles")
            _each_second(host, scraper, seconds)
            times = [cycle * 1000 for cycle in host.tell("taken_cycles")]
            found = [quantile(times, part) for part in (0.5, 0.99, 0.999, 1)]
            shown = "{:>8.2f} {:>7.2f} {:>8.2f} {:>8.1f}".format(*found)
            print(f"{kind:<31} {shown} {len(times) / seconds:>11,.0f}")


def _each_second(host: Host, scraper: Scraper | None, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if scraper is not None:
            scraper.scrape()
        else:
            host.tell("record", SHARE)
        time.sleep(min(1.0, max(0.0, left)))


def report_memory(rounds: int) -> None:
    print("\nmemory, MB above the idle process with 10,000 series:   first scrape   the next ones")
    for kind in KINDS[1:]:
        with hosting(kind) as host:
            scraper = Scraper(host, 1)
            idle = host.tell("rest")
            scraper.scrape()
            first = host.tell("peak") - idle
            used = host.tell("rest")
            for _ in range(rounds):
                scraper.scrape()
            print(f"{kind:<55} {first:>12.1f} {host.tell('peak') - used:>15.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few scrapes of each kind")
    quick = parser.parse_args().quick
    print(f"load average of the machine before: {os.getloadavg()[0]:.1f}")
    reports: list[Callable[[], None]] = [
        lambda: report_scrapes(1, 1 if quick else 30, BUSY[:2] if quick else BUSY),
        lambda: report_scrapes(2 if quick else SCRAPERS, 1 if quick else 4, BUSY[:1] if quick else BUSY),
        lambda: report_cycles(1 if quick else 20),
        lambda: report_memory(2 if quick else 10),
    ]
    for report in reports:
        report()


if __name__ == "__main__":
    main()
