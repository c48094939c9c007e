"""A middleware for WSGI applications: Flask, Django and whatever else there is.

A request ends when the server has asked for the last part of the answer. What the server closes before that,
or drops, was cancelled by the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TypeAlias

from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.http.exchanges import EXCLUDED, HttpServer, Request, length_of
from otel_prom_bridge.instrument.http.routes import wsgi_route
from otel_prom_bridge.recording.operations import CANCELLED
from otel_prom_bridge.recording.reports import guarded
from otel_prom_bridge.recording.streams import How, Stream
from otel_prom_bridge.rules import PathTemplate, Rule

Environ: TypeAlias = dict[str, Any]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write: TypeAlias = Callable[[bytes], object]
StartResponse: TypeAlias = Callable[..., Write]
WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


_VERSIONS = {
    "HTTP/1.0": "1.0",
    "HTTP/1.1": "1.1",
    **dict.fromkeys(("HTTP/2", "HTTP/2.0"), "2"),
    **dict.fromkeys(("HTTP/3", "HTTP/3.0"), "3"),
}


class WsgiMetrics:
    """Records the requests of a WSGI application. The options are those of :class:`AsgiMetrics`."""

    def __init__(
        self,
        app: WsgiApp,
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on to the application."""
        path = environ.get("PATH_INFO", "")
        if self._server.is_excluded(path) or self._server.is_excluded(environ.get("SCRIPT_NAME", "") + path):
            return self._app(environ, start_response)
        exchange = _Exchange(self._server, environ, start_response)
        try:
            body = self._app(environ, exchange.start_response)
            return exchange.body(body)
        except BaseException as error:
            exchange.ended(error, "over")
            raise


class _Exchange:
    """One request, and what passes between the server and the application."""

    def __init__(self, server: HttpServer, environ: Environ, start_response: StartResponse) -> None:
        self._environ = environ
        self._start_response = start_response
        self._request: Request = server.request(
            environ.get("REQUEST_METHOD", ""),
            _path(environ),
            environ.get("wsgi.url_scheme", "http"),
            _VERSIONS.get(environ.get("SERVER_PROTOCOL", ""), ""),
            None,  # a connection has one request at a time
        )
        self._request.request_size = length_of(environ.get("CONTENT_LENGTH") or "")
        if self._request.request_size is None and "wsgi.input" in environ:
            environ["wsgi.input"] = _Input(environ["wsgi.input"], self._request)
        self._length: int | None = None  # what the answer says of itself

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """The application begins its answer."""
        with guarded("a status"):
            # Flask forgets the request before the server has read the answer.
            self._request.route = wsgi_route(self._environ)
            self._request.answered(int(status[:3]))
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            self._length = length_of(lengths[0]) if lengths else None
        arguments = (status, headers) if exc_info is None else (status, headers, exc_info)
        write = self._start_response(*arguments)

        def counted(part: bytes) -> object:
            self._request.sent += len(part)
            return write(part)

        return counted

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The same body, which says when it has ended."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            # The server recognizes a file that it can send without us, and would not recognize ours.
            self._request.sent = self._length or 0
            self.ended(None, "over")
            return body
        made = _SizedBody if isinstance(body, Sized) else _Body
        return made(body, self._passed, self.ended)

    def _passed(self, part: object) -> None:
        if isinstance(part, bytes):
            self._request.sent += len(part)

    def ended(self, error: BaseException | None, how: How) -> None:
        """The answer is over, or nobody wants the rest of it."""
        request = self._request
        if not request.running:
            return
        with guarded("the route of a request"):
            request.route = wsgi_route(self._environ) or request.route
        if how == "over":
            request.end(error)
        else:  # perhaps from the garbage collector, where nothing can be recorded
            request._end_later(None if self._environ.get("REQUEST_METHOD") == "HEAD" else CANCELLED)


def _path(environ: Environ) -> str:
    # "WSGI strings" are bytes that were decoded as latin-1.
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


class _Body(Stream[bytes]):
    """The parts of an answer."""


class _SizedBody(_Body):
    """The same of a list. Servers that know the number of parts know the length of a single one."""

    def __len__(self) -> int:
        return len(self._source)  # type: ignore[arg-type]


class _Input:
    """The body of a request whose length nobody said; it counts what is read."""

    def __init__(self, source: Any, request: Request) -> None:
        self._source = source
        self._request = request

    def _count(self, part: bytes) -> bytes:
        self._request.received += len(part)
        return part

    def read(self, *size: int) -> bytes:
        return self._count(self._source.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._count(self._source.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._count(line) for line in self._source.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        for line in self._source:
            yield self._count(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)
