"""The endpoint as a WSGI and as an ASGI application, for those who have a server already."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.scrape import FAILED, Request, Response, Scrape, Source, joined_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
ASGIApplication = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def make_wsgi_app(source: Source) -> WSGIApplication:
    """A WSGI application that serves ``/metrics``, ``/health`` and ``/ready`` of a reader.

    Mounted under a prefix, it serves the metrics at the prefix itself, too.
    """
    scrape = Scrape(source)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {
            key[5:].replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_")
        }
        request = Request(
            method=environ.get("REQUEST_METHOD", "GET"),
            path=environ.get("PATH_INFO", ""),
            query=environ.get("QUERY_STRING", ""),
            headers=headers,
            mount=environ.get("SCRIPT_NAME", ""),
        )
        response = scrape.respond(request)
        start_response(f"{response.status} {response.reason}", list(response.headers))
        return [response.body]

    return app


def make_asgi_app(source: Source) -> ASGIApplication:
    """An ASGI application that serves ``/metrics``, ``/health`` and ``/ready`` of a reader.

    A scrape runs in a thread of its own, so a slow callback never holds the event loop. Mounted under a
    prefix, it serves the metrics at the prefix itself, too.
    """
    scrape = Scrape(source)

    async def app(scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            response = await _in_thread(lambda: scrape.respond(_request(scope)))
            await _respond(response, send)
        else:
            raise ValueError(f"no answer to an ASGI connection of type {scope['type']!r}")

    return app


def _request(scope: _Message) -> Request:
    mount = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    # By the ASGI specification the path includes the mount; some servers took it off.
    if mount and (path == mount or path.startswith(f"{mount}/")):
        path = path.removeprefix(mount)
    return Request(
        method=scope["method"],
        path=path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=joined_headers(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers", ())
        ),
        mount=mount,
    )


async def _respond(response: Response, send: _Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _in_thread(work: Callable[[], Response]) -> Response:
    # Not asyncio.to_thread: its executor's threads are joined when the interpreter exits, so a callback
    # that hangs would keep the process alive. A daemon thread does not.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Response] = loop.create_future()

    def deliver(response: Response) -> None:
        if not future.done():
            future.set_result(response)

    def run() -> None:
        response = FAILED
        try:
            response = work()
        except BaseException:  # a callback may raise anything; the request must not wait for ever
            logger.exception("a scrape was broken off")
        try:
            loop.call_soon_threadsafe(deliver, response)
        except RuntimeError:
            logger.debug("the event loop was closed before a scrape ended")

    threading.Thread(target=run, name="otel-prom-bridge-scrape", daemon=True).start()
    return await future
