"""Is an exposition as it should be? Conventions, costs, buckets, and what dashboards and rules ask of it."""

from otel_prom_bridge.audit.checking import Limits, check

__all__ = ["Limits", "check"]
