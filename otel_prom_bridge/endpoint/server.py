"""The endpoint on a port of its own: the only place that owns a socket.

The standard library's server does the HTTP; what it lacks for a place inside somebody else's process is
set here: a listen backlog that takes a burst of scrapers, a deadline on silent clients, one send per
response, daemon threads only, nothing on the host's stderr.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.scrape import Request, Response, Scrape, Source, joined_headers
from otel_prom_bridge.errors import ConfigurationError, EndpointError

DEFAULT_PORT = 9464  # the specification's
DEFAULT_ADDRESS = "localhost"
_SILENCE_SECONDS = 10.0  # how long a client may keep us waiting
_LONGEST_LINE = 65536


class MetricsServer:
    """A running endpoint; made by :func:`start_http_server`."""

    def __init__(self, server: _Server, source: Source) -> None:
        self._server = server
        self._closing = threading.Lock()
        self._closed = False
        self.address = str(server.server_address[0])
        self.port = int(server.server_address[1])
        self._thread = threading.Thread(
            target=server.serve_forever, args=(0.05,), name="otel-prom-bridge-server", daemon=True
        )
        self._thread.start()
        self._forget: Callable[[], object] = lambda: None
        on_shutdown = getattr(source, "on_shutdown", None)
        if on_shutdown is not None:
            self._forget = on_shutdown(self.close)

    @property
    def url(self) -> str:
        """Where the metrics are: ``http://127.0.0.1:9464/metrics``."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving and free the port. A second call does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._forget()
        self._thread.join(timeout=1)

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_http_server(source: Source, port: int = DEFAULT_PORT, addr: str = DEFAULT_ADDRESS) -> MetricsServer:
    """Serve a reader over HTTP, from a daemon thread. It closes when the reader shuts down.

    Args:
        source: a ``PrometheusMetricReader``.
        port: the TCP port; 0 for a free one (see ``.port`` of the result).
        addr: a host name or an IPv4 or IPv6 address. The default, ``localhost``, keeps the endpoint on
            this machine; ``0.0.0.0`` or ``::`` opens it to the network.

    Raises:
        ConfigurationError: the port is not a port, or the address not an address.
        EndpointError: the address cannot be bound, usually because something else uses the port.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError("port", port, "a whole number from 0 to 65535")
    if not isinstance(addr, str):
        raise ConfigurationError("addr", addr, "a host name or an IP address")
    return MetricsServer(_listen(addr, port, Scrape(source)), source)


def _listen(addr: str, port: int, scrape: Scrape) -> _Server:
    try:
        found = socket.getaddrinfo(addr, port, type=socket.SOCK_STREAM)
        # `localhost` is both 127.0.0.1 and ::1 on most machines; take the one that every client reaches.
        family, _, _, _, address = min(found, key=lambda info: info[0] is not socket.AF_INET)
        return _Server(family, address, scrape)
    except socket.gaierror as error:
        advice = "give an address of this machine, or a host name that leads to one"
        raise EndpointError(error.errno, _message(addr, port, error.strerror, advice)) from error
    except OSError as error:
        advice = "choose another port (0 takes a free one) or stop what uses it"
        raise EndpointError(error.errno, _message(addr, port, error.strerror, advice)) from error
    except UnicodeError as error:  # a host name that cannot be one, such as "a..b"
        raise ConfigurationError("addr", addr, "a host name or an IP address") from error


def _message(addr: str, port: int, reason: str | None, advice: str) -> str:
    return f"cannot serve metrics on address {addr!r}, port {port}: {reason}; {advice}"


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: Any, scrape: Scrape) -> None:
        self.address_family = family
        self.scrape = scrape
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def close_connections(self) -> None:
        """End the connections that are open, so that nobody goes on scraping a closed server."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks up the host's full name, which can take seconds and serves nobody.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that go away are everyday life; the base class would print a traceback to stderr.
        logger.debug("a connection from %s ended: %r", client_address, sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_SECONDS
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Let the server know the connection."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Let the server forget the connection."""
        self.server.connections.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        """Read one request and answer it; the base class would want a method per verb."""
        try:
            self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
            if len(self.raw_requestline) > _LONGEST_LINE:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                self.close_connection = True
                return
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
        except TimeoutError:
            self.close_connection = True
            return
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # no request of ours has a body, and we do not read this one
        path, query = _target(self.path)
        headers = joined_headers(self.headers.items())
        request = Request(method=self.command, path=path, query=query, headers=headers)
        self._send(self.server.scrape.respond(request))

    def _send(self, response: Response) -> None:
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines.append(f"Connection: {'close' if self.close_connection else 'keep-alive'}")
        # Head and body in one send: two would make a keep-alive client wait for its delayed ACK.
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + response.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the host's stderr silent."""
        logger.debug(format, *args)


def _target(target: str) -> tuple[str, str]:
    """Path and query of a request's target, which may be a whole URL; what is neither is an unknown path."""
    try:
        parts = urlsplit(target if "://" in target else f"//host{target}")
    except ValueError:
        return target, ""
    return (unquote(parts.path), parts.query) if target != "*" else ("*", "")
