"""What a review found once, so that it stays found: interrupts, re-entry, stragglers, things that grow."""

from __future__ import annotations

import gc
import http.client
import logging
import math
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from callers import call_asgi
from inside import most_pages
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, Metric
from servers import wait_for
from setups import Setup, values

from otel_prom_bridge import ConfigurationError, PrometheusMetricReader, make_asgi_app, start_http_server
from otel_prom_bridge.diagnostics import Findings, logger
from otel_prom_bridge.exposition import Exposer
from otel_prom_bridge.families import CounterPoint, Kind, MetricFamily
from otel_prom_bridge.store import growing
from otel_prom_bridge.store.placing import Placing

Make = Callable[..., Setup]


# --- no delta is lost ---------------------------------------------------------------------------------


def test_an_interrupt_while_series_are_shown_loses_none(
    bridge: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a scrape leaves the rest of the series for the next one."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    original, calls = Placing._place, iter(range(100))

    def place(self: Placing, series: Any) -> None:
        if next(calls) == 5:
            raise KeyboardInterrupt
        original(self, series)

    monkeypatch.setattr(Placing, "_place", place)
    for number in range(10):
        counter.add(1, {"k": str(number)})
    with pytest.raises(KeyboardInterrupt):
        setup.reader.expose()
    for number in range(10):
        counter.add(1, {"k": str(number)})
    assert values(setup, "c_total") == {str(number): 2 for number in range(10)}


@pytest.fixture
def handler() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Let a function run whenever the bridge logs."""
    added: list[logging.Handler] = []

    def add(work: Callable[[], object]) -> None:
        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                work()

        added.append(Handler())
        logger.addHandler(added[-1])

    yield add
    for item in added:
        logger.removeHandler(item)


def test_a_log_handler_that_raises_loses_nothing(
    bridge: Make, handler: Callable[[Callable[[], object]], None]
) -> None:
    """A finding that cannot be logged costs neither the scrape nor the rest of the collection."""

    def fail() -> None:
        raise RuntimeError("disk full")

    handler(fail)
    setup = bridge()
    setup.meter.create_counter("a", description="first").add(1, {"k": "1"})
    setup.meter.create_counter("a", description="second").add(1, {"k": "2"})
    setup.meter.create_counter("z").add(7)
    assert values(setup, "a_total") == {"1": 1, "2": 1}
    assert values(setup, "z_total") == {"-": 7}
    assert len(setup.reader.conflicts()) == 1


def test_code_that_runs_within_the_store_may_scrape_and_flush(
    bridge: Make, handler: Callable[[Callable[[], object]], None]
) -> None:
    """A log handler or resource filter that comes back to the reader sees the last state."""
    seen: list[bytes] = []
    reader: list[PrometheusMetricReader] = []

    def come_back(*_: object) -> bool:
        if reader:
            seen.append(reader[0].expose().body)
            reader[0].collect()
        return False

    handler(come_back)
    setup = bridge(
        resource_attribute_filter=come_back, resource=Resource({"a": "b"}), disable_target_info=True
    )
    reader.append(setup.reader)
    counter = setup.meter.create_counter("a", description="first")
    counter.add(1)
    setup.meter.create_counter("a", description="second").add(1, {"k": "2"})
    done = threading.Thread(target=setup.reader.expose, daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    assert len(seen) >= 2
    counter.add(1)
    assert values(setup, "a_total") == {"-": 2, "2": 1}


def test_sums_beyond_any_float_do_not_fail_the_scrape(bridge: Make) -> None:
    """Integers that only together are larger than any float are infinite as one series; others are served."""
    setup = bridge()
    counter, other = setup.meter.create_up_down_counter("u"), setup.meter.create_counter("other")
    counter.add(10**308, {"a.b": "1"})
    counter.add(10**308, {"a-b": "1"})
    counter.add(1.5, {"a.b": "1"})
    other.add(1)
    assert values(setup, "u") == {"-": math.inf}
    counter.add(-(10**308), {"a-b": "1"})
    assert values(setup, "u") == {"-": 1e308}
    assert values(setup, "other_total") == {"-": 1}


@pytest.mark.parametrize("amounts", [[10**308] * 3, [1.7e308] * 2, [10**308, 1.7e308]])
def test_no_total_becomes_infinite(
    bridge: Make, caplog: pytest.LogCaptureFixture, amounts: list[Any]
) -> None:
    """What would make it so is left out, and said once. The total goes on."""
    setup = bridge()
    counter, histogram = setup.meter.create_counter("c"), setup.meter.create_histogram("h")
    counter.add(1)
    histogram.record(1)
    assert values(setup, "c_total") == {"-": 1}
    for _ in range(2):
        for amount in amounts:
            counter.add(amount)
            histogram.record(amount)
        assert values(setup, "c_total") == values(setup, "h_sum") == {"-": 1}
    counter.add(2)
    histogram.record(2)
    assert values(setup, "c_total") == values(setup, "h_sum") == {"-": 3}
    assert values(setup, "h_count") == {"-": 2 + 2 * len(amounts)}
    assert len([record for record in caplog.records if "would not be finite" in record.message]) == 2


def test_a_series_that_cannot_be_frozen_keeps_its_last_point(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in merging one series is reported once and costs that series' update, nothing else."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    counter.add(1, {"a.b": "1"})
    counter.add(1, {"a-b": "1"})
    counter.add(1)
    assert sum(values_by_labels(setup).values()) == 3
    with monkeypatch.context() as patch:
        patch.setattr(growing, "merged", lambda points, additive: 1 / 0)
        counter.add(1, {"a.b": "1"})
        counter.add(1)
        assert values_by_labels(setup) == {'{a_b="1"}': 2, "": 2}
    counter.add(1, {"a.b": "1"})
    assert values_by_labels(setup) == {'{a_b="1"}': 4, "": 2}
    assert caplog.text.count("could not be brought up to date") == 1


def values_by_labels(setup: Setup) -> dict[str, float]:
    """The lines of counter c, by what stands between name and value."""
    lines = [line for line in setup.text().splitlines() if line.startswith("c_total")]
    return {name.removeprefix("c_total"): float(value) for name, value in (s.rsplit(" ", 1) for s in lines)}


def test_a_straggler_does_not_turn_totals_back(bridge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection that comes late loses no delta, but its current values are old and passed over."""
    setup = bridge()
    total = iter((5, 9, 9))
    setup.meter.create_observable_counter("async", [lambda _: [Observation(next(total))]])
    counter = setup.meter.create_counter("sync")
    late: list[MetricsData] = []
    counter.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(setup.reader, "_receive_metrics", lambda data, **_: late.append(data))
        setup.reader.collect()
    counter.add(1)
    assert values(setup, "async_total") == {"-": 9}
    setup.reader._receive_metrics(late[0])
    with monkeypatch.context() as patch:
        patch.setattr(type(setup.reader), "is_ready", False)  # expose what is there, without collecting
        assert values(setup, "async_total") == {"-": 9}
        assert values(setup, "sync_total") == {"-": 2}


@pytest.mark.parametrize("scrapes", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_totals_never_go_back_while_threads_collect(bridge: Make, scrapes: int) -> None:
    """Threads that call collect() by themselves do not make an asynchronous counter fall."""
    setup = bridge()
    lock, total = threading.Lock(), 0

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        nonlocal total
        with lock:
            total += 1
        return [Observation(total)]

    setup.meter.create_observable_counter("c", [observe])
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            setup.reader.collect()

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    found = [values(setup, "c_total")["-"] for _ in range(scrapes)]
    stop.set()
    for thread in threads:
        thread.join(5)
    assert found == sorted(found)


def test_instruments_that_many_threads_make_at_once(bridge: Make) -> None:
    """Equal ones are one, whoever was first, and nothing that was recorded through any of them is lost."""
    setup = bridge()
    together = threading.Barrier(8)

    def make() -> None:
        together.wait(5)
        for number in range(50):
            setup.provider.get_meter("shop").create_counter(f"c{number}").add(1)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        setup.text()
    assert [values(setup, f"c{number}_total") for number in range(50)] == [{"-": 8}] * 50


def test_series_that_differ_by_an_empty_label_are_one(bridge: Make) -> None:
    """To Prometheus a label with an empty value is no label: such series add up."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    counter.add(1)
    counter.add(2, {"k": ""})
    counter.add(4, {"k": None})  # type: ignore[dict-item]
    counter.add(8, {"k": "v"})
    assert values(setup, "c_total") == {"-": 7, "v": 8}


@pytest.mark.clocked
def test_a_callback_that_hangs_stops_no_scrape(bridge: Make) -> None:
    """While a callback hangs, scrapes and flushes give up waiting and show what is known."""
    setup = bridge(scrape_timeout=0.05)
    counter, release = setup.meter.create_counter("c"), threading.Event()
    counter.add(1)
    before = set(threading.enumerate())
    setup.text()
    hanging = threading.Event()

    def hang(_: CallbackOptions) -> Iterable[Observation]:
        hanging.set()
        release.wait(10)
        return []

    setup.meter.create_observable_gauge("g", [hang])
    assert values(setup, "c_total") == {"-": 1}
    assert hanging.wait(5)
    counter.add(1)
    for _ in range(5):
        assert not setup.reader.force_flush(timeout_millis=10)
        assert values(setup, "c_total") == {"-": 1}
    assert len(set(threading.enumerate()) - before) == 1
    assert not setup.reader.is_healthy
    release.set()
    assert setup.reader.force_flush()
    assert values(setup, "c_total") == {"-": 2}
    assert setup.reader.is_healthy


# --- things that end, and things that must not grow ---------------------------------------------------


def test_a_closed_server_answers_nobody(bridge: Make) -> None:
    """A connection that was kept alive ends with the server."""
    setup = bridge()
    server = start_http_server(setup.reader, port=0)
    client = http.client.HTTPConnection(server.address, server.port, timeout=5)
    client.request("GET", "/metrics")
    assert client.getresponse().read() == b""
    server.close()
    assert client.sock.recv(1) == b""  # the end of the connection, before any timeout
    client.close()


def test_servers_that_were_closed_are_forgotten(bridge: Make) -> None:
    """A reader does not keep the servers that served it once."""
    setup = bridge()
    servers = [start_http_server(setup.reader, port=0) for _ in range(3)]
    closed = [weakref.ref(server) for server in servers]
    for server in servers:
        server.close()
    del server, servers

    def forgotten() -> bool:
        gc.collect()
        return [reference() for reference in closed] == [None] * 3

    wait_for(forgotten, seconds=5, what="servers that nobody has any more")


def test_names_that_come_and_go_are_forgotten() -> None:
    """A collector that makes up names for ever does not make the encoders grow."""
    exposer = Exposer(findings=Findings())
    for number in range(1000):
        family = MetricFamily(f"m.{number}", Kind.COUNTER, "", "", (CounterPoint((), 1),), foreign=True)
        exposer.expose([family], accept=None)
    assert 0 < most_pages(exposer) < 200


# --- requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET http://host:1/metrics?name[]=none HTTP/1.1", b"200"),
        (b"GET //metrics HTTP/1.1", b"200"),
        (b"GET http://[/metrics HTTP/1.1", b"404"),
        (b"OPTIONS * HTTP/1.1", b"204"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"414"),
    ],
)
def test_odd_targets_are_answered(bridge: Make, request_line: bytes, status: bytes) -> None:
    """Whole URLs, doubled slashes, broken and endless targets each get an answer."""
    with (
        start_http_server(bridge().reader, port=0) as server,
        socket.create_connection((server.address, server.port), timeout=5) as client,
    ):
        client.sendall(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = client.recv(65536)
    assert answer.split(b" ")[1] == status


def test_a_header_that_comes_twice_is_one_list(bridge: Make) -> None:
    """Several Accept headers mean what they would mean in one."""
    reader = bridge().reader
    lines = ("application/openmetrics-text;version=1.0.0", "text/html")
    with start_http_server(reader, port=0) as server:
        client = http.client.HTTPConnection(server.address, server.port, timeout=5)
        client.putrequest("GET", "/metrics")
        for line in lines:
            client.putheader("Accept", line)
        client.endheaders()
        assert client.getresponse().read() == b"# EOF\n"
        client.close()
    headers = [(b"accept", line.encode()) for line in lines]
    assert call_asgi(make_asgi_app(reader), headers=headers)[2] == b"# EOF\n"


@pytest.mark.parametrize(
    ("root_path", "path", "status"),
    [
        ("/m", "/metrics", 200),
        ("/h", "/health", 200),
        ("/api/", "/api/metrics", 200),
        ("/api", "/api", 200),
        ("/api", "/apimetrics", 404),
    ],
)
def test_mounts_end_at_a_slash(bridge: Make, root_path: str, path: str, status: int) -> None:
    """A mount is taken off the path as a whole segment or not at all."""
    app = make_asgi_app(bridge().reader)
    assert call_asgi(app, root_path=root_path, path=path)[0] == status


# --- what others give us ------------------------------------------------------------------------------


def test_one_bad_metric_of_a_collector_is_alone(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Of a collector that yields good and bad metrics the good ones are served."""
    registry = CollectorRegistry()
    setup = bridge(registry=registry)
    good, bad, worse = Metric("good", "", "gauge"), Metric("bad", "", "gauge"), Metric("h", "", "histogram")
    good.add_sample("good", {"__name__": "x", "k": ""}, 1)
    good.add_sample("good_max", {}, 2)
    bad.add_sample("bad", {"k": 5}, 1)  # type: ignore[dict-item]
    worse.add_sample("h_bucket", {"le": "x"}, 1)

    class Mixed:
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> list[Metric]:
            return [bad, worse, good]

    registry.register(Mixed())  # type: ignore[arg-type]
    for _ in range(2):
        assert setup.text() == (
            '# TYPE good gauge\ngood{exported___name__="x",k=""} 1\n# TYPE good_max untyped\ngood_max 2\n'
        )
    assert caplog.text.count("is not valid and is left out") == 2


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"scope_info_enabled": "no"}, "scope_info_enabled"),
        ({"disable_target_info": 2}, "disable_target_info"),
        ({"resource_attribute_filter": 5}, "resource_attribute_filter"),
        ({"registry": 7}, "registry"),
    ],
)
def test_every_option_is_checked(options: dict[str, Any], key: str) -> None:
    """What is no boolean, function or registry is refused by name."""
    with pytest.raises(ConfigurationError, match=f"^{key}: "):
        PrometheusMetricReader(**{"registry": None, **options})


def test_one_name_may_be_given_by_itself(bridge: Make) -> None:
    """A single name is a name, not a sequence of letters."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    setup.meter.create_gauge("g").set(1)
    assert setup.reader.expose(names="c_total").body == b"# TYPE c_total counter\nc_total 1\n"
