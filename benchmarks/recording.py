"""What it costs to record and to scrape, the whole interval between two scrapes, and who waits for whom.

The parties (``parties.py``) are measured in processes of their own, since the heap of one makes every garbage
collection of another dearer. ``exporter`` and ``client`` are there with the SDK that is installed; ``exporter
1.44`` has an older one, in a virtual environment that is made the first time. All take turns, and what is
printed is the median of the turns. Times are those of the processor, except where it says "waited".

    python -m benchmarks.recording                    # everything: a quarter of an hour
    python -m benchmarks.recording --only "interval 1" idle
    python -m benchmarks.recording --quick            # few series, one turn; CI runs it
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.parties import Party, Record, attributes, older_interpreter, series, span

# By the names in the tables: the party, and whether it has the older SDK.
PARTIES = {
    "direct": ("direct", False),
    "reader": ("reader", False),
    "exporter": ("exporter", False),
    "exporter 1.44": ("exporter", True),
    "client": ("client", False),
    "bound": ("bound", False),
    "sdk": ("sdk", False),
}
TITLES = {
    "recordings": "µs for one recording",
    "new counter": "µs for a series that is new, counters",
    "new histogram": "µs for a series that is new, histograms",
    "interval 1": "ms, each series once",
    "interval 10": "ms, each series 10 times",
    "interval 100": "ms, each series 100 times",
    "scrape 10k": "ms for a scrape of 11,000 series",
    "scrape 100k": "ms for a scrape of 110,000 series",
    "idle": "ms for a scrape, nothing recorded",
    "stall": "ms for a recording beside a scrape",
}
_HISTOGRAMS = 10  # one histogram series for so many counters
_SHARES = (1.0, 0.1, 0.01, 0.0)


def each(calls: int, rounds: int, work: Callable[[], object]) -> float:
    """Microseconds of processor time that one of so many calls takes."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            work()
        times.append(time.process_time() - start)
    return min(times) / calls * 1e6


def all_of(calls: Sequence[Callable[[], object]], times: int = 1) -> float:
    """Seconds of processor time that these calls take, each so many times."""
    start = time.process_time()
    for call in calls:
        for _ in range(times):
            call()
    return time.process_time() - start


