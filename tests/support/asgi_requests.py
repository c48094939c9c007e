"""Requests to ASGI applications without a server: what a server would hand over, and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class Answer:
    """The messages that an application sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    @property
    def status(self) -> int:
        """The status of the answer."""
        return next(m["status"] for m in self.messages if m["type"] == "http.response.start")

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")


def http_scope(path: str = "/", method: str = "GET", **changes: Any) -> dict[str, Any]:
    """The scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        **changes,
    }


async def asked(app: Any, scope: dict[str, Any], parts: Iterable[bytes] = (b"",)) -> Answer:
    """One request with a body in these parts; after it the client hangs up."""
    answer = Answer()
    waiting = list(parts)
    total = len(waiting)

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        part = waiting.pop(0)
        assert total
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        answer.messages.append(dict(message))

    await app(scope, receive, send)
    return answer


def ask(app: Any, path: str = "/", method: str = "GET", **changes: Any) -> Answer:
    """The same, in an event loop of its own."""
    parts = changes.pop("parts", (b"",))
    return asyncio.run(asked(app, http_scope(path, method, **changes), parts))
