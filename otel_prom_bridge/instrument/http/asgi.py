"""A middleware for ASGI applications: FastAPI, Starlette, Litestar, Django and whatever else there is.

A request ends with the last part of its answer, and not with the application's coroutine, because a framework
runs what it calls background tasks in that. Only an answer of 500 and more waits for the coroutine, which may
still raise what went wrong.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.http.exchanges import EXCLUDED, HttpRequest, HttpServer, length_of
from otel_prom_bridge.instrument.http.routes import asgi_route
from otel_prom_bridge.instrument.websockets import WebSockets
from otel_prom_bridge.recording.operations import CANCELLED
from otel_prom_bridge.recording.reports import failed
from otel_prom_bridge.rules import PathTemplate, Rule

AsgiScope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

_SERVER_ERROR = 500


class AsgiMetrics:
    """Records the requests and the WebSockets of an ASGI application.

    Nothing is recorded of the paths in ``exclude`` and below them. ``sample`` is the part of the requests
    that is recorded in histograms; all others are counted in ``http.server.unsampled_requests``.
    Without ``sizes`` those of bodies are not recorded, which is two of three histograms.
    ``template`` makes a route of a path where the framework says none. Without a ``meter_provider`` the
    global one is used.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        exclude: Iterable[str] = EXCLUDED,
        sample: float = 1.0,
        sizes: bool = True,
        template: Rule | None = PathTemplate(),  # noqa: B008 - it cannot change
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._app = app
        self._server = HttpServer(
            exclude=exclude, sample=sample, sizes=sizes, template=template, meter_provider=meter_provider
        )
        self._sockets = WebSockets(meter_provider=meter_provider)

    def __getattr__(self, name: str) -> Any:
        # An application that is wrapped by hand still has its routes, its state and so on.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._app, name)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass what comes on to the application."""
        kind = scope["type"]
        if kind not in ("http", "websocket") or self._is_excluded(scope) or not self._server.is_first(scope):
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._request(scope, receive, send)
        else:
            await self._socket(scope, receive, send)

    def _is_excluded(self, scope: AsgiScope) -> bool:
        path, root = scope.get("path") or "", scope.get("root_path") or ""
        excluded = self._server.is_excluded
        return excluded(path) or (root != "" and excluded(path.removeprefix(root)))

    async def _request(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            exchange = _Exchange(self._server, scope, receive, send)
        except Exception as error:  # no server says what we do not understand, but a test may
            failed("a request", error)
            await self._app(scope, receive, send)
            return
        exchange.start()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.over(error)
            raise
        exchange.over(None)

    async def _socket(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        connections = self._server.connections
        key = connections.key({"url.scheme": "wss" if scope.get("scheme") == "wss" else "ws"})
        connected = connections.begin_as((key, tuple(client) if client else None))
        socket = self._sockets.connection()

        async def received() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                socket.received("binary" if message.get("text") is None else "text")
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "websocket.accept":
                socket.start()
            elif message["type"] == "websocket.send":
                socket.sent("binary" if message.get("text") is None else "text")
            await send(message)

        try:
            await self._app(scope, received, sent)
        finally:
            socket.end()
            connections.end(connected)


class _Exchange(HttpRequest):
    """One request, and what passes between the server and the application."""

    __slots__ = ("_answering", "_disconnected", "_receive", "_root", "_scope", "_send")

    def __init__(self, server: HttpServer, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._root: str = scope.get("root_path") or ""
        self._answering = True
        self._disconnected = False
        get = scope.get
        client = get("client")
        super().__init__(
            server,
            get("method", ""),
            get("path") or "",
            get("scheme", "http"),
            get("http_version", ""),
            tuple(client) if client else None,
        )
        self.request_size = _content_length(get("headers") or ())

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body") or b"")
        elif message["type"] == "http.disconnect":
            self._disconnected = self._answering
        return message

    async def send(self, message: Message) -> None:
        await self._send(message)
        try:
            kind = message["type"]
            if kind == "http.response.body":
                self.sent += len(message.get("body") or b"")
                if not message.get("more_body"):
                    self._answered()
            elif kind == "http.response.start":
                self.answered(message["status"])
            else:
                self._sent_otherwise(kind, message)
        except Exception as error:
            failed("an answer", error)

    def _sent_otherwise(self, kind: str, message: Message) -> None:
        """A file that the server sends itself, by an extension of ASGI."""
        if kind == "http.response.zerocopysend":
            self.sent += _rest(message)
            if not message.get("more_body"):
                self._answered()
        elif kind == "http.response.pathsend":
            self.sent = os.path.getsize(message["path"])
            self._answered()

    def _answered(self) -> None:
        self._answering = False
        if (self.status or 0) < _SERVER_ERROR:
            self._end(None)

    def over(self, error: BaseException | None) -> None:
        """The application has returned, or raised."""
        if error is None and self._answering and self._disconnected:
            self._end(CANCELLED)
        else:
            self._end(error)

    def _end(self, error: BaseException | str | None) -> None:
        if not self.running:
            return
        try:
            self.route = asgi_route(self._scope, self._root)
        except Exception as failure:
            failed("the route of a request", failure)
        if isinstance(error, GeneratorExit):
            self._end_later(CANCELLED)
        else:
            self.end(error)


def _content_length(headers: Iterable[Any]) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length":
            return length_of(value)
    return None


def _rest(message: Message) -> int:
    """How many bytes of a file are sent: those that are said, or those to its end."""
    if message.get("count") is not None:
        return int(message["count"])
    return os.fstat(message["file"].fileno()).st_size - int(message.get("offset") or 0)
