"""Recordings and collections that come in between others, in the same thread or in a forked child."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import programs
import pytest
from fake_hub import fake_hub
from opentelemetry.sdk.metrics import (
    AlignedHistogramBucketExemplarReservoir,
    AlwaysOnExemplarFilter,
    MeterProvider,
    SimpleFixedSizeExemplarReservoir,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from servers import wait_for

from otel_prom_bridge.push.reader import PushReader
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.sdk import locks
from otel_prom_bridge.sdk.versions import HAS_LIMITS

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 20.0  # enough for anything here that does not hang


def printed(program: str, *arguments: object, seconds: float, run: Callable[..., Any] = programs.run) -> Any:
    """What a program prints as its last line; it fails if it is not done in time."""
    command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
    done = run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("door", ["sdk", "direct"])
@pytest.mark.parametrize("children", [pytest.param(6), pytest.param(200, marks=pytest.mark.slow)])
def test_no_child_of_a_fork_hangs(children: int, door: str) -> None:
    """Threads record all the time while children are forked that record and collect; no total is wrong."""
    hung, failed, recorded, counted, observed = printed("forking.py", children, 15, door, seconds=200)
    assert (hung, failed) == (0, 0)
    assert recorded == counted == observed > 0


def test_a_child_records_before_our_hook_runs_in_it() -> None:
    """A signal handler, a finalizer or an earlier hook waits there for no thread that is gone."""
    assert printed("early.py", "direct", seconds=30) == 3


@pytest.mark.parametrize("door", ["sdk", "direct"])
@pytest.mark.parametrize("signals", [pytest.param(300), pytest.param(15_000, marks=pytest.mark.slow)])
def test_a_signal_handler_records(signals: int, door: str) -> None:
    """It interrupts recordings on the same instruments, again and again: nothing hangs, all are counted."""
    recorded, handled, counted, observed, exponential = printed("interrupted.py", signals, door, seconds=200)
    assert counted == recorded + 2 * handled
    assert observed == exponential == recorded + handled


@pytest.mark.parametrize("door", ["sdk", "direct"])
@pytest.mark.parametrize(
    ("seconds", "every"), [pytest.param(1, 0.1), pytest.param(60, 1, marks=pytest.mark.slow)]
)
def test_what_the_garbage_collector_finds_records(seconds: float, every: float, door: str) -> None:
    """Finalizers record wherever the garbage collector runs them: nothing hangs, all are counted."""
    recorded, finalized, counted, observed = printed(
        "collected.py", seconds, every, door, seconds=seconds + 60
    )
    assert finalized > 0
    assert counted == observed == recorded + 2 * finalized


@pytest.mark.parametrize(
    ("door", "times"),
    [("direct", 1), *(pytest.param(door, 60, marks=pytest.mark.slow) for door in ("sdk", "direct"))],
)
def test_greenlets_record(door: str, times: int) -> None:
    """A hundred of them, which switch wherever they can, and scrapes: nothing hangs, all are counted.

    Scrapes that come together share one thread.
    """
    pytest.importorskip("gevent")
    # It patches before anything is imported.
    recorded, *counted, threads = printed("greenlets.py", times, door, seconds=200, run=subprocess.run)
    assert counted == [recorded] * 3
    assert recorded == 101 * 3 * times
    assert threads <= 1


def test_which_names_of_the_sdk_we_use() -> None:
    """All that is listed as private to the SDK is there, in this release."""
    reader = PrometheusMetricReader(registry=None)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("t").create_gauge("g").set(1)
    consumer: Any = provider._measurement_consumer
    storage = consumer._reader_storages[reader]
    [[match]] = storage._instrument_view_instrument_matches.values()
    [series] = match._attributes_aggregation.values()
    found = (consumer, storage, match, series)
    for owner, (name, attributes) in zip(found, locks.PRIVATE.items(), strict=True):
        assert name in [kind.__name__ for kind in type(owner).__mro__]
        assert [attribute for attribute in attributes if not hasattr(owner, attribute)] == []
    reader.shutdown()


def in_time(work: Callable[[], object]) -> None:
    """Do it in a thread, so that a test that hangs fails."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()


