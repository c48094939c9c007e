"""What becomes of pushes where the hub is slow, stuck, full, gone, or refuses them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, fake_hub, listening
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from servers import wait_for

from otel_prom_bridge import PushReader

BIG = "x" * 100_000


@contextmanager
def pushing(hub: FakeHub, *, interval: float = 0.05, **options: Any) -> Iterator[tuple[PushReader, Any]]:
    """A reader that pushes to this hub, and a meter for it."""
    reader = PushReader(hub.address, interval=interval, flush_on_sigterm=False, **options)
    provider = MeterProvider([reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    try:
        yield reader, provider.get_meter("shop")
    finally:
        provider.shutdown()


def counted(hub: FakeHub, name: str, total: float) -> None:
    """Wait until the hub has so much, and no more."""
    wait_for(lambda: hub.total(name) >= total, seconds=10, what=f"{name} = {total}")
    assert hub.total(name) == total


@pytest.mark.parametrize("tcp", [False, True])
def test_it_pushes_by_itself(tmp_path: Path, tcp: bool) -> None:
    """Each interval, also when nothing happens, on one connection; goodbye comes with the shutdown."""
    with fake_hub(None if tcp else tmp_path, token="s3cret") as hub:
        with pushing(hub, token="s3cret") as (reader, meter):
            meter.create_counter("jobs").add(3)
            counted(hub, "jobs", 3)
            before = len(hub.pushes)
            wait_for(lambda: len(hub.pushes) > before + 2, seconds=5, what="pushes without news")
            assert reader.is_healthy
            assert hub.ended == set()
        assert hub.ended == hub.sources()
        assert [push.number for push in hub.pushes] == list(range(1, len(hub.pushes) + 1))
        assert hub.duplicates == 0
        first = hub.pushes[0]
        assert first.resource["service.name"] == "shop"
        assert first.headers["x-otel-prom-bridge-interval"] == "0.050"
        assert first.pid == os.getpid()
        assert "x-otel-prom-bridge-dropped" not in first.headers


def test_lost_answers(tmp_path: Path) -> None:
    """What comes again has the number that it had, so it counts once."""
    with fake_hub(tmp_path, lose=0.4) as hub:
        with pushing(hub, interval=0.01) as (_, meter):
            jobs, level = meter.create_counter("jobs"), meter.create_up_down_counter("level")
            for _ in range(100):
                jobs.add(1)
                level.add(1)
                time.sleep(0.005)
        assert hub.total("jobs") == 100
        assert hub.duplicates > 5
        assert sum(value for levels in hub.levels.values() for value in levels.values()) == 100
        assert hub.ended == hub.sources()


def test_a_hub_that_is_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost however long it takes, and no batches pile up; the log says so once."""
    caplog.set_level(logging.INFO, "otel_prom_bridge")
    hub = FakeHub(f"unix:{tmp_path}/hub.sock")
    with pushing(hub, interval=0.02) as (reader, meter):
        jobs, sizes = meter.create_counter("jobs"), meter.create_histogram("sizes")
        with listening(hub):
            jobs.add(1)
            counted(hub, "jobs", 1)
        for _ in range(50):
            jobs.add(1, {"big": BIG})
            sizes.record(1)
            time.sleep(0.01)
        assert not reader.force_flush(200)
        assert not reader.is_healthy
        with listening(hub):
            counted(hub, "jobs", 51)
            wait_for(lambda: hub.observations("sizes") == 50, seconds=5, what="the histogram")
            assert len(hub.pushes) < 60  # not one for each interval of the outage
            wait_for(lambda: reader.is_healthy, seconds=5, what="a healthy reader")
    lines = [record.message for record in caplog.records if record.name == "otel_prom_bridge"]
    assert len(lines) == 2
    assert "does not take metrics" in lines[0]
    assert f"the hub at unix:{tmp_path}/hub.sock takes metrics again" in lines[1]


