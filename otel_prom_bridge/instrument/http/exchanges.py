"""Requests to a server, whatever its interface: what is recorded of each, and of which nothing is.

A request is an operation, so it is recorded once however it ends. Its three histograms may be sampled. What a
sample leaves out is counted in ``http.server.unsampled_requests`` with the same attributes, so the number of
requests stays exact: it is the count of a histogram plus that counter.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable, MutableMapping
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.metrics import MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.http.routes import Templates
from otel_prom_bridge.instrument.scope import scope_of
from otel_prom_bridge.recording.active import Begun, Count, OperationKey
from otel_prom_bridge.recording.operations import ERROR_TYPE, Operation, is_cancelled
from otel_prom_bridge.rules import Rule
from otel_prom_bridge.values.checks import BOOLEAN, is_number

EXCLUDED = ("/health", "/metrics")
# "HTTP request method value SHOULD be 'known' to the instrumentation." Any client can make up others.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)
_OTHER = "_OTHER"
_RECORDED = "otel_prom_bridge.http.recorded"
_SCHEMES = frozenset({"http", "https", "ws", "wss"})
_VERSIONS = frozenset({"1.0", "1.1", "2", "3"})
_SERVER_ERROR = 500
_LONGEST_NUMBER = 20


class HttpServer:
    """Records the requests of one application.

    ``exclude`` are paths of which nothing is recorded, with all that is below them. ``sample`` is the part of
    the requests that is recorded in histograms. ``template`` makes a route of a path where no framework says
    which route it was; None leaves the route out.

    Raises ConfigurationError for an argument that is wrong.
    """

    def __init__(
        self,
        *,
        exclude: Iterable[str],
        sample: float,
        sizes: bool,
        template: Rule | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        self.excluded = _paths(exclude)
        if not (is_number(sample) and 0 <= sample <= 1):
            raise ConfigurationError("sample", sample, "a number from 0 to 1")
        if template is not None and not callable(template):
            raise ConfigurationError("template", template, "a function from a path to a template, or None")
        self.sample = float(sample)
        self.sizes = BOOLEAN.value("sizes", sizes)
        self.templates = Templates(template)
        self.scope = scope_of(meter_provider)
        self.active = self.scope.active(conventions.HTTP_ACTIVE)
        self.connections = self.scope.active(conventions.HTTP_CONNECTIONS)
        recorder = self.scope.measurements.recorder
        self.record_duration = recorder(conventions.HTTP_DURATION)
        self.record_request_size = recorder(conventions.HTTP_REQUEST_SIZE)
        self.record_response_size = recorder(conventions.HTTP_RESPONSE_SIZE)
        self._identities: dict[tuple[str, str, str], Identity] = {}

    def is_excluded(self, path: str) -> bool:
        """Whether nothing is recorded of this path."""
        return path in self.excluded[0] or path.startswith(self.excluded[1])

    def is_first(self, request: MutableMapping[str, Any]) -> bool:
        """Whether no middleware around this one records the same request for the same provider.

        ``request`` is a scope of ASGI or an environ of WSGI, and keeps that.
        """
        recorded = request.get(_RECORDED, ())
        if self.scope in recorded:
            return False
        request[_RECORDED] = (*recorded, self.scope)
        return True

    def identity(self, method: str, scheme: str, version: str) -> Identity:
        """What a request with this method, scheme and version of HTTP has in common with others."""
        known = self._identities.get((method, scheme, version))
        if known is not None:
            return known
        method = method if method in _METHODS else _OTHER
        scheme = scheme if scheme in _SCHEMES else "http"
        version = version if version in _VERSIONS else ""
        key = method, scheme, version
        return self._identities.get(key) or self._identities.setdefault(key, self._identity(*key))

    def _identity(self, method: str, scheme: str, version: str) -> Identity:
        attributes: dict[str, AttributeValue] = {"http.request.method": method, "url.scheme": scheme}
        active = self.active.key(attributes), None
        connection = self.connections.key({"url.scheme": scheme})
        if version:
            attributes["network.protocol.version"] = version
        return Identity(attributes, active, connection)


class Identity(NamedTuple):
    """What many requests have in common. There are as many as there are methods, schemes and versions."""

    attributes: dict[str, AttributeValue]
    active: Count
    connection: OperationKey


def _paths(exclude: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    if isinstance(exclude, str) or not isinstance(exclude, Iterable):
        raise ConfigurationError("exclude", exclude, "a list of paths")
    paths = list(exclude)
    for path in paths:
        if not (isinstance(path, str) and path.startswith("/")):
            raise ConfigurationError("exclude", path, "a path that begins with a slash")
    plain = {path.rstrip("/") or "/" for path in paths}
    return frozenset(plain), tuple(f"{path}/" for path in sorted(plain - {"/"}))


class HttpRequest(Operation):
    """A request that goes on. What is known of it is set while it runs."""

    __slots__ = (
        *("_client", "_going_on", "_identity", "_path", "_server"),
        *("received", "request_size", "route", "sent", "status"),
    )

    def __init__(
        self, server: HttpServer, method: str, path: str, scheme: str, version: str, client: Hashable
    ) -> None:
        self._server = server
        self._identity = server.identity(method, scheme, version)
        self._path = path
        self._client = client
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._going_on: Begun | None = None
        self.status: int | None = None
        self.route: str | None = None
        self.request_size: int | None = None  # as the client said
        self.received = 0  # bytes of its body that the application has read
        self.sent = 0  # bytes of the body of the answer

    def answered(self, status: int) -> None:
        """The answer has begun, with this status."""
        self.status = int(status)  # it may be a member of an enumeration, or a text of a careless application
        # Whoever traces the request may have begun its span after we began, and it goes on now.
        now = get_current()
        if now is not self._context and not trace.get_current_span(self._context).get_span_context().is_valid:
            self._context = now

    def _on_start(self) -> None:
        identity = self._identity
        connection = identity.connection, self._client
        self._going_on = self._server.active.begin_as(identity.active, connection)

    def _on_end(self, took: float, error: str | None) -> None:
        server = self._server
        server.active.end(self._going_on)
        attributes = self._described(error)
        context = self._context
        if server.sample < 1 and random.random() >= server.sample:
            server.scope.record(conventions.HTTP_UNSAMPLED, 1, attributes, context)
            return
        server.record_duration(took, attributes, context)
        if not server.sizes:
            return
        if attributes["http.request.method"] == "HEAD":
            self.sent = 0  # the server leaves out what the application sends
        received = self.received if self.request_size is None else self.request_size
        server.record_request_size(received, attributes, context)
        server.record_response_size(self.sent, attributes, context)

    def _described(self, error: str | None) -> dict[str, AttributeValue]:
        attributes = dict(self._identity.attributes)
        status = self.status
        if status is None and error is not None and not is_cancelled(error):
            status = _SERVER_ERROR  # which is what servers answer for an application that raised
        route = self.route or self._server.templates.route(self._path, status)
        if route is not None:
            attributes["http.route"] = route
        if status is not None:
            attributes["http.response.status_code"] = status
            # "If the request has completed successfully, instrumentations SHOULD NOT set error.type." Of
            # statuses only 5xx are errors of a server.
            if error is None and status >= _SERVER_ERROR:
                error = str(status)
        if error is not None:
            attributes[ERROR_TYPE] = error
        return attributes


def length_of(text: str | bytes) -> int | None:
    """The number that a Content-Length says, if it is one."""
    return int(text) if text.isdigit() and text.isascii() and len(text) < _LONGEST_NUMBER else None