class Setup:
    """A provider with two kinds of reservoirs that call ``self.between`` in the middle of something."""

    def __init__(self, place: str, reader: PrometheusMetricReader | PushReader | None = None) -> None:
        def called(original: Callable[..., Any]) -> Callable[..., Any]:
            def method(*arguments: Any, **options: Any) -> Any:
                result = original(*arguments, **options)
                between, self.between = self.between, lambda: None
                between()
                return result

            return method

        def factory(kind: type) -> Callable[..., Any]:
            base = (
                AlignedHistogramBucketExemplarReservoir
                if "Explicit" in kind.__name__
                else SimpleFixedSizeExemplarReservoir
            )
            return type("Reservoir", (base,), {place: called(getattr(base, place))})

        self.between: Callable[[], object] = lambda: None
        self.reader: Any = reader or PrometheusMetricReader(
            registry=None, self_metrics=False, disable_target_info=True
        )
        exponential = ExponentialBucketHistogramAggregation()
        views = [
            View(instrument_name="e", aggregation=exponential, exemplar_reservoir_factory=factory),
            View(instrument_name="[!e]", exemplar_reservoir_factory=factory),
        ]
        self.provider = MeterProvider(
            [self.reader], shutdown_on_exit=False, views=views, exemplar_filter=AlwaysOnExemplarFilter()
        )
        meter = self.provider.get_meter("t")
        self.counter, self.gauge = meter.create_counter("c"), meter.create_gauge("g")
        self.histograms = [meter.create_histogram("h"), meter.create_histogram("e")]
        self.adding = [self.counter.add, *(histogram.record for histogram in self.histograms)]

    def record(self, **attributes: str) -> None:
        """Once with each instrument."""
        self.counter.add(1, attributes)
        self.gauge.set(1, attributes)
        for histogram in self.histograms:
            histogram.record(1, attributes)

    def shown(self) -> dict[str, list[float]]:
        """The family → what its series say, counts for histograms."""
        return {
            family.name: [
                getattr(point, "value", None) or point.zero_count + sum(count for _, count in point.positive)
                if not hasattr(point, "counts")
                else sum(point.counts)
                for point in family.points
            ]
            for family in self.reader.families()
        }

    def totals(self) -> dict[str, float]:
        """The family → the sum of what its series say."""
        return {name: sum(values) for name, values in self.shown().items()}


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("place", ["__init__", "collect"])
def test_a_recording_in_the_middle(place: str, same: bool) -> None:
    """Whatever is recorded while a series comes into being, or is collected, is counted once."""
    setup = Setup(place)

    def run() -> None:
        for number in range(3):
            for record in setup.adding:
                attributes = {"k": number}
                between = attributes if same else {"k": -1 - number}
                setup.between = partial(record, 1, between)
                record(1, attributes)
                if place == "collect":
                    setup.reader.collect()

    in_time(run)
    assert setup.totals() == {"c_total": 6, "h": 6, "e": 6}
    setup.reader.shutdown()


@pytest.mark.parametrize("place", ["__init__", "collect"])
@pytest.mark.parametrize("scrape", ["expose", "families", "force_flush", "collect"])
def test_a_scrape_in_the_middle_waits_for_nothing(place: str, scrape: str) -> None:
    """A finalizer that scrapes within a recording, or within a collection that the application makes.

    That thread has locks for which another one would wait that collects, and it would wait for that one.
    """
    setup, took = Setup(place), list[float]()

    def between() -> None:
        start = time.monotonic()
        getattr(setup.reader, scrape)()
        took.append(time.monotonic() - start)

    def run() -> None:
        for number in range(3):
            for record in setup.adding:
                setup.between = between
                record(1, {"k": number})
                if place == "collect":
                    setup.reader.collect()

    in_time(run)
    assert len(took) == 9
    assert max(took) < SECONDS / 10
    assert setup.totals() == {"c_total": 3, "h": 3, "e": 3}
    setup.reader.shutdown()


