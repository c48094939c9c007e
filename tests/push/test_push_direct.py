"""What is recorded without the SDK and pushed: levels, forks, callbacks, and the ends of processes.

All other tests of this folder run with direct recording, too, in ``make slow``.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, fake_hub, listening
from opentelemetry.metrics import Observation
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from pushing import NO_THREADS, Program, run
from servers import wait_for

from otel_prom_bridge import ExportView, start
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.direct import DirectMeterProvider, DirectPushReader
from otel_prom_bridge.direct.cells import Number
from otel_prom_bridge.direct.levels import Levels, ObservedSums
from otel_prom_bridge.families import Kind
from otel_prom_bridge.pipeline.options import PipelineOptions
from otel_prom_bridge.points import Meaning, Stream
from otel_prom_bridge.push.encoding import OtlpEncoder

LEVEL = Stream(InstrumentationScope("shop"), "level", "", "", Meaning(Kind.GAUGE, True, True))
TOTAL = Stream(InstrumentationScope("shop"), "total", "", "", Meaning(Kind.COUNTER, False, True))
GAUGE = Stream(InstrumentationScope("shop"), "gauge", "", "", Meaning(Kind.GAUGE, True, False))
DIRECT = {"OTEL_PROM_BRIDGE_RECORDING": "direct"}


@contextmanager
def pushing(hub: FakeHub, *, interval: float = 60, **options: Any) -> Iterator[tuple[DirectPushReader, Any]]:
    """A reader that pushes to this hub, and a meter for it."""
    policy = PipelineOptions(**options).policy()
    reader = DirectPushReader(hub.address, interval=interval, policy=policy, flush_on_sigterm=False)
    provider = DirectMeterProvider(reader, resource={"service.name": "shop"}, shutdown_on_exit=False)
    try:
        yield reader, provider.get_meter("shop", "1", "https://example.com/schema", {"a": "b"})
    finally:
        provider.shutdown()


def point(value: float, **attributes: object) -> Number:
    """What a collection says."""
    return Number(attributes, value, (), 1, 2)


def said(levels: Levels, *points: Number) -> list[tuple[dict[str, object], float]]:
    """All levels, after these were taken: as they are now, since they began."""
    levels.take(points)
    found = list(levels.points(9))
    assert {(each.start_time_unix_nano, each.time_unix_nano) for each in found} <= {(1, 9)}
    return [(dict(each.attributes), each.value) for each in found]


def test_changes_become_levels() -> None:
    """Those of one attribute set add up, in whichever order its attributes come; the others stay."""
    levels = Levels(LEVEL, limit=10, findings=Findings())
    assert said(levels, point(3, a="1", b="2"), point(5)) == [({"a": "1", "b": "2"}, 3), ({}, 5)]
    assert said(levels, point(-1, b="2", a="1")) == [({"a": "1", "b": "2"}, 2), ({}, 5)]
    assert said(levels) == [({"a": "1", "b": "2"}, 2), ({}, 5)]


def test_the_gauge_that_was_set_last_is_the_last_one() -> None:
    """As several may become one series."""
    levels = Levels(GAUGE, limit=10, findings=Findings())
    said(levels, point(1, k="a"), point(2, k="b"))
    assert said(levels, point(1, k="a")) == [({"k": "b"}, 2), ({"k": "a"}, 1)]


def test_levels_past_the_limit() -> None:
    """They have one level together, and those that were there before keep theirs."""
    levels = Levels(LEVEL, limit=2, findings=Findings())
    said(levels, point(1, k="a"), point(2, k="b"), point(3, k="c"))
    overflow = {"otel.metric.overflow": True}
    assert said(levels, point(4, k="d"), point(5, k="a")) == [({"k": "a"}, 6), ({"k": "b"}, 2), (overflow, 7)]


def test_no_level_becomes_infinite(caplog: pytest.LogCaptureFixture) -> None:
    """What would make it so is left out, and said once."""
    levels = Levels(LEVEL, limit=2, findings=Findings())
    assert said(levels, point(1e308), point(1e308), point(1e308)) == [({}, 1e308)]
    assert said(levels, point(10**400)) == [({}, 1e308)]
    assert said(levels, point(-1e308)) == [({}, 0)]
    (line,) = caplog.messages
    assert "'level'" in line


def test_levels_of_long_attribute_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bounded by their characters, too."""
    monkeypatch.setattr("otel_prom_bridge.direct.levels.MOST_CHARACTERS", 1000)
    levels = Levels(LEVEL, limit=1000, findings=Findings())
    found = said(levels, *(point(1, k=f"{each}{'x' * 300}") for each in range(20)), point(1))
    assert len(found) < 7
    assert sum(value for _, value in found) == 21


