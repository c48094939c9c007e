"""What vendors record that the conventions do not know, under both built-in profiles."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bridges import families_of, running
from genai_conventions import FIRST_TOKEN, MCP_SECONDS, PER_TOKEN, SECONDS
from opentelemetry.metrics import MeterProvider
from prometheus_client import Metric

from otel_prom_bridge.genai import AgentRecorder, LLMRecorder

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}


def values_of(family: Metric, *labels: str, end: str = "_total") -> dict[tuple[str, ...], float]:
    """Sums of the samples of a family by the values of these labels."""
    found: dict[tuple[str, ...], float] = {}
    for sample in family.samples:
        if sample.name == family.name + end:
            key = tuple(sample.labels.get(label, "") for label in labels)
            found[key] = found.get(key, 0) + sample.value
    return found


def bounds_of(family: Metric) -> list[float]:
    """The limits of its buckets."""
    return sorted({float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")})[:-1]


def histogram(provider: MeterProvider, name: str, unit: str, scope: str = "app") -> Callable[..., None]:
    """How to record in a histogram whose author has given no buckets."""
    return provider.get_meter(scope).create_histogram(name, unit=unit).record


@pytest.mark.parametrize(
    ("operation", "shown"),
    [("read", "read_memory"), ("write", "write_memory"), ("search_memory", "search_memory"), ("", "other")],
)
def test_what_memory_records_is_no_request(operation: str, shown: str) -> None:
    """Whatever an operation of a memory is called, it is one, and no request of a model."""
    with running(profile="llmdevops") as bridge:
        agents = AgentRecorder(bridge.meter_provider)
        with agents.memory(operation, agent="planner"):
            pass
        agents.record_memory_operation(operation=operation, duration=1, error_type="timeout")
        families = families_of(bridge)
    assert values_of(families["llmdevops_agent_memory_operations"], "operation") == {(shown,): 2}
    shown = {name for name in families if name.startswith("llmdevops_llm")}
    assert shown == {"llmdevops_llm_other_operation_errors"}


@pytest.mark.parametrize(
    "operation", ["memory", "vectordb", "framework", "tool", "agent", "rerank", "guardrail", "retrieve"]
)
def test_operations_of_vendors_that_are_no_requests(operation: str) -> None:
    """What vendors record beside calls of models has the same duration, and is none."""
    with running(profile="llmdevops") as bridge:
        record = histogram(bridge.meter_provider, "gen_ai.client.operation.duration", "s")
        for name in ("chat", "something_new", operation):
            record(1, {**CHAT, "gen_ai.operation.name": name, "error.type": "timeout"})
        families = families_of(bridge)
    expected = {("chat",): 1, ("other",): 1}
    assert values_of(families["llmdevops_llm_requests"], "operation") == expected
    assert sum(values_of(families["llmdevops_llm_errors"]).values()) == 2
    memory = families.get("llmdevops_agent_memory_operations")
    assert (memory is not None) == (operation == "memory")


@pytest.mark.parametrize("operation", ["embed", "embedding", "embeddings"])
def test_embeddings_have_one_name(operation: str) -> None:
    """However it is spelled, it is embeddings."""
    with running(profile="llmdevops") as bridge:
        record = histogram(bridge.meter_provider, "gen_ai.client.operation.duration", "s")
        record(1, {**CHAT, "gen_ai.operation.name": operation})
        families = families_of(bridge)
    assert values_of(families["llmdevops_llm_requests"], "operation") == {("embeddings",): 1}


def test_tokens_of_no_type() -> None:
    """They are tokens all the same; those of types of vendors' own are among the others, and not added."""
    with running(profile="llmdevops") as bridge:
        record = histogram(bridge.meter_provider, "gen_ai.client.token.usage", "{token}")
        record(7, CHAT)
        for kind in ("input", "completion", "reasoning"):
            record(1, {**CHAT, "gen_ai.token.type": kind})
        families = families_of(bridge)
    tokens = values_of(families["llmdevops_llm_tokens"], "type")
    assert tokens == {("input",): 1, ("output",): 1, ("other",): 7}


