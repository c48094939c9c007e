"""Which exporters of metrics, and which meter provider, the environment names."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER, OTEL_PYTHON_METER_PROVIDER

NAME = "prometheus_bridge"  # ours, among the entry points of both


def exporters(env: Mapping[str, str]) -> list[str]:
    """The names of the exporters, in their order."""
    return [name.strip() for name in env.get(OTEL_METRICS_EXPORTER, "").split(",") if name.strip()]


def exporters_beside(env: Mapping[str, str]) -> str:
    """The names of those beside ours, for a message; empty if there are none."""
    return ", ".join(name for name in exporters(env) if name not in (NAME, "none"))


def names_our_provider(env: Mapping[str, str]) -> bool:
    """Whether the API is to load our meter provider, which records without the SDK."""
    return env.get(OTEL_PYTHON_METER_PROVIDER) == NAME
