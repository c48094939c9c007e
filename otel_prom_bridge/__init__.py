"""The Prometheus bridge for OpenTelemetry metrics.

The names here are imported when they are used. The recorders of :mod:`otel_prom_bridge.genai` need only the
OpenTelemetry API, so importing them loads no bridge and no SDK. ``__version__`` is read from the metadata of
the installed package when somebody asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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

_NAMES = {
    "bridge": ("Bridge", "serve_inherited", "start"),
    "views.computations": ("FirstOf", "Outcome"),
    "diagnostics": ("Conflict",),
    "endpoint": ("MetricsServer", "make_asgi_app", "make_wsgi_app", "start_http_server"),
    "endpoint.guards": ("Guards", "RateLimit"),
    "endpoint.health": ("Health",),
    "endpoint.server.limits": ("ServerLimits",),
    "endpoint.files.tls": ("Tls", "TlsSettings"),
    "errors": (
        "BridgeError",
        "CollectionError",
        "ConfigurationError",
        "ConflictError",
        "EndpointError",
        "RegistrationError",
        "SerializationError",
        "TranslationError",
    ),
    "views.exemplars": ("Exemplars",),
    "exposition": ("Exposition",),
    "views.tenants": ("Tenants",),
    "views.policy": ("Policy",),
    "profiles": ("Profile", "load_profile"),
    "reader.reader": ("PrometheusMetricReader",),
    "push.reader": ("PushReader",),
    "translate": ("TranslationStrategy",),
    "views.view": ("ExportView",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # which takes a millisecond

    try:
        return version("otel-prom-bridge")
    except PackageNotFoundError:  # a copy of the code, for example in a bundle
        raise AttributeError(f"module {__name__!r} has no metadata that say its version") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
