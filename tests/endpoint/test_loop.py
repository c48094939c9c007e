"""The loop with handlers of all kinds, and its parts on their own."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from servers import wait_for
from wire import GET, LAST_GET, SHORT, Always, connect, exchange, looping, received, scrape_seconds, statuses

from otel_prom_bridge import ConfigurationError, native
from otel_prom_bridge.endpoint.messages import Handler, Request, Response
from otel_prom_bridge.endpoint.server import door
from otel_prom_bridge.endpoint.server.client import Plain
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.threads import Threads
from otel_prom_bridge.endpoint.server.waiting import Conversation, Deadlines, Wait

pytestmark = pytest.mark.clocked

OK = Response(200, (), b"up 1\n")


class Hanging(Handler):
    """A handler whose answers wait; /quick does not."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.started = 0

    def respond(self, request: Request) -> Response:
        self.started += 1
        self.release.wait(30)
        return OK

    def quick(self, request: Request) -> Response | None:
        return OK if request.path == "/quick" else None


def test_requests_in_flight_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """With so many callbacks hanging, more requests get 503 at once, and what is quick is still answered."""
    handler = Hanging()
    with looping(handler, limits=replace(SHORT, max_in_flight=5)) as server:
        stuck = [connect(server, LAST_GET) for _ in range(5)]
        wait_for(lambda: handler.started == 5, seconds=5, what="five requests hang")
        for _ in range(3):
            answer = exchange(server, LAST_GET)
            assert statuses(answer) == [b"503"]
            assert b"\r\nRetry-After: 1\r\n" in answer
        assert statuses(exchange(server, LAST_GET.replace(b"/metrics", b"/quick"))) == [b"200"]
        handler.release.set()
        for client in stuck:
            assert statuses(received(client)) == [b"200"]
            client.close()
        assert statuses(exchange(server, LAST_GET)) == [b"200"]
    wait_for(lambda: "5 requests are being answered" in caplog.text, seconds=5, what="the warning")
    assert caplog.text.count("being answered") == 1


def test_scrapes_leave_room_for_health() -> None:
    """With all scrapes hanging, a supervisor gets its answer, also one that takes a thread."""
    handler = Hanging()
    hang = handler.respond
    handler.respond = lambda request: (  # type: ignore[method-assign]
        Always().respond(request) if request.path == "/ready" else hang(request)
    )
    with looping(handler, limits=replace(SHORT, max_in_flight=5)) as server:
        stuck = [connect(server, LAST_GET) for _ in range(5)]
        wait_for(lambda: handler.started == 5, seconds=5, what="five requests hang")
        for _ in range(20):
            assert statuses(exchange(server, LAST_GET.replace(b"/metrics", b"/ready"))) == [b"200"]
        assert statuses(exchange(server, LAST_GET)) == [b"503"]
        handler.release.set()
        for client in stuck:
            assert statuses(received(client)) == [b"200"]
            client.close()


def test_a_handler_that_hangs_costs_one_thread_and_one_connection() -> None:
    """Its client may go away; others are served, the server stops as fast as ever."""
    handler = Hanging()
    with looping(handler) as server:
        before = threading.active_count()
        client = connect(server, LAST_GET)
        wait_for(lambda: handler.started == 1, seconds=5, what="a request hangs")
        client.close()
        for _ in range(20):
            exchange(server, LAST_GET.replace(b"/metrics", b"/quick"))
        assert threading.active_count() <= before + 1
        start = time.monotonic()
    assert time.monotonic() - start < 2.5
    handler.release.set()


def test_what_is_said_while_the_answer_is_made_is_kept() -> None:
    """The second request waits in the kernel, and is answered after the first."""
    handler = Hanging()
    with looping(handler) as server, connect(server, GET) as client:
        wait_for(lambda: handler.started == 1, seconds=5, what="the first request")
        client.sendall(GET)
        client.sendall(LAST_GET)
        handler.release.set()
        assert statuses(received(client)) == [b"200"] * 3


def test_a_client_that_shuts_its_side_down_is_answered() -> None:
    """As `nc -N` does: the request is complete, the answer still wanted."""
    handler = Hanging()
    with looping(handler) as server, connect(server, GET) as client:
        client.shutdown(1)
        wait_for(lambda: handler.started == 1, seconds=5, what="the request")
        handler.release.set()
        assert statuses(received(client)) == [b"200"]


def test_idle_connections_stay_for_a_while_and_then_go() -> None:
    """Their deadline begins when the last answer was sent."""
    with looping(limits=replace(SHORT, idle_timeout=1.5)) as server, connect(server, GET) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        start = time.monotonic()
        assert client.recv(1000) == b""
        assert 1.4 < time.monotonic() - start < 5


