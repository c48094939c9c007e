"""The middlewares in frameworks: which route a request took, and what packaged ones say of the same."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from asgi_requests import ask, asked, http_scope
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from genai_points import Recorded
from litestar import Litestar, get
from litestar.params import FromPath
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.websockets import WebSocket
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from wsgi_requests import ask as ask_wsgi

from otel_prom_bridge.instrument import AsgiMetrics, DjangoRoute, WsgiMetrics

DURATION = "http.server.request.duration"
REQUEST_SIZE = "http.server.request.body.size"
RESPONSE_SIZE = "http.server.response.body.size"


def routes(recorded: Recorded) -> list[tuple[str | None, int]]:
    """The routes and statuses of what was recorded."""
    return sorted(
        (
            (p.attributes.get("http.route"), p.attributes["http.response.status_code"])
            for p in recorded.points(DURATION)
        ),
        key=str,
    )


def fastapi(recorded: Recorded) -> FastAPI:
    """An application with routers, a mount and our middleware."""
    users = APIRouter(prefix="/users")

    @users.get("/{user}")
    async def user(user: str) -> str:
        return user

    @users.get("/{user}/files/{path:path}")
    async def file(user: str, path: str) -> str:
        return path

    sub = FastAPI()

    @sub.get("/items/{item}")
    async def item(item: int) -> int:
        if not item:
            raise KeyError
        return item

    app = FastAPI()
    app.include_router(users, prefix="/v1")
    app.mount("/tenants/{tenant}", sub)
    app.add_middleware(AsgiMetrics, meter_provider=recorded.provider)
    return app


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/v1/users/ann", "/v1/users/{user}", 200),
        ("/v1/users/users", "/v1/users/{user}", 200),
        ("/v1/users/v1", "/v1/users/{user}", 200),
        ("/v1/users/ann/files/a/b/c", "/v1/users/{user}/files/{path:path}", 200),
        ("/tenants/acme/items/7", "/tenants/{tenant}/items/{item}", 200),
        ("/tenants/acme/items/007", "/tenants/{tenant}/items/{item}", 200),
        ("/tenants/acme/items/x", "/tenants/{tenant}/items/{item}", 422),
        ("/nowhere", None, 404),
    ],
)
def test_fastapi(recorded: Recorded, path: str, route: str | None, status: int) -> None:
    """Prefixes of routers and mounts are part of the route, values of parameters are not."""
    assert ask(fastapi(recorded), path).status == status
    assert routes(recorded) == [(route, status)]


def test_fastapi_behind_a_root_path(recorded: Recorded) -> None:
    """What a proxy puts before every path is not part of the route."""
    ask(fastapi(recorded), "/api/v1/users/ann", root_path="/api")
    assert routes(recorded) == [("/v1/users/{user}", 200)]


def test_fastapi_raises(recorded: Recorded) -> None:
    """The framework answers 500 and raises; the exception's name is the error."""
    with pytest.raises(KeyError):
        ask(fastapi(recorded), "/tenants/acme/items/0")
    assert recorded.errors(DURATION) == ["KeyError"]
    assert routes(recorded) == [("/tenants/{tenant}/items/{item}", 500)]


def starlette(recorded: Recorded) -> Starlette:
    """An application with a mount, a stream and our middleware."""
    done: list[str] = []

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("x", background=BackgroundTask(done.append, "x"))

    async def stream(request: Request) -> StreamingResponse:
        async def parts() -> Any:
            for part in (b"ab", b"cd", b"e"):
                yield part

        return StreamingResponse(parts())

    app = Starlette(
        routes=[
            Route("/pages/{name}", page),
            Route("/stream", stream, methods=["POST"]),
            Mount("/m/{tenant}", routes=[Route("/y/{z:int}", page)]),
        ]
    )
    app.add_middleware(AsgiMetrics, meter_provider=recorded.provider)
    return app


def test_starlette(recorded: Recorded) -> None:
    """Routes, mounts, and a streamed answer."""
    app = starlette(recorded)
    for path in ("/pages/a", "/pages/b", "/m/acme/y/2"):
        assert ask(app, path).status == 200
    assert ask(app, "/stream", "POST", parts=(b"12", b"345")).body == b"abcde"
    assert routes(recorded) == [("/m/{tenant}/y/{z:int}", 200), ("/pages/{name}", 200), ("/stream", 200)]
    assert recorded.point(RESPONSE_SIZE, http__route="/stream").sum == 5


def test_starlette_web_socket(recorded: Recorded) -> None:
    """A WebSocket endpoint of a framework is counted."""
    from starlette.routing import WebSocketRoute
    from starlette.testclient import TestClient

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    app.add_middleware(AsgiMetrics, meter_provider=recorded.provider)
    with TestClient(app).websocket_connect("/ws") as socket:
        socket.send_text("hi")
        assert socket.receive_text() == "hi"
    assert recorded.total("ws.connections") == 1
    assert recorded.point("ws.messages.received").value == recorded.point("ws.messages.sent").value == 1


def test_an_application_that_is_mounted_and_recorded_itself(recorded: Recorded) -> None:
    """A request is recorded once, by the outermost middleware, and once for each provider."""
    other = Recorded()
    inner = AsgiMetrics(starlette(recorded), meter_provider=other.provider)
    app = Starlette(routes=[Mount("/inner", inner), Mount("/", starlette(recorded))])
    app.add_middleware(AsgiMetrics, meter_provider=recorded.provider)
    for path in ("/inner/pages/a", "/pages/b"):
        assert ask(app, path).status == 200
    assert (recorded.count(DURATION), other.count(DURATION)) == (2, 1)
    twice = WsgiMetrics(
        WsgiMetrics(flask(), meter_provider=recorded.provider), meter_provider=recorded.provider
    )
    ask_wsgi(twice, "/stream")
    assert recorded.count(DURATION) == 3


