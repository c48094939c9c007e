"""This checkout against another one: ``python -m benchmarks.compare --base ../base --threshold 1.5``.

Each measure is a small piece of work with the public API. Both checkouts do it in processes of their own, in
turns, so that whatever else the machine does hits both. The best of all turns counts, since noise only ever
adds time. The exit code is 1 if a measure takes ``--threshold`` times as long here as there.

A measure that the other checkout cannot do, because it lacks what the measure is of, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

# It runs with either checkout on its path, so it may use nothing that is new in this one.
PROGRAM = """
import json, time
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge import PrometheusMetricReader

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
SERIES, RECORDINGS = 2000, 20_000

def best(work, rounds=5):
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)

def setup():
    reader = PrometheusMetricReader(registry=None, collect_interval=0, max_series_per_metric=SERIES)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmark")
    return reader, meter.create_counter("orders"), meter.create_histogram("duration", unit="s")

def scrapes(found):
    reader, counter, histogram = setup()
    attributes = [{"route": f"/{number}", "method": "GET"} for number in range(SERIES)]

    def record(share):
        for number in range(int(SERIES * share)):
            counter.add(1, attributes[number])
        for number in range(int(SERIES * share / 10)):
            histogram.record(0.1, attributes[number])

    def changed(share):
        record(share)
        began = time.process_time()
        reader.expose(OPENMETRICS)
        return time.process_time() - began

    changed(1)
    for share in (1, 0.1, 0):
        found[f"a scrape of {SERIES} series, {share:.0%} changed"] = min(changed(share) for _ in range(5))

def recordings(found):
    reader, counter, histogram = setup()
    attributes = {"route": "/orders", "method": "POST", "status": 200}

    def add():
        for _ in range(RECORDINGS):
            counter.add(1, attributes)

    def observe():
        for _ in range(RECORDINGS):
            histogram.record(0.1, attributes)

    found[f"{RECORDINGS} recordings of a counter"] = best(add)
    found[f"{RECORDINGS} recordings of a histogram"] = best(observe)

def direct(found):
    from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

    counter = DirectMeterProvider(DirectReader()).get_meter("benchmark").create_counter("orders")
    attributes = {"route": "/orders", "method": "POST", "status": 200}

    def add():
        for _ in range(RECORDINGS):
            counter.add(1, attributes)

    found[f"{RECORDINGS} direct recordings of a counter"] = best(add)

def starting(found):
    import subprocess, sys

    def start():
        subprocess.run([sys.executable, "-c", "import otel_prom_bridge"], check=True)

    began = time.perf_counter()
    start()
    took = time.perf_counter() - began
    for _ in range(2):
        began = time.perf_counter()
        start()
        took = min(took, time.perf_counter() - began)
    found["import otel_prom_bridge"] = took

found = {}
for measure in (scrapes, recordings, direct, starting):
    try:
        measure(found)
    except (ImportError, TypeError, AttributeError):
        pass
print(json.dumps(found))
"""


def measured(checkout: Path) -> dict[str, float]:
    """The seconds of each measure with the package of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compared(here: Path, base: Path, turns: int) -> dict[str, tuple[float, float]]:
    """The best times of each measure that both can do: there, and here."""
    best: dict[Path, dict[str, float]] = {base: {}, here: {}}
    for _ in range(turns):
        for checkout, times in best.items():
            for name, seconds in measured(checkout).items():
                times[name] = min(seconds, times.get(name, seconds))
    return {name: (best[base][name], best[here][name]) for name in best[here] if name in best[base]}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if something has become too slow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the other checkout")
    parser.add_argument("--threshold", type=float, default=1.5, help="how many times as long is too long")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args(arguments)
    slower = []
    print(f"{'milliseconds':46}{'base':>10}{'here':>10}{'ratio':>8}")
    for name, (before, now) in compared(Path.cwd(), options.base.resolve(), options.turns).items():
        ratio = now / before if before else 1.0
        print(f"{name:46}{before * 1000:10.2f}{now * 1000:10.2f}{ratio:8.2f}")
        # Below half a millisecond a ratio is noise.
        if ratio > options.threshold and now - before > 0.0005:
            slower.append(name)
    for name in slower:
        print(f"too slow: {name}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