def summed(sums: ObservedSums, *points: Number) -> list[tuple[dict[str, object], float]]:
    """What is pushed of these observations."""
    return [(dict(each.attributes), each.value) for each in sums.added_up(points)]


def test_observations_of_one_attribute_set_add_up() -> None:
    """Since a total that is said twice would look like one that began anew. No sum is infinite."""
    sums = ObservedSums(TOTAL, limit=10, findings=Findings())
    assert summed(sums, point(3, a="1"), point(1), point(4, a="1")) == [({"a": "1"}, 7), ({}, 1)]
    assert summed(sums, point(10**308), point(10**308), point(0.5)) == [({}, 1e308)]


def test_what_callbacks_say_is_bounded() -> None:
    """What was told apart once is so for good; later attribute sets are one together."""
    sums = ObservedSums(TOTAL, limit=2, findings=Findings())
    overflow = {"otel.metric.overflow": True}
    assert summed(sums, point(1, k="a")) == [({"k": "a"}, 1)]
    assert summed(sums, point(1, k="b"), point(2, k="c"), point(3, k="d")) == [({"k": "b"}, 1), (overflow, 5)]
    assert summed(sums, point(4, k="a"), point(1, k="e")) == [({"k": "a"}, 4), (overflow, 1)]


def test_it_pushes_what_it_records(tmp_path: Path) -> None:
    """Of all kinds, with scope and resource: deltas once, levels each time."""
    with fake_hub(tmp_path) as hub, pushing(hub) as (reader, meter):
        jobs, level = meter.create_counter("jobs"), meter.create_up_down_counter("level")
        sizes, load = meter.create_histogram("sizes"), meter.create_gauge("load")
        meter.create_observable_counter("ticks", [lambda _: [Observation(7), Observation(1)]])
        meter.create_observable_up_down_counter("open", [lambda _: [Observation(2, {"k": "a"})]])
        meter.create_observable_gauge("heat", [lambda _: [Observation(4.5)]])
        for _ in range(2):
            jobs.add(2, {"k": "a"})
            level.add(3)
            sizes.record(5)
            load.set(0.25)
            assert reader.force_flush()
        assert reader.force_flush()
        assert (hub.total("jobs"), hub.total("ticks"), hub.observations("sizes")) == (4, 8, 2)
        assert (hub.level("level"), hub.level("open")) == (6, 2)
        assert (hub.values("load"), hub.values("heat")) == ([0.25], [4.5])
        assert "jobs" not in hub.pushes[-1].metrics
        (resource,) = hub.pushes[-1].request.resource_metrics
        (scope,) = resource.scope_metrics
        assert (scope.scope.name, scope.scope.version, scope.schema_url) == (
            "shop",
            "1",
            "https://example.com/schema",
        )
        assert hub.pushes[-1].resource["service.name"] == "shop"
    assert hub.ended == hub.sources()


def test_what_no_view_needs_is_not_pushed(tmp_path: Path) -> None:
    """Neither what is recorded nor what is observed: it may be what the hub should not know."""
    views = [ExportView(instrument_name="*", keep=["k"])]
    with fake_hub(tmp_path) as hub, pushing(hub, views=views) as (reader, meter):
        jobs = meter.create_counter("jobs")
        for user in ("ann", "bob"):
            jobs.add(1, {"k": "a", "user.email": user})
        users = [Observation(value, {"k": "a", "user.email": str(value)}) for value in (3, 4)]
        meter.create_observable_counter("seen", [lambda _: users])
        meter.create_observable_gauge("newest", [lambda _: users])
        assert reader.force_flush()
        assert (hub.total("jobs", k="a"), hub.total("seen", k="a")) == (2, 7)
        assert hub.values("newest") == [4]
        assert b"user.email" not in b"".join(push.body for push in hub.pushes)


