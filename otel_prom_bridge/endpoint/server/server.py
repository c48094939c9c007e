"""The endpoint on a port of its own, as users start it and close it.

Opening (``listeners``) may fail, and the error says why. Serving (``loop``) may not fail. It listens on TCP
(``addr`` and ``port``), on a path (``unix_socket``), or on the sockets that systemd opened
(``addr="systemd"``). The last is never guessed from the environment, because ``LISTEN_FDS`` may be meant for
the application, and we would take the application's own port.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

from otel_prom_bridge.diagnostics import logger
from otel_prom_bridge.endpoint.files.tls import CERTIFICATES, Certificates
from otel_prom_bridge.endpoint.files.webconfig import load
from otel_prom_bridge.endpoint.guards import GUARDS, Guards
from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.messages import METRICS_PATH, Handler
from otel_prom_bridge.endpoint.pages import Pages, Wanted, check_guarded, pages_of
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.endpoint.served import Served, checked_source
from otel_prom_bridge.endpoint.server.limits import LIMITS, ServerLimits
from otel_prom_bridge.endpoint.server.listeners import SYSTEMD, Listener, open_systemd, open_tcp, open_unix
from otel_prom_bridge.endpoint.server.loop import Loop
from otel_prom_bridge.errors import ConfigurationError, EndpointError
from otel_prom_bridge.values.checks import BOOLEAN, HOST, PORT, SOCKET

DEFAULT_PORT = 9464  # the specification's
DEFAULT_ADDRESS = "localhost"


class MetricsServer:
    """An endpoint, as :func:`start_http_server` starts it.

    ``address`` is an IP address, or the path of a Unix socket, whose ``port`` is 0. An endpoint that could
    not be opened, and that need not be (``strict=False``), has the address and the port that it should have
    had.
    """

    def __init__(
        self, address: str, port: int, *, loop: Loop | None, scheme: str = "http", path: str = METRICS_PATH
    ) -> None:
        self.address = address
        self.port = port
        self._loop = loop
        self._scheme = scheme
        self._path = path

    @property
    def is_serving(self) -> bool:
        """Whether it answers requests: it was opened, it is not closed, and this process is not a fork."""
        return self._loop is not None and self._loop.is_running

    @property
    def url(self) -> str:
        """Where the metrics are: ``http://127.0.0.1:9464/metrics``, ``http+unix://%2Frun%2Fapp.sock/metrics``."""
        if "/" in self.address:
            return f"{self._scheme}+unix://{quote(self.address, safe='')}{self._path}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self._scheme}://{host}:{self.port}{self._path}"

    def close(self) -> None:
        """Stop serving, end all connections and free the port.

        This takes about two seconds at most, whatever clients and callbacks do. A second call does nothing.
        It may be called from any thread and from a signal handler.
        """
        if self._loop is not None:
            self._loop.stop()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_http_server(
    source: Served,
    port: int | None = None,
    addr: str | None = None,
    *,
    unix_socket: str | os.PathLike[str] | None = None,
    metrics_path: str | None = None,
    cache_ttl: float | None = None,
    compression_threshold: int | bool | None = None,
    health: Health | bool | None = None,
    web_config: str | os.PathLike[str] | None = None,
    tls: Certificates | None = None,
    guards: Guards | None = None,
    strict: bool = True,
    limits: ServerLimits | None = None,
    explorer: Wanted | Pages = None,
    trace_url: str | None = None,
) -> MetricsServer:
    """Serve a reader over HTTP, from a daemon thread. It closes when the reader shuts down.

    Args:
        source: a ``PrometheusMetricReader``, or another reader of this package.
        port: the TCP port, 9464 unless told; 0 for a free one (see ``.port`` of the result).
        addr: a host name or an IPv4 or IPv6 address. The default, ``localhost``, keeps the endpoint on
            this machine; ``0.0.0.0`` or ``::`` opens it to the network. ``systemd`` takes the sockets that
            systemd opened for this process, ``systemd:NAME`` those of them with that ``FileDescriptorName``;
            the port does not matter then.
        unix_socket: the path of a Unix socket to listen on, instead of ``addr`` and ``port``.
        metrics_path: where the metrics are, ``/metrics`` unless told otherwise.
        cache_ttl: for how many seconds a complete answer is given again, 0 for never; None for one second.
        compression_threshold: from how many bytes on a body is compressed, 1024 unless told; False for
            never.
        health: the answers of ``/health`` and ``/ready``; False for none.
        web_config: the path of a ``web-config.yml``, as exporters have it, instead of ``tls`` and ``guards``.
        tls: certificates; without them it is plain HTTP.
        guards: who may ask.
        strict: raise if the endpoint cannot be opened. Otherwise that is logged, and ``.is_serving`` of the
            result is False: an application need not fail for want of metrics.
        limits: deadlines and bounds.
        explorer: a page at ``/`` and ``/explorer`` that shows what is here. An address that others reach
            needs a guard then, or ``"public"``.
        trace_url: where the page finds a trace: a URL with ``{trace_id}`` in it.

    Raises:
        ConfigurationError: an argument is not what it may be: the port not a port, the source not a reader.
        EndpointError: the address cannot be bound, usually because something else uses the port; or the
            reader was shut down.
    """
    checked_source(source)
    port, addr, unix_socket = _checked_place(port, addr, unix_socket)
    CERTIFICATES.optional("tls", tls)
    GUARDS.optional("guards", guards)
    LIMITS.optional("limits", limits)
    BOOLEAN.value("strict", strict)
    if web_config is not None:
        tls, guards = _of_file(web_config, tls, guards)
    pages = explorer if isinstance(explorer, Pages) else pages_of(source, explorer, trace_url=trace_url)
    scrape = Scrape(
        source,
        pages=pages,
        metrics_path=metrics_path,
        cache_ttl=cache_ttl,
        compression_threshold=compression_threshold,
        health=health,
        problem=_problem(tls, guards),
        certificates=tls,
    )
    try:
        if source.is_shut_down:
            advice = "the metric reader was shut down; serve a new one"
            raise EndpointError(errno.ESHUTDOWN, f"cannot serve metrics: {advice}")
        listeners = _open(
            addr, port, unix_socket, check=partial(check_guarded, pages, tls=tls, guards=guards)
        )
        return _serve(
            source, scrape, listeners, path=scrape.metrics_path, tls=tls, guards=guards, limits=limits
        )
    except EndpointError as error:
        if strict:
            raise
        return not_serving(error, addr, port, unix_socket=unix_socket, metrics_path=scrape.metrics_path)