@pytest.mark.parametrize("how", [{"delay": 1.0}, {"delay": 60.0}])
def test_recording_never_waits(tmp_path: Path, how: dict[str, float]) -> None:
    """Not for a hub that is slow or stuck; and whoever flushes waits as long as they want to."""
    with fake_hub(tmp_path, **how) as hub:
        reader = PushReader(hub.address, interval=0.01, flush_on_sigterm=False)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        jobs = provider.get_meter("shop").create_counter("jobs")
        jobs.add(1)
        wait_for(lambda: hub.requests, seconds=5, what="a push that is stuck")
        slowest, until = 0.0, time.monotonic() + 0.5
        while time.monotonic() < until:
            began = time.thread_time()
            jobs.add(1)
            slowest = max(slowest, time.thread_time() - began)
        assert slowest < 0.05
        began = time.monotonic()
        assert not reader.force_flush(100)
        assert time.monotonic() - began < 1.5
    provider.shutdown()


def test_a_hub_that_is_full(tmp_path: Path) -> None:
    """503 with `Retry-After` is no loss, and not asked again before."""
    with fake_hub(tmp_path, status=503, retry_after="0.3") as hub, pushing(hub, interval=0.01) as (_, meter):
        jobs = meter.create_counter("jobs")
        for _ in range(60):
            jobs.add(1)
            time.sleep(0.01)
        assert 1 <= hub.requests <= 5
        hub.status = 200
        counted(hub, "jobs", 60)


@pytest.mark.parametrize("status", [400, 413, 404])
def test_a_batch_that_the_hub_will_never_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """It is dropped, said once in the log, and counted in all pushes after it."""
    with fake_hub(tmp_path, status=status) as hub, pushing(hub, interval=60) as (reader, meter):
        jobs = meter.create_counter("jobs")
        for _ in range(3):
            jobs.add(1, {"a": "1"})
            jobs.add(1, {"a": "2"})
            assert reader.force_flush()
        hub.status = 200
        jobs.add(1)
        assert reader.force_flush()
        assert hub.total("jobs") == 1
        assert hub.pushes[0].headers["x-otel-prom-bridge-dropped"] == "6"
        assert hub.pushes[0].number == 4
    (line,) = (record.message for record in caplog.records if "never take" in record.message)
    assert f"a batch of 2 points ({status}); it is dropped" in line