def test_litestar(recorded: Recorded) -> None:
    """A framework that does not say its routes gets templates."""

    @get("/plants/{plant:int}", sync_to_thread=False)
    def plant(plant: FromPath[int]) -> str:
        return str(plant)

    app = AsgiMetrics(Litestar([plant]), meter_provider=recorded.provider)
    assert ask(app, "/plants/17").status == 200
    assert routes(recorded) == [("/plants/{number}", 200)]


def flask() -> Flask:
    """An application with a blueprint, an error and a stream."""
    app = Flask("test")
    users = Blueprint("users", "users", url_prefix="/users")

    @users.post("/<int:user>")
    def user(user: int) -> str:
        from flask import request

        return str(len(request.get_data()))

    @app.get("/broken")
    def broken() -> str:
        raise KeyError

    @app.get("/stream")
    def stream() -> Any:
        return iter(["ab", "cd"])

    app.register_blueprint(users)
    return app


def test_flask(recorded: Recorded) -> None:
    """Rules as Flask writes them, and errors that it makes an answer of."""
    app = WsgiMetrics(flask(), meter_provider=recorded.provider)
    assert ask_wsgi(app, "/users/7", "POST", body=b"abc", CONTENT_LENGTH="3").body == b"3"
    assert ask_wsgi(app, "/broken").status == "500 INTERNAL SERVER ERROR"
    assert ask_wsgi(app, "/stream").body == b"abcd"
    assert ask_wsgi(app, "/nowhere").status == "404 NOT FOUND"
    assert routes(recorded) == sorted(
        [("/broken", 500), ("/stream", 200), ("/users/<int:user>", 200), (None, 404)], key=str
    )
    assert recorded.errors(DURATION) == [None, None, None, "500"]


def test_flask_below_a_dispatcher(recorded: Recorded) -> None:
    """Where an application is mounted is part of the route; what a proxy puts before every path is not."""
    other = Flask("other")
    other.add_url_rule("/users/<int:user>", view_func=lambda user: f"other {user}")
    mounted = DispatcherMiddleware(flask(), {"/other": other, "/tenants/17": other})
    app = WsgiMetrics(mounted, meter_provider=recorded.provider)
    for script in ("", "/proxied"):
        for path in ("/other/users/7", "/tenants/17/users/7", "/stream"):
            assert ask_wsgi(app, path, SCRIPT_NAME=script).status == "200 OK"
    found = {p.attributes["http.route"]: p.count for p in recorded.points(DURATION)}
    assert found == {"/other/users/<int:user>": 2, "/tenants/{number}/users/<int:user>": 2, "/stream": 2}


@pytest.fixture
def django_urls() -> Iterator[str]:
    """Django with two views: one of a thread and one of the event loop."""
    import django
    from django.conf import settings
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def user(request: HttpRequest, user: int) -> HttpResponse:
        return HttpResponse(str(user))

    async def asynchronous(request: HttpRequest, name: str) -> HttpResponse:
        return HttpResponse(name)

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", DEBUG=False)
        django.setup()
    name = "instrument_urls"
    module = sys.modules[name] = ModuleType(name)
    module.urlpatterns = [path("users/<int:user>", user), path("async/<name>", asynchronous)]  # type: ignore[attr-defined]
    yield name
    del sys.modules[name]


@pytest.mark.parametrize("middleware", [[], [f"{DjangoRoute.__module__}.DjangoRoute"]])
def test_django(recorded: Recorded, django_urls: str, middleware: list[str]) -> None:
    """With the middleware the route is Django's own, and otherwise a template; with WSGI and with ASGI."""
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    with override_settings(ROOT_URLCONF=django_urls, MIDDLEWARE=middleware, ALLOWED_HOSTS=["*"]):
        app = WsgiMetrics(WSGIHandler(), meter_provider=recorded.provider)
        assert ask_wsgi(app, "/users/7").body == b"7"

        async def twice() -> None:
            handler = AsgiMetrics(ASGIHandler(), meter_provider=recorded.provider)
            headers = [(b"host", b"localhost")]
            # Django waits for the client to hang up, and cancels a request whose client does so at once.
            assert (
                await asked(_patient(handler), http_scope("/async/fern", headers=headers))
            ).body == b"fern"

        asyncio.run(twice())
    expected = ["/async/<name>", "/users/<int:user>"] if middleware else ["/async/fern", "/users/{number}"]
    assert [route for route, _ in routes(recorded)] == expected


def _patient(app: Any) -> Any:
    """The client does not hang up before it has the answer."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        asked_for = [0]

        async def once() -> Any:
            asked_for[0] += 1
            if asked_for[0] > 1:
                await asyncio.sleep(60)
            return await receive()

        await app(scope, once, send)

    return run


def test_the_packaged_middleware_says_the_same(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, scheme, version and status are those of opentelemetry-instrumentation-asgi."""
    theirs, ours = attributes_of_both(recorded, monkeypatch)
    assert theirs
    assert {key: ours.get(key) for key in theirs} == theirs


def attributes_of_both(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the packaged middleware records of a request, and what ours does."""
    from opentelemetry.instrumentation import _semconv

    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    other = Recorded()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    ask(OpenTelemetryMiddleware(app, meter_provider=other.provider))
    ask(AsgiMetrics(app, meter_provider=recorded.provider))
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    return dict(other.point(DURATION).attributes), dict(recorded.point(DURATION).attributes)
