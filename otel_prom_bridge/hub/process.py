"""The process of a hub: both of its servers, how it begins, and when it ends.

A hub on its own ends when it is told to. One that ``run`` has started belongs to a program. It ends some
seconds after the program, so that there is a last scrape, and not before all who push have ended, too.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from otel_prom_bridge.configuration.serving import serve
from otel_prom_bridge.configuration.settings import Settings
from otel_prom_bridge.diagnostics import endpoint_logger, logger
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.endpoint.server.listeners import Listener, open_tcp
from otel_prom_bridge.endpoint.server.loop import Loop
from otel_prom_bridge.endpoint.server.server import MetricsServer
from otel_prom_bridge.errors import BridgeError, ConfigurationError, EndpointError
from otel_prom_bridge.hub import places
from otel_prom_bridge.hub.guardian import IGNORED, READY, WATCHED, Program, be_silent
from otel_prom_bridge.hub.hub import Hub

TOKEN = "OTEL_PROM_BRIDGE_HUB_TOKEN"
_LOCALHOST = "127.0.0.1"
# Beside one connection for each process: those that are about to close, and strangers.
_MORE_CONNECTIONS = 64
_IN_FLIGHT = 64
_REQUEST_SECONDS = 15.0
# A worker that is idle keeps its connection, whatever its interval is.
_IDLE_SECONDS = 600.0
_POLL_SECONDS = 0.1
# For a hub that has promised to end.
_WAY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """A hub that runs. ``socket`` and ``otlp`` are where to push to, by path and by URL."""

    hub: Hub
    server: MetricsServer
    socket: str
    otlp: str | None


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """A hub as the settings say, with its endpoint and its receiver.

    Raises:
        ConfigurationError: an option has a value that cannot work.
        EndpointError: a place where it is to listen cannot be had.
    """
    options = settings.hub
    users = _users(options["otlp_users"])
    token = _token(options["otlp_token_file"])
    if options["otlp_port"] is not None and token is None:
        expected = f"otlp_token_file or {TOKEN} beside it"
        raise ConfigurationError(_named(settings, "otlp_port"), options["otlp_port"], expected)
    _allow_files(4 * options["max_sources"])
    with ExitStack() as stack:
        hub = Hub(
            settings.reader,
            token=token,
            users=users,
            max_services=options["max_services"],
            max_sources=options["max_sources"],
            source_timeout=options["source_timeout"],
            max_push_size=options["max_push_size"],
        )
        stack.callback(hub.shutdown)
        server = stack.enter_context(_served(hub, settings))
        path = options["otlp_socket"] or str(places.folder() / "hub.sock")
        stack.callback(places.tidy, path)
        listeners = [places.open_socket(path, shared=bool(users))]
        stack.callback(listeners[0].close)
        if options["otlp_port"] is not None:
            listeners.append(open_tcp(_LOCALHOST, options["otlp_port"]))
            stack.callback(listeners[1].close)
        loop = Loop(listeners, hub.receiver, limits=_limits(options["max_sources"]))
        loop.start()
        stack.callback(loop.stop)
        yield Running(hub, server, path, _url(listeners[1:]))


def _served(hub: Hub, settings: Settings) -> MetricsServer:
    """The endpoint. It has the place that it was told to have, and no other, or there is an error."""
    settings = replace(settings, endpoint={**settings.endpoint, "strict": True})
    try:
        return serve(hub, settings)
    except EndpointError as error:
        if error.errno != errno.EADDRINUSE or not places.make_way(settings.endpoint["port"]):
            raise
    # The socket of a hub that makes way goes before its port does.
    deadline = time.monotonic() + _WAY_SECONDS
    while True:
        try:
            return serve(hub, settings)
        except EndpointError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _limits(sources: int) -> ServerLimits:
    return ServerLimits(
        max_connections=sources + _MORE_CONNECTIONS,
        max_in_flight=_IN_FLIGHT,
        head_timeout=_REQUEST_SECONDS,
        idle_timeout=_IDLE_SECONDS,
    )


def _url(listeners: list[Listener]) -> str | None:
    return f"http://{listeners[0].address}:{listeners[0].port}" if listeners else None


def _named(settings: Settings, key: str) -> str:
    return settings.names.get(key, key)


def _token(path: str | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        token = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("otlp_token_file", path, f"a file that can be read ({error})") from None
    if not token or not token.isprintable() or " " in token:
        raise ConfigurationError("otlp_token_file", path, "a file with one token in it")
    return token


def _users(names: tuple[str, ...]) -> list[int]:
    import pwd

    found = []
    for name in names:
        try:
            found.append(int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise ConfigurationError("otlp_users", name, "the name or the number of a user") from None
    return found


def _allow_files(wanted: int) -> None:
    """Allow this process as many open files as it needs for its connections, if that is allowed."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve_until_told(settings: Settings) -> None:
    """Run a hub in the foreground, until a signal ends it."""
    told = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    # Before there are threads, so that none of them is the one that hears it.
    signal.pthread_sigmask(signal.SIG_BLOCK, told)
    _log_to_stderr("%(message)s")
    with running(settings) as found:
        logger.info("metrics: %s", found.server.url)
        logger.info("pushes:  %s", ", ".join(filter(None, (f"unix:{found.socket}", found.otlp))))
        signal.sigwait(told)


def serve_program(read: Callable[[], Settings]) -> int:
    """Run the hub of a program, as its guardian says in the environment, and return the exit code.

    If it cannot be started, its guardian hears why.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    program, ready = Program(os.environ.pop(WATCHED)), int(os.environ.pop(READY))
    _log_to_stderr("otel-prom-bridge: %(message)s")
    try:
        settings = read()
        with running(settings) as found:
            _tell(ready, {"socket": found.socket, "otlp": found.otlp, "url": found.server.url})
            while not program.ends_within(3600):
                pass
            be_silent()
            _linger(found.hub, found.server, settings.hub["linger"])
    except BridgeError as error:
        _tell(ready, {"error": getattr(error, "strerror", None) or str(error)})
        return 1
    return 0


def is_of_program() -> bool:
    """Whether a guardian has started this process."""
    return WATCHED in os.environ


def _tell(ready: int, found: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it was told before, or nobody waits
        os.write(ready, json.dumps(found).encode())
        os.close(ready)


def _linger(hub: Hub, server: MetricsServer, seconds: float) -> None:
    """Serve on while somebody may still push, and then until a scraper had its time.

    Another hub that needs the port need not wait for the second.
    """
    is_over = threading.Event()

    def make_way(port: int) -> bool:
        if port != server.port or hub.receiver.is_in_use:
            return False
        is_over.set()
        return True

    hub.receiver.on_make_way(make_way)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_over.wait(_POLL_SECONDS):
        if hub.receiver.is_in_use:
            deadline = time.monotonic() + seconds
    time.sleep(_POLL_SECONDS)  # an answer may be on its way


def _log_to_stderr(form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    endpoint_logger.setLevel(logging.WARNING)
