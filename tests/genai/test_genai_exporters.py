"""The recorders with exporters: this bridge, and opentelemetry-exporter-prometheus."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader as OtherReader
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS
from prometheus_client import REGISTRY, generate_latest

from otel_prom_bridge import genai, instrument, recording
from otel_prom_bridge.genai import AgentRecorder, LLMRecorder

MODULES = sorted(
    path for part in (genai, instrument, recording) for path in Path(part.__path__[0]).rglob("*.py")
)

FAMILIES = {
    "gen_ai_client_operation_duration_seconds": "histogram",
    "gen_ai_client_inference_duration_seconds": "histogram",
    "gen_ai_client_token_usage": "histogram",
    "gen_ai_client_inference_usage_input_tokens_total": "counter",
    "gen_ai_client_inference_usage_output_tokens_total": "counter",
    "gen_ai_client_inference_usage_cache_read_input_tokens_total": "counter",
    "gen_ai_client_inference_usage_reasoning_output_tokens_total": "counter",
    "gen_ai_client_inference_operation_input_tokens": "histogram",
    "gen_ai_client_inference_operation_output_tokens": "histogram",
    "gen_ai_client_operation_time_to_first_chunk_seconds": "histogram",
    "gen_ai_client_operation_time_per_output_chunk_seconds": "histogram",
    "gen_ai_client_inference_time_to_first_chunk_seconds": "histogram",
    "gen_ai_client_inference_time_per_output_chunk_seconds": "histogram",
    "gen_ai_client_active_requests": "gauge",
    "gen_ai_client_untimed_chunks_total": "counter",
    "gen_ai_client_untimed_errors_total": "counter",
    "gen_ai_usage_cost_USD_total": "counter",
    "gen_ai_client_unpriced_requests_total": "counter",
    "gen_ai_client_price_table_info": "gauge",
    "gen_ai_invoke_agent_duration_seconds": "histogram",
    "gen_ai_invoke_agent_inference_calls": "histogram",
    "gen_ai_invoke_agent_tool_calls": "histogram",
    "gen_ai_agent_step_duration_seconds": "histogram",
    "gen_ai_execute_tool_duration_seconds": "histogram",
    "gen_ai_invoke_workflow_duration_seconds": "histogram",
    "gen_ai_agent_active": "gauge",
    "gen_ai_agent_step_tool_calls_total": "counter",
    "gen_ai_client_generation_choices_total": "counter",
    "gen_ai_client_operation_time_per_output_token_seconds": "histogram",
    "gen_ai_client_rate_limit_limit": "gauge",
    "gen_ai_client_rate_limit_remaining": "gauge",
    "gen_ai_client_retries_total": "counter",
    "gen_ai_evaluation_results_total": "counter",
    "gen_ai_evaluation_score": "histogram",
    "gen_ai_guardrail_results_total": "counter",
    "gen_ai_invoke_agent_steps": "histogram",
}


def record_everything(provider: MeterProvider) -> None:
    """Record each metric that there is."""
    llm, agents = LLMRecorder(provider), AgentRecorder(provider)
    latest = LLMRecorder(provider, emit="latest")
    with agents.workflow("research"), agents.execution(agent="planner") as run, run.step("act"):
        run.inference_call()
        with llm.call(model="gpt-4o", provider="openai") as call:
            assert list(call.stream("abc")) == ["a", "b", "c"]
            call.tokens(input=100, output=20, cached=60, reasoning=10)
        with latest.call(model="gpt-4o", provider="openai") as call:
            assert list(call.stream("abc")) == ["a", "b", "c"]
            call.tokens(input=100, output=20, cached=60, reasoning=10)
        with run.tool("web_search"), run.memory("search_memory"):
            pass
    llm.record_request(model="unheard-of", provider="p", duration=1, input_tokens=1)
    llm.record_streaming_chunk(model="gpt-4o", provider="openai")
    llm.record_request(model="gpt-4o", provider="openai", duration=1, finish_reason="stop")
    llm.record_retry(model="gpt-4o", provider="openai", reason="timeout")
    limits = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    llm.record_rate_limits(limits, model="gpt-4o", provider="openai")
    llm.record_guardrail("pii", "pass")
    llm.record_evaluation("Relevance", 0.9)
    llm.record_error(model="gpt-4o", provider="openai", error_type="timeout")


def families(text: str) -> dict[str, str]:
    """The types of our families in a text."""
    return dict(re.findall(r"^# TYPE (gen_ai\w+) (\w+)$", text, re.MULTILINE))


def test_with_this_bridge(bridge: Callable[..., object]) -> None:
    """Everything that is recorded is in a scrape of ours, and nothing else."""
    setup = bridge()
    record_everything(setup.provider)  # type: ignore[attr-defined]
    assert families(setup.text()) == FAMILIES  # type: ignore[attr-defined]


def test_exemplars_of_this_bridge(bridge: Callable[..., object]) -> None:
    """A scrape in OpenMetrics leads from a call's duration to the span in which it was made."""
    setup = bridge()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with tracer.start_as_current_span("ask") as span:
        record_everything(setup.provider)  # type: ignore[attr-defined]
    trace_id = format(span.get_span_context().trace_id, "032x")
    lines = setup.text(OPENMETRICS).splitlines()  # type: ignore[attr-defined]
    for family in ("client_operation_duration", "client_inference_duration", "invoke_agent_duration"):
        found = [line for line in lines if line.startswith(f"gen_ai_{family}_seconds_bucket")]
        assert any(f'trace_id="{trace_id}"' in line for line in found)


def test_with_another_exporter() -> None:
    """The exporter of OpenTelemetry shows the same families: the recorders know nothing of the bridge."""
    reader = OtherReader()
    provider = SdkMeterProvider([reader], shutdown_on_exit=False)
    try:
        record_everything(provider)
        assert families(generate_latest(REGISTRY).decode()) == FAMILIES
    finally:
        provider.shutdown()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_imports(module: Path) -> None:
    """A recorder imports the OpenTelemetry API, the standard library, its siblings and what knows no SDK."""
    imported = [
        node.module or "" for node in ast.parse(module.read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    ours = [name for name in imported if name.startswith("otel_prom_bridge")]
    assert all(
        re.match(
            r"otel_prom_bridge\.((attribution|clocks|diagnostics|errors|installed|instruments|lazy|model_names|prices|rules|values\.(checks|notation))$|genai|instrument|recording)",
            name,
        )
        for name in ours
    )
    theirs = [name for name in imported if name.startswith("opentelemetry")]
    assert all(
        re.match(r"opentelemetry$|opentelemetry\.(context|metrics|util\.types)$", name) for name in theirs
    )