def test_a_wrong_token(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, with the cure; metrics are kept, and it is no storm."""
    with fake_hub(token="right") as hub, pushing(hub, interval=0.01, token="wrong") as (_, meter):
        meter.create_counter("jobs").add(1)
        wait_for(lambda: hub.requests, seconds=5, what="an attempt")
        time.sleep(0.3)
        assert hub.requests == 1
        (line,) = (record.message for record in caplog.records)
        assert "OTEL_PROM_BRIDGE_HUB_TOKEN" in line
        assert "wrong" not in line
        hub.token = "wrong"
    assert hub.total("jobs") == 1


def test_what_the_application_collects_itself(tmp_path: Path) -> None:
    """`reader.collect()` takes nothing away from the hub; past a bound the oldest batches are dropped."""
    hub = FakeHub(f"unix:{tmp_path}/hub.sock")
    with pushing(hub, interval=60) as (reader, meter):
        jobs = meter.create_counter("jobs")
        for _ in range(60):  # 6 MB, of which four have room
            jobs.add(1, {"big": BIG})
            reader.collect()
        with listening(hub):
            assert reader.force_flush()
            total, dropped = hub.total("jobs"), int(hub.pushes[-1].headers["x-otel-prom-bridge-dropped"])
            assert total + dropped == 60
            assert 35 <= total <= 45


def test_a_batch_that_is_too_big_for_plain(tmp_path: Path) -> None:
    """A large body is compressed."""
    with fake_hub(tmp_path) as hub, pushing(hub, interval=60) as (reader, meter):
        jobs = meter.create_counter("jobs")
        for number in range(30):
            jobs.add(1, {"big": f"{number}{BIG}"})
        assert reader.force_flush()
        assert hub.total("jobs") == 30
        assert hub.pushes[-1].headers["content-encoding"] == "gzip"


def test_a_push_that_costs_much_comes_seldom(tmp_path: Path) -> None:
    """A push may cost a fiftieth of the time at most."""

    def burn(_: object) -> list[Any]:
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return []

    with fake_hub(tmp_path) as hub, pushing(hub, interval=0.01) as (_, meter):
        meter.create_observable_gauge("burning", [burn])
        time.sleep(1.2)
        assert len(hub.pushes) <= 3
        assert float(hub.pushes[-1].headers["x-otel-prom-bridge-interval"]) >= 0.01


def test_callbacks_that_fail(tmp_path: Path) -> None:
    """The hub hears their instruments' names, whatever these are; the rest comes along."""

    def fail(_: object) -> list[Any]:
        raise ValueError

    def leave(_: object) -> list[Any]:
        raise SystemExit

    with fake_hub(tmp_path) as hub, pushing(hub, interval=60) as (reader, meter):
        meter.create_observable_gauge("a.b/c-d", [fail])
        meter.create_observable_counter("other", [leave])
        meter.create_counter("jobs").add(1)
        assert reader.force_flush()
        assert hub.total("jobs") == 1
        assert hub.pushes[-1].failing == "a.b%2Fc-d,other"


def test_a_callback_that_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It costs its own series, which the hub keeps. The others come; what it says in the end does later."""
    answer = threading.Event()
    asked: list[int] = []

    def hang(_: object) -> list[Observation]:
        asked.append(1)
        answer.wait(30)
        return [Observation(5)]

    with fake_hub(tmp_path) as hub, pushing(hub, interval=0.02) as (reader, meter):
        meter.create_observable_counter("hanging", [hang])
        meter.create_observable_counter("other", [lambda _: [Observation(3)]])
        jobs = meter.create_counter("jobs")
        jobs.add(1)
        counted(hub, "jobs", 1)
        counted(hub, "other", 3)
        assert hub.pushes[-1].failing == "hanging"
        jobs.add(1)
        began = time.monotonic()
        assert reader.force_flush()
        assert time.monotonic() - began < 0.5  # nobody waits for it any more
        assert (hub.total("jobs"), len(asked)) == (2, 1)
        (line,) = (record.message for record in caplog.records)
        assert "'hanging' has not returned" in line
        answer.set()
        counted(hub, "hanging", 5)
        wait_for(lambda: hub.pushes[-1].failing == "", seconds=5, what="a push with everything")


def test_a_callback_that_flushes(tmp_path: Path) -> None:
    """It does not wait for the push that waits for it."""
    flushed: list[bool] = []

    def flush(_: object) -> list[Observation]:
        flushed.append(reader.force_flush())
        return [Observation(1)]

    with fake_hub(tmp_path) as hub, pushing(hub, interval=60) as (reader, meter):
        meter.create_observable_counter("flushing", [flush])
        began = time.monotonic()
        assert reader.force_flush()
        assert time.monotonic() - began < 0.5
        assert hub.total("flushing") == 1
    assert not any(flushed)


def test_flushes_from_many_threads(tmp_path: Path) -> None:
    """Whoever flushes has their own recordings at the hub when they go on."""
    with fake_hub(tmp_path) as hub, pushing(hub) as (reader, meter):
        jobs = meter.create_counter("jobs")
        missed: list[int] = []

        def record(number: int) -> None:
            for count in range(1, 11):
                jobs.add(1, {"thread": number})
                assert reader.force_flush()
                if hub.total("jobs", thread=number) < count:
                    missed.append(number)

        threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert missed == []
        assert hub.total("jobs") == 80


def test_no_hub_ever(tmp_path: Path) -> None:
    """A program without its hub ends as fast as it may."""
    began = time.monotonic()
    with pushing(FakeHub(f"unix:{tmp_path}/none.sock")) as (_, meter):
        meter.create_counter("jobs").add(1)
    assert 1.5 < time.monotonic() - began < 5
