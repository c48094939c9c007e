"""Requests to WSGI applications without a server, read as a server reads them, and judged by wsgiref."""

from __future__ import annotations

import io
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator


class Answer:
    """What an application answered."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts)


def environ(path: str = "/", method: str = "GET", body: bytes = b"", **changes: Any) -> dict[str, Any]:
    """The environ of a request."""
    found: dict[str, Any] = {
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "REQUEST_METHOD": method,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        **changes,
    }
    setup_testing_defaults(found)
    return {key: value for key, value in found.items() if value is not None}


def ask(app: Any, path: str = "/", method: str = "GET", *, valid: bool = True, **changes: Any) -> Answer:
    """One request; with ``valid`` both sides of the application are checked for what WSGI demands."""
    answer = Answer()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        answer.status, answer.headers = status, headers
        return answer.parts.append

    parts = (validator(app) if valid else app)(environ(path, method, **changes), start_response)
    try:
        answer.parts.extend(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return answer
