"""What callbacks, headers and clocks do to scrapes, by the numbers of the faults in the research.

Through a server of a real reader, and with ``unharmed`` after each of them.
"""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from oracles import OPENMETRICS, parse
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from servers import wait_for
from setups import Setup
from wire import (
    GET,
    LAST_GET,
    SHORT,
    bridge_threads,
    connect,
    exchange,
    get,
    received,
    serve,
    statuses,
    unharmed,
    workers,
)

from otel_prom_bridge import start_http_server

pytestmark = pytest.mark.clocked

Make = Callable[..., Setup]
Capture = pytest.CaptureFixture[str]
SECRET = "token-4711"


class Callback:
    """A callback that counts its calls, and can be told to wait or to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.error: BaseException | None = None

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        self.calls += 1
        self.begun.set()
        assert self.release.wait(30)
        if self.error is not None:
            raise self.error
        return [Observation(self.calls)]

    def hang(self) -> None:
        """From now on calls wait."""
        self.begun.clear()
        self.release.clear()


@pytest.fixture
def callback() -> Iterator[Callback]:
    """One that hangs no longer than the test."""
    callback = Callback()
    yield callback
    callback.release.set()


# --- collections --------------------------------------------------------------------------------------


def test_14_scrapers_share_a_collection(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """Ten scrapers that come during one expensive collection cause no other and get identical bodies."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [callback])
    with serve(setup) as server, unharmed(server, capfd):
        callback.hang()
        before = callback.calls
        with ThreadPoolExecutor(10) as pool:
            scrapes = [pool.submit(get, server) for _ in range(10)]
            wait_for(lambda: workers() >= 10, seconds=10, what="ten requests in flight")
            time.sleep(0.3)  # until each of them waits for the collection
            callback.release.set()
            answers = [scrape.result(20) for scrape in scrapes]
        assert callback.calls == before + 1
        assert {answer.status for answer in answers} == {200}
        assert {answer.body for answer in answers} == {b"# TYPE g gauge\ng %d\n" % callback.calls}


