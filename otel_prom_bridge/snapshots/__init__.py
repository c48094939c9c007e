"""Expositions of anybody: how they are had, read, compared, kept and judged."""

from otel_prom_bridge.snapshots.differences import Difference
from otel_prom_bridge.snapshots.findings import Finding
from otel_prom_bridge.snapshots.snapshot import Snapshot

__all__ = ["Difference", "Finding", "Snapshot"]
