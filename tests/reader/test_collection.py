"""Collections are shared, bounded in time, and run on their own when nobody scrapes."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest
from exported import Application
from inside import lock_of_self_metrics, store_of
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from oracles import samples
from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from servers import wait_for
from setups import Setup

from otel_prom_bridge import ExportView, PrometheusMetricReader, native
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.once import Coalesced
from otel_prom_bridge.pipeline.background import Background
from otel_prom_bridge.reader.collection import SdkCollections

pytestmark = pytest.mark.clocked

Make = Callable[..., Setup]


class Hanging:
    """A callback or collector that can be made to wait, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.release = threading.Event()
        self.release.set()

    def hang(self) -> None:
        """From now on calls wait."""
        self.begun.clear()
        self.release.clear()

    def call(self) -> None:
        """What the callback does."""
        self.calls += 1
        self.begun.set()
        assert self.release.wait(20)

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        """As a callback."""
        self.call()
        return [Observation(self.calls)]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Something that hangs no longer than the test."""
    result = Hanging()
    yield result
    result.release.set()


def value(body: bytes, name: str) -> float | None:
    """The sample without labels of a text exposition."""
    return samples("text/plain", body).get((name, frozenset()))


def test_scrapers_that_arrive_meanwhile_share_a_collection(bridge: Make, hanging: Hanging) -> None:
    """Ten scrapers of an expensive collection cause one, and get the same body."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [hanging])
    setup.text()
    hanging.hang()
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(setup.reader.expose().body)) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert hanging.begun.wait(5)
    time.sleep(0.2)  # the others arrive
    hanging.release.set()
    for thread in threads:
        thread.join(10)
    assert hanging.calls == 2
    assert [value(body, "g") for body in bodies] == [2] * 10


