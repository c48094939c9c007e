"""The Prometheus bridge for OpenTelemetry metrics."""

from __future__ import annotations

from otel_prom_bridge.bridge import Bridge, start
from otel_prom_bridge.computations import FirstOf, Outcome
from otel_prom_bridge.diagnostics import Conflict
from otel_prom_bridge.endpoint import (
    MetricsServer,
    make_asgi_app,
    make_wsgi_app,
    start_http_server,
)
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
from otel_prom_bridge.exemplars import Exemplars
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.limits import Tenants
from otel_prom_bridge.policy import Policy
from otel_prom_bridge.profiles import Profile, load_profile
from otel_prom_bridge.reader import PrometheusMetricReader
from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.views import ExportView

__all__ = [
    "start",
    "Bridge",
    "PrometheusMetricReader",
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
    "BridgeError",
    "ConfigurationError",
    "RegistrationError",
    "TranslationError",
    "ConflictError",
    "CollectionError",
    "SerializationError",
    "EndpointError",
]
