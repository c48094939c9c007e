"""What many series hold of memory, and what a scrape holds for a moment: ``python -m benchmarks.memory``.

Each party runs in a process of its own, for each format: ``reader`` and ``direct`` of this package, the SDK
with ``opentelemetry-exporter-prometheus`` ("exporter"), and ``prometheus_client``. All record the same
counters and histograms, with three attributes each that are made anew for every recording, as they are in an
application. A body is written, packed where the row says so, and let go.

"holds" is what the process has resident beyond what it had before the first recording, and "peak" the most
that it ever had, as Linux counts both. The columns are after the first scrape, after four more with
everything changed before each, and after four more with nothing changed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.parties import Party
from benchmarks.scrape import OPENMETRICS, PROTOBUF

PARTIES = ("reader", "direct", "exporter", "client")
FORMATS: dict[str, str | None] = {
    "text": None,
    "OpenMetrics": OPENMETRICS,
    "protobuf": PROTOBUF,
}
_PEER_FORMATS = ("text", "OpenMetrics")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MB = 1024
ROUNDS = 4


def resident() -> tuple[float, float]:
    """Megabytes that this process has in memory, and the most that it had since this was asked last."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    now, most = (int(lines[name].split()[0]) / _MB for name in ("VmRSS", "VmHWM"))
    _CLEAR.write_text("5")  # the peak begins anew
    return now, most


def record(party: Party, counters: int, histograms: int) -> None:
    """Change every series."""
    for number in range(counters):
        party.add(1, {"method": "GET", "route": f"/things/{number}", "status": "200"})
    for number in range(histograms):
        party.record(0.3, {"method": "GET", "route": f"/things/{number}", "status": "200"})


def measured(name: str, what: str, *, packed: bool, counters: int, histograms: int) -> dict[str, float]:
    """What one party holds, in this process."""
    party = Party(name, accept=FORMATS[what])

    def scrape() -> None:
        body = party.body()
        if packed:
            gzip.compress(body, 1)

    scrape()
    before, _ = resident()
    found: dict[str, float] = {}

    def note(title: str) -> None:
        now, most = resident()
        found[f"{title}, holds"], found[f"{title}, peak"] = now - before, most - before

    record(party, counters, histograms)
    scrape()
    note("first")
    for _ in range(ROUNDS):
        record(party, counters, histograms)
        scrape()
    note("all changed")
    for _ in range(ROUNDS):
        scrape()
    note("nothing changed")
    return found


def main() -> None:
    """Measure and print: one process for each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the series, and nothing packed")
    parser.add_argument("--party", choices=PARTIES)
    parser.add_argument("--format", choices=FORMATS)
    parser.add_argument("--packed", action="store_true")
    given = parser.parse_args()
    counters, histograms = (10_000, 1_000) if given.quick else (100_000, 10_000)
    if given.party:
        sizes = {"counters": counters, "histograms": histograms}
        print(json.dumps(measured(given.party, given.format, packed=given.packed, **sizes)))
        return
    print(f"{counters:,} counters and {histograms:,} histograms; MB")
    print(f"{'':28}{'first scrape':>16}{'all changed':>16}{'nothing changed':>16}")
    print(f"{'':28}" + f"{'holds':>8}{'peak':>8}" * 3)
    for name in PARTIES:
        for what in FORMATS if name in ("reader", "direct") else _PEER_FORMATS:
            for packed in (False,) if given.quick else (False, True):
                options = ["--party", name, "--format", what, *(["--packed"] if packed else [])]
                found = elsewhere([*options, *(["--quick"] if given.quick else [])])
                title = f"{name}, {what}{', gzip' if packed else ''}"
                print(f"{title:28}" + "".join(f"{value:8.0f}" for value in found.values()), flush=True)


def elsewhere(options: list[str]) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
