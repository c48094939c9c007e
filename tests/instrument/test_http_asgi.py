"""The middleware for ASGI applications, driven as a server drives it."""

from __future__ import annotations

import asyncio
import tempfile
import types
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from asgi_requests import ask, asked, http_scope
from genai_points import Recorded
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument import ROUTE, AsgiMetrics
from otel_prom_bridge.instrument.http import exchanges

DURATION = "http.server.request.duration"
REQUEST_SIZE = "http.server.request.body.size"
RESPONSE_SIZE = "http.server.response.body.size"
ACTIVE = "http.server.active_requests"
CONNECTIONS = "http.server.active_connections"
UNSAMPLED = "http.server.unsampled_requests"


@types.coroutine
def waiting() -> Iterator[None]:
    """Waits for ever, in whatever event loop."""
    while True:
        yield


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Reads the request and says hello, in two parts."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


def instrumented(recorded: Recorded, app: Any = hello, **options: Any) -> AsgiMetrics:
    """The application with our middleware."""
    return AsgiMetrics(app, meter_provider=recorded.provider, **options)


def test_a_request(recorded: Recorded) -> None:
    """It is in the three histograms, with the attributes of the conventions."""
    answer = ask(instrumented(recorded), "/v1/users/17", "POST", parts=(b"abc", b"de"))
    assert (answer.status, answer.body) == (200, b"hello")
    for name, value in ((REQUEST_SIZE, 5), (RESPONSE_SIZE, 5)):
        point = recorded.point(name)
        assert (point.count, point.sum) == (1, value)
    point = recorded.point(DURATION)
    assert point.count == 1
    assert dict(point.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.route": "/v1/users/{number}",
        "http.response.status_code": 200,
    }
    assert recorded.point(ACTIVE).value == 0
    assert recorded.point(CONNECTIONS).value == 0
    assert recorded.points(UNSAMPLED) == []


def test_an_answer_to_head_has_no_body(recorded: Recorded) -> None:
    """Servers leave out what applications send."""
    ask(instrumented(recorded), method="HEAD")
    assert (recorded.point(RESPONSE_SIZE).count, recorded.point(RESPONSE_SIZE).sum) == (1, 0)


@pytest.mark.parametrize("changes", [{"method": ["GET"]}, {"client": 5}, {"headers": [5]}, {"path": None}])
def test_a_scope_that_no_server_makes(recorded: Recorded, changes: dict[str, Any]) -> None:
    """The application gets it all the same."""
    scope = {**http_scope(), **changes}
    assert asyncio.run(asked(instrumented(recorded), scope)).body == b"hello"


def test_the_size_that_the_client_says_counts(recorded: Recorded) -> None:
    """An application that does not read the body changes nothing; a length that is none counts as read."""
    app = instrumented(recorded)
    ask(app, headers=[(b"Content-Length", b"1000")])
    ask(app, headers=[(b"content-length", b"9" * 5000)], parts=(b"abc",))
    assert recorded.point(REQUEST_SIZE).sum == 1003


@pytest.mark.parametrize(
    ("path", "root_path", "excluded"),
    [
        ("/health", "", True),
        ("/health/live", "", True),
        ("/metrics", "", True),
        ("/healthy", "", False),
        ("/v1/health", "", False),
        ("/api/health", "/api", True),
        ("/", "", False),
    ],
)
def test_excluded_paths(recorded: Recorded, path: str, root_path: str, excluded: bool) -> None:
    """/health and /metrics and what is below them are not recorded, also behind a root path."""
    ask(instrumented(recorded), path, root_path=root_path)
    assert recorded.count(DURATION) == (0 if excluded else 1)


def test_own_exclusions(recorded: Recorded) -> None:
    """They take the place of the default ones."""
    app = instrumented(recorded, exclude=["/internal/"])
    for path in ("/internal", "/internal/x", "/health"):
        ask(app, path)
    assert recorded.count(DURATION) == 1


