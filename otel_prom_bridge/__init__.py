"""The Prometheus bridge for OpenTelemetry metrics."""

from __future__ import annotations

from otel_prom_bridge.errors import (
    BridgeError,
    ConfigurationError,
    ConflictError,
    EndpointError,
    TranslationError,
)
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.reader import PrometheusMetricReader
from otel_prom_bridge.translate import TranslationStrategy

__all__ = [
    "PrometheusMetricReader",
    "TranslationStrategy",
    "Exposition",
    "BridgeError",
    "ConfigurationError",
    "ConflictError",
    "EndpointError",
    "TranslationError",
]
