"""The endpoint as WSGI and ASGI applications."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from callers import asgi, call_asgi, call_wsgi, wsgi
from opentelemetry.metrics import CallbackOptions, Observation
from servers import wait_for
from setups import Setup

from otel_prom_bridge import make_asgi_app, make_wsgi_app, native
from otel_prom_bridge.endpoint import apps
from otel_prom_bridge.endpoint.guards import Guards, RateLimit
from otel_prom_bridge.endpoint.health import Health

Make = Callable[..., Setup]
BODY = b"# TYPE c_total counter\nc_total 1\n"


def test_wsgi(setup: Setup) -> None:
    """A WSGI server gets the metrics, the negotiated type and the other paths."""
    status, headers, body = call_wsgi(setup)
    assert (status, body) == ("200 OK", BODY)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    _, headers, body = call_wsgi(setup, HTTP_ACCEPT="application/openmetrics-text;version=1.0.0")
    assert body.endswith(b"# EOF\n")
    assert call_wsgi(setup, QUERY_STRING="name[]=none")[2] == b""
    assert call_wsgi(setup, PATH_INFO="/health")[0] == "200 OK"
    assert call_wsgi(setup, PATH_INFO="", SCRIPT_NAME="/metrics")[2] == BODY
    assert call_wsgi(setup, PATH_INFO="/nothing")[0] == "404 Not Found"


def test_asgi(setup: Setup) -> None:
    """An ASGI server gets the metrics, the negotiated type and the other paths."""
    app = make_asgi_app(setup.reader)
    status, headers, body = call_asgi(app)
    assert (status, body) == (200, BODY)
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = [(b"Accept", b"application/openmetrics-text;version=1.0.0")]
    assert call_asgi(app, headers=accept)[2].endswith(b"# EOF\n")
    assert call_asgi(app, query_string=b"name%5B%5D=none")[2] == b""
    assert call_asgi(app, path="/ready")[2] == b"ready\n"
    assert call_asgi(app, path="/metrics", root_path="/metrics")[2] == BODY
    assert call_asgi(app, path="/metrics/ready", root_path="/metrics")[2] == b"ready\n"
    assert call_asgi(app, path="/nothing")[0] == 404


def test_asgi_lifespan_and_unknown_connections(setup: Setup) -> None:
    """The app takes part in a server's lifespan; a websocket is refused, without an error."""
    app = make_asgi_app(setup.reader)
    sent: list[str] = []

    async def lifespan() -> None:
        messages = iter(("lifespan.startup", "lifespan.shutdown"))

        async def receive() -> MutableMapping[str, Any]:
            return {"type": next(messages)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message["type"])

        await app({"type": "lifespan"}, receive, send)

    asyncio.run(lifespan())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    refused: list[object] = []

    async def websocket() -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            refused.append(message)

        await app({"type": "websocket", "path": "/metrics"}, receive, send)

    asyncio.run(websocket())
    assert refused == [{"type": "websocket.close"}]
    with pytest.raises(ValueError, match="webtransport"):
        call_asgi(app, type="webtransport")


@pytest.mark.clocked
def test_asgi_never_holds_the_event_loop(setup: Setup) -> None:
    """While a callback takes a second, the application's other tasks go on every 10 ms."""

    def slow(_: CallbackOptions) -> Iterable[Observation]:
        time.sleep(1)
        return [Observation(1)]

    setup.meter.create_observable_gauge("slow", [slow])
    app = make_asgi_app(setup.reader)

    async def main() -> list[float]:
        scrape = asyncio.ensure_future(asgi(app))
        ticks = [time.monotonic()]
        while not scrape.done():
            await asyncio.sleep(0.01)
            ticks.append(time.monotonic())
        assert b"slow 1" in scrape.result()[2]
        return ticks

    ticks = asyncio.run(main())
    assert ticks[-1] - ticks[0] >= 1
    assert len(ticks) >= 50
    # A busy machine may be late with a tick, but not as late as the callback is long.
    assert max(later - earlier for earlier, later in itertools.pairwise(ticks)) < 0.5


def scrape_threads() -> int:
    """How many threads answer ASGI requests at the moment."""
    return sum(thread.name == "otel-prom-bridge-scrape" for thread in threading.enumerate())


