"""The endpoint as a WSGI and as an ASGI application, for those who have a server already.

The server and what stands in front of it belong to the application, so connections, deadlines for clients and
TLS are its matter. Everything behind that is the same as on a port of our own: cache, health and guards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.guards import GUARDS, Guards
from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.messages import (
    FAILED,
    METRICS_PATH,
    Handler,
    Request,
    Response,
    busy,
    joined_headers,
)
from otel_prom_bridge.endpoint.pages import Wanted, check_guarded, pages_of
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.endpoint.served import Served
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.threads import Threads
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Capacity

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Every framework has types of its own for these, none of which is a subtype of another's.
_Scope = Mapping[str, Any]
_Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_Send = Callable[[Any], Awaitable[None]]
ASGIApplication = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

# Far more than scrapers need, even with a callback that hangs, and no more threads than a host notices.
_MOST_THREADS = 64


def make_wsgi_app(
    source: Served,
    *,
    guards: Guards | None = None,
    metrics_path: str = METRICS_PATH,
    cache_ttl: float | None = None,
    compression_threshold: int | bool | None = None,
    health: Health | bool = True,
    explorer: Wanted = None,
    trace_url: str | None = None,
) -> WSGIApplication:
    """A WSGI application that serves ``/metrics``, ``/health`` and ``/ready`` of a reader.

    Mounted under a prefix, it serves the metrics at the prefix itself, too.

    Args:
        source: a ``PrometheusMetricReader``.
        guards: who may ask, how often, and how many at once. Addresses are what the server says
            (``REMOTE_ADDR``).
        metrics_path: where the metrics are, below the mount if there is one; ``/metrics`` unless told.
        cache_ttl: for how many seconds a complete answer is given again, 1 unless told; 0 for never.
        compression_threshold: from how many bytes on a body is compressed, 1024 unless told;
            False for never.
        health: the answers of ``/health`` and ``/ready``, with checks of the application's own; False for
            none.
        explorer: a page at ``/explorer`` that shows what is here. As nobody knows here who reaches the
            server, it needs guards that do not let everybody in, or ``"public"``.
        trace_url: where the page finds a trace: a URL with ``{trace_id}`` in it.

    Raises:
        ConfigurationError: an argument is not what it may be.
    """
    handler = _handler(
        source,
        guards,
        explorer,
        trace_url,
        metrics_path=metrics_path,
        cache_ttl=cache_ttl,
        compression_threshold=compression_threshold,
        health=health,
    )

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _wsgi_request(environ)
        response = handler.respond(request)
        start_response(f"{response.status} {response.reason}", list(response.headers))
        return [response.body if request.wants_body else b""]

    return app


def make_asgi_app(
    source: Served,
    *,
    guards: Guards | None = None,
    metrics_path: str = METRICS_PATH,
    cache_ttl: float | None = None,
    compression_threshold: int | bool | None = None,
    health: Health | bool = True,
    explorer: Wanted = None,
    trace_url: str | None = None,
) -> ASGIApplication:
    """An ASGI application that serves ``/metrics``, ``/health`` and ``/ready`` of a reader, on asyncio.

    A scrape runs in a thread of the bridge, so a slow callback never holds up the event loop. There are at
    most 64 of these threads for scrapes, or ``max_in_flight`` of the guards if that is less, and 64 for
    health. A request above that is answered with 503 at once.

    Mounted under a prefix, it serves the metrics at the prefix itself, too. It is an object, so Starlette's
    ``Route("/metrics", app)`` takes it as it is, without the redirect to ``/metrics/`` that a mount makes.

    Args:
        source: a ``PrometheusMetricReader``.
        guards: who may ask, how often, and how many at once. Addresses are what the server says
            (``client``).
        metrics_path: where the metrics are, below the mount if there is one; ``/metrics`` unless told.
        cache_ttl: for how many seconds a complete answer is given again, 1 unless told; 0 for never.
        compression_threshold: from how many bytes on a body is compressed, 1024 unless told;
            False for never.
        health: the answers of ``/health`` and ``/ready``, with checks of the application's own; False for
            none.
        explorer: a page at ``/explorer`` that shows what is here. As nobody knows here who reaches the
            server, it needs guards that do not let everybody in, or ``"public"``.
        trace_url: where the page finds a trace: a URL with ``{trace_id}`` in it.

    Raises:
        ConfigurationError: an argument is not what it may be.
    """
    handler = _handler(
        source,
        guards,
        explorer,
        trace_url,
        metrics_path=metrics_path,
        cache_ttl=cache_ttl,
        compression_threshold=compression_threshold,
        health=health,
    )
    return _Asgi(handler)


def _handler(
    source: Served, guards: Guards | None, explorer: Wanted, trace_url: str | None, **options: Any
) -> Handler:
    GUARDS.optional("guards", guards)
    pages = pages_of(source, explorer, trace_url=trace_url)
    check_guarded(pages, ["the server of the application"], None, guards)
    if guards is None:
        return Scrape(source, pages=pages, **options)
    return guards.wrap(Scrape(source, pages=pages, problem=lambda: guards.problem, **options))


def _wsgi_request(environ: WSGIEnvironment) -> Request:
    return Request(
        method=environ.get("REQUEST_METHOD", "GET"),
        path=environ.get("PATH_INFO", ""),
        query=environ.get("QUERY_STRING", ""),
        headers={
            key[5:].replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_")
        },
        mount=environ.get("SCRIPT_NAME", ""),
        peer=_peer(environ.get("REMOTE_ADDR")),
    )


def _asgi_request(scope: _Scope) -> Request:
    mount = scope.get("root_path", "").rstrip("/")
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=_below(mount, scope["path"]),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=joined_headers(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ())
        ),
        mount=mount,
        peer=_peer(client[0]) if client else None,
    )


def _below(mount: str, path: str) -> str:
    """What of the path is below the mount.

    By the ASGI specification the path begins with the mount. If a proxy takes a prefix off, of which only the
    application knows (``FastAPI(root_path="/api")``), then the path begins with the rest of the mount. A
    server may also take all of the mount off.

    https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope
    """
    rest = mount
    while rest:
        if path == rest or path.startswith(f"{rest}/"):
            return path.removeprefix(rest)
        _, slash, after = rest[1:].partition("/")
        rest = slash + after
    return path


def _peer(address: str | None) -> str | None:
    # On a Unix socket, servers say nothing, "", or the path. Anything else is left to the guards. They let
    # nobody pass whose address they cannot read.
    return None if not address or address.startswith("/") else address


class _Asgi:
    """The application. It is no function, because Starlette's routes call a function with their own request.

    Responses are made by workers and not by ``asyncio.to_thread``, whose threads are joined when the
    interpreter exits: a callback that hangs would keep the process alive.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._workers = Threads(2 * _MOST_THREADS, idle_timeout=ServerLimits().worker_idle_timeout)
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: no request is on its way there."""
        # One for scrapes and one for health: scrapes that hang must not make a supervisor believe that the
        # process does.
        rooms = (Capacity(_MOST_THREADS), Capacity(_MOST_THREADS))
        self._rooms = dict(zip((False, True), rooms, strict=True))

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            request = _asgi_request(scope)
            response = await self._respond(request)
            await _write(response, response.body if request.wants_body else b"", send)
        elif scope["type"] == "websocket":  # a client's mistake, so no traceback in the log of the server
            await send({"type": "websocket.close"})
        else:
            raise ValueError(f"no answer to an ASGI connection of type {scope['type']!r}")

    async def _respond(self, request: Request) -> Response:
        response = self._handler.quick(request)
        return await self._made(request) if response is None else response

    async def _made(self, request: Request) -> Response:
        """The response that a worker makes. It is made to its end even if nobody waits for it any more."""
        room = self._rooms[request.is_health]
        if not room.enter():
            return busy()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Response] = loop.create_future()

        def deliver(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        def work() -> None:
            response = FAILED
            try:
                response = self._handler.respond(request)
            finally:
                room.leave()
                try:
                    loop.call_soon_threadsafe(deliver, response)
                except RuntimeError:
                    endpoint_logger.debug("the event loop was closed before a scrape ended")

        if self._workers.run(work):
            return await future
        room.leave()
        return busy()


async def _write(response: Response, body: bytes, send: _Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    try:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError as error:  # the specification's word for a client that has gone
        endpoint_logger.debug("a scraper did not wait for its answer: %r", error)


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
