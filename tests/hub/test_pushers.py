"""Who pushes: numbers that are used again, and ends that are noticed."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from hubs import counter, gauge, own, push, request_of, shown, total
from servers import wait_for

from otel_prom_bridge.endpoint.messages import Link
from otel_prom_bridge.hub.hub import Hub
from otel_prom_bridge.hub.pushers import End, Pusher, Pushers
from otel_prom_bridge.native import RLock


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def some_sources(**options: float | None) -> tuple[Pushers, Clock, list[tuple[object, End]]]:
    """Sources with a clock of their own, and those that have ended."""
    ended: list[tuple[object, End]] = []
    clock = Clock()

    def end(pusher: Pusher, how: End) -> None:
        ended.append((pusher.key, how))

    return Pushers(end, lock=RLock(), clock=clock, **options), clock, ended  # type: ignore[arg-type]


def found(sources: Pushers, key: str, *, link: Link | None = None, interval: float | None = None) -> Pusher:
    """The one of this key, for whom there is room."""
    pusher = sources.find(key, link=link, interval=interval)
    assert pusher is not None
    return pusher


def test_the_lowest_free_number_is_used() -> None:
    """So there are as many as processes at a time."""
    sources, _, _ = some_sources()
    assert [found(sources, key).source.worker for key in "abcde"] == [1, 2, 3, 4, 5]
    for key in "dbc":
        sources.end(found(sources, key), "goodbye")
    assert [found(sources, key).source.worker for key in "fghi"] == [2, 3, 4, 6]


def test_silence_ends_a_source() -> None:
    """After three of its intervals, and ten seconds at least; after a minute's ones if it has not said it."""
    sources, clock, ended = some_sources()
    found(sources, "quick", interval=1)
    found(sources, "slow", interval=20)
    found(sources, "unknown")
    for now, expected in ((1009, 0), (1010, 1), (1059, 1), (1060, 2), (1179, 2), (1180, 3)):
        clock.now = now
        sources.end_late()
        assert len(ended) == expected
    assert ended == [("quick", "timeout"), ("slow", "timeout"), ("unknown", "timeout")]


def test_the_interval_of_a_stranger_shows() -> None:
    """It is the time between two of its pushes."""
    sources, clock, ended = some_sources()
    found(sources, "x")
    clock.now += 5
    found(sources, "x")
    clock.now += 15
    sources.end_late()
    assert ended == [("x", "timeout")]


def test_a_process_that_is_gone_ends_with_its_connection() -> None:
    """Not before, since what it has sent may still be read; and not by the connection alone."""
    sources, clock, ended = some_sources()
    link, other = Link(is_local=True, pid=4711), Link(is_local=True, pid=4711)
    found(sources, "x", link=link)
    sources.left(link)
    assert not ended  # it is idle
    found(sources, "x", link=other)
    sources.process_gone(4711)
    assert not ended
    sources.left(other)
    assert ended == [("x", "connection")]
    found(sources, "y", link=link)
    sources.process_gone(4711)  # and somebody has inherited its connection
    clock.now += 2
    sources.end_late()
    assert ended[1:] == [("y", "connection")]


def test_a_killed_process_is_noticed(hub: Hub) -> None:
    """Its gauges go at once, though it cannot say goodbye."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        link = Link(is_local=True, pid=program.pid)
        push(hub, request_of(gauge("temperature", 1)), link=link, **own(f"x;{program.pid}", 1))
        assert shown(hub, "temperature")
        program.kill()
    hub.receiver.left(link)
    wait_for(lambda: not shown(hub, "temperature"), seconds=5, what="the end of a killed process")
    assert total(hub, "otel_prom_bridge_sources_ended_total") == 1


def test_a_client_without_a_name_is_known_by_its_connection(hub: Hub) -> None:
    """Two of them are two, and one that comes back is the same one."""
    one, two = Link(is_local=True), Link(is_local=True)
    push(hub, request_of(gauge("temperature", 1)), link=one)
    push(hub, request_of(gauge("temperature", 2)), link=two)
    assert len(shown(hub, "temperature")) == 2
    hub.receiver.pushers.left(one)
    push(hub, request_of(gauge("temperature", 3)), link=Link(is_local=True))
    assert sorted(shown(hub, "temperature").values()) == [2, 3]


@pytest.mark.slow
def test_ten_thousand_recycled_workers_leave_nothing_behind(hub: Hub) -> None:
    """Memory is flat, numbers are those of four workers, and every event is counted."""

    def recycle(first: int, last: int) -> None:
        for worker in range(first, last):
            body = request_of(
                counter("orders", 1, attributes={"kind": str(worker % 3)}), gauge("load", worker)
            )
            push(hub, body, **own(f"{worker};{worker}", 1))
            if worker >= 4:
                push(hub, b"", **own(f"{worker - 4};{worker - 4}", 2, end="1"))
            if worker % 100 == 0:
                hub.expose()

    recycle(0, 5000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recycle(5000, 10_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert total(hub, "orders_total") == 10_000
    numbers = {dict(labels)["worker"] for labels in shown(hub, "load")}
    assert numbers <= {"1", "2", "3", "4", "5"}
    assert len(numbers) == 4
    assert grown < 4 * 1024  # KiB