def test_15_a_callback_that_raises(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """The rest is served with a counter of the failures, and the text of the error is not in the body."""
    setup = bridge(self_metrics=True)
    setup.meter.create_observable_gauge("bad", [callback])
    setup.meter.create_counter("good").add(3)
    with serve(setup) as server, unharmed(server, capfd):
        assert get(server).values()["bad"] == callback.calls
        callback.error = ValueError(SECRET)
        get(server)  # a failure is counted while a collection runs, and shown by the next scrape
        answer = get(server)
        assert answer.status == 200
        assert answer.values()["good_total"] == 3
        assert b'otel_prom_bridge_callback_failures_total{instrument="bad"}' in answer.body
        assert SECRET.encode() not in answer.body


def test_15_a_collector_that_raises(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """A collector of the registry that fails takes no other with it, and is counted without its words."""

    class Bad(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield from ()
            if callback.error is not None:
                raise callback.error

    registry = CollectorRegistry()
    registry.register(Bad())
    Gauge("good", "", registry=registry).set(3)
    callback.error = ValueError(SECRET)
    with (
        serve(bridge(registry=registry, self_metrics=True)) as server,
        unharmed(server, capfd),
    ):
        get(server)
        answer = get(server)
        assert (answer.status, answer.values()["good"]) == (200, 3)
        assert b"otel_prom_bridge_collector_failures_total" in answer.body
        assert SECRET.encode() not in answer.body


def test_16_a_callback_that_hangs(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """Scrapes show what is known with a marker in time, and the second one starts no second stuck thread."""
    setup = bridge(self_metrics=True)
    setup.meter.create_observable_gauge("g", [callback])
    setup.meter.create_counter("good").add(3)
    marker = "otel_prom_bridge_last_collection_successful"
    with serve(setup) as server, unharmed(server, capfd, seconds=10):
        known = get(server).values()
        assert (known["g"], known["good_total"], known[marker]) == (callback.calls, 3, 1)
        callback.hang()
        before, threads = callback.calls, bridge_threads() - workers()
        for _ in range(5):
            start = time.monotonic()
            answer = get(server, "X-Prometheus-Scrape-Timeout-Seconds: 1")
            assert time.monotonic() - start < 2.5  # 0.8, on a machine that is not busy
            values = answer.values()
            assert (answer.status, values["g"], values["good_total"], values[marker]) == (200, before, 3, 0)
        assert callback.calls == before + 1
        assert bridge_threads() - workers() <= threads + 1
        callback.release.set()

        def recovered() -> bool:
            return get(server).values()[marker] == 1

        wait_for(recovered, seconds=10, what="a whole collection")


def test_17_the_scrapers_timeout(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """The answer comes with what is known before the scraper gives up."""
    setup = bridge(scrape_timeout=5)
    setup.meter.create_observable_gauge("g", [callback])
    with serve(setup) as server, unharmed(server, capfd, seconds=10):
        known = callback.calls
        callback.hang()
        start = time.monotonic()
        answer = get(server, "X-Prometheus-Scrape-Timeout-Seconds: 0.5")
        assert time.monotonic() - start < 2  # 0.4, on a machine that is not busy
        assert (answer.status, answer.values()["g"]) == (200, known)
        callback.release.set()


NO_TIMEOUTS = ["soon", "-1", "nan", "1e309", "0", "", "0x1p-3", "1, 2", "9" * 400, "\xb2"]


@pytest.mark.parametrize("cache_ttl", [0, 0.1])  # each has its own answer made, and one is made for all
def test_17_timeouts_that_make_no_sense(
    bridge: Make, callback: Callback, capfd: Capture, cache_ttl: float
) -> None:
    """They are none, so the answer comes after the configured time."""
    setup = bridge(scrape_timeout=1)
    setup.meter.create_observable_gauge("g", [callback])
    with serve(setup, cache_ttl=cache_ttl) as server, unharmed(server, capfd, seconds=10):
        time.sleep(cache_ttl)
        known = callback.calls
        callback.hang()
        start = time.monotonic()
        with ThreadPoolExecutor(len(NO_TIMEOUTS)) as pool:
            fields = [f"X-Prometheus-Scrape-Timeout-Seconds: {timeout}" for timeout in NO_TIMEOUTS]
            answers = list(pool.map(lambda field: get(server, field), fields))
        assert {(answer.status, answer.values()["g"]) for answer in answers} == {(200, known)}
        assert 0.5 < time.monotonic() - start < 5
        callback.release.set()


# --- headers ------------------------------------------------------------------------------------------

TEXT = "text/plain; version=0.0.4"
ACCEPTS = {
    "": TEXT,
    "*/*": TEXT,
    "application/json": TEXT,
    "application/openmetrics-text;q=0, text/plain;q=0, */*;q=0": TEXT,
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=2": "application/openm",
    "application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.1": TEXT,
    "a/b;c=d," * 1200 + "text/plain": TEXT,
    "application/openmetrics-text;version=99, x": "",
    ';;;,,,="",\xff\xfe': TEXT,
}


def test_24_odd_accept_headers(bridge: Make, capfd: Capture) -> None:
    """Whatever a scraper accepts or refuses, it gets 200 in a valid format and never 406."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    with serve(setup) as server, unharmed(server, capfd):
        assert get(server).headers["content-type"].startswith(TEXT)
        for accept, expected in ACCEPTS.items():
            answer = get(server, f"Accept: {accept}")
            assert answer.status == 200, accept
            assert answer.headers["content-type"].startswith(expected), accept
            parse(answer.headers["content-type"], answer.body)
            assert b"c_total 1" in answer.body


ENCODINGS = {
    "gzip": "gzip",
    "GZIP": "gzip",
    "gzip;q=0": None,
    "zstd": None,
    "zstd, deflate, gzip;q=0.1": "gzip",
    "gzip;q=0, *": None,
    "identity": None,
    "": None,
    ";q=,,gzip;;\xff": "gzip",
}


def test_25_encodings(bridge: Make, capfd: Capture) -> None:
    """A body is compressed for who takes gzip under exactly this name, and otherwise there is no encoding."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(200):
        counter.add(1, {"k": str(number)})
    with serve(setup) as server, unharmed(server, capfd):
        plain = get(server).body
        for encoding, expected in ENCODINGS.items():
            answer = get(server, f"Accept-Encoding: {encoding}")
            assert (answer.status, answer.headers.get("content-encoding")) == (200, expected), encoding
            assert (gzip.decompress(answer.body) if expected else answer.body) == plain, encoding
            assert answer.headers["vary"] == "Accept, Accept-Encoding"
        anything = get(server, "Accept-Encoding: *")
        assert anything.headers.get("content-encoding") in (None, "gzip")


def test_26_no_memory_to_compress(bridge: Make, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain body is sent when compression fails, and the compressed one when it works again."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(200):
        counter.add(1, {"k": str(number)})

    def fail(*_: object) -> bytes:
        raise MemoryError

    with serve(setup) as server, unharmed(server, capfd):
        with monkeypatch.context() as patched:
            patched.setattr(zlib, "compressobj", fail)
            answer = get(server, "Accept-Encoding: gzip")
        assert (answer.status, answer.headers.get("content-encoding")) == (200, None)
        assert answer.body == get(server).body
        assert get(server, "Accept-Encoding: gzip").headers["content-encoding"] == "gzip"


# --- clocks and the cache -----------------------------------------------------------------------------


def test_40_the_wall_clock_jumps(
    bridge: Make, callback: Callback, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither deadlines nor the ages of kept answers look at it."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [callback])
    offset, real, real_ns = [0.0], time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(offset[0] * 1e9))
    with serve(setup, cache_ttl=1.5) as server, unharmed(server, capfd):
        get(server, "Accept: */*")
        before, start = callback.calls, time.monotonic()
        for jump in (1e6, -1e6, 0.0):
            offset[0] = jump
            assert get(server).status == 200
        assert callback.calls == before or time.monotonic() - start > 1
        offset[0] = -1e6
        assert statuses(exchange(server, LAST_GET[:-2])) == [b"408"]

        def is_new() -> bool:
            get(server)
            return callback.calls > before

        wait_for(is_new, seconds=10, what="an answer that is not kept")


def test_43_a_scraper_whose_interval_is_the_idle_timeout(bridge: Make, capfd: Capture) -> None:
    """Its next request is answered on the same connection even if it is a little late."""
    server = start_http_server(bridge().reader, port=0, limits=replace(SHORT, idle_timeout=0.3))
    with server, unharmed(server, capfd), connect(server) as client:
        for _ in range(3):
            client.sendall(GET)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.4)
        client.sendall(GET)
        assert statuses(received(client)) == [b"200"]


def test_41_what_is_kept_for_whom(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """An answer in one format, filter or encoding is given to nobody who asked for another."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [callback])
    counter = setup.meter.create_counter("c")
    for number in range(200):
        counter.add(1, {"k": str(number)})
    with serve(setup, cache_ttl=60.0) as server, unharmed(server, capfd):
        for _ in range(2):
            assert get(server).headers["content-type"].startswith(TEXT)
            assert get(server, f"Accept: {OPENMETRICS}").body.endswith(b"# EOF\n")
            compressed = get(server, "Accept-Encoding: gzip")
            assert compressed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(compressed.body).startswith(b"# TYPE")
            filtered = exchange(server, LAST_GET.replace(b"/metrics", b"/metrics?name[]=g"))
            assert b"c_total" not in filtered
        assert callback.calls == 4


def test_41_a_stampede_when_an_answer_expires(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """Twenty scrapers who find an answer expired share one collection, and it is not kept for longer."""
    setup = bridge()
    setup.meter.create_observable_gauge("g", [callback])
    with serve(setup, cache_ttl=1.0) as server, unharmed(server, capfd):
        get(server)
        time.sleep(1.1)
        callback.hang()
        before = callback.calls
        with ThreadPoolExecutor(20) as pool:
            scrapes = [pool.submit(get, server) for _ in range(20)]
            wait_for(lambda: workers() >= 20, seconds=10, what="twenty requests in flight")
            time.sleep(0.3)
            callback.release.set()
            assert {scrape.result(20).values()["g"] for scrape in scrapes} == {before + 1}
        time.sleep(1.1)
        assert get(server).values()["g"] == before + 2


def test_41_failures_are_not_kept(bridge: Make, callback: Callback, capfd: Capture) -> None:
    """An answer that lacks what hangs is for who asked, and the next scrape is a new one."""
    setup = bridge(scrape_timeout=0.3)
    setup.meter.create_observable_gauge("g", [callback])
    with serve(setup, cache_ttl=60.0) as server, unharmed(server, capfd, seconds=10):
        callback.hang()
        known = callback.calls
        fields = f"Accept: {OPENMETRICS}"
        assert get(server, fields).values() == {"g": known}
        callback.release.set()
        wait_for(lambda: get(server, fields).values()["g"] > known, seconds=5, what="a new answer")
        kept = callback.calls
        assert get(server, fields).values()["g"] == kept == callback.calls
