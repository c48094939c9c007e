"""What the processes of an application record: each measurement counts once, whatever ends them.

The truth is what the programs counted.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from fake_hub import FakeHub, fake_hub
from pushing import run

from otel_prom_bridge.sdk.versions import TAKES_READERS_LATER

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="these programs fork")


def all_levels(hub: FakeHub) -> float:
    """The sum of what all sources said last of their levels, also those that have ended."""
    return sum(value for levels in hub.levels.values() for value in levels.values())


def is_exact(hub: FakeHub, total: int) -> None:
    """Both instruments have what the program counted, and every source said goodbye."""
    assert (hub.total("jobs"), hub.observations("sizes")) == (total, total)
    assert hub.ended == hub.sources()
    assert sum(push.is_goodbye for push in hub.pushes) == len(hub.ended)


MANY = """
def child(count, pipe=None):
    level.add(1)
    return work(count)

def job(count):
    time.sleep(0.002)
    return work(count)

if __name__ == "__main__":
    total = work(5)
    level.add(3)
    context = multiprocessing.get_context(os.environ["METHOD"])
    children = [context.Process(target=child, args=(100 + number,)) for number in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    total += sum(100 + number for number in range(3))
    with context.Pool(3) as pool:  # which is terminated
        total += sum(pool.map(job, range(60)))
    pool = context.Pool(2, maxtasksperchild=4)
    total += sum(pool.map(job, range(20), chunksize=1))
    pool.close()
    pool.join()
    total += work(7)
    say(total=total)
"""


METHODS = [
    pytest.param(method, marks=[pytest.mark.slow] if method == "spawn" else [])
    for method in multiprocessing.get_all_start_methods()
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_multiprocessing(tmp_path: Path, method: str) -> None:
    """Processes, a pool that is closed and one that is terminated; what was recorded before counts once."""
    with fake_hub(tmp_path) as hub:
        found, log = run(MANY, tmp_path, hub, METHOD=method)
        is_exact(hub, found["total"])
        assert all_levels(hub) == 3 + 3
        assert log == ""


def test_a_pool_of_the_executor(tmp_path: Path) -> None:
    """`concurrent.futures` has processes of its own kind."""
    code = """
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
        total = sum(pool.map(work, range(40)))
    say(total=total)
"""
    with fake_hub() as hub:  # over TCP
        found, log = run(code, tmp_path, hub)
        is_exact(hub, found["total"])
        assert log == ""


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_children_that_flush_and_leave_at_once(tmp_path: Path, recording: str) -> None:
    """`os._exit` runs nothing, so a child that uses it flushes before. Grandchildren count once, too.

    What the parent has recorded is its own: counters, levels, gauges and observed totals.
    """
    code = """
jobs.add(1); level.add(3)
meter.create_gauge("gauge").set(1)
meter.create_observable_counter("cpu", [lambda options: [metrics.Observation(2 * os.getpid())]])
def fork(depth):
    pid = os.fork()
    if pid == 0:
        work(10); level.add(2); level.add(-1)
        if depth:
            fork(depth - 1)
        bridge.meter_provider.force_flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
for _ in range(5):
    fork(1)
say(total=5 * 2 * 10, kind=type(bridge.meter_provider).__name__)
"""
    with fake_hub(tmp_path) as hub:
        found, log = run(code, tmp_path, hub, OTEL_PROM_BRIDGE_RECORDING=recording)
        assert found["kind"] == ("DirectMeterProvider" if recording == "direct" else "MeterProvider")
        assert sum(hub.total("jobs", kind=kind) for kind in "012") == found["total"]
        assert (hub.total("jobs"), hub.observations("sizes")) == (found["total"] + 1, found["total"])
        assert all_levels(hub) == 3 + 10
        assert sorted(len(gauges) for gauges in hub.gauges.values()) == [0] * 10 + [1]
        assert len(hub.sources()) == 11
        assert log == ""


def test_children_that_leave_without_a_flush(tmp_path: Path) -> None:
    """What they recorded last is lost, and nothing counts twice."""
    code = """
work(100)
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        work(10)
        os._exit(0)
    os.waitpid(pid, 0)
say()
"""
    with fake_hub(tmp_path) as hub:
        run(code, tmp_path, hub)
        assert 100 <= hub.total("jobs") <= 150


@pytest.mark.slow
def test_threads_that_record_while_others_fork(tmp_path: Path) -> None:
    """A fork in the middle of anything loses nothing, counts nothing twice and hangs nowhere."""
    code = """
stop, counts = threading.Event(), []
def record():
    count = 0
    while not stop.is_set():
        count += work(7)
    counts.append(count)
threads = [threading.Thread(target=record) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(25):
    pid = os.fork()
    if pid == 0:
        work(20)
        assert bridge.reader.force_flush(60_000)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert bridge.reader.force_flush(60_000)  # an end waits no longer than it should, however slow the machine is
say(total=sum(counts) + 25 * 20)
"""
    with fake_hub(tmp_path) as hub:
        found, log = run(code, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.02")
        total = found["total"]
        assert (hub.total("jobs"), hub.observations("sizes"), log) == (total, total, "")


def test_a_child_pushes_nothing_before_it_has_begun_anew(tmp_path: Path) -> None:
    """A thread may want to push while the child still forgets what its parent recorded, and will push."""
    code = """
begin_anew = bridge.reader._begin_anew
def slowly():
    time.sleep(0.6)
    return begin_anew()
bridge.reader._begin_anew = slowly
bridge.reader.force_flush()
work(100)
pid = os.fork()
if pid == 0:
    work(10)
    assert bridge.reader.force_flush(30_000)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert bridge.reader.force_flush(30_000)
say(total=100 + 10)
"""
    with fake_hub(tmp_path) as hub:
        found, _ = run(code, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="0.2")
        assert (hub.total("jobs"), hub.observations("sizes")) == (found["total"], found["total"])
        assert len(hub.sources()) == 2


def test_asynchronous_counters_in_children(tmp_path: Path) -> None:
    """What a child has counted counts, and not what it inherited: of its own variables and of the system."""
    code = """
from opentelemetry.metrics import Observation
done, burnt = 5, 1000
meter.create_observable_counter("done", [lambda _: [Observation(done)]])
meter.create_observable_counter("burnt", [lambda _: [Observation(burnt)]])  # begins anew in a child
meter.create_observable_up_down_counter("memory", [lambda _: [Observation(50)]])
bridge.reader.force_flush()
done += 2
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        done, burnt = done + 10, 4
        bridge.reader.force_flush()
        os._exit(0)
    os.waitpid(pid, 0)
say()
"""
    with fake_hub(tmp_path) as hub:
        run(code, tmp_path, hub)
        assert hub.total("done") == 5 + 2 + 3 * 10
        assert hub.total("burnt") == 1000 + 3 * 4
        assert {value for levels in hub.levels.values() for value in levels.values()} == {50}
        assert len(hub.levels) == 4


def test_a_gauge_of_the_parent_is_not_that_of_the_child(tmp_path: Path) -> None:
    """A child shows a gauge when it has set it itself."""
    code = """
temperature = meter.create_gauge("temperature")
temperature.set(20)
for value in (None, 30):
    pid = os.fork()
    if pid == 0:
        if value:
            temperature.set(value)
        bridge.reader.force_flush()
        os._exit(0)
    os.waitpid(pid, 0)
say()
"""
    with fake_hub(tmp_path) as hub:
        run(code, tmp_path, hub)
        assert sorted(value for gauges in hub.gauges.values() for value in gauges.values()) == [20, 30]


def test_callbacks_that_wait_for_what_a_fork_has_lost(tmp_path: Path) -> None:
    """A fork waits a moment for callbacks, and not for ever for one that waits for another thread's lock."""
    code = """
from opentelemetry.metrics import Observation
lock = threading.Lock()
def observe(_):
    with lock:
        return [Observation(1)]
meter.create_observable_counter("seen", [observe])
bridge.reader.force_flush()
lock.acquire()
began = time.monotonic()
pid = os.fork()
if pid == 0:
    os._exit(0 if time.monotonic() - began < 1.5 else 1)
lock.release()
assert os.waitpid(pid, 0)[1] == 0
say(total=work(3))
"""
    with fake_hub(tmp_path) as hub:
        found, _ = run(code, tmp_path, hub)
        is_exact_total = hub.total("jobs") == found["total"]
        assert is_exact_total


def test_a_callback_that_is_late_in_a_child(tmp_path: Path) -> None:
    """What the parent had counted is the parent's, whenever the child's callback says it first."""
    code = """
from opentelemetry.metrics import Observation
done, slow = 100, 0
def observe(_):
    time.sleep(slow)
    return [Observation(done)]
meter.create_observable_counter("done", [observe])
meter.create_observable_counter("none", [lambda _: []])
bridge.reader.force_flush()
slow = 1.5
pid = os.fork()
if pid == 0:
    bridge.reader.force_flush()  # too early
    time.sleep(1)
    done, slow = 107, 0
    bridge.reader.force_flush()
    bridge.reader.force_flush()
    os._exit(0)
os.waitpid(pid, 0)
say()
"""
    with fake_hub(tmp_path) as hub:
        run(code, tmp_path, hub, OTEL_PROM_BRIDGE_PUSH_INTERVAL="60")
        assert hub.total("done") == 107


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_each_child_is_a_source_of_its_own(tmp_path: Path, recording: str) -> None:
    """It has a name of its own, its number begins with 1, and the resource has its process."""
    code = """
from opentelemetry.sdk.resources import Resource
bridge.shutdown()
bridge = start(resource={"process.pid": os.getpid(), "service.name": "shop"})
jobs.add(1)
bridge.reader.force_flush()
pid = os.fork()
if pid == 0:
    jobs.add(1)
    bridge.reader.force_flush()
    os._exit(0)
os.waitpid(pid, 0)
say(child=pid)
"""
    with fake_hub(tmp_path) as hub:
        found, _ = run(code, tmp_path, hub, OTEL_PROM_BRIDGE_RECORDING=recording)
        (push,) = (push for push in hub.pushes if push.pid == found["child"])
        assert push.number == 1
        assert push.resource["process.pid"] == found["child"]
        assert push.resource["service.name"] == "shop"
        assert len(hub.sources()) == 3  # that before bridge.shutdown(), that after it, and the child


@pytest.mark.skipif(not TAKES_READERS_LATER, reason="then the provider keeps the reader that it has")
def test_a_start_after_recording(tmp_path: Path) -> None:
    """What a child has recorded before it calls `start()` is pushed, too."""
    code = """
jobs.add(1)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        work(10)
        own = start()
        work(20)
        own.shutdown()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
    with fake_hub(tmp_path) as hub:
        _, log = run(code, tmp_path, hub)
        assert (hub.total("jobs"), log) == (61, "")


@pytest.mark.parametrize("where", ["start", "serve_inherited"])
def test_hooks_that_are_written_for_ports(tmp_path: Path, where: str) -> None:
    """What `post_fork` calls where there is no hub does no harm where there is one."""
    code = """
from otel_prom_bridge import serve_inherited
jobs.add(1); level.add(3)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        found = {"start": lambda: start().server, "serve_inherited": serve_inherited}[os.environ["WHERE"]]()
        assert not found.is_serving
        work(10)
        bridge.meter_provider.force_flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
say(total=21)
"""
    with fake_hub(tmp_path) as hub:
        found, log = run(code, tmp_path, hub, WHERE=where)
        assert hub.total("jobs") == found["total"]
        assert all_levels(hub) == 3
        assert log == ""