def test_callbacks_that_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that hangs is waited for once, and one that raises says so; the rest is pushed."""
    stop = threading.Event()

    def broken(_: object) -> Any:
        yield Observation(1, {"k": "a"})
        raise RuntimeError("out of order")

    def hanging(_: object) -> list[Observation]:
        stop.wait(30)
        return [Observation(5)]

    with fake_hub(tmp_path) as hub, pushing(hub) as (reader, meter):
        meter.create_observable_gauge("broken", [broken])
        meter.create_observable_gauge("hanging", [hanging])
        jobs = meter.create_counter("jobs")
        for _ in range(2):
            jobs.add(1)
            assert reader.force_flush()
        assert hub.total("jobs") == 2
        assert hub.pushes[-1].failing == "broken,hanging"
        stop.set()
        wait_for(lambda: reader.force_flush() and hub.values("hanging") == [5], seconds=5, what="its answer")
        assert hub.pushes[-1].failing == "broken"
    assert sum("out of order" in line for line in caplog.messages) == 1
    assert sum("has not returned in time" in line for line in caplog.messages) == 1


class Odd(float):
    """A number that does not add up."""

    def __add__(self, other: object) -> float:
        raise RuntimeError


def test_one_instrument_that_cannot_be_pushed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes nothing along, and numbers of other classes are plain ones here."""
    with fake_hub(tmp_path) as hub, pushing(hub) as (reader, meter):
        jobs, level = meter.create_counter("jobs"), meter.create_up_down_counter("level")
        meter.create_observable_counter("odd", [lambda _: [Observation(Odd(1)), Observation(Odd(2))]])
        monkeypatch.setattr(Levels, "take", lambda self, points: 1 / 0)
        jobs.add(2)
        level.add(3)
        assert reader.force_flush()
        assert (hub.total("jobs"), hub.total("odd"), hub.level("level")) == (2, 3, 0)
        monkeypatch.undo()
        assert reader.force_flush()
        assert hub.level("level") == 3
    assert sum("'level' is not sent" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("door", ["direct", "sdk"])
def test_a_push_that_fails_did_not_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: Any
) -> None:
    """`force_flush()` says so."""
    with fake_hub(tmp_path) as hub, start(recording=door, hub=hub.address, set_global=False) as bridge:
        bridge.meter_provider.get_meter("m").create_counter("c").add(1)
        with monkeypatch.context() as patch:
            patch.setattr(OtlpEncoder, "request", lambda *_, **__: 1 / 0)
            assert not bridge.reader.force_flush()
            assert not bridge.reader.is_healthy
        assert bridge.reader.force_flush()


@pytest.mark.parametrize("door", ["direct", "sdk"])
def test_a_part_of_a_sum(tmp_path: Path, door: Any) -> None:
    """A callback that says less because it raises has not begun anew, if a view adds its sets up."""
    steps = iter([(100, True), (100, False), (110, True), (110, False), (120, True)])

    def read(_: object) -> Any:
        total, is_whole = next(steps)
        yield Observation(total, {"disk": "a"})
        if not is_whole:
            raise OSError("disk b")
        yield Observation(total, {"disk": "b"})

    views = [ExportView(instrument_name="read", drop=["disk"])]
    with (
        fake_hub(tmp_path) as hub,
        start(recording=door, hub=hub.address, set_global=False, views=views, push_interval=60) as bridge,
    ):
        bridge.meter_provider.get_meter("m").create_observable_counter("read", [read])
        for _ in range(5):
            assert bridge.reader.force_flush()
        assert hub.total("read") == 240


def test_an_outage(tmp_path: Path) -> None:
    """Nothing is lost, and nothing piles up: the cells add it up."""
    hub = FakeHub(f"unix:{tmp_path}/hub.sock")
    with pushing(hub, interval=0.02) as (reader, meter):
        jobs, level = meter.create_counter("jobs"), meter.create_up_down_counter("level")
        for _ in range(50):
            jobs.add(1)
            level.add(1)
            assert not reader.force_flush(5)
        with listening(hub):
            wait_for(lambda: hub.total("jobs") == 50, seconds=5, what="all jobs")
            assert hub.level("level") == 50
            assert len(hub.pushes) < 10


def test_what_no_float_can_hold(tmp_path: Path) -> None:
    """A sum of a histogram is infinite on the wire, so that the counts are there; the hub leaves it out."""
    with fake_hub(tmp_path) as hub, pushing(hub) as (reader, meter):
        meter.create_histogram("sizes").record(10**400)
        assert reader.force_flush()
        assert (hub.observations("sizes"), hub.total("sizes")) == (1, math.inf)


def test_start(tmp_path: Path) -> None:
    """`recording="direct"` counts with a hub, too; what only the SDK has is refused as without one."""
    with (
        fake_hub(tmp_path) as hub,
        start(
            recording="direct", hub=hub.address, set_global=False, resource={"service.name": "x"}
        ) as bridge,
    ):
        assert isinstance(bridge.reader, DirectPushReader)
        assert isinstance(bridge.meter_provider, DirectMeterProvider)
        assert not bridge.server.is_serving
        bridge.meter_provider.get_meter("m").create_counter("c").add(1)
        assert bridge.meter_provider.force_flush()
        assert hub.total("c") == 1
        assert b"Scrape the hub" in bridge.reader.expose().body
    assert bridge.reader.is_shut_down
    assert hub.ended == hub.sources()


