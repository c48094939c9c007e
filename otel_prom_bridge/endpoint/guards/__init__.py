"""Who gets to the scrape. Requests pass networks, rates, room and credentials, in this order."""

from __future__ import annotations

from otel_prom_bridge.endpoint.guards.gate import GUARDS, Guards
from otel_prom_bridge.endpoint.guards.rate import RateLimit

__all__ = ["Guards", "RateLimit", "GUARDS"]
