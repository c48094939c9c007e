"""One scrape with and without export views, side by side.

The same measurements go to ten instruments of each reader: one exports them as they are, one through ten
views, five of them with a label value rule, that keep the number of series. Rules are asked once per new
attribute set, so what views cost at a scrape is what their families and labels cost. A third reader has the
request counters derived from the latency histograms beside them.

    python -m benchmarks.views            # the full table
    python -m benchmarks.views --quick    # a small one; CI runs it so that this file does not rot
"""

from __future__ import annotations

import argparse
import gc
import time

from opentelemetry.sdk.metrics import MeterProvider

from benchmarks.scrape import BOUNDS, SHARES, attributes, chosen
from otel_prom_bridge import ExportView, Outcome, PrometheusMetricReader
from otel_prom_bridge.rules import Allow, First, PathTemplate, Rule, StatusClass, Translate, Truncate

COUNTERS, HISTOGRAMS = 8, 2

RULES: tuple[tuple[str, Rule], ...] = (
    ("http.route", First(20_000)),
    ("method", Allow(["GET", "POST"])),
    ("status", StatusClass()),
    ("http.route", Truncate(40)),
    ("method", Translate({"GET": "read", "POST": "write"})),
)
VIEWS = [
    ExportView(
        instrument_name=f"http.requests.{index}",
        name=f"requests_{index}_total",
        rename={"method": "verb"},
        compute={"outcome": Outcome(status_attribute="status")},
        rules=dict([RULES[index]]) if index < len(RULES) else {},
    )
    for index in range(COUNTERS)
] + [
    ExportView(instrument_name=f"http.latency.{index}", name=f"latency_{index}_seconds", keep=["*"])
    for index in range(HISTOGRAMS)
]
DERIVED = VIEWS + [
    ExportView(instrument_name=f"http.latency.{index}", name=f"calls_{index}_total", take="count")
    for index in range(HISTOGRAMS)
]
# What rules are for: a thousand routes that only an id tells apart become one series.
FOLDED = [ExportView(rules={"http.route": PathTemplate([(r"\d+", "{id}")])}, name="", keep=["http.route"])]


class Subject:
    """A reader with ten instruments."""

    def __init__(self, views: list[ExportView], series: int) -> None:
        self.reader = PrometheusMetricReader(
            registry=None, views=views, max_series_per_metric=10 * series, disable_target_info=True
        )
        meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("benchmark")
        self._counters = [meter.create_counter(f"http.requests.{index}") for index in range(COUNTERS)]
        self._histograms = [
            meter.create_histogram(
                f"http.latency.{index}", unit="s", explicit_bucket_boundaries_advisory=BOUNDS
            )
            for index in range(HISTOGRAMS)
        ]

    def record(self, counters: int, histograms: int, share: float) -> None:
        for index in chosen(counters, share):
            self._counters[index % COUNTERS].add(1, attributes(index))
        for index in chosen(histograms, share):
            self._histograms[index % HISTOGRAMS].record(index % 400, attributes(index))

    def scrape(self, *args: object) -> float:
        gc.collect()
        start = time.perf_counter()
        self.reader.expose()
        return time.perf_counter() - start


def run(counters: int, histograms: int, rounds: int) -> None:
    tested = {
        name: Subject(views, counters)
        for name, views in (("as it is", []), ("ten views", VIEWS), ("derived", DERIVED), ("folded", FOLDED))
    }
    print(f"\n{counters:,} counters, {histograms:,} histograms over {COUNTERS} + {HISTOGRAMS} instruments")
    print(f"  {'changed':>8}" + "".join(f"{name:>16}  ratio" for name in tested))
    for name, subject in tested.items():
        subject.record(counters, histograms, 1.0)
        print(f"  first scrape, {name}: {subject.scrape() * 1e3:.1f} ms")
    for share in SHARES:
        times: dict[str, list[float]] = {name: [] for name in tested}
        for _ in range(rounds):  # in turns, so that a noisy moment meets all of them
            for name, subject in tested.items():
                subject.record(counters, histograms, share)
                times[name].append(subject.scrape())
        best = {name: min(values) for name, values in times.items()}
        columns = (f"{value * 1e3:>13.2f} ms {value / best['as it is']:>5.2f}x" for value in best.values())
        print(f"  {share:>7.0%} " + "".join(columns), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a small table that takes seconds")
    options = parser.parse_args()
    if options.quick:
        run(200, 20, rounds=2)
    else:
        run(10_000, 1_000, rounds=7)


if __name__ == "__main__":
    main()
