"""A ``MeterProvider`` whose instruments write straight into the store, without the SDK's metrics."""

from __future__ import annotations

from otel_prom_bridge.direct.provider import DirectMeterProvider
from otel_prom_bridge.direct.reader import DirectReader

__all__ = ["DirectMeterProvider", "DirectReader"]
