"""What is recorded is shown: no point that a profile takes out of one family is in none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from bridges import families_of, running
from prometheus_client import Metric

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.profiles import BUILT_IN, load_profile
from otel_prom_bridge.profiles.profile import PRESENT, Source
from otel_prom_bridge.values.patterns import one_pattern
from otel_prom_bridge.views.mapping import AttributeMap
from otel_prom_bridge.views.view import ExportView

# What producers say of operations: the conventions' names, OpenLIT's, older ones, one of tomorrow.
OPERATIONS = (
    *("", "chat", "generate_content", "text_completion", "embeddings", "fetch_response", "execute_tool"),
    *("invoke_agent", "create_agent", "invoke_workflow", "plan", "retrieval", "search_memory", "memory"),
    *("create_memory_store", "rerank", "guardrail", "vectordb", "framework", "tool", "agent", "tomorrow"),
)


def _texts(value: Any) -> Iterator[str]:
    """Values that the patterns of a condition are about."""
    if isinstance(value, str):
        yield value.replace("*", "x") or ""
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    else:
        for item in value:
            yield from _texts(item)


def _sets(views: list[ExportView]) -> Iterator[dict[str, str]]:
    """Attribute sets with every value that some condition of the views mentions, and others."""
    values: dict[str, set[str]] = {}
    for view in views:
        for key, condition in view.where.items():
            values.setdefault(key, {"", "something else"}).update(_texts(condition))
    if "gen_ai.operation.name" in values:
        values["gen_ai.operation.name"] |= set(OPERATIONS)
    for combination in itertools.product(*values.values()):
        yield {key: value for key, value in zip(values, combination, strict=True) if value}


@pytest.mark.parametrize("present", PRESENT)
@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_point_is_in_some_family(name: str, present: Any) -> None:
    """Of every instrument that a profile is made of, whatever its points say, each is shown somewhere."""
    profile = load_profile(name)
    maps = [(view, AttributeMap(view, findings=Findings())) for view in profile.views(present)]
    lost = []
    sources: list[Source] = [source for family in profile.shown(present) for source in family.sources]
    for instrument, meter, kind in {(s.instrument, s.meter or "app", s.type or "histogram") for s in sources}:
        selecting = [
            (view, mapping)
            for view, mapping in maps
            if view.instrument_name == instrument
            and view.instrument_type in (None, kind)
            and (view.meter_name is None or one_pattern(view.meter_name).fullmatch(meter))
        ]
        lost += [
            (instrument, meter, attributes)
            for attributes in _sets([view for view, _ in selecting])
            if not any(mapping.apply(attributes) for _, mapping in selecting)
        ]
    assert lost == []


def _count(family: Metric | None, end: str) -> float:
    return 0 if family is None else sum(s.value for s in family.samples if s.name == family.name + end)


# The families of each dialect that an operation of a client may be in, and those of errors.
FAMILIES = {
    "llmdevops": (
        "llmdevops_",
        [
            "llm_requests",
            "llm_other_operations",
            "agent_executions",
            "agent_tool_calls",
            "agent_workflows",
            "agent_memory_operations",
        ],
        ["llm_errors", "llm_other_operation_errors"],
    ),
    "tachikoma": ("", ["executions", "other_operations"], []),
    "incident_manager": (
        "llm_incident_manager_",
        ["llm_requests", "llm_other_operations"],
        ["llm_errors", "llm_other_operation_errors"],
    ),
}


@pytest.mark.parametrize("profile", FAMILIES)
def test_operations_add_up(profile: str) -> None:
    """Every operation that a client recorded is in exactly one family of the dialect, with its time."""
    prefix, kinds, errors = FAMILIES[profile]
    with running(profile=profile) as bridge:
        meter = bridge.meter_provider.get_meter("openlit.otel.metrics")
        durations = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        for number, operation in enumerate(OPERATIONS):
            attributes = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "openai"}
            for failed in range(number % 3 + 1):
                durations.record(1, {**attributes, **({"error.type": "timeout"} if failed else {})})
        families = families_of(bridge)
    recorded = sum(number % 3 + 1 for number in range(len(OPERATIONS)))
    shown = {name: _count(families.get(f"{prefix}{name}"), "_total") for name in kinds}
    assert sum(shown.values()) == recorded
    assert all(shown.values()), shown
    failed = sum(_count(families[f"{prefix}{name}"], "_total") for name in errors)
    assert failed == (sum(number % 3 for number in range(len(OPERATIONS))) if errors else 0)


@pytest.mark.parametrize(
    ("profile", "tokens", "beside"),
    [
        ("llmdevops", "llmdevops_llm_tokens", "llmdevops_llm_tokens_beside"),
        ("tachikoma", "execution_tokens", "execution_tokens_beside"),
        ("incident_manager", "llm_incident_manager_llm_tokens", "llm_incident_manager_llm_tokens_beside"),
    ],
)
def test_tokens_add_up(profile: str, tokens: str, beside: str) -> None:
    """Tokens of every type and operation are in one family each, and what is said twice is not added."""
    types = ("input", "prompt", "output", "completion", "", "reasoning", "total")
    with running(profile=profile) as bridge:
        usage = bridge.meter_provider.get_meter("app").create_histogram(
            "gen_ai.client.token.usage", unit="{token}"
        )
        for kind, operation in itertools.product(types, ("chat", "invoke_agent")):
            attributes = {"gen_ai.token.type": kind, "gen_ai.operation.name": operation}
            usage.record(1, {key: value for key, value in attributes.items() if value})
        families = families_of(bridge)
    assert _count(families[tokens], "_total") == 5
    assert _count(families[beside], "_total") == 2 * len(types) - 5


def test_names_are_no_units() -> None:
    """Units that are words of their own are no endings of names."""
    with running() as bridge:
        for name, unit in (
            ("strands.event_loop.cycle_count", "Count"),
            ("gen_ai.client.generation.choices", "choice"),
            ("llm.openai.chat_completions.exceptions", "time"),
        ):
            bridge.meter_provider.get_meter("app").create_counter(name, unit=unit).add(1)
        shown = set(families_of(bridge))
    assert {name for name in shown if name.startswith(("strands", "gen_ai", "llm"))} == {
        "strands_event_loop_cycle_count",
        "gen_ai_client_generation_choices",
        "llm_openai_chat_completions_exceptions",
    }


def test_other_names_of_calls_and_tools() -> None:
    """What frameworks call otherwise is in the families all the same, in seconds."""
    tools = {("search", "success"): 3, ("search", "error"): 1}
    with running(profile="llmdevops") as bridge:
        meter = bridge.meter_provider.get_meter("strands.telemetry.metrics")
        meter.create_histogram("strands.event_loop.latency", unit="ms").record(1500)
        meter.create_histogram("strands.model.time_to_first_token", unit="ms").record(250)
        meter.create_histogram("strands.event_loop.input.tokens", unit="token").record(40)
        meter.create_histogram("strands.tool.duration", unit="s").record(0.5, {"tool_name": "search"})
        meter.create_counter("strands.tool.success_count", unit="Count").add(1, {"tool_name": "search"})
        meter.create_counter("strands.tool.error_count", unit="Count").add(1, {"tool_name": "search"})
        for name, key in (
            ("agent_framework.function.invocation.duration", "gen_ai.tool.name"),
            ("semantic_kernel.function.invocation.duration", "semantic_kernel.function.name"),
        ):
            meter.create_histogram(name, unit="s").record(0.5, {key: "search"})
        families = families_of(bridge)
    calls = families["llmdevops_agent_tool_calls"]
    found = {
        (s.labels["tool_name"], s.labels["status"]): s.value
        for s in calls.samples
        if s.name.endswith("_total")
    }
    assert found == tools
    assert _count(families["llmdevops_llm_request_duration_seconds"], "_sum") == 1.5
    assert _count(families["llmdevops_llm_time_to_first_chunk_seconds"], "_sum") == 0.25
    assert _count(families["llmdevops_llm_input_tokens"], "_total") == 40
    assert _count(families["llmdevops_agent_tool_call_duration_seconds"], "_count") == 3


def test_the_model_that_answered_stands_for_the_one_that_was_asked() -> None:
    """OpenLLMetry says no more, and its models are told apart; two spellings of a provider are one."""
    with running() as bridge:
        meter = bridge.meter_provider.get_meter("opentelemetry.instrumentation.openai.v1")
        durations = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        durations.record(1, {"gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.system": "gemini"})
        durations.record(1, {"gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "gcp.gemini"})
        family = families_of(bridge)["gen_ai_client_operation_duration_seconds"]
    assert {s.labels["gen_ai_request_model"] for s in family.samples} == {"gpt-4o-2024-08-06", "gpt-4o"}
    assert {s.labels["gen_ai_provider_name"] for s in family.samples} == {"gcp.gemini"}
