"""A middleware for WSGI applications: Flask, Django and whatever else there is.

A request ends when the server has asked for the last part of the answer. What the server closes before that,
or drops, was cancelled by the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeAlias

from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.http.exchanges import EXCLUDED, HttpRequest, HttpServer, length_of
from otel_prom_bridge.instrument.http.routes import wsgi_route
from otel_prom_bridge.recording.operations import CANCELLED
from otel_prom_bridge.recording.reports import failed, guarded
from otel_prom_bridge.recording.streams import How
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
        script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
        excluded = self._server.is_excluded
        if excluded(path) or (script and excluded(script + path)) or not self._server.is_first(environ):
            return self._app(environ, start_response)
        try:
            exchange = _Exchange(self._server, environ, start_response)
        except Exception as error:  # no server says what we do not understand, but a test may
            failed("a request", error)
            return self._app(environ, start_response)
        exchange.start()
        try:
            body = self._app(environ, exchange.start_response)
            return exchange.body(body)
        except BaseException as error:
            exchange.ended(error, "over")
            raise


class _Exchange(HttpRequest):
    """One request, and what passes between the server and the application."""

    __slots__ = ("_environ", "_headers", "_input", "_root", "_start_response")

    def __init__(self, server: HttpServer, environ: Environ, start_response: StartResponse) -> None:
        self._environ = environ
        self._root: str = environ.get("SCRIPT_NAME", "")
        self._start_response = start_response
        self._headers: list[tuple[str, str]] = []  # of the answer
        super().__init__(
            server,
            environ.get("REQUEST_METHOD", ""),
            _path(environ),
            environ.get("wsgi.url_scheme", "http"),
            _VERSIONS.get(environ.get("SERVER_PROTOCOL", ""), ""),
            None,  # a connection has one request at a time
        )
        said = environ.get("CONTENT_LENGTH")
        self.request_size = length_of(said) if said else None
        self._input: _Input | None = None
        if self.request_size is None and "wsgi.input" in environ:
            self._input = environ["wsgi.input"] = _Input(environ["wsgi.input"])

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """The application begins its answer."""
        try:
            # Flask forgets the request before the server has read the answer.
            self.route = self._found_route()
            self.answered(int(status[:3]))
        except Exception as error:
            failed("a status", error)
        self._headers = headers
        arguments = (status, headers) if exc_info is None else (status, headers, exc_info)
        write = self._start_response(*arguments)

        def counted(part: bytes) -> object:
            self.sent += len(part)
            return write(part)

        return counted

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The same body, which says when it has ended."""
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            # The server recognizes a file that it can send without us, and would not recognize ours.
            with guarded("the length of a file"):
                self.sent = self._said_length()
            self.ended(None, "over")
            return body
        return _SizedBody(self, body) if hasattr(body, "__len__") else _Body(self, body)

    def _found_route(self) -> str | None:
        return wsgi_route(self._environ, self._root, self._server.templates)

    def _said_length(self) -> int:
        """What the answer says of itself."""
        lengths = [value for name, value in self._headers if name.lower() == "content-length"]
        return (length_of(lengths[0]) if lengths else None) or 0

    def ended(self, error: BaseException | None, how: How) -> None:
        """The answer is over, or nobody wants the rest of it."""
        if not self.running:
            return
        if self.route is None:
            try:
                self.route = self._found_route()
            except Exception as failure:
                failed("the route of a request", failure)
        if self._input is not None:
            self.received = self._input.count
        if how == "over":
            self.end(error)
        else:  # perhaps from the garbage collector, where nothing can be recorded
            self._end_later(None if self._environ.get("REQUEST_METHOD") == "HEAD" else CANCELLED)


def _path(environ: Environ) -> str:
    # "WSGI strings" are bytes that were decoded as latin-1.
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


class _Body:
    """The parts of an answer.

    It is a stream as those of ``recording.streams``, with what servers ask of it and nothing else.
    """

    __slots__ = ("_exchange", "_parts", "_source")

    def __init__(self, exchange: _Exchange, source: Iterable[bytes]) -> None:
        self._parts = iter(source)
        self._source: Any = source
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._parts)
        except StopIteration:
            self._exchange.ended(None, "over")
            raise
        except BaseException as error:
            self._exchange.ended(error, "over")
            raise
        if isinstance(part, bytes):
            self._exchange.sent += len(part)
        return part

    def close(self) -> None:
        """The server wants no more of it."""
        try:
            if hasattr(self._source, "close"):
                self._source.close()
        finally:
            self._exchange.ended(None, "closed")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def __del__(self) -> None:
        try:
            if self._exchange.running:
                self._exchange.ended(None, "dropped")
        except Exception:  # at the end of the interpreter the names used may be gone
            pass


class _SizedBody(_Body):
    """The same of a list. Servers that know the number of parts know the length of a single one."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._source)


class _Input:
    """The body of a request whose length nobody said; it counts what is read."""

    __slots__ = ("_source", "count")

    def __init__(self, source: Any) -> None:
        self._source = source
        self.count = 0

    def _count(self, part: bytes) -> bytes:
        self.count += len(part)
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