def test_a_flush_shares_no_collection_that_began_before_it(bridge: Make, hanging: Hanging) -> None:
    """What was recorded before a flush is collected by it, even if a collection was under way."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [hanging])
    setup.text()
    hanging.hang()
    scraper = threading.Thread(target=setup.text)
    scraper.start()
    assert hanging.begun.wait(5)
    flushed: list[bool] = []
    flusher = threading.Thread(target=lambda: flushed.append(setup.reader.force_flush()))
    flusher.start()
    time.sleep(0.1)
    hanging.release.set()
    scraper.join(10)
    flusher.join(10)
    assert flushed == [True]
    assert hanging.calls == 3


def test_a_scrape_waits_as_long_as_it_was_told(bridge: Make, hanging: Hanging) -> None:
    """The smaller of the two times counts, and what is not there in time shows what it said last."""
    setup = bridge(scrape_timeout=20)
    setup.meter.create_observable_gauge("g", [hanging])
    assert value(setup.reader.expose().body, "g") == 1
    hanging.hang()
    start = time.monotonic()
    assert value(setup.reader.expose(timeout=1.2).body, "g") == 1
    assert 1.1 < time.monotonic() - start < 5
    start = time.monotonic()
    assert value(setup.reader.expose(timeout=10).body, "g") == 1  # known to be late: not waited for again
    assert time.monotonic() - start < 5


def test_a_computed_label_that_takes_long_stops_no_scrape(hanging: Hanging) -> None:
    """Code of the application also runs while points are taken in; what was recorded arrives afterwards."""

    def slow(attributes: Mapping[str, object]) -> str:
        if attributes.get("n") != 0:
            hanging.call()
        return "x"

    view = ExportView(instrument_name="c", compute={"label": slow})
    application = Application(view, scrape_timeout=0.5)
    counter = application.meter.create_counter("c")
    counter.add(1, {"n": 0})
    before = application.reader.expose().body
    hanging.hang()
    counter.add(1, {"n": 1})
    for _ in range(2):
        start = time.monotonic()
        shown = application.reader.expose()
        assert time.monotonic() - start < 5
        assert (shown.body, shown.complete) == (before, False)
    hanging.release.set()
    wait_for(lambda: b'n="1"' in application.reader.expose().body, seconds=10, what="the new series")


def test_who_has_no_time_spoils_nothing_for_others(bridge: Make, hanging: Hanging) -> None:
    """A scraper that gives up at once gets what is known, and others the truth, a little later."""
    setup = bridge(scrape_timeout=20)
    setup.meter.create_observable_gauge("g", [hanging])
    setup.text()
    hanging.hang()
    assert value(setup.reader.expose(timeout=0.001).body, "g") == 1
    assert setup.reader.is_healthy
    threading.Timer(0.5, hanging.release.set).start()
    assert value(setup.reader.expose().body, "g") == 2


def test_a_collector_that_hangs_is_alone(hanging: Hanging) -> None:
    """Others are asked as usual, it shows what it said last, and costs one thread until it answers."""
    registry = CollectorRegistry()

    class Stuck(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            hanging.call()
            yield GaugeMetricFamily("stuck", "", hanging.calls)

    registry.register(Stuck())
    after = Counter("after", "", registry=registry)
    reader = PrometheusMetricReader(registry=registry, scrape_timeout=0.3, self_metrics=False)
    first = value(reader.expose().body, "stuck")
    assert first == hanging.calls
    hanging.hang()
    reader.expose()
    assert hanging.begun.wait(5)
    threads = threading.active_count()
    for count in range(1, 4):
        after.inc()
        body = reader.expose().body
        assert (value(body, "stuck"), value(body, "after_total")) == (first, count)
    assert threading.active_count() == threads
    hanging.release.set()
    wait_for(lambda: value(reader.expose().body, "stuck") != first, seconds=10, what="the collector's answer")
    reader.shutdown()


class Awaited:
    """A reader with a collector that can hang, and one behind it that does not."""

    def __init__(self, hanging: Hanging) -> None:
        registry = CollectorRegistry()

        class Slow(Collector):
            def collect(self) -> Iterator[GaugeMetricFamily]:
                hanging.call()
                yield GaugeMetricFamily("slow", "", hanging.calls)

        registry.register(Slow())
        self.after = Counter("after", "", registry=registry)
        self.reader = PrometheusMetricReader(registry=registry, scrape_timeout=20, self_metrics=False)
        # Complete answers are those of a provider.
        MeterProvider([self.reader], shutdown_on_exit=False).get_meter("t").create_counter("c").add(1)
        self.scrapes: dict[str, Exposition] = {}

    def scrape(self, name: str, timeout: float) -> threading.Thread:
        """A scrape in a thread."""

        def run() -> None:
            self.scrapes[name] = self.reader.expose(timeout=timeout)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def shown(self, name: str) -> tuple[float | None, float | None, bool]:
        """What this scrape showed of the two collectors, and whether it was complete."""
        found = self.scrapes[name]
        return value(found.body, "slow"), value(found.body, "after_total"), found.complete


@pytest.fixture
def awaited(hanging: Hanging) -> Iterator[Awaited]:
    """One that has asked its collectors once."""
    result = Awaited(hanging)
    result.scrape("first", 20).join(20)
    yield result
    hanging.release.set()
    result.reader.shutdown()


def test_who_has_no_time_spoils_no_collector_for_others(
    awaited: Awaited, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    """A scraper that gives up at once shows what is known; who comes then gets everything, and no warning."""
    before = hanging.calls
    hanging.hang()
    awaited.after.inc()
    awaited.scrape("hasty", 0.01).join(20)
    assert awaited.shown("hasty") == (before, 0, False)
    patient = awaited.scrape("patient", 20)
    time.sleep(0.3)
    hanging.release.set()
    patient.join(20)
    assert awaited.shown("patient") == (before + 1, 1, True)
    assert caplog.records == []


@pytest.mark.parametrize("answers", [True, False])
def test_who_waits_for_a_collector_that_another_gives_up(
    awaited: Awaited, hanging: Hanging, caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    """It gets the others as they are, and the slow one, too, if that answers while there is time."""
    before = hanging.calls
    hanging.hang()
    awaited.after.inc()
    patient = awaited.scrape("patient", 20 if answers else 4)
    assert hanging.begun.wait(5)
    awaited.scrape("hasty", 1.3).join(20)  # longer than what is patience here
    assert awaited.shown("hasty") == (before, 0, False)
    assert "Slow object" in caplog.text
    assert "scrape_timeout" not in caplog.text  # it was the scraper who had no time
    time.sleep(0.3)
    if answers:
        assert patient.is_alive()
        hanging.release.set()
    patient.join(20)
    assert awaited.shown("patient") == (before + answers, 1, answers)


def test_a_collector_that_scrapes_its_own_process() -> None:
    """It gets what is known at once, is not taken for one that hangs, and that answer is not complete."""
    registry = CollectorRegistry()
    readers: list[PrometheusMetricReader] = []  # the registry asks a collector when it is registered
    answers: list[Exposition] = []

    class Nested(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            answers.extend(reader.expose(timeout=10) for reader in readers)
            yield GaugeMetricFamily("nested", "", len(answers))

    registry.register(Nested())
    reader = PrometheusMetricReader(registry=registry, self_metrics=False)
    MeterProvider([reader], shutdown_on_exit=False).get_meter("t").create_counter("c").add(1)
    readers.append(reader)
    start = time.monotonic()
    exposition = reader.expose()
    assert time.monotonic() - start < 4
    assert (value(exposition.body, "nested"), exposition.complete) == (1, True)
    assert [answer.complete for answer in answers] == [False]
    reader.shutdown()


def test_an_unscraped_process_is_collected(bridge: Make) -> None:
    """A collection runs on its own, so the SDK's table is emptied: more than its limit loses no detail."""
    setup = bridge(sdk_max_series=10, collect_interval=0.05)
    counter = setup.meter.create_counter("c")

    def collected(number: int) -> bool:
        return any(
            point.labels
            for family in store_of(setup.reader).families()  # a scrape would collect
            for point in family.points
            if ("k", str(number)) in point.labels
        )

    for number in range(25):
        counter.add(1, {"k": str(number)})
        if number % 8 == 7:
            wait_for(lambda: collected(number), seconds=10, what="a collection that nobody asked for")  # noqa: B023
    found = samples("text/plain", setup.reader.expose().body)
    assert found == {("c_total", frozenset({("k", str(number))})): 1 for number in range(25)}