RESTART = """
bridge.shutdown()
said = 100
total = meter.create_observable_counter("total", [lambda options: [metrics.Observation(said)]])
for said in (100, 130):
    bridge = start()
    jobs.add(1); level.add(1)
    bridge.shutdown()
pid = os.fork()
if pid == 0:
    said = 137
    with start():
        jobs.add(1)
    os._exit(0)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("door", ["direct", "sdk"])
def test_one_bridge_after_the_other(tmp_path: Path, door: str) -> None:
    """An asynchronous counter goes on from what it has said, also in a child."""
    with fake_hub(tmp_path) as hub:
        _, log = run(RESTART, tmp_path, hub, OTEL_PROM_BRIDGE_RECORDING=door)
        assert log == ""
        assert (hub.total("jobs"), hub.total("total")) == (3, 137)


AT_EXIT = """
def fork():
    pid = os.fork()
    if pid == 0:
        work(10)
        assert metrics.get_meter_provider().force_flush()
        os._exit(0)
    say(total=13, code=os.waitpid(pid, 0)[1])
atexit.register(fork)
work(3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this program forks")
def test_a_fork_while_the_interpreter_ends(tmp_path: Path) -> None:
    """The SDK can ask nobody then what a resource says of the new process. All else begins anew there."""
    with fake_hub(tmp_path) as hub:
        found, log = run(AT_EXIT, tmp_path, hub, **DIRECT)
        assert (found["code"], hub.total("jobs"), log) == (0, 13, "")


RECORDS = """
from otel_prom_bridge.direct.synchronous import Synchronous
made = Synchronous._made  # is called with a lock that a push needs
def killed(self, attributes):
    os.kill(os.getpid(), signal.SIGTERM)
    return made(self, attributes)
work(100)
Synchronous._made = killed
jobs.add(5, {"kind": "new"})
time.sleep(30)
"""


def test_sigterm_while_it_records(tmp_path: Path) -> None:
    """Our handler waits for the recording that it has interrupted, and the push does not wait for us."""
    with fake_hub(tmp_path) as hub:
        before = time.monotonic()
        code, _, log = Program(RECORDS, tmp_path, hub, **DIRECT).end()
        assert code == -signal.SIGTERM, log
        assert hub.total("jobs") == 105
        assert hub.ended == hub.sources()
        assert time.monotonic() - before < 15


ENDS = """
from otel_prom_bridge.direct.cells import SumCell
from otel_prom_bridge.direct.synchronous import Synchronous
SumCell.IS_ATOMIC = not guarded
owner, name = (SumCell, "add") if guarded else (Synchronous, "_made")  # is called with a lock
original = getattr(owner, name)
def shut_down(self, *arguments):
    setattr(owner, name, original)
    before = time.monotonic()
    metrics.get_meter_provider().shutdown()
    say(took=time.monotonic() - before)
    then()
    return original(self, *arguments)
work(100)
setattr(owner, name, shut_down)
jobs.add(5, {"kind": "new"})
at_last()
"""


@pytest.mark.parametrize(
    ("guarded", "then", "at_last", "total"),
    [
        (False, "os._exit(0)", "", 100),
        (False, "sys.exit()", "", 100),
        (False, "", "", 105),
        (False, "", "os.kill(os.getpid(), signal.SIGTERM)", 105),
        (True, "sys.exit()", "", 100),
        (True, "", "", 105),
        (True, "", "os.kill(os.getpid(), signal.SIGTERM)", 105),
    ],
)
def test_shutdown_in_the_middle_of_a_recording(
    tmp_path: Path, *, guarded: bool, then: str, at_last: str, total: int
) -> None:
    """What it can have it pushes at once, and what is left when the recording is done or the process ends."""
    begin = f"guarded, then, at_last = {guarded}, lambda: {then or None}, lambda: {at_last or None}\n"
    with fake_hub(tmp_path) as hub:
        code, found, log = Program(begin + ENDS, tmp_path, hub, **DIRECT).end()
        assert code == (-signal.SIGTERM if at_last else 0), log
        assert found["took"] < 1
        assert hub.total("jobs") == total
        assert hub.ended == hub.sources()


def test_shutdown_in_the_middle_of_a_recording_without_threads(tmp_path: Path) -> None:
    """What cannot be left to a thread is left to the end of the process."""
    begin = "guarded, then, at_last = False, lambda: None, lambda: None\n"
    program = ENDS.replace(
        "setattr(owner, name, shut_down)\n", f"{NO_THREADS}\nsetattr(owner, name, shut_down)\n"
    )
    with fake_hub(tmp_path) as hub:
        code, found, log = Program(begin + program, tmp_path, hub, **DIRECT).end()
        assert code == 0, log
        assert found["took"] < 1
        assert hub.total("jobs") == 105