def recordings(party: Party, quick: bool) -> dict[str, float]:
    """Microseconds of one recording."""
    calls, rounds = (5000, 2) if quick else (20_000, 4)
    found: dict[str, float] = {}
    for number in (0, 3, 8):
        given = attributes(number)
        found[f"add, {number} attributes"] = each(calls, rounds, party.adding(1, given))
        found[f"record, {number} attributes"] = each(calls, rounds, party.recording(0.3, given))
    work = party.adding(1, attributes(3))
    found["add, 3 attributes, 8 threads"] = in_threads(8, calls, work)
    if party.name not in ("client", "bound"):
        with span(True):
            found["add, in a sampled span"] = each(calls, rounds, work)
            found["record, in a sampled span"] = each(calls, rounds, party.recording(0.3, attributes(3)))
    sets = series(calls // 5)
    for name, method, making in (("add", party.add, party.adding), ("record", party.record, party.recording)):
        start = time.process_time()
        for given in sets:
            method(1, given)
        found[f"{name}, a new series"] = (time.process_time() - start) / len(sets) * 1e6
        known = [making(1, given) for given in sets]
        firsts, laters = [], []
        for _ in range(rounds):
            party.scrape()
            firsts.append(all_of(known))
            laters.append(all_of(known))
        found[f"{name}, first after a scrape"] = min(firsts) / len(sets) * 1e6
        found[f"{name}, after that"] = min(laters) / len(sets) * 1e6
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


def new_series(party: Party, record: Record, quick: bool) -> dict[str, float]:
    """Microseconds of what a series costs when it is new: its first recording, and its first scrape."""
    sets = series(1000 if quick else 5000)
    record(1, attributes(3))
    party.scrape()
    start = time.process_time()
    for given in sets:
        record(1, given)
    recording = time.process_time() - start
    scrape = scraped(party)
    return {
        "first recording": recording / len(sets) * 1e6,
        "first scrape": scrape / len(sets) * 1e6,
        "both": (recording + scrape) / len(sets) * 1e6,
    }


class Load:
    """Recordings of so many counters, and of a tenth as many histograms."""

    def __init__(self, party: Party, count: int) -> None:
        sets = series(count)
        self.size = count + count // _HISTOGRAMS
        self._calls = [party.adding(1, given) for given in sets]
        self._calls += [party.recording(0.3, given) for given in sets[::_HISTOGRAMS]]

    def record(self, share: float = 1.0, times: int = 1) -> float:
        """Record this share of the series, evenly spread, so many times each; seconds."""
        return all_of(self._calls[:: round(1 / share)] if share else (), times)


def interval(party: Party, times: int, quick: bool) -> dict[str, float]:
    """Milliseconds that recording each series so many times and a scrape take."""
    load = Load(party, 2000 if quick else 10_000)
    found: dict[str, list[float]] = {"recording": [], "scrape": [], "interval": []}
    for turn in range(3 if quick or times == 100 else 6):
        recording = load.record(times=times)
        scrape = scraped(party)
        if turn:  # the first one makes the series
            for name, seconds in zip(found, (recording, scrape, recording + scrape), strict=True):
                found[name].append(seconds * 1000)
    return {f"{name}, {times} times": statistics.median(taken) for name, taken in found.items()}


def scraped(party: Party) -> float:
    """Seconds of processor time that a scrape takes."""
    start = time.process_time()
    party.scrape()
    return time.process_time() - start


def shares(party: Party, count: int) -> dict[str, float]:
    """Milliseconds of a scrape, if this share of the series changed."""
    load = Load(party, count)
    load.record()
    party.scrape()
    found = {}
    for share in _SHARES:
        times: list[float] = []
        while len(times) < 3 or (sum(times) < 0.3 and len(times) < 20):
            load.record(share)
            times.append(scraped(party) * 1000)
            if sum(times) > 2000:  # a peer that takes seconds
                break
        found[f"{share:.0%} changed"] = statistics.median(times)
    return found


def idle(party: Party, quick: bool) -> dict[str, float]:
    """Milliseconds of a scrape, if nothing was recorded since the last one."""
    found = {}
    for count in (200, 2000 if quick else 10_000):
        load = Load(party, count)
        load.record()
        for _ in range(3):
            party.scrape()
        times: list[float] = []
        waited: list[float] = []
        for _ in range(10 if party.name in ("exporter", "client", "bound") else 200):
            start = time.perf_counter()
            times.append(scraped(party) * 1000)
            waited.append((time.perf_counter() - start) * 1000)
        found[f"{load.size:,} series"] = statistics.median(times)
        found[f"{load.size:,} series, waited"] = statistics.median(waited)
        port = party.serve()
        for name, encoding in (("HTTP", "identity"), ("HTTP, gzip", "gzip")):
            spent, waiting = over_http(port, encoding)
            found[f"{load.size:,} series, {name}"] = spent
            found[f"{load.size:,} series, waited for {name}"] = waiting
    return found


def over_http(port: int, encoding: str) -> tuple[float, float]:
    """Milliseconds of processor time that an answer takes here, kernel included, and that a client waits.

    The client is in a process of its own, and keeps its connection if it may.
    """
    command = [sys.executable, "-m", "benchmarks.recording", "--ask", str(port), "--encoding", encoding]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdout.readline()  # it is ready, and has asked once
        start = time.process_time()
        client.stdin.close()
        waiting, count = json.loads(client.stdout.readline())
        return (time.process_time() - start) / count * 1000, waiting


def ask(port: int, encoding: str) -> tuple[float, int]:
    """The median of the milliseconds in which this port answers in this encoding, and how often it did."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times: list[float] = []
    while len(times) < 11 or (sum(times) < 1000 and len(times) < 301):
        if len(times) == 1:
            print("ready", flush=True)
            sys.stdin.read()
        start = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
        connection.getresponse().read()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:]), len(times) - 1


def stall(party: Party, quick: bool) -> dict[str, float]:
    """The longest time that a recording takes while a scrape of changed series goes on: in all of the
    scrapes, and in half of them; with Python's garbage collector and without it.

    Processor time, so what other programs do does not count: it is what this process did meanwhile.
    """
    load, given = Load(party, 2000 if quick else 10_000), series(1)[0]
    work = party.adding(1, given)
    load.record()
    party.scrape()
    # A thread gets the interpreter every 5 ms by default, whoever records; this makes locks the rest of it.
    sys.setswitchinterval(0.0001)
    found = {}
    for name, collects in (("", True), (", no collector", False)):
        if not collects:
            gc.disable()
        longest = []
        for _ in range(2 if quick else 8):
            load.record()
            longest.append(longest_beside(party.scrape, work) * 1000)
        found[f"longest{name}"] = max(longest)
        found[f"usually the longest{name}"] = statistics.median(longest)
    return found


def longest_beside(scrape: Callable[[], object], work: Callable[[], object]) -> float:
    """Seconds that one piece of work takes at most while a scrape goes on."""
    scraper = threading.Thread(target=scrape)
    longest, clock = 0.0, time.process_time
    scraper.start()
    while scraper.is_alive():
        start = clock()
        work()
        longest = max(longest, clock() - start)
    return longest


def measured(name: str, what: str, *, quick: bool) -> dict[str, float]:
    """What one party takes for one thing, in this process."""
    party = Party(name)
    kind, _, detail = what.partition(" ")
    if kind == "new":
        return new_series(party, party.add if detail == "counter" else party.record, quick)
    if kind == "interval":
        return interval(party, int(detail), quick)
    if kind == "scrape":
        return shares(party, (200 if quick else 1000) * int(detail.removesuffix("k")))
    measures = {"recordings": recordings, "idle": idle, "stall": stall}
    return measures[kind](party, quick)


def elsewhere(title: str, what: str, *, quick: bool) -> dict[str, float]:
    """The same in a process of its own."""
    name, is_older = PARTIES[title]
    python = older_interpreter() if is_older else sys.executable
    command = [python, "-m", "benchmarks.recording", "--party", name, "--what", what]
    done = subprocess.run(
        [*command, *(["--quick"] if quick else [])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def in_turns(what: str, turns: int, *, quick: bool) -> dict[str, dict[str, float]]:
    """The medians of all parties, which take turns."""
    titles = [title for title, (_, is_older) in PARTIES.items() if not (quick and is_older)]
    if not what.startswith("new"):  # of which it is a part
        titles.remove("sdk")
    all_turns = [{title: elsewhere(title, what, quick=quick) for title in titles} for _ in range(turns)]
    return {
        title: {row: statistics.median(turn[title][row] for turn in all_turns) for row in all_turns[0][title]}
        for title in titles
    }


def table(title: str, found: dict[str, dict[str, float]]) -> None:
    """Print what was found, a party in each column."""
    width = max(35, *(len(row) + 1 for row in found["direct"]), len(title) + 1)
    print(f"\n{title:{width}}" + "".join(f"{name:>14}" for name in found))
    for row in found["direct"]:
        cells = (f"{values[row]:14.2f}" if row in values else f"{'-':>14}" for values in found.values())
        print(f"{row:{width}}" + "".join(cells), flush=True)


def main() -> None:
    """Measure and print: one process for each party, kind of figure, and turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES), help="which tables")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--party")
    parser.add_argument("--what")
    parser.add_argument("--ask", type=int)
    parser.add_argument("--encoding", default="identity")
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(ask(given.ask, given.encoding)))
    elif given.party:
        print(json.dumps(measured(given.party, given.what, quick=given.quick)))
    else:
        print(f"load average of the machine before: {os.getloadavg()[0]:.1f}")
        skipped = ("interval 100", "scrape 100k") if given.quick else ()
        for what, title in TITLES.items():
            if what in given.only and what not in skipped:
                if given.quick:
                    title = title.replace("11,000", "2,200")
                table(title, in_turns(what, 1 if given.quick else given.turns, quick=given.quick))


if __name__ == "__main__":
    main()