def test_nothing_is_collected_in_the_background_without_an_interval(bridge: Make, hanging: Hanging) -> None:
    """With 0 callbacks run when somebody scrapes, only."""
    setup = bridge(collect_interval=0)
    setup.meter.create_observable_gauge("g", [hanging])
    time.sleep(0.3)
    assert hanging.calls == 0
    setup.text()
    assert hanging.calls == 1


def test_the_background_keeps_no_reader_alive() -> None:
    """A reader that nobody refers to goes, and the thread with the last one."""
    background = Background()

    class Item:
        due = 0.0
        started = threading.Event()

        def start(self) -> None:
            Item.started.set()
            self.due = time.monotonic() + 0.02

    item = Item()
    background.add(item)
    assert Item.started.wait(5)
    reference = weakref.ref(item)
    del item

    def gone() -> bool:
        gc.collect()
        return reference() is None and background._thread is None

    wait_for(gone, seconds=10, what="the end of the thread")


def test_health_follows_the_collections(bridge: Make, hanging: Hanging) -> None:
    """Healthy is what has collected, and neither failed nor hangs."""
    setup = bridge(scrape_timeout=0.1)
    setup.meter.create_observable_gauge("g", [hanging])
    assert not setup.reader.is_healthy
    setup.text()
    assert setup.reader.is_healthy
    hanging.hang()
    setup.text()
    assert not setup.reader.is_healthy
    hanging.release.set()
    wait_for(lambda: setup.text() and setup.reader.is_healthy, seconds=10, what="a collection")