def litellm(provider: MeterProvider, *, old: bool) -> None:
    """What litellm's callback records of three streamed calls; each has ids and data of its own."""
    names = {
        "cost": "gen_ai.client.token.cost" if old else "gen_ai.usage.cost",
        "first": f"gen_ai.{'client.response' if old else 'server'}.time_to_first_token",
        "token": f"gen_ai.{'client.response' if old else 'server'}.time_per_output_token",
    }
    for number in range(3):
        call = {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.framework": "litellm",
            "hidden_params": f"{{'model_id': '{number}'}}",
            "metadata.user_api_key_hash": f"hash-{number}",
            "metadata.requester_ip_address": f"10.0.0.{number}",
            "user_api_key_user_id": f"u-{number}",
        }
        for name, unit, value in (
            ("gen_ai.client.operation.duration", "s", 2),
            ("gen_ai.client.response.duration", "s", 1.5),
            (names["first"], "s", 0.3),
            (names["token"], "s", 0.02),
            (names["cost"], "USD", 0.25),
        ):
            histogram(provider, name, unit, "litellm")(value, call)


@pytest.mark.parametrize("old", [False, True], ids=["now", "before"])
@pytest.mark.parametrize("profile", ["semconv", "llmdevops"])
def test_litellm_is_in_both_profiles(profile: str, old: bool) -> None:
    """Its histograms are families with fitting buckets, and none has labels of users or requests."""
    with running(profile=profile) as bridge:
        litellm(bridge.meter_provider, old=old)
        families = families_of(bridge)
    shown = {name for name in families if name.startswith(("gen_ai", "llmdevops_llm"))}
    rest = {"gen_ai_client_response_duration_seconds"}
    calls, first, token, cost, also = {
        "semconv": (
            "gen_ai_client_operation_duration_seconds",
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "gen_ai_server_time_per_output_token_seconds",
            "gen_ai_usage_cost_USD",
            set[str](),
        ),
        "llmdevops": (
            "llmdevops_llm_request_duration_seconds",
            "llmdevops_llm_time_to_first_chunk_seconds",
            "llmdevops_llm_time_per_output_token_seconds",
            "llmdevops_llm_cost_usd",
            {"llmdevops_llm_requests", "llmdevops_llm_streaming_chunks"},
        ),
    }[profile]
    assert shown == rest | {calls, first, token, cost} | also
    for name in (calls, first, "gen_ai_client_response_duration_seconds"):
        assert values_of(families[name], end="_count") == {(): 3}
        assert bounds_of(families[name]) == pytest.approx(SECONDS)
    assert bounds_of(families[token]) == list(PER_TOKEN)
    assert values_of(families[cost]) == {(): 0.75}
    text = str([sample.labels for name in shown for sample in families[name].samples])
    assert not [part for part in ("hash-", "10.0.0", "u-", "model_id") if part in text]


@pytest.mark.parametrize("profile", ["semconv", "llmdevops"])
@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("llm.chat_completions.streaming_time_to_generate", SECONDS),
        ("gen_ai.server.request.duration", SECONDS),
        ("gen_ai.server.time_to_first_token", FIRST_TOKEN),
        ("gen_ai.server.time_per_output_token", PER_TOKEN),
        ("gen_ai.client.embeddings.duration", SECONDS),
        ("gen_ai.client.response.duration", SECONDS),
        ("mcp.client.operation.duration", MCP_SECONDS),
        ("mcp.server.session.duration", MCP_SECONDS),
        ("mcp.operation.duration", MCP_SECONDS),
    ],
)
def test_seconds_have_buckets_of_seconds(profile: str, name: str, bounds: tuple[float, ...]) -> None:
    """Where the producer gave none, which means the SDK's, every time has the recommended ones."""
    with running(profile=profile) as bridge:
        histogram(bridge.meter_provider, name, "s")(0.5, {"mcp.method.name": "tools/call"})
        families = families_of(bridge)
    (family,) = (family for family in families.values() if family.type == "histogram")
    assert bounds_of(family) == pytest.approx(bounds)


def test_a_dropped_call_is_what_the_client_cancelled() -> None:
    """Calls and streams that nobody waits for are no fault of the model, as those of a generator are none."""
    with running(profile="llmdevops") as bridge:
        llm = LLMRecorder(bridge.meter_provider)
        dropped = llm.call(model="gpt-4o", provider="openai").start()
        stream = llm.stream(lambda: iter("abc"), model="gpt-4o", provider="openai")
        next(stream)
        del dropped, stream
        families = families_of(bridge)
    assert values_of(families["llmdevops_llm_errors"], "error_type") == {("cancelled",): 2}