def test_a_head_has_its_time_from_its_first_byte() -> None:
    """On a connection that has been idle for longer than that."""
    with looping(limits=replace(SHORT, idle_timeout=10)) as server, connect(server, GET) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        time.sleep(1.2)
        client.sendall(GET[:5])
        time.sleep(0.1)
        client.sendall(GET[5:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


class Failing(Handler):
    """A handler that raises, or gives what cannot be sent."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def respond(self, request: Request) -> Response:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome  # type: ignore[return-value]


@pytest.mark.parametrize(
    "outcome",
    [
        ValueError("secret"),
        SystemExit(1),
        KeyboardInterrupt(),
        None,
        Response(200, (("X", "a\r\nb"),), b""),
        Response(200, (("X", "\N{EURO SIGN}"),), b""),
        Response(200, (), "text"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("error")
def test_a_handler_that_fails_is_a_500(outcome: object, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises or gives; the loop and its threads go on, the log has the reason, the client not."""
    with looping(Failing(outcome)) as server:
        for _ in range(3):
            answer = exchange(server, LAST_GET)
            assert statuses(answer) == [b"500"]
            assert b"secret" not in answer
        assert server.is_serving
    assert caplog.records


def test_a_quick_path_that_fails_ends_one_connection() -> None:
    """It is not supposed to; the loop goes on."""

    class Quick(Always):
        def quick(self, request: Request) -> Response | None:
            if request.path == "/fail":
                raise ValueError
            return None

    with looping(Quick()) as server:
        assert exchange(server, LAST_GET.replace(b"/metrics", b"/fail")) == b""
        scrape_seconds(server)


def test_who_may_connect() -> None:
    """The hook sees the address; who is refused is not read from, and a hook that fails refuses."""
    seen: list[str | None] = []

    def accepts(peer: str | None) -> bool:
        seen.append(peer)
        if len(seen) == 2:
            raise ValueError
        return len(seen) > 2

    with looping(accepts=accepts) as server:
        assert exchange(server, LAST_GET) == b""
        assert exchange(server, LAST_GET) == b""
        scrape_seconds(server)
    assert seen == ["127.0.0.1"] * 3


def test_5_without_descriptors_nothing_spins(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An idle connection goes, accepting pauses, one line is logged; who waited is answered later."""
    accept, attempts, is_over = native.Socket.accept, [0], threading.Event()

    def fail(sock: native.Socket) -> tuple[native.Socket, object]:
        if is_over.is_set():
            return accept(sock)
        attempts[0] += 1
        raise OSError(errno.EMFILE, "Too many open files")

    with looping(limits=replace(SHORT, idle_timeout=20)) as server, connect(server, GET) as idle:
        assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
        with monkeypatch.context() as patched:
            patched.setattr(native.Socket, "accept", fail)
            with connect(server, LAST_GET) as waiting:
                assert idle.recv(1) == b""
                time.sleep(0.6)
                assert 1 <= attempts[0] <= 6
                is_over.set()
                assert statuses(received(waiting)) == [b"200"]
    assert caplog.text.count("cannot accept connections") == 1


def test_a_listening_socket_that_is_broken_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    """If somebody who shares the socket shuts it down, those who are connected stay, and nothing spins."""
    with looping(limits=replace(SHORT, idle_timeout=20)) as server, connect(server, GET) as idle:
        assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
        before = time.process_time()
        with socket.socket(fileno=os.dup(server.loop._listeners[0].sock.fileno())) as shared:
            shared.shutdown(socket.SHUT_RDWR)
        time.sleep(1)
        assert time.process_time() - before < 0.3
        idle.sendall(LAST_GET)
        assert statuses(received(idle)) == [b"200"]
    assert caplog.text.count("cannot accept connections") == 1


def test_without_memory_for_a_connection_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection for which there is no memory is lost; the endpoint is not."""
    attempts: list[object] = []

    def scarce(*args: Any) -> Conversation:
        attempts.append(args)
        if len(attempts) == 1:
            raise MemoryError
        return Conversation(*args)

    monkeypatch.setattr(door, "Conversation", scarce)
    with looping() as server:
        with connect(server, LAST_GET) as lost:
            assert received(lost) == b""
        assert statuses(exchange(server, LAST_GET)) == [b"200"]
    assert caplog.text.count("cannot accept connections: MemoryError()") == 1


def test_requests_say_who_asks() -> None:
    """The peer's address."""
    handler = Always()
    with looping(handler) as server:
        exchange(server, b"GET /a?b=c HTTP/1.0\r\nX-Y: z\r\n\r\n")
    (request,) = handler.requests
    assert (request.peer, request.mount) == ("127.0.0.1", "")
    assert (request.method, request.path, request.query) == ("GET", "/a", "b=c")
    assert request.headers["x-y"] == "z"


def test_a_log_handler_that_scrapes_does_not_stop_the_loop() -> None:
    """The host's log handlers run in worker threads."""
    done = threading.Event()

    class Scraping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            scrape_seconds(server)
            done.set()

    handler = Scraping()
    calls = iter([False])
    with looping(accepts=lambda _: next(calls, True)) as server:
        logging.getLogger("otel_prom_bridge").addHandler(handler)
        try:
            assert exchange(server, LAST_GET) == b""
            assert done.wait(5)
        finally:
            logging.getLogger("otel_prom_bridge").removeHandler(handler)


def test_40_the_wall_clock_may_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines do not look at it: neither does a client go early nor stay for ever."""
    offset = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    with looping() as server, connect(server, GET[:9]) as client:
        for jump in (1e6, -1e6):
            offset[0] = jump
            scrape_seconds(server)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        assert statuses(received(client)) == [b"408"]


# --- workers ------------------------------------------------------------------------------------------


def test_workers_start_when_needed_and_end_when_idle() -> None:
    """One after the other needs one thread; several at once need several; idle ones end."""
    before = threading.active_count()
    workers = Threads(10, idle_timeout=0.2)
    for _ in range(5):
        done = threading.Event()
        assert workers.run(done.set)
        assert done.wait(5)
        time.sleep(0.02)
    assert threading.active_count() <= before + 2
    release, started = threading.Event(), threading.Semaphore(0)

    def block() -> None:
        started.release()
        release.wait(10)

    for _ in range(10):
        assert workers.run(block)
    for _ in range(10):
        assert started.acquire(timeout=5)
    release.set()
    wait_for(lambda: threading.active_count() <= before, seconds=5, what="the threads end")


def test_workers_are_bounded() -> None:
    """With all of them stuck, as many jobs wait as there are threads; what is more is refused."""
    workers, release, done = Threads(3, idle_timeout=0.1), threading.Event(), threading.Semaphore(0)

    def block() -> None:
        release.wait(10)
        done.release()

    assert [workers.run(block) for _ in range(8)] == [True] * 6 + [False] * 2
    release.set()
    for _ in range(6):
        assert done.acquire(timeout=5)
    workers.stop()
    assert not workers.run(block)


def test_workers_lose_no_job_while_they_end() -> None:
    """Jobs that come exactly when threads give up waiting are done nevertheless."""
    before = threading.active_count()
    workers, done = Threads(4, idle_timeout=0.001), threading.Semaphore(0)
    for number in range(1000):
        assert workers.run(done.release)  # type: ignore[arg-type]
        assert done.acquire(timeout=5), number
        time.sleep(0.0005 + 0.0005 * (number % 3))
    wait_for(lambda: threading.active_count() <= before, seconds=5, what="the threads end")


def test_without_more_threads_a_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's end; later ones may succeed."""
    workers = Threads(1, idle_timeout=0.1)

    def fail(_: native.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(native.Thread, "start", fail)
        assert not workers.run(lambda: None)
    done = threading.Event()
    assert workers.run(done.set)
    assert done.wait(5)
    workers.stop()


# --- deadlines --------------------------------------------------------------------------------------


def clients(count: int) -> list[Conversation]:
    """Clients that are nowhere."""
    nowhere = SimpleNamespace(family=socket.AF_INET)
    return [Conversation(nowhere, None, Plain()) for _ in range(count)]  # type: ignore[arg-type]


def test_deadlines_pass_in_order() -> None:
    """Each wait has its length; a new wait replaces the old one; some waits have none."""
    deadlines = Deadlines({Wait.HEAD: 5.0, Wait.IDLE: 2.0})
    one, two, three = clients(3)
    assert deadlines.next() is None
    deadlines.start(one, Wait.HEAD, 0.0)
    deadlines.start(two, Wait.HEAD, 1.0)
    deadlines.start(three, Wait.IDLE, 2.0)
    assert deadlines.next() == 4.0
    assert deadlines.passed(3.9) == []
    assert deadlines.passed(5.5) == [one, three]
    deadlines.start(one, Wait.ANSWER, 3.0)
    assert deadlines.oldest(Wait.HEAD) == (1.0, two)
    deadlines.cancel(two)
    assert deadlines.oldest(Wait.HEAD) is None
    assert deadlines.oldest(Wait.IDLE) == (2.0, three)
    deadlines.cancel(three)
    assert deadlines.oldest(Wait.IDLE) is None
    assert deadlines.next() is None


@pytest.mark.parametrize(("descriptors", "connections"), [(-1, 512), (10**6, 512), (1024, 256), (16, 8)])
def test_connections_follow_the_limit_of_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, connections: int
) -> None:
    """A quarter of them, 512 at most; unless it was said."""
    import otel_prom_bridge.endpoint.server.limits as module

    limit: Callable[[int], tuple[int, int]] = lambda _: (descriptors, descriptors)  # noqa: E731
    monkeypatch.setattr(module.resource, "getrlimit", limit)
    assert ServerLimits().most_connections == connections
    assert ServerLimits(max_connections=3).most_connections == 3


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e12])
def test_nobody_can_wait_for_that_long(seconds: float) -> None:
    """A deadline that the system cannot wait for is refused before it ends the loop."""
    with pytest.raises(ConfigurationError, match=r"^idle_timeout: .* up to 1000000"):
        ServerLimits(idle_timeout=seconds)
