"""Environment variables: misspelt, contradicting each other, or turning off what somebody looks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from otel_prom_bridge.configuration.exporters import NAME, exporters, exporters_beside, names_our_provider
from otel_prom_bridge.configuration.settings import Settings, from_environment
from otel_prom_bridge.doctor.symptoms import Symptom
from otel_prom_bridge.errors import ConfigurationError

# Those that matter for metrics, for finding misspelt ones.
_KNOWN = (
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_EXPORTER_PROMETHEUS_PORT",
    "OTEL_CONFIG_FILE",
    "OTEL_PROPAGATORS",
    "OTEL_LOG_LEVEL",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_PYTHON_METER_PROVIDER",
)
_CONFIG_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")


def examine_environment(environment: Mapping[str, str] | None = None) -> Iterator[Symptom]:
    """What the variables say."""
    env = {name: value for name, value in (environment or os.environ).items() if value.strip()}
    yield from _misspelt(env)
    yield from _switched_off(env)
    yield from _exporters(env)
    yield from _exemplars(env)
    yield from _processes(env)


def examine_options() -> tuple[Settings | None, list[Symptom]]:
    """The settings that the variables and the configuration file make, and what is wrong with them."""
    errors: list[ConfigurationError] = []
    try:
        settings = from_environment(lambda error, _: errors.append(error))
    except ConfigurationError as error:
        errors.append(error)
        settings = None
    found = [
        Symptom("problem", "options", str(error), "docs/configuration.md has every option")
        for error in errors
    ]
    found += _recording(settings, os.environ)
    return settings, found or [Symptom("ok", "options", "every option has a value that works")]


def _misspelt(env: Mapping[str, str]) -> Iterator[Symptom]:
    for name in sorted(env):
        near = get_close_matches(name, _KNOWN, n=1, cutoff=0.88)
        if name.startswith("OTEL") and name not in _KNOWN and near and not near[0].startswith(name):
            yield Symptom(
                "problem", "environment", f"{name} means nothing to OpenTelemetry", f"export {near[0]}=…"
            )


def _switched_off(env: Mapping[str, str]) -> Iterator[Symptom]:
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield Symptom(
            "problem",
            "environment",
            "OTEL_SDK_DISABLED=true turns all of OpenTelemetry off",
            "unset OTEL_SDK_DISABLED",
        )
    for name in _CONFIG_FILES:
        if name in env:
            yield Symptom(
                "note", "environment", f"{name} is set: where it is obeyed, all other OTEL_ variables are not"
            )
            if not Path(env[name]).is_file():
                yield Symptom(
                    "problem", "environment", f"{name}: there is no file {env[name]!r}", f"unset {name}"
                )


def _recording(settings: Settings | None, env: Mapping[str, str]) -> Iterator[Symptom]:
    beside = exporters_beside(env)
    is_wanted = names_our_provider(env) or (settings is not None and settings.recording == "direct")
    if is_wanted and beside and NAME in exporters(env):  # without ours they are a symptom by themselves
        yield Symptom(
            "problem",
            "options",
            f"OTEL_METRICS_EXPORTER names {beside}, too: under opentelemetry-instrument the SDK"
            " records, and not the bridge directly",
            "export OTEL_METRICS_EXPORTER=prometheus_bridge, or leave out recording=direct",
        )


def _exporters(env: Mapping[str, str]) -> Iterator[Symptom]:
    chosen = exporters(env)
    if (
        names_our_provider(env) and NAME not in chosen
    ):  # the API loads ours, unless somebody sets another before
        yield Symptom(
            "ok",
            "environment",
            f"OTEL_PYTHON_METER_PROVIDER={NAME}; under opentelemetry-instrument it needs"
            f" OTEL_METRICS_EXPORTER={NAME}, too",
        )
    elif not chosen:
        yield Symptom(
            "note",
            "environment",
            "OTEL_METRICS_EXPORTER is not set; under opentelemetry-instrument metrics would go to OTLP",
            "export OTEL_METRICS_EXPORTER=prometheus_bridge, unless the code calls otel_prom_bridge.start()",
        )
    elif NAME not in chosen:
        yield Symptom(
            "problem",
            "environment",
            f"OTEL_METRICS_EXPORTER={','.join(chosen)} does not name the bridge",
            "export OTEL_METRICS_EXPORTER=prometheus_bridge",
        )
    else:
        yield Symptom("ok", "environment", f"OTEL_METRICS_EXPORTER={','.join(chosen)}")
    if {"prometheus", NAME} <= set(chosen):
        yield Symptom(
            "problem",
            "environment",
            "OTEL_METRICS_EXPORTER names two exporters that want the same port",
            "export OTEL_METRICS_EXPORTER=prometheus_bridge",
        )


def _exemplars(env: Mapping[str, str]) -> Iterator[Symptom]:
    if env.get("OTEL_METRICS_EXEMPLAR_FILTER", "").lower() == "always_off":
        yield Symptom(
            "note",
            "exemplars",
            "OTEL_METRICS_EXEMPLAR_FILTER=always_off: there are none",
            "export OTEL_METRICS_EXEMPLAR_FILTER=trace_based",
        )
    if env.get("OTEL_TRACES_SAMPLER", "").lower().endswith("always_off"):
        yield Symptom(
            "note",
            "exemplars",
            f"OTEL_TRACES_SAMPLER={env['OTEL_TRACES_SAMPLER']}: no trace is sampled, and so no exemplar",
            "export OTEL_TRACES_SAMPLER=parentbased_always_on",
        )


def _processes(env: Mapping[str, str]) -> Iterator[Symptom]:
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        if name in env:
            yield Symptom(
                "note",
                "workers",
                f"{name} is for prometheus_client; the bridge does not use it",
                "docs/workers.md",
            )
    hub = env.get("OTEL_PROM_BRIDGE_HUB", "")
    if hub.startswith("unix:") and not Path(hub.removeprefix("unix:")).exists():
        yield Symptom(
            "problem",
            "hub",
            f"OTEL_PROM_BRIDGE_HUB={hub}: nothing is there",
            "otel-prom-bridge run -- COMMAND",
        )
