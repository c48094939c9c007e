"""A request in, a response out. No sockets, no threads, no framework.

Everything that the endpoint decides is decided here and tested without a port; WSGI, ASGI and the server
only spell it. A request that makes no sense is answered with what would: nothing a scraper sends ends in a
500.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import parse_qsl

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.exposition import Exposition, accepts_gzip

METRICS_PATH, HEALTH_PATH, READY_PATH = "/metrics", "/health", "/ready"
_PATHS = (METRICS_PATH, HEALTH_PATH, READY_PATH)
_METHODS = ("GET", "HEAD", "OPTIONS")

# Below this a compressed body saves nothing: it fits into the packet that carries the head.
GZIP_THRESHOLD = 1024
# Level 1 is seven times faster than zlib's default and takes 1 % more of the plain size.
_GZIP_LEVEL, _GZIP_FORMAT = 1, 31


class Observer(Protocol):
    """Who hears of scrapes: their status, how long they took, and the size of compressed bodies."""

    def scrape(self, status: int, seconds: float) -> None:
        """A request for metrics was answered."""
        ...

    def phase(self, name: Literal["compress"]) -> AbstractContextManager[None]:
        """Times the compression."""
        ...

    def size(self, content_type: str, size: int, *, encoding: str) -> None:
        """A body was compressed to so many bytes."""
        ...


class Source(Protocol):
    """What an endpoint serves; ``PrometheusMetricReader`` is one."""

    @property
    def is_ready(self) -> bool:
        """There is something to serve."""
        ...

    @property
    def is_shut_down(self) -> bool:
        """There will be nothing to serve any more."""
        ...

    @property
    def observer(self) -> Observer:
        """Who hears of the scrapes."""
        ...

    def expose(self, accept: str | None = None, *, names: Iterable[str] = ()) -> Exposition:
        """The exposition for an Accept header, of all families or of those that names mention."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body. Header names are in lower case.

    ``mount`` is the part of the URL's path that a framework took off before it called us, ``path`` the rest.
    ``peer`` is the IP address of the other end of the connection; None where there is none (a Unix socket) or
    nobody says. ``secure``: it came over TLS. ``authenticated``: guards verified its credentials.
    """

    method: str = "GET"
    path: str = METRICS_PATH
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    mount: str = ""
    peer: str | None = None
    secure: bool = False
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A status code, headers and a body; for HEAD the body is empty and the headers say its length."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def reason(self) -> str:
        """The words behind the status code."""
        return _REASONS[self.status]


_REASONS = {
    200: "OK",
    204: "No Content",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Scrape:
    """Answers requests for one source. Safe to use from any thread."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._since = time.time()
        # Scrapes without a change in between get the same body object, so the last one is worth keeping.
        self._compressed: tuple[bytes, bytes] = (b"", b"")

    def respond(self, request: Request) -> Response:
        """The response to a request. Never raises."""
        try:
            response = self._answer(request)
        except Exception:
            logger.exception("a scrape failed; this is a fault of the bridge")
            response = FAILED
        if request.method == "HEAD":
            response = Response(response.status, response.headers, b"")
        return response

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS" and request.path == "*":
            return Response(204, (("Allow", ", ".join(_METHODS)),), b"")
        path = self._path(request)
        if path is None:
            here = "".join(f"  {request.mount}{path}\n" for path in _PATHS)
            return _text(404, f"nothing at this path; there is:\n{here}")
        if request.method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(_METHODS)),), b"")
        if request.method not in _METHODS:
            allow = ("Allow", ", ".join(_METHODS))
            return _text(405, f"use one of {', '.join(_METHODS)}\n", allow)
        if path == METRICS_PATH:
            return self._observed(request)
        return self._health() if path == HEALTH_PATH else self._ready()

    @staticmethod
    def _path(request: Request) -> str | None:
        # An app that is mounted at /metrics (or anywhere) serves the metrics at its mount point as well.
        if request.mount and request.path in ("", "/"):
            return METRICS_PATH
        path = request.path.rstrip("/")
        return path if path in _PATHS else None

    def _observed(self, request: Request) -> Response:
        start, status = time.perf_counter(), FAILED.status
        try:
            response = self._metrics(request)
            status = response.status
            return response
        finally:
            self._source.observer.scrape(status, time.perf_counter() - start)

    def _metrics(self, request: Request) -> Response:
        if self._source.is_shut_down:
            # Frozen values would look alive; a failed scrape shows as `up == 0`.
            return _text(503, "the metric reader has been shut down\n")
        names = [value for name, value in _query(request.query) if name == "name[]"]
        exposition = self._source.expose(request.headers.get("accept"), names=names)
        body = exposition.body
        headers = [
            ("Content-Type", exposition.content_type),
            ("Vary", "Accept, Accept-Encoding"),
        ]
        if len(body) >= GZIP_THRESHOLD and accepts_gzip(request.headers.get("accept-encoding")):
            body = self._gzip(exposition)
            headers.append(("Content-Encoding", "gzip"))
        return Response(200, (*headers, ("Content-Length", str(len(body)))), body)

    def _gzip(self, exposition: Exposition) -> bytes:
        plain, compressed = self._compressed
        if plain is not exposition.body:
            observer = self._source.observer
            with observer.phase("compress"):
                compressed = zlib.compress(exposition.body, _GZIP_LEVEL, _GZIP_FORMAT)
            observer.size(exposition.content_type, len(compressed), encoding="gzip")
            self._compressed = (exposition.body, compressed)
        return compressed

    def _health(self) -> Response:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._since))
        return _text(200, f"alive since {since}\n")

    def _ready(self) -> Response:
        if self._source.is_ready:
            return _text(200, "ready\n")
        return _text(503, "not ready: no meter provider uses the metric reader, or it was shut down\n")


def joined_headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by lower-case name; a field that comes several times is one list.

    https://www.rfc-editor.org/rfc/rfc9110#name-field-order
    """
    result: dict[str, str] = {}
    for name, value in items:
        key = name.lower()
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result


def _text(status: int, text: str, *headers: tuple[str, str]) -> Response:
    body = text.encode()
    content = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status, (content, *headers, ("Content-Length", str(len(body)))), body)


def _query(query: str) -> list[tuple[str, str]]:
    try:
        # The bound is far above any scraper's, and well below what would keep a thread busy.
        return parse_qsl(query, max_num_fields=1000)
    except ValueError:
        return []


FAILED = _text(500, "the scrape failed; the application's log says why\n")