def test_a_collection_that_hangs_in_the_background_is_noticed(
    bridge: Make, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody scrapes: health says so after the time that a scrape would wait, and so does the log, once."""
    setup = bridge(scrape_timeout=1, collect_interval=0.3)
    setup.meter.create_observable_gauge("g", [hanging])
    setup.text()
    hanging.hang()
    assert hanging.begun.wait(10)
    wait_for(lambda: caplog.messages, seconds=10, what="a line in the log")
    assert not setup.reader.is_healthy
    time.sleep(0.5)
    (line,) = (text for text in caplog.messages if "has not ended" in text)
    assert line.startswith("a collection has not ended for 1")
    hanging.release.set()
    wait_for(lambda: setup.reader.is_healthy, seconds=10, what="the next collection")


def test_health_notices_what_one_scrape_did_not_wait_for(
    bridge: Make, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    """A scraper with little time left before the collection was late, and no other came."""
    setup = bridge(scrape_timeout=2)
    setup.meter.create_observable_gauge("g", [hanging])
    setup.text()
    hanging.hang()
    setup.reader.expose(timeout=0.05)
    assert setup.reader.is_healthy
    wait_for(lambda: not setup.reader.is_healthy, seconds=10, what="the time of a scrape")
    assert any("a collection has not ended" in text for text in caplog.messages)


STAYS = pytest.mark.parametrize("stays", [0.0, math.inf], ids=["thread each", "thread stays"])


@STAYS
def test_work_that_ends_is_run_again(stays: float) -> None:
    """Each call that finds no run starts one; its answer is what the work said."""
    answers = iter([True, False, True])
    work = Coalesced(lambda: next(answers), name="test", stays=lambda: stays)
    assert [work.wait(5) for _ in range(3)] == [True, False, True]


def test_a_thread_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does one run after the other, also after one that raised, and holds nobody in memory meanwhile."""
    ran_in: list[int] = []
    raised: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append(error[0]))

    def work() -> bool:
        ran_in.append(threading.get_ident())
        if len(ran_in) == 2:
            raise SystemExit
        return True

    once = Coalesced(work, name="test", stays=lambda: math.inf)
    assert [once.wait(5) for _ in range(4)] == [True, False, True, True]
    assert (len(set(ran_in)), raised) == (1, [SystemExit])
    assert [thread.name for thread in threading.enumerate() if thread.ident == ran_in[0]] == ["test"]
    once.rest()
    ended = "the thread that has nothing to do"
    wait_for(
        lambda: all(thread.ident != ran_in[0] for thread in threading.enumerate()), seconds=5, what=ended
    )
    assert once.wait(5)
    known = weakref.ref(once)
    del once
    wait_for(lambda: gc.collect() >= 0 and known() is None, seconds=5, what="the end of it")


def test_a_thread_that_stayed_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has ended, and the next run gets another one. No run is lost to a thread that is about to end."""
    monkeypatch.setattr("otel_prom_bridge.hands._IDLE_SECONDS", 0.0001)
    once = Coalesced(lambda: True, name="test", stays=lambda: math.inf)
    for number in range(300):
        assert once.wait(5)
        time.sleep(0.0001 * (number % 3))


@pytest.mark.parametrize("stays", [0.0, math.inf])
def test_a_run_is_begun_once(monkeypatch: pytest.MonkeyPatch, *, stays: float) -> None:
    """Even if who asked for it asks again before its thread has come to it, as greenlets of one thread do."""
    made: list[str] = []

    class Slow:
        is_current = has_ended = False

        def __init__(self, work: Callable[[], None], *, name: str) -> None:
            made.append(name)

        def start(self) -> None:
            """It has not come to run yet."""

    monkeypatch.setattr("otel_prom_bridge.hands.Thread", Slow)
    once = Coalesced(lambda: True, name="test", stays=lambda: stays)
    for _ in range(3):
        once.start()
        assert not once.wait(0)
    assert made == ["test"]


def test_a_thread_that_is_at_work_ends_when_there_is_to_be_rest(hanging: Hanging) -> None:
    """Nobody gives it another run, so it does not wait for one."""
    ran_in: list[threading.Thread] = []

    def work() -> bool:
        ran_in.append(threading.current_thread())
        hanging.call()
        return True

    once = Coalesced(work, name="test", stays=lambda: math.inf)
    hanging.hang()
    assert not once.wait(0.05)
    once.rest()
    hanging.release.set()
    wait_for(lambda: ran_in[0] not in threading.enumerate(), seconds=5, what="the end of the thread")


def test_a_thread_that_is_lost_is_not_waited_for(hanging: Hanging) -> None:
    """What was given up hangs in its own thread, and the next run has another one."""
    once = Coalesced(lambda: bool(hanging.call()) or True, name="test", stays=lambda: math.inf)
    assert once.wait(5)
    hanging.hang()
    assert not once.wait(0.05)
    once.give_up()
    assert not once.wait(0.05)
    hanging.release.set()
    assert once.wait(5)


def test_collections_have_a_thread_that_stays(bridge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they call callbacks: ``test_collecting_threads.py`` says when it ends then."""
    ran_in: list[object] = []  # the threads themselves, as idents are given again
    original = SdkCollections._collect

    def watched(self: SdkCollections) -> bool:
        ran_in.append(threading.current_thread())
        return original(self)

    monkeypatch.setattr(SdkCollections, "_collect", watched)
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    for _ in range(3):
        setup.reader.expose()
    assert len(set(ran_in)) == 1
    setup.meter.create_observable_gauge("g", [lambda _: [Observation(1)]])
    for _ in range(3):
        assert "g 1" in setup.text()
    assert len(set(ran_in)) == 1