def not_serving(
    error: Exception | None, addr: str, port: int, *, unix_socket: str | None, metrics_path: str
) -> MetricsServer:
    """What there is instead of an endpoint. The log says why, unless it does so already (``error=None``)."""
    if isinstance(error, ConfigurationError | OSError):
        logger.error("metrics are recorded but not served: %s", error)
    elif error is not None:
        logger.error("metrics are recorded but not served", exc_info=error)
    return MetricsServer(unix_socket or addr, 0 if unix_socket else port, loop=None, path=metrics_path)


def _checked_place(port: object, addr: object, unix_socket: object) -> tuple[int, str, str | None]:
    if unix_socket is not None and (port is not None or addr is not None):
        raise ConfigurationError(
            "unix_socket", unix_socket, "no `port` or `addr` beside it; give one of the two"
        )
    return (
        PORT.optional("port", port, DEFAULT_PORT),
        HOST.optional("addr", addr, DEFAULT_ADDRESS),
        SOCKET.optional("unix_socket", unix_socket),
    )


def _problem(*parts: Certificates | Guards | None) -> Callable[[], str | None] | None:
    """Why something in front of the metrics is older than its files."""
    watching = [part for part in parts if part is not None]

    def problem() -> str | None:
        return "; ".join(found for part in watching if (found := part.problem)) or None

    return problem if watching else None


def _of_file(
    web_config: str | os.PathLike[str], tls: Certificates | None, guards: Guards | None
) -> tuple[Certificates | None, Guards | None]:
    """What stands in a ``web-config.yml``, and may not be given beside it."""
    if tls is not None or guards is not None:
        raise ConfigurationError("web_config", web_config, "no such file beside `tls` or `guards`")
    config = load(web_config)
    return config.tls, config.guards()


def _open(
    addr: str, port: int, unix_socket: str | None, *, check: Callable[[Sequence[str]], None]
) -> Sequence[Listener]:
    """The sockets to listen on. ``check`` raises if nobody may listen at their addresses."""
    listeners = _listeners(addr, port, unix_socket)
    try:
        check([listener.address for listener in listeners])
    except ConfigurationError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listeners(addr: str, port: int, unix_socket: str | None) -> Sequence[Listener]:
    if unix_socket is not None:
        return [open_unix(unix_socket)]
    if addr == SYSTEMD or addr.startswith(f"{SYSTEMD}:"):
        return open_systemd(addr.partition(":")[2] or None)
    return [open_tcp(addr, port)]


def _serve(
    source: Served,
    handler: Handler,
    listeners: Sequence[Listener],
    *,
    path: str,
    tls: Certificates | None,
    guards: Guards | None,
    limits: ServerLimits | None,
) -> MetricsServer:
    forget: list[Callable[[], object]] = []
    try:
        if guards is not None:
            handler = guards.wrap(handler)
        loop = Loop(
            listeners,
            handler,
            tls=tls,
            accepts=None if guards is None else guards.accepts,
            limits=limits,
            on_end=lambda: [forgetting() for forgetting in forget],
        )
        loop.start()
    except (OSError, RuntimeError) as error:  # no descriptors, no threads
        for listener in listeners:
            listener.close()
        text = f"cannot serve metrics on {listeners[0].address!r}: {error}"
        number = getattr(error, "errno", None)
        raise (EndpointError(text) if number is None else EndpointError(number, text)) from error
    first = listeners[0]
    scheme = "http" if tls is None else "https"
    server = MetricsServer(first.address, first.port, loop=loop, scheme=scheme, path=path)
    forget.append(source.on_shutdown(server.close))
    if not server.is_serving:  # the loop ended before it knew whom to tell
        forget[0]()
    return server