@pytest.mark.parametrize("pushes", [False, True])
def test_a_collection_in_the_middle_of_a_recording_waits_for_no_other_one(
    tmp_path: Path, *, pushes: bool
) -> None:
    """Another thread collects, and waits for what is being recorded."""
    setup = Setup("__init__", PushReader(f"unix:{tmp_path / 'nobody'}", interval=60) if pushes else None)

    def between() -> None:
        other = threading.Thread(target=setup.reader.collect, daemon=True)
        other.start()
        other.join(0.2)  # until it waits, if it does
        setup.reader.collect()

    def run() -> None:
        for record in setup.adding:
            record(1, {"k": "before"})
            setup.between = between
            record(1, {"k": "v"})

    in_time(run)
    if not pushes:
        assert setup.totals() == {"c_total": 2, "h": 2, "e": 2}
    setup.reader.shutdown()


@pytest.mark.parametrize("ask", ["force_flush", "shutdown"])
def test_a_push_in_the_middle_of_a_recording_waits_for_nothing_and_loses_nothing(
    tmp_path: Path, ask: str
) -> None:
    """A handler flushes or shuts down. What is pushed waits for a lock of the recording."""
    took = list[float]()
    with fake_hub(tmp_path) as hub:
        setup = Setup("__init__", PushReader(hub.address, interval=60, flush_on_sigterm=False))

        def between() -> None:
            start = time.monotonic()
            assert not getattr(setup.reader, ask)()
            took.append(time.monotonic() - start)

        def run() -> None:
            setup.counter.add(1, {"k": "before"})
            setup.between = between
            setup.counter.add(2, {"k": "v"})

        in_time(run)
        if ask == "force_flush":
            assert setup.reader.force_flush()
            assert not hub.ended
            setup.reader.shutdown()
        wait_for(lambda: hub.ended, seconds=SECONDS, what="the goodbye")
        assert max(took) < SECONDS / 10
        assert hub.total("c") == 3
        assert hub.ended == hub.sources()


def test_what_a_handler_records_before_it_raises_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the recording of an exponential histogram that it interrupts, and that ends there."""
    setup = Setup("collect")
    exponential: Any = locks._Exponential.__base__
    aggregate = exponential.aggregate

    def interrupted(series: Any, *arguments: Any) -> None:
        monkeypatch.setattr(exponential, "aggregate", aggregate)
        setup.histograms[1].record(1, {"k": "v"})
        raise TimeoutError

    monkeypatch.setattr(exponential, "aggregate", interrupted)
    with pytest.raises(TimeoutError):
        setup.histograms[1].record(1, {"k": "v"})
    assert setup.shown() == {"e": [1]}
    setup.reader.shutdown()


def test_a_child_waits_for_nobody() -> None:
    """A lock that another thread holds is new in a child; what that thread had half recorded is left out."""
    setup = Setup("collect")
    setup.record(k="one")
    consumer: Any = setup.provider._measurement_consumer
    storage = consumer._reader_storages[setup.reader]
    matches = [match for found in storage._instrument_view_instrument_matches.values() for match in found]
    series = [found for match in matches for found in match._attributes_aggregation.values()]
    reservoirs = [found._reservoir for found in series]
    held = threading.Event()
    release = threading.Event()

    def hold() -> None:
        for owner in (consumer, storage, *matches, *series, *reservoirs):
            if hasattr(owner, "_lock"):  # old reservoirs have none
                owner._lock.acquire()
        held.set()
        release.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    assert held.wait(SECONDS)
    assert setup.reader._locks is not None
    in_time(setup.reader._locks.renew)
    in_time(lambda: setup.record(k="one"))
    in_time(setup.reader.collect)
    # A counter is one number, which is there or is not, and a histogram of ours changes in one step.
    assert setup.shown() == {"c_total": [2], "g": [1], "h": [2 if HAS_LIMITS else 1], "e": [1]}
    release.set()
    setup.reader.shutdown()
