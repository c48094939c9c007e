"""What the recorders record, against the conventions: the packages that are installed, and the documents."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from genai_conventions import BY_NAME
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.util.genai._instruments import _Instruments

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.operations import OTHER_ERROR

METRICS = {metric.name: metric for metric in vars(conventions).values() if isinstance(metric, Metric)}
OURS = {
    *("gen_ai.client.active_requests", "gen_ai.client.untimed_chunks", "gen_ai.client.untimed_errors"),
    *("gen_ai.usage.cost", "gen_ai.client.unpriced_requests", "gen_ai.client.price_table.info"),
    *("gen_ai.agent.step.duration", "gen_ai.agent.active", "gen_ai.agent.step.tool_calls"),
    *("gen_ai.client.generation.choices", "gen_ai.client.retries", "gen_ai.invoke_agent.steps"),
    *("gen_ai.client.operation.time_per_output_token", "gen_ai.guardrail.results"),
    *("gen_ai.client.rate_limit.remaining", "gen_ai.client.rate_limit.limit"),
    *("gen_ai.evaluation.score", "gen_ai.evaluation.results"),
    "gen_ai.client.repriced.cache_read.input_tokens",
    "gen_ai.client.repriced.cache_write.input_tokens",
    "gen_ai.client.repriced.reasoning.output_tokens",
}
NOT_RECORDED = {
    *("gen_ai.server.request.duration", "gen_ai.server.time_per_output_token"),
    "gen_ai.server.time_to_first_token",
}


class Created:
    """A meter that only notes what is created."""

    def __init__(self) -> None:
        self.instruments: dict[str, dict[str, Any]] = {}

    def create_histogram(self, name: str, **options: Any) -> None:
        self.instruments[name] = options


def installed() -> dict[str, dict[str, Any]]:
    """Every gen_ai metric of the installed semantic conventions."""
    meter = Created()
    for name, create in inspect.getmembers(gen_ai_metrics, inspect.isfunction):
        if name.startswith("create_"):
            create(meter)
    return meter.instruments


@pytest.mark.parametrize("name", sorted(installed().keys() - NOT_RECORDED))
def test_installed_metrics_are_recorded_as_they_are(name: str) -> None:
    """Each metric of the installed conventions has the same unit and description here, and is a histogram."""
    options, metric = installed()[name], METRICS[name]
    assert (metric.instrument, metric.unit, metric.description) == (
        "histogram",
        options["unit"],
        options["description"],
    )


def test_instruments_of_producers_are_known() -> None:
    """What opentelemetry-util-genai creates has its unit and its buckets here."""
    meter = Created()
    _Instruments(meter)  # type: ignore[arg-type]
    assert len(meter.instruments) == 7
    for name, options in meter.instruments.items():
        assert METRICS[name].unit == options["unit"]
        assert list(METRICS[name].buckets) == options["explicit_bucket_boundaries_advisory"]


def test_histograms_are_those_of_the_documents() -> None:
    """Each histogram of the conventions has their unit and buckets; nothing but a histogram has any."""
    recorded = {name: metric for name, metric in METRICS.items() if name not in OURS}
    assert len(recorded) == len(METRICS) - len(OURS)
    for name, metric in recorded.items():
        if metric.instrument != "histogram":
            assert metric.buckets == ()
            continue
        assert metric.unit == BY_NAME[name].unit
        assert metric.buckets == pytest.approx(BY_NAME[name].buckets)


def test_attributes_are_spelled_as_installed() -> None:
    """Every attribute key is one of the installed conventions, but those that are ours."""
    spelled = {value for key, value in vars(gen_ai_attributes).items() if key.startswith("GEN_AI_")}
    # Of the latest conventions only.
    spelled |= {"gen_ai.token.modality"}
    spelled |= {error_attributes.ERROR_TYPE, server_attributes.SERVER_ADDRESS, server_attributes.SERVER_PORT}
    keys = {value for name, value in vars(vocabulary).items() if name.isupper() and "." in value}
    ours = {vocabulary.STEP_TYPE, vocabulary.PRICE_TABLE_VERSION, vocabulary.STEP_NUMBER}
    ours |= {vocabulary.GUARDRAIL_NAME, vocabulary.GUARDRAIL_RESULT, vocabulary.RATE_LIMIT_TYPE}
    # OpenLLMetry's, and the name of the conventions' event.
    ours |= {vocabulary.FINISH_REASON, vocabulary.EVALUATION_EVENT}
    assert keys - ours <= spelled
    assert vocabulary.REQUEST_MODEL in keys
    assert error_attributes.ErrorTypeValues.OTHER.value == OTHER_ERROR


def test_operations_that_are_installed_are_known() -> None:
    """Each operation name and token type of the installed conventions is one that we know."""
    known = vocabulary.INFERENCE | vocabulary.EMBEDDINGS
    known |= vocabulary.AGENT | vocabulary.TOOL | vocabulary.WORKFLOW
    memory = {f"{verb}_memory" for verb in ("search", "create", "update", "upsert", "delete")}
    others = {"retrieval", "fetch_response", "create_memory_store", "delete_memory_store"} | memory
    assert {value.value for value in gen_ai_attributes.GenAiOperationNameValues} <= known | others
    assert {value.value for value in gen_ai_attributes.GenAiTokenTypeValues} == set(vocabulary.TOKEN_TYPES)


def test_the_pinned_schema_exists() -> None:
    """The pinned schema URL is one that the installed package knows."""
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}
