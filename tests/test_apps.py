"""The endpoint as WSGI and ASGI applications."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from conftest import Setup
from opentelemetry.metrics import CallbackOptions, Observation

from otel_prom_bridge import make_asgi_app, make_wsgi_app

Make = Callable[..., Setup]
BODY = b"# TYPE c_total counter\nc_total 1\n"


@pytest.fixture
def setup(bridge: Make) -> Setup:
    """A reader with one counter."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    return setup


def call_wsgi(setup: Setup, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """One request through the standard library's WSGI validator."""
    started: list[Any] = []
    full: dict[str, Any] = {"PATH_INFO": "/metrics", "SCRIPT_NAME": "", "QUERY_STRING": "", **environ}
    setup_testing_defaults(full)
    full["wsgi.input"] = io.BytesIO()
    app = validator(make_wsgi_app(setup.reader))  # type: ignore[arg-type]
    result = app(full, lambda status, headers, exc_info=None: started.extend((status, headers)))
    try:
        body = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]
    return started[0], dict(started[1]), body


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


def call_asgi(app: Callable[..., Any], **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """One request as an ASGI server would make it."""
    return asyncio.run(asgi(app, **scope))


async def asgi(app: Callable[..., Any], **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """One request on the running loop."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    full = {"type": "http", "method": "GET", "path": "/metrics", "headers": [], "query_string": b""}
    await app({**full, **scope}, receive, send)
    start, body = sent
    return (
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        body["body"],
    )


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
    """The app takes part in a server's lifespan; a websocket is refused."""
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
    with pytest.raises(ValueError, match="websocket"):
        call_asgi(app, type="websocket")


def test_asgi_never_holds_the_event_loop(setup: Setup) -> None:
    """While a callback takes its time, the application's other tasks go on."""

    def slow(_: CallbackOptions) -> Iterable[Observation]:
        time.sleep(0.3)
        return [Observation(1)]

    setup.meter.create_observable_gauge("slow", [slow])
    app = make_asgi_app(setup.reader)

    async def main() -> int:
        scrape = asyncio.ensure_future(asgi(app))
        ticks = 0
        while not scrape.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert b"slow 1" in scrape.result()[2]
        return ticks

    assert asyncio.run(main()) >= 10


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
    for thread in threading.enumerate():
        if thread.name == "otel-prom-bridge-scrape":
            thread.join(5)
    assert call_asgi(app)[0] == 200
