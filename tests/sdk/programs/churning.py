"""Series that come, expire and come back under many threads, while many others scrape.

Arguments: seconds, then what there is beside it, of ``expire``, ``limit``, ``view``, ``others``, ``fork`` and
``direct``. Prints what was recorded, how many series began anew, and what is wrong: a total that is not what
the threads counted, a series twice in a body, a counter that fell though its start time says that it did not
begin anew.
"""

import gzip
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter

from opentelemetry.metrics import MeterProvider, Observation
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.view import View
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.endpoint.messages import Request
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.reader.reader import PrometheusMetricReader

SECONDS, BESIDE = float(sys.argv[1]), set(sys.argv[2:])
RECORDERS, SCRAPERS = 8, 4 if "expire" in BESIDE else 16
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
STARTS = {"jobs_total": "jobs_created"} | {
    f"sizes_{part}": "sizes_created" for part in ("count", "sum", "bucket")
}
OPTIONS = {
    "registry": None,
    "created_timestamps": True,
    "collect_interval": 0.05,
    "scope_info_enabled": False,
    "scrape_timeout": 60,
    "max_series_per_metric": 40 if "limit" in BESIDE else 100_000,
    "expire_after": 2.0 if "expire" in BESIDE else None,
}

counted = [Counter() for _ in range(RECORDERS)]
watched = Counter()
wrong = []
stop = threading.Event()


def provided() -> tuple[PrometheusMetricReader | DirectReader, MeterProvider]:
    """A reader and the provider that records for it."""
    if "direct" in BESIDE:
        direct = DirectReader(**OPTIONS)
        return direct, DirectMeterProvider(direct)
    reader = PrometheusMetricReader(**OPTIONS)
    few = [View(instrument_name="jobs", attribute_keys={"a", "b"})] if "view" in BESIDE else []
    others = [PrometheusMetricReader(registry=None)] if "others" in BESIDE else []
    return reader, SdkMeterProvider([reader, *others], views=few, shutdown_on_exit=False)


reader, provider = provided()
scrape = Scrape(reader, cache_ttl=0)
meter = provider.get_meter("t")
jobs, sizes, level = (
    meter.create_counter("jobs"),
    meter.create_histogram("sizes", explicit_bucket_boundaries_advisory=[1, 5, 10]),
    meter.create_up_down_counter("level"),
)
if "others" in BESIDE:
    meter.create_observable_counter(
        "seen", [lambda _: [Observation(number, {"k": key}) for key, number in list(watched.items())]]
    )


def attributes(chance: random.Random) -> dict[str, object]:
    """Some, in any order, of several types."""
    most = 3 if "expire" in BESIDE else 7
    made = [
        ("a", str(chance.randrange(most))),
        ("b", chance.choice([1, 2, True, "x"])),
        ("c", str(chance.randrange(most))),
    ]
    chance.shuffle(made)
    odd = [("l", ("p", "q"))] * (chance.random() < 0.05) + [("f", 1.5)] * (chance.random() < 0.02)
    return dict(made[: chance.choice([2, 3, 3, 3])] + odd)


def record(number: int) -> None:
    """A few series at a time, and now and then none for so long that they expire."""
    chance, mine = random.Random(number), counted[number]
    while not stop.is_set():
        active = [attributes(chance) for _ in range(chance.randrange(1, 20))]
        for _ in range(chance.randrange(1, 60)):
            given, amount, size = chance.choice(active), chance.randrange(1, 5), chance.randrange(20)
            jobs.add(amount, given)
            sizes.record(size, given)
            level.add(amount - 2, given)
            mine.update(jobs_total=amount, sizes_count=1, sizes_sum=size, level=amount - 2)
            watched[str(amount)] += 1
        stop.wait(chance.random() * (3 if "expire" in BESIDE and chance.random() < 0.1 else 0.05))


