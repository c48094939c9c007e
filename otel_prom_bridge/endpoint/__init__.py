"""The HTTP endpoint. Its core does no I/O; WSGI, ASGI and a server of our own are thin spellings of it."""

from __future__ import annotations

from otel_prom_bridge.endpoint.apps import make_asgi_app, make_wsgi_app
from otel_prom_bridge.endpoint.server.server import MetricsServer, start_http_server

__all__ = ["MetricsServer", "make_asgi_app", "make_wsgi_app", "start_http_server"]