def test_work_without_a_thread_to_run_in_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, as at interpreter exit, the caller does it."""

    def refuse(_: native.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ran_in: list[int] = []

    def work() -> bool:
        ran_in.append(threading.get_ident())
        return True

    monkeypatch.setattr(native.Thread, "start", refuse)
    assert Coalesced(work, name="test").wait(5)
    assert ran_in == [threading.get_ident()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@STAYS
def test_a_forked_child_collects_by_itself(hanging: Hanging, stays: float) -> None:
    """A collection that hung in the parent at the fork does not hang the child's work."""
    work = Coalesced(lambda: bool(hanging.call()) or True, name="test", stays=lambda: stays)
    hanging.hang()
    assert not work.wait(0.05)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        hanging.release = threading.Event()
        hanging.release.set()
        os._exit(0 if work.wait(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def forked(work: Callable[[], object]) -> int:
    """What a child ends with that does this: 0 if it is true, 1 if not, -14 if it takes too long."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(10)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_asks_a_collector_that_hangs_in_the_parent(awaited: Awaited, hanging: Hanging) -> None:
    """Nobody is there who waits for it, so it would be passed over for ever."""
    hanging.hang()
    awaited.scrape("hasty", 1.3).join(20)
    assert not awaited.scrapes["hasty"].complete

    def asked() -> bool:
        before, hanging.release = hanging.calls, threading.Event()
        hanging.release.set()
        found = awaited.reader.expose()
        return (value(found.body, "slow"), found.complete) == (before + 1, True)

    assert forked(asked) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_collection(bridge: Make) -> None:
    """The fork waits for it, so no lock stays taken in the child: it collects and shows everything."""
    setup = bridge()
    parent, begun = os.getpid(), threading.Event()

    def slow(_: CallbackOptions) -> Iterator[Observation]:
        begun.set()
        if os.getpid() == parent:
            time.sleep(0.4)
        yield Observation(7)

    setup.meter.create_observable_gauge("g", [slow])
    setup.meter.create_counter("c").add(1)
    scraper = threading.Thread(target=setup.text)
    scraper.start()
    assert begun.wait(10)
    assert forked(lambda: setup.reader.force_flush() and "c_total 1" in setup.text()) == 0
    scraper.join(10)
    assert "c_total 1" in setup.text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_what_was_collected_is_taken_in(hanging: Hanging) -> None:
    """Where that takes longer than a fork waits, the child shows what there was, and what it records."""
    parent = os.getpid()

    def slow(value: str) -> str:
        if value == "slow" and os.getpid() == parent:
            hanging.call()
        return value

    reader = PrometheusMetricReader(
        registry=None, views=[ExportView(instrument_name="c", rules={"a": slow})], collect_interval=0
    )
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m")
    counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
    counter.add(1, {"a": "known"})
    histogram.record(1)
    reader.expose()
    hanging.hang()
    counter.add(1, {"a": "known"})
    counter.add(1, {"a": "slow"})
    scraper = threading.Thread(target=reader.force_flush)
    scraper.start()
    assert hanging.begun.wait(10)

    def shown() -> dict[str, float]:
        counter.add(1, {"a": "known"})
        counter.add(1, {"a": "slow"})
        histogram.record(1)
        reader.force_flush()
        found = samples("text/plain", reader.expose().body)
        return {
            dict(labels).get("a", name): value
            for (name, labels), value in found.items()
            if name in ("c_total", "h_count", "target_info")
        }

    assert forked(lambda: shown() == {"known": 3, "slow": 1, "h_count": 2, "target_info": 1}) == 0
    hanging.release.set()
    scraper.join(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_somebody_counts_scrapes() -> None:
    """What a thread of the parent held for a moment holds up no scrape of the child."""
    reader = PrometheusMetricReader(registry=None)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    held, over = threading.Event(), threading.Event()

    def count() -> None:
        with lock_of_self_metrics(reader):
            held.set()
            over.wait(20)

    counting = threading.Thread(target=count)
    counting.start()
    assert held.wait(10)
    assert forked(lambda: b"otel_prom_bridge" in reader.expose().body) == 0
    over.set()
    counting.join(10)
    provider.shutdown()


FORKING = """
import os, signal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from otel_prom_bridge import PrometheusMetricReader

provider = MeterProvider([PrometheusMetricReader(registry=None)], resource=Resource.get_empty())
import concurrent.futures.thread

if (child := os.fork()) == 0:
    os._exit(7)
signal.alarm(20)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_sdks_hook_after_a_fork_waits_for_no_lock() -> None:
    """It submits work to a pool: whose lock has to be new by then, whoever imports pools, and when."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("7", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_does_not_wait_for_ever(bridge: Make, hanging: Hanging) -> None:
    """A callback that hangs holds up one fork for a second, and the next ones not at all."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [hanging])
    hanging.hang()
    scraper = threading.Thread(target=setup.text)
    scraper.start()
    assert hanging.begun.wait(10)
    seconds = []
    for _ in range(2):
        start = time.monotonic()
        assert forked(lambda: True) == 0
        seconds.append(time.monotonic() - start)
    assert 0.9 < seconds[0] < 5
    assert seconds[1] < 0.9
    hanging.release.set()
    scraper.join(10)
    assert value(setup.reader.expose().body, "g") is not None  # what waited for the fork goes on


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_callback_that_forks(bridge: Make) -> None:
    """It does not wait for the collection that it is part of, nor do several forks wait for ever."""
    setup = bridge()
    codes: list[int] = []

    def fork(_: CallbackOptions) -> Iterator[Observation]:
        codes.append(forked(lambda: True))
        yield Observation(1)

    setup.meter.create_observable_gauge("g", [fork])
    start = time.monotonic()
    threads = [threading.Thread(target=lambda: codes.append(forked(lambda: True))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert value(setup.reader.expose().body, "g") == 1
    for thread in threads:
        thread.join(20)
    assert codes == [0] * 4
    assert time.monotonic() - start < 10


def test_collectors_are_not_blamed_for_callbacks(bridge: Make) -> None:
    """A callback that uses up all the time does not make a collector that answers at once a stuck one."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    setup = bridge(registry=registry, scrape_timeout=0.2, self_metrics=True)
    release = threading.Event()

    def hang(_: CallbackOptions) -> list[Observation]:
        release.wait(10)
        return [Observation(1)]

    setup.meter.create_observable_gauge("g", callbacks=[hang])
    try:
        text = setup.text()
    finally:
        release.set()
    assert "otel_prom_bridge_last_collection_successful 0" in text
    assert "otel_prom_bridge_stuck_collectors 0" in text
    assert "process_cpu_seconds_total" in text
