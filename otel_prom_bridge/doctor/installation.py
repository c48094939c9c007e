"""Packages and entry points: do they fit together, and can OpenTelemetry find the bridge?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version

from otel_prom_bridge.configuration.exporters import NAME
from otel_prom_bridge.doctor.symptoms import Symptom

_GROUPS = ("opentelemetry_metrics_exporter", "opentelemetry_pull_metric_exporter")
_OLDEST = (1, 39)


def examine_installation() -> Iterator[Symptom]:
    """What is installed."""
    yield from _sdk()
    yield from _entry_points()
    if _version("opentelemetry-exporter-prometheus"):
        yield Symptom(
            "note",
            "packages",
            "opentelemetry-exporter-prometheus is installed, too; both want port 9464 if both are used",
            "leave `prometheus` out of OTEL_METRICS_EXPORTER, or uninstall it",
        )


def _sdk() -> Iterator[Symptom]:
    sdk, api = _version("opentelemetry-sdk"), _version("opentelemetry-api")
    if sdk is None or api is None:
        yield Symptom(
            "problem", "packages", "the OpenTelemetry SDK is missing", "pip install opentelemetry-sdk"
        )
        return
    if sdk != api:
        yield Symptom(
            "problem",
            "packages",
            f"opentelemetry-sdk {sdk} and opentelemetry-api {api} do not belong together",
            f"pip install opentelemetry-api=={sdk} opentelemetry-sdk=={sdk}",
        )
    if tuple(int(part) for part in sdk.split(".")[:2] if part.isdigit()) < _OLDEST:
        yield Symptom(
            "problem",
            "packages",
            f"opentelemetry-sdk {sdk} is older than {'.'.join(map(str, _OLDEST))}",
            "pip install --upgrade opentelemetry-sdk",
        )
    else:
        yield Symptom("ok", "packages", f"otel-prom-bridge {_version('otel-prom-bridge')}, SDK {sdk}")


def _entry_points() -> Iterator[Symptom]:
    for group in _GROUPS:
        found = [entry for entry in entry_points(group=group) if entry.name == NAME]
        if not found:
            yield Symptom(
                "problem",
                "entry points",
                f"{NAME} is not among those of {group}, so auto-instrumentation cannot find it",
                "pip install otel-prom-bridge into the environment of the application, not beside it",
            )
        elif len(found) > 1 and len({entry.value for entry in found}) > 1:
            yield Symptom("problem", "entry points", f"{NAME} is there {len(found)} times in {group}")
        else:
            yield Symptom("ok", "entry points", f"{NAME} in {group}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
