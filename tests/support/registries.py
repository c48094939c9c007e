"""What is registered in a registry of prometheus_client, which has no public way to ask."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry


def collectors(registry: CollectorRegistry) -> list[Any]:
    """The collectors, in the order of their registration."""
    return list(registry._collector_to_names)
