"""The Prometheus bridge for OpenTelemetry metrics.

The names here are imported when they are used. The recorders of :mod:`otel_prom_bridge.genai` need only the
OpenTelemetry API, so importing them loads no bridge and no SDK. ``__version__`` is read from the metadata of
the installed package when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.installed import release_of
from otel_prom_bridge.lazy import names_of

if TYPE_CHECKING:
    __version__: str

    from otel_prom_bridge.bridge import Bridge, serve_inherited, start
    from otel_prom_bridge.diagnostics import Conflict
    from otel_prom_bridge.endpoint import (
        MetricsServer,
        make_asgi_app,
        make_wsgi_app,
        start_http_server,
    )
    from otel_prom_bridge.endpoint.files.tls import Tls, TlsSettings
    from otel_prom_bridge.endpoint.guards import Guards, RateLimit
    from otel_prom_bridge.endpoint.health import Health
    from otel_prom_bridge.endpoint.server.limits import ServerLimits
    from otel_prom_bridge.errors import (
        BridgeError,
        CollectionError,
        ConfigurationError,
        ConflictError,
        EndpointError,
        RegistrationError,
        SerializationError,
        TranslationError,
    )
    from otel_prom_bridge.exposition import Exposition
    from otel_prom_bridge.profiles import Profile, load_profile
    from otel_prom_bridge.push.reader import PushReader
    from otel_prom_bridge.reader.reader import PrometheusMetricReader
    from otel_prom_bridge.translate import TranslationStrategy
    from otel_prom_bridge.views.computations import FirstOf, Outcome
    from otel_prom_bridge.views.exemplars import Exemplars
    from otel_prom_bridge.views.policy import Policy
    from otel_prom_bridge.views.tenants import Tenants
    from otel_prom_bridge.views.view import ExportView

__all__ = [
    "start",
    "Bridge",
    "serve_inherited",
    "PrometheusMetricReader",
    "PushReader",
    "TranslationStrategy",
    "ExportView",
    "FirstOf",
    "Outcome",
    "Tenants",
    "Exemplars",
    "Policy",
    "Profile",
    "load_profile",
    "Exposition",
    "Conflict",
    "start_http_server",
    "MetricsServer",
    "make_wsgi_app",
    "make_asgi_app",
    "Guards",
    "RateLimit",
    "Tls",
    "TlsSettings",
    "Health",
    "ServerLimits",
    "BridgeError",
    "ConfigurationError",
    "RegistrationError",
    "TranslationError",
    "ConflictError",
    "CollectionError",
    "SerializationError",
    "EndpointError",
]

_HOMES = {
    "otel_prom_bridge.bridge": ("Bridge", "serve_inherited", "start"),
    "otel_prom_bridge.views.computations": ("FirstOf", "Outcome"),
    "otel_prom_bridge.diagnostics": ("Conflict",),
    "otel_prom_bridge.endpoint": ("MetricsServer", "make_asgi_app", "make_wsgi_app", "start_http_server"),
    "otel_prom_bridge.endpoint.guards": ("Guards", "RateLimit"),
    "otel_prom_bridge.endpoint.health": ("Health",),
    "otel_prom_bridge.endpoint.server.limits": ("ServerLimits",),
    "otel_prom_bridge.endpoint.files.tls": ("Tls", "TlsSettings"),
    "otel_prom_bridge.errors": (
        "BridgeError",
        "CollectionError",
        "ConfigurationError",
        "ConflictError",
        "EndpointError",
        "RegistrationError",
        "SerializationError",
        "TranslationError",
    ),
    "otel_prom_bridge.views.exemplars": ("Exemplars",),
    "otel_prom_bridge.exposition": ("Exposition",),
    "otel_prom_bridge.views.tenants": ("Tenants",),
    "otel_prom_bridge.views.policy": ("Policy",),
    "otel_prom_bridge.profiles": ("Profile", "load_profile"),
    "otel_prom_bridge.reader.reader": ("PrometheusMetricReader",),
    "otel_prom_bridge.push.reader": ("PushReader",),
    "otel_prom_bridge.translate": ("TranslationStrategy",),
    "otel_prom_bridge.views.view": ("ExportView",),
}
_named = names_of(__name__, _HOMES)


if not TYPE_CHECKING:  # so that checkers refuse a name that is not there

    def __getattr__(name: str) -> object:
        return _release() if name == "__version__" else _named(name)


def _release() -> str:
    found = release_of("otel-prom-bridge")
    if found is None:
        raise AttributeError(f"module {__name__!r} has no metadata that say its version")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
