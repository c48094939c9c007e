"""The conventions as data, against the packages that are installed."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics, mcp_metrics
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.util.genai._instruments import _Instruments

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.conventions import METRICS


class Created:
    """A meter that only notes what is created."""

    def __init__(self) -> None:
        self.instruments: dict[str, dict[str, Any]] = {}

    def create_histogram(self, name: str, **options: Any) -> None:
        self.instruments[name] = options


def installed() -> dict[str, dict[str, Any]]:
    """Every gen_ai and mcp metric of the installed semantic conventions."""
    meter = Created()
    for module in (gen_ai_metrics, mcp_metrics):
        for name, create in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("create_"):
                create(meter)
    return meter.instruments


@pytest.mark.parametrize("name", sorted(installed()))
def test_installed_metrics_are_known(name: str) -> None:
    """Each metric of the installed conventions has the same unit and description here, and is a histogram."""
    options, metric = installed()[name], METRICS[name]
    assert (metric.instrument, metric.unit, metric.description) == (
        "histogram",
        options["unit"],
        options["description"],
    )
    assert metric.source == "semconv"
    assert metric.generation in ("current", "any")


def test_instruments_of_producers_are_known() -> None:
    """What opentelemetry-util-genai creates has its unit and its buckets here."""
    meter = Created()
    _Instruments(meter)  # type: ignore[arg-type]
    assert len(meter.instruments) == 7
    for name, options in meter.instruments.items():
        assert METRICS[name].unit == options["unit"]
        assert list(METRICS[name].buckets) == options["explicit_bucket_boundaries_advisory"]


def test_attributes_are_spelled_as_installed() -> None:
    """Every gen_ai attribute key of a metric of the current conventions is one that is installed."""
    spelled = {value for key, value in vars(gen_ai_attributes).items() if key.startswith("GEN_AI_")}
    used = {
        key
        for metric in METRICS.values()
        if metric.source == "semconv" and metric.generation != "latest"
        for key in metric.attributes
        if key.startswith("gen_ai.")
    }
    assert used <= spelled
    assert error_attributes.ERROR_TYPE == vocabulary.ERROR_TYPE
    assert error_attributes.ErrorTypeValues.OTHER.value == vocabulary.OTHER_ERROR


def test_operations_that_are_installed_are_known() -> None:
    """Each operation name and token type of the installed conventions is one of ours."""
    models = vocabulary.INFERENCE | vocabulary.EMBEDDINGS | {"retrieval", "fetch_response"}
    agents = vocabulary.MEMORY | vocabulary.AGENT | vocabulary.TOOL | vocabulary.WORKFLOW
    assert {value.value for value in gen_ai_attributes.GenAiOperationNameValues} <= models | agents
    assert {value.value for value in gen_ai_attributes.GenAiTokenTypeValues} == set(vocabulary.TOKEN_TYPES)


def test_the_pinned_schema_exists() -> None:
    """The pinned schema URL is one that the installed package knows."""
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}


def test_histograms_have_buckets() -> None:
    """Every histogram has ascending buckets, and nothing else has any."""
    for metric in METRICS.values():
        assert bool(metric.buckets) == (metric.instrument == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_latest_names_lead_to_metrics_of_the_latest_generation() -> None:
    """The name that a current metric has in the latest conventions is a metric with the same unit."""
    renamed = [metric for metric in METRICS.values() if metric.latest_name]
    assert len(renamed) == 4
    for metric in renamed:
        assert metric.generation == "current"
        for name in metric.latest_name:
            assert (METRICS[name].generation, METRICS[name].unit) == ("latest", metric.unit)


def test_attributes_have_one_level() -> None:
    """No attribute of a metric is required and recommended at the same time."""
    for metric in METRICS.values():
        assert len(set(metric.attributes)) == len(metric.attributes)
