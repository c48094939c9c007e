"""What servers do with WSGI and ASGI applications."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, MutableMapping
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from setups import Setup

from otel_prom_bridge import make_wsgi_app


def call_wsgi(setup: Setup, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """One request to a reader through the standard library's WSGI validator."""
    return wsgi(make_wsgi_app(setup.reader), **environ)


def wsgi(made: Any, **environ: str) -> tuple[str, dict[str, str], bytes]:
    """One request to an application through the standard library's WSGI validator."""
    started: list[Any] = []
    full: dict[str, Any] = {"PATH_INFO": "/metrics", "SCRIPT_NAME": "", "QUERY_STRING": "", **environ}
    setup_testing_defaults(full)
    full["wsgi.input"] = io.BytesIO()
    app = validator(made)
    result = app(full, lambda status, headers, exc_info=None: started.extend((status, headers)))
    try:
        body = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]
    return started[0], dict(started[1]), body


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