def samples(text: str) -> dict[tuple[str, str], float]:
    """The values of a body, by names and labels, of which no two may be equal."""
    found: dict[tuple[str, str], float] = {}
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        if (name, labels) in found:
            wrong.append(f"{name}{{{labels}}} is there twice")
        found[name, labels] = float(value)
    return found


class Watcher:
    """Counters as one scraper sees them, each through all of its beginnings."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, str], tuple[float, float]] = {}
        self.ended: Counter[str] = Counter()
        self.began_anew = 0

    def look(self, found: dict[tuple[str, str], float]) -> None:
        """What is there now."""
        for (name, labels), value in found.items():
            if name not in STARTS:
                continue
            start = found[STARTS[name], re.sub(r',?le="[^"]*"', "", labels)]
            before, began = self.last.get((name, labels), (0.0, start))
            if began == start and value < before:
                wrong.append(f"{name}{{{labels}}} fell from {before} to {value}")
            if began != start:
                self.ended[name] += before
                self.began_anew += 1
            self.last[name, labels] = (value, start)

    def total(self, name: str) -> float:
        """All that was ever counted under this name."""
        return self.ended[name] + sum(value for (other, _), (value, _) in self.last.items() if other == name)


def shown() -> dict[tuple[str, str], float]:
    """A body as a scraper gets it over HTTP."""
    answer = scrape.respond(Request(headers={"accept": OPENMETRICS, "accept-encoding": "gzip"}))
    text = gzip.decompress(answer.body).decode()
    if random.random() < 0.05:
        list(text_string_to_metric_families(text))
    return samples(text)


def watch() -> None:
    """Scrape again and again, some of it as text and protobuf."""
    watcher = Watcher()
    while not stop.wait(random.random() * 0.05):
        watcher.look(shown())
        samples(reader.expose().body.decode())
        reader.expose(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        )


def fork() -> None:
    """A child scrapes by itself, and shows what its parent had and what it records."""
    child = os.fork()
    if not child:
        before = sum(value for (name, _), value in shown().items() if name == "jobs_total")
        jobs.add(5, {"a": "child"})
        reader.force_flush()  # a scrape may share a collection that began before, in the background
        after = sum(value for (name, _), value in shown().items() if name == "jobs_total")
        os._exit(0 if "expire" in BESIDE or after - before == 5 else 1)
    if os.waitpid(child, 0)[1]:
        wrong.append("a child does not show what it recorded")


def guarded(work: object, *given: object) -> threading.Thread:
    """A thread that says what it raised."""

    def run() -> None:
        try:
            work(*given)
        except BaseException as error:
            wrong.append(repr(error))

    return threading.Thread(target=run, daemon=True)


def main() -> None:
    """Scrape often enough to see each series before it expires."""
    threads = [guarded(record, number) for number in range(RECORDERS)]
    threads += [guarded(watch) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    watcher, end = Watcher(), time.monotonic() + SECONDS
    while any(thread.is_alive() for thread in threads):
        watcher.look(shown())
        if time.monotonic() > end:
            stop.set()
        elif "fork" in BESIDE and random.random() < 0.05:
            fork()
        time.sleep(0.01)
    found = shown()
    watcher.look(found)
    recorded: Counter[str] = Counter()
    for each in counted:
        recorded.update(each)
    totals = {name: watcher.total(name) for name in ("jobs_total", "sizes_count", "sizes_sum")}
    totals["level"] = sum(value for (name, _), value in found.items() if name == "level")
    wrong.extend(
        f"{name}: {value} of {recorded[name]}" for name, value in totals.items() if value != recorded[name]
    )
    seen = {labels: value for (name, labels), value in found.items() if name == "seen_total"}
    if "others" in BESIDE and seen != {f'k="{key}"': value for key, value in watched.items()}:
        wrong.append(f"observed: {seen} of {watched}")
    print(json.dumps({"recorded": recorded["jobs_total"], "again": watcher.began_anew, "wrong": wrong[:5]}))


main()