@pytest.mark.clocked
def test_a_stuck_callback_costs_one_collection_and_no_more_threads_than_there_is_room(
    bridge: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten scrapes at once some wait and the others are refused; health is not; threads go, data stays."""
    monkeypatch.setattr(apps, "_MOST_THREADS", 3)
    setup = bridge(scrape_timeout=0.5)
    setup.meter.create_counter("c").add(1)
    release, calls = threading.Event(), []

    def stuck(_: CallbackOptions) -> Iterable[Observation]:
        calls.append(1)
        release.wait(10)
        return [Observation(1)]

    setup.meter.create_observable_gauge("stuck", [stuck])
    app = make_asgi_app(setup.reader)
    before = scrape_threads()

    async def main() -> list[tuple[int, dict[str, str], bytes]]:
        scrapes = [asyncio.ensure_future(asgi(app)) for _ in range(9)]
        scrapes.append(asyncio.ensure_future(asgi(app, method="HEAD")))
        await asyncio.sleep(0.1)
        assert scrape_threads() - before == 3
        assert (await asgi(app, path="/health"))[0] == 200
        assert (await asgi(app, path="/ready"))[0] == 503
        return await asyncio.gather(*scrapes)

    try:
        answers = asyncio.run(main())
        assert sorted(status for status, _, _ in answers) == [200] * 3 + [503] * 7
        assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
        assert answers[-1][2] == b""
        assert calls == [1]
    finally:
        release.set()
    assert call_asgi(app)[0] == 200
    wait_for(lambda: scrape_threads() <= before, seconds=10, what="the threads end")


def test_without_another_thread_a_request_is_refused(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may start no more threads answers 503, and 200 when it may again."""
    app = make_asgi_app(setup.reader)

    def start(self: native.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(native.Thread, "start", start)
        # More often than there is room for: what was taken is given back.
        assert {call_asgi(app)[0] for _ in range(apps._MOST_THREADS + 1)} == {503}
        assert call_asgi(app, path="/health")[0] == 200
    assert call_asgi(app)[0] == 200


def test_a_quick_answer_needs_no_thread(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the process is alive, and that somebody may not ask, is said from the event loop itself."""
    guarded = make_asgi_app(setup.reader, guards=Guards(allow=["192.0.2.0/24"]))
    checked = make_asgi_app(setup.reader, health=Health(setup.reader, alive={"own": lambda: True}))
    plain = make_asgi_app(setup.reader)
    started: list[object] = []
    original = native.Thread.start

    def start(self: native.Thread) -> None:
        started.append(self.name)
        original(self)

    monkeypatch.setattr(native.Thread, "start", start)
    assert call_asgi(plain, path="/health")[0] == 200
    assert call_asgi(guarded, client=("198.51.100.1", 4711))[0] == 403
    assert call_asgi(guarded, path="/health", client=("192.0.2.1", 4711))[0] == 200
    assert started == []
    kept = make_asgi_app(setup.reader, cache_ttl=60)
    assert call_asgi(kept)[0] == 200
    assert started[:1] == ["otel-prom-bridge-scrape"]
    started.clear()
    assert call_asgi(kept)[0] == 200
    assert started == []
    assert call_asgi(checked, path="/health")[0] == 200  # a check of the application's may take its time
    assert started[:1] == ["otel-prom-bridge-scrape"]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("198.51.100.1", 403),
        ("localhost", 403),
        ("", 403),
        ("/run/app.sock", 403),
        (None, 403),
    ],
)
def test_the_peer_is_whom_the_server_says(setup: Setup, address: str | None, allowed: int) -> None:
    """Networks are asked about the address that the server gives; a Unix socket has none."""
    guards = Guards(allow=["192.0.2.0/24"])
    unix = Guards(allow=["unix"])
    app, other = make_wsgi_app(setup.reader, guards=guards), make_wsgi_app(setup.reader, guards=unix)
    environ = {} if address is None else {"REMOTE_ADDR": address}
    assert wsgi(app, **environ)[0].startswith(str(allowed))
    nameless = address is None or address in ("", "/run/app.sock")
    assert wsgi(other, **environ)[0].startswith("200" if nameless else "403")
    asgi_app, asgi_other = (
        make_asgi_app(setup.reader, guards=guards),
        make_asgi_app(setup.reader, guards=unix),
    )
    client = None if address is None else (address, 4711)
    assert call_asgi(asgi_app, client=client)[0] == allowed
    assert call_asgi(asgi_other, client=client)[0] == (200 if nameless else 403)


def test_guards_see_a_proxy_and_its_client(setup: Setup) -> None:
    """Behind a trusted proxy on a Unix socket, X-Forwarded-For says who asks."""
    guards = Guards(allow=["192.0.2.0/24"], trusted_proxies=["unix"])
    app = make_wsgi_app(setup.reader, guards=guards)
    assert wsgi(app, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR="192.0.2.7")[0] == "200 OK"
    assert wsgi(app, REMOTE_ADDR="", HTTP_X_FORWARDED_FOR="198.51.100.1")[0] == "403 Forbidden"
    asgi_app = make_asgi_app(setup.reader, guards=guards)
    for address, status in (("192.0.2.7", 200), ("198.51.100.1", 403)):
        headers = [(b"x-forwarded-for", address.encode())]
        assert call_asgi(asgi_app, headers=headers)[0] == status


def test_rates_and_tokens(setup: Setup, tmp_path: Path) -> None:
    """The other guards, and the headers that they add, work in both applications; health stays open."""
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-that-is-long-enough\n")
    tokens.chmod(0o600)

    def guards() -> Guards:
        limit = RateLimit(interval=1000, burst=2)
        return Guards(rate_limit=limit, bearer_tokens_file=tokens, headers=[("X-Frame-Options", "deny")])

    bearer = "Bearer a-token-that-is-long-enough"
    app = make_wsgi_app(setup.reader, guards=guards())
    status, headers, _ = wsgi(app)
    assert (status, headers["WWW-Authenticate"][:6]) == ("401 Unauthorized", "Bearer")
    status, headers, body = wsgi(app, HTTP_AUTHORIZATION=bearer)
    assert (status, headers["X-Frame-Options"], body) == ("200 OK", "deny", BODY)
    assert wsgi(app, HTTP_AUTHORIZATION=bearer)[0] == "429 Too Many Requests"
    assert wsgi(app, PATH_INFO="/health")[0] == "200 OK"

    asgi_app = make_asgi_app(setup.reader, guards=guards())
    authorized = [(b"authorization", bearer.encode())]
    assert call_asgi(asgi_app)[0] == 401
    status_code, headers, body = call_asgi(asgi_app, headers=authorized)
    assert (status_code, headers["x-frame-options"], body) == (200, "deny", BODY)
    assert call_asgi(asgi_app, headers=authorized)[0] == 429
    assert call_asgi(asgi_app, path="/health")[0] == 200


@pytest.mark.clocked
def test_the_room_of_the_guards(setup: Setup) -> None:
    """More requests at once than max_in_flight are refused; with room again, the next one is answered."""
    entered, release = threading.Event(), threading.Event()

    def waiting(_: CallbackOptions) -> Iterable[Observation]:
        entered.set()
        release.wait(5)
        return [Observation(1)]

    setup.meter.create_observable_gauge("waiting", [waiting])
    app = make_asgi_app(setup.reader, guards=Guards(max_in_flight=1))

    async def main() -> None:
        first = asyncio.ensure_future(asgi(app))
        while not entered.is_set():
            await asyncio.sleep(0.01)
        assert (await asgi(app))[0] == 503
        assert (await asgi(app, path="/health"))[0] == 200
        release.set()
        assert (await first)[0] == 200
        assert (await asgi(app))[0] == 200

    asyncio.run(main())


def test_answers_are_kept_for_as_long_as_told(setup: Setup) -> None:
    """cache_ttl: within it the answer is the same, and without it each scrape collects."""
    counter = setup.meter.create_counter("more")
    kept = [make_wsgi_app(setup.reader, cache_ttl=60), make_wsgi_app(setup.reader, cache_ttl=0)]
    kept_asgi = make_asgi_app(setup.reader, cache_ttl=60)
    first = [wsgi(app)[2] for app in kept]
    assert call_asgi(kept_asgi)[2] == first[0] == first[1]
    counter.add(1)
    assert wsgi(kept[0])[2] == call_asgi(kept_asgi)[2] == first[0]
    assert b"more_total 1" in wsgi(kept[1])[2]


def test_the_path_and_compression_are_options(setup: Setup) -> None:
    """As with a port of one's own; below a mount, too, and the mount itself stays a scrape."""
    app = make_wsgi_app(setup.reader, metrics_path="/internal/prom", compression_threshold=1)
    assert wsgi(app, PATH_INFO="/metrics")[0] == "404 Not Found"
    status, headers, _ = wsgi(app, PATH_INFO="/internal/prom", HTTP_ACCEPT_ENCODING="gzip")
    assert (status, headers["Content-Encoding"]) == ("200 OK", "gzip")
    asgi_app = make_asgi_app(setup.reader, metrics_path="/prom", compression_threshold=1)
    assert call_asgi(asgi_app)[0] == 404
    for path in ("/prom", "/prom/", "/app", "/app/", "/app/prom"):
        status_code, headers, _ = call_asgi(
            asgi_app, path=path, root_path="/app", headers=[(b"accept-encoding", b"gzip")]
        )
        assert (status_code, headers["content-encoding"]) == (200, "gzip")


def test_a_404_below_a_mount_begins_with_the_mount(setup: Setup) -> None:
    """That is where the metrics are, for whoever reads it."""
    body = call_asgi(make_asgi_app(setup.reader), path="/app/x", root_path="/app")[2]
    assert body.split()[-4:] == [b"/app", b"/app/metrics", b"/app/health", b"/app/ready"]
    assert wsgi(make_wsgi_app(setup.reader), PATH_INFO="/x")[2].split()[-4:-2] == [b"is:", b"/metrics"]


def test_health_is_the_applications_or_off(setup: Setup) -> None:
    """Checks of the application's own decide; without health the paths are nothing."""
    health = Health(setup.reader, alive={"disk": lambda: "full"})
    assert wsgi(make_wsgi_app(setup.reader, health=health), PATH_INFO="/health")[0].startswith("503")
    assert call_asgi(make_asgi_app(setup.reader, health=health), path="/health")[0] == 503
    assert wsgi(make_wsgi_app(setup.reader, health=False), PATH_INFO="/health")[0].startswith("404")
    assert call_asgi(make_asgi_app(setup.reader, health=False), path="/ready")[0] == 404


def test_head_and_other_methods(setup: Setup) -> None:
    """HEAD has GET's headers and no body, OPTIONS and POST say what there is."""
    app, asgi_app = make_wsgi_app(setup.reader), make_asgi_app(setup.reader)
    assert wsgi(app, REQUEST_METHOD="HEAD") == (*wsgi(app)[:2], b"")
    assert call_asgi(asgi_app, method="HEAD") == (*call_asgi(asgi_app)[:2], b"")
    for method, status in (("OPTIONS", 204), ("POST", 405)):
        found, headers, _ = wsgi(app, REQUEST_METHOD=method)
        assert (found[:3], headers["Allow"]) == (str(status), "GET, HEAD, OPTIONS")
        found_asgi, headers, _ = call_asgi(asgi_app, method=method)
        assert (found_asgi, headers["allow"]) == (status, "GET, HEAD, OPTIONS")


def test_a_client_that_is_gone_when_its_answer_comes(setup: Setup) -> None:
    """The server's send fails with an OSError then, as the specification says: nobody hears of it."""

    async def send(message: MutableMapping[str, Any]) -> None:
        raise ConnectionResetError

    async def main() -> None:
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": [], "query_string": b""}
        await make_asgi_app(setup.reader)(scope, never, send)

    async def never() -> MutableMapping[str, Any]:
        raise AssertionError("nothing needs to be received")

    asyncio.run(main())


@pytest.mark.clocked
def test_a_cancelled_asgi_request_harms_nobody(setup: Setup) -> None:
    """A client that goes away while the scrape runs, and a loop that closes before it ends, are no errors."""
    release = threading.Event()

    def waiting(_: CallbackOptions) -> Iterable[Observation]:
        release.wait(5)
        return [Observation(1)]

    setup.meter.create_observable_gauge("waiting", [waiting])
    app = make_asgi_app(setup.reader)

    async def give_up(wait_for_the_scrape: bool) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asgi(app), 0.05)
        if wait_for_the_scrape:
            release.set()
            await asyncio.sleep(0.1)

    asyncio.run(give_up(wait_for_the_scrape=True))
    release.clear()
    asyncio.run(give_up(wait_for_the_scrape=False))
    release.set()
    wait_for(lambda: scrape_threads() == 0, seconds=10, what="the threads end")
    assert call_asgi(app)[0] == 200