def test_sampling_keeps_the_number_of_requests(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not in the histograms is in the counter, with the same attributes."""
    numbers = iter([0.0, 0.09, 0.1, 0.5, 0.99] * 4)
    monkeypatch.setattr(exchanges.random, "random", lambda: next(numbers))
    app = instrumented(recorded, sample=0.1)
    for _ in range(20):
        ask(app, "/v1/chat")
    assert recorded.count(DURATION) == recorded.count(RESPONSE_SIZE) == 8
    assert recorded.point(UNSAMPLED).value == 12
    assert recorded.point(UNSAMPLED).attributes == recorded.point(DURATION).attributes


@pytest.mark.parametrize(("sample", "histogram"), [(0, 0), (1, 5), (0.0, 0), (1.0, 5)])
def test_all_or_nothing(recorded: Recorded, sample: float, histogram: int) -> None:
    """With 0 there are only counters, with 1 only histograms."""
    app = instrumented(recorded, sample=sample)
    for _ in range(5):
        ask(app)
    assert recorded.count(DURATION) == histogram
    assert recorded.total(UNSAMPLED) == 5 - histogram


def test_a_request_that_raises(recorded: Recorded) -> None:
    """It is the server that answers 500 then. The exception reaches it."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("user 17")

    with pytest.raises(KeyError, match="user 17"):
        ask(instrumented(recorded, broken))
    point = recorded.point(DURATION, error__type="KeyError")
    assert point.attributes["http.response.status_code"] == 500
    assert recorded.point(ACTIVE).value == 0


def test_a_request_that_raises_after_its_answer_began(recorded: Recorded) -> None:
    """The status that was sent counts, and the exception."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise TimeoutError

    with pytest.raises(TimeoutError):
        ask(instrumented(recorded, broken))
    assert recorded.point(DURATION, error__type="TimeoutError").attributes["http.response.status_code"] == 200


def test_an_answer_of_500(recorded: Recorded) -> None:
    """Its status is its error; if the framework raises after it, the exception is."""

    async def answer(send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def busy(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)
        raise ValueError

    ask(instrumented(recorded, busy))
    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        ask(instrumented(recorded, broken))
    assert recorded.errors(DURATION) == ["503", "ValueError"]


def test_a_status_of_another_type(recorded: Recorded) -> None:
    """A member of an enumeration is its number, and so is a text; anything else costs the label only."""
    for status in (HTTPStatus.ACCEPTED, "202", "odd", None):

        async def app(scope: Any, receive: Any, send: Any, status: Any = status) -> None:
            await send({"type": "http.response.start", "status": status})
            await send({"type": "http.response.body"})

        ask(instrumented(recorded, app))
    found = [(p.attributes.get("http.response.status_code"), p.count) for p in recorded.points(DURATION)]
    assert sorted(found, key=str) == [(202, 2), (None, 2)]
    assert recorded.point(ACTIVE).value == 0


def test_a_client_error_is_no_error(recorded: Recorded) -> None:
    """A 404 has no error.type, and no route, because any client can ask for any path."""

    async def missing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ask(instrumented(recorded, missing), "/wp-login.php")
    attributes = recorded.point(DURATION).attributes
    assert "error.type" not in attributes
    assert "http.route" not in attributes


def test_a_cancelled_request(recorded: Recorded) -> None:
    """A server that cancels the task of a request sees its cancellation, and so do the metrics."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(asked(instrumented(recorded, slow), http_scope()))
        await asyncio.sleep(0.01)
        assert recorded.point(ACTIVE).value == 1
        assert recorded.point(CONNECTIONS).value == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    point = recorded.point(DURATION)
    assert point.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert "http.response.status_code" not in point.attributes
    assert recorded.point(ACTIVE).value == 0


def test_a_client_that_hangs_up(recorded: Recorded) -> None:
    """An application that then returns without an answer was cancelled, too."""

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    ask(instrumented(recorded, patient))
    assert recorded.errors(DURATION) == ["cancelled"]


def test_a_request_that_is_dropped(recorded: Recorded) -> None:
    """An event loop that ends in the middle of a request costs nothing but the answer."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await waiting()

    coroutine = asked(instrumented(recorded, slow), http_scope())
    coroutine.send(None)
    coroutine.close()
    assert recorded.errors(DURATION) == ["cancelled"]
    assert recorded.point(ACTIVE).value == 0


def test_background_tasks_are_not_the_request(recorded: Recorded) -> None:
    """It ends with the last part of its answer; what a framework does after that is its own affair."""
    seen: list[tuple[int, int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        seen.append((recorded.count(DURATION), recorded.point(ACTIVE).value))
        raise RuntimeError("in the background")

    with pytest.raises(RuntimeError):
        ask(instrumented(recorded, app))
    assert seen == [(1, 0)]
    assert recorded.errors(DURATION) == [None]


def test_files_that_the_server_sends(recorded: Recorded) -> None:
    """The extensions of servers that send files themselves count their bytes."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"x" * 700)

        async def path_send(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.pathsend", "path": file.name})

        async def zero_copy(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.zerocopysend", "file": file, "offset": 100, "more_body": True})
            await send({"type": "http.response.zerocopysend", "file": file, "count": 50})

        ask(instrumented(recorded, path_send))
        ask(instrumented(recorded, zero_copy))
    assert recorded.point(RESPONSE_SIZE).sum == 700 + 600 + 50
    assert recorded.errors(DURATION) == [None, None]


def test_strange_requests(recorded: Recorded) -> None:
    """What a client makes up is in no label: neither methods nor versions nor schemes."""
    app = instrumented(recorded)
    ask(app, method="BREW", http_version="9.9", scheme="gopher", client=None)
    attributes = dict(recorded.point(DURATION).attributes)
    assert attributes == {
        "http.request.method": "_OTHER",
        "url.scheme": "http",
        "http.route": "/",
        "http.response.status_code": 200,
    }


def test_a_thousand_paths_are_a_hundred_routes(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """An application that answers 200 for everything does not get a route for everything."""
    app = instrumented(recorded)
    words = ["amber", "birch", "cedar", "daisy", "elder", "fern", "grape", "hazel", "ivy", "juniper", "kale"]
    for first in words:
        for second in words:
            ask(app, f"/{first}/{second}")
    routes = Counter(point.attributes.get("http.route") for point in recorded.points(DURATION))
    assert len(routes) == 101
    assert recorded.point(DURATION, http__route="/amber/birch").count == 1
    assert recorded.count(DURATION) == 121
    assert caplog.text.count("others have no route") == 1


def test_the_application_may_say_its_route(recorded: Recorded) -> None:
    """For frameworks that nobody here knows."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope[ROUTE] = "/plants/{name}"
        await hello(scope, receive, send)

    ask(instrumented(recorded, app), "/plants/ivy")
    assert recorded.point(DURATION).attributes["http.route"] == "/plants/{name}"


def test_no_template(recorded: Recorded) -> None:
    """Who wants only what frameworks say gets that; a template that fails costs the route and no request."""
    ask(instrumented(recorded, template=None), "/plants/ivy")
    assert "http.route" not in recorded.point(DURATION).attributes
    ask(instrumented(recorded, template=lambda path: 1 / 0), "/plants/ivy")  # type: ignore[dict-item, return-value]
    assert recorded.count(DURATION) == 2


def test_requests_on_one_connection(recorded: Recorded) -> None:
    """With HTTP/2 several requests share a connection, which is counted once."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    async def three() -> None:
        app = instrumented(recorded, slow)
        scopes = [http_scope(client=("10.0.0.1", port)) for port in (1, 1, 2)]
        tasks = [asyncio.create_task(asked(app, scope)) for scope in scopes]
        await asyncio.sleep(0.01)
        assert recorded.point(ACTIVE).value == 3
        assert recorded.point(CONNECTIONS).value == 2
        gate.set()
        await asyncio.gather(*tasks)

    gate = asyncio.Event()
    asyncio.run(three())
    assert recorded.point(ACTIVE).value == recorded.point(CONNECTIONS).value == 0


@pytest.mark.parametrize("outside", [True, False])
def test_exemplars(recorded: Recorded, outside: bool) -> None:
    """They lead to the span of the request, whether what traces is outside of our middleware or inside."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    ids: list[int] = []

    def traced(app: Any) -> Any:
        async def run(scope: Any, receive: Any, send: Any) -> None:
            with tracer.start_as_current_span("request") as span:
                ids.append(span.get_span_context().trace_id)
                await app(scope, receive, send)

        return run

    app = traced(instrumented(recorded)) if outside else instrumented(recorded, traced(hello))
    ask(app)
    metrics = recorded.metrics()  # once, because each collection takes the exemplars away
    for name in (DURATION, REQUEST_SIZE, RESPONSE_SIZE):
        (point,) = metrics[name].data.data_points
        assert [exemplar.trace_id for exemplar in point.exemplars] == ids


def test_other_scopes_pass(recorded: Recorded) -> None:
    """The lifespan of an application is not a request."""
    kinds: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kinds.append(scope["type"])

    asyncio.run(instrumented(recorded, app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert kinds == ["lifespan"]
    assert recorded.metrics() == {} or recorded.count(DURATION) == 0


def test_web_sockets(recorded: Recorded) -> None:
    """Connections count once they are accepted, messages in both directions and by their type."""
    open_ones: list[int] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/closed":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        open_ones.append(recorded.point("ws.connections.current").value)
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "a", "bytes": None})
        assert message["type"] == "websocket.disconnect"

    async def talk(path: str) -> None:
        messages = iter(
            [
                {"type": "websocket.connect"},
                {"type": "websocket.receive", "text": "hi"},
                {"type": "websocket.receive", "bytes": b"hi", "text": None},
                {"type": "websocket.disconnect"},
            ]
        )

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            pass

        await instrumented(recorded, echo)(http_scope(path, type="websocket", scheme="ws"), receive, send)

    asyncio.run(talk("/chat"))
    asyncio.run(talk("/closed"))
    assert open_ones == [1]
    assert recorded.total("ws.connections") == 1
    assert recorded.point("ws.connections.current").value == 0
    received = {p.attributes["message_type"]: p.value for p in recorded.points("ws.messages.received")}
    assert received == {"text": 1, "binary": 1}
    assert recorded.point("ws.messages.sent", message_type="text").value == 2
    assert recorded.point(CONNECTIONS, url__scheme="ws").value == 0
    assert recorded.count(DURATION) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"sample": 2},
        {"sample": -0.1},
        {"sample": "all"},
        {"sample": True},
        {"exclude": "/health"},
        {"exclude": ["health"]},
        {"exclude": 7},
        {"template": "/x"},
        {"meter_provider": "mine"},
    ],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    """They are said when the middleware is made."""
    with pytest.raises(ConfigurationError):
        AsgiMetrics(hello, **options)
