"""Which exporters of metrics the environment names, for ``opentelemetry-instrument``."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.environment_variables import OTEL_METRICS_EXPORTER

NAME = "prometheus_bridge"  # ours, among the entry points


def exporters(env: Mapping[str, str]) -> list[str]:
    """The names, in their order."""
    return [name.strip() for name in env.get(OTEL_METRICS_EXPORTER, "").split(",") if name.strip()]


def others(env: Mapping[str, str]) -> str:
    """The names of those beside ours, for a message; empty if there are none."""
    return ", ".join(name for name in exporters(env) if name not in (NAME, "none"))
