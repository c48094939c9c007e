"""The HTTP endpoint. Its core does no I/O; WSGI, ASGI and a server of our own are thin spellings of it.

Each name is imported when it is used: the server alone needs no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.lazy import names_of

if TYPE_CHECKING:
    from otel_prom_bridge.endpoint.apps import make_asgi_app, make_wsgi_app
    from otel_prom_bridge.endpoint.server.server import MetricsServer, start_http_server

__all__ = ["MetricsServer", "make_asgi_app", "make_wsgi_app", "start_http_server"]

_HOMES = {
    "otel_prom_bridge.endpoint.apps": ("make_asgi_app", "make_wsgi_app"),
    "otel_prom_bridge.endpoint.server.server": ("MetricsServer", "start_http_server"),
}
if not TYPE_CHECKING:  # so that checkers refuse a name that is not there
    __getattr__ = names_of(__name__, _HOMES)
