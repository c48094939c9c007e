"""Metrics from spans: in every dialect, with the span as the exemplar, and nothing twice."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import logging
import math
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import programs
import pytest
from bridges import families_of, running
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_spans import CALLS, CHAT, TABLE, Setup, spans
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from oracles import OPENMETRICS
from properties import examples
from servers import free_port, get

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import LLMRecorder, Price, PriceTable, SpanMetrics, record_all

ANSWERED = {"gen_ai.provider.name": "openai", "gen_ai.response.model": "gpt-4o-2024-08-06"}
ASKED = {**ANSWERED, "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}


@pytest.mark.parametrize("dialect", CALLS)
def test_a_call_in_every_dialect(dialect: str) -> None:
    """Calls, tokens of each kind and cost are the same, whoever wrote the span."""
    with spans() as it:
        with it.tracer().start_as_current_span("call", attributes=CALLS[dialect]):
            pass
        one = ("gpt-4o", "openai")
        assert it.totals("llm_requests", "model", "provider", "operation", "status") == {
            (*one, "chat", "success"): 1
        }
        assert it.totals("llm_tokens", "model", "provider", "type") == {
            (*one, "input"): 1000,
            (*one, "output"): 100,
        }
        assert it.totals("llm_cached_tokens", "model", "provider") == {one: 400}
        assert it.totals("llm_cost_usd", "model", "provider") == {one: pytest.approx(0.003)}


def test_the_exemplar_is_the_span_itself() -> None:
    """Not the one around it, and what was not sampled has none."""
    with spans() as it:
        with (
            it.tracer().start_as_current_span("request"),
            it.tracer().start_as_current_span("chat", attributes=CHAT) as span,
        ):
            identity = span.get_span_context()
        body = it.bridge.reader.expose(OPENMETRICS).body.decode()
    lines = [line for line in body.splitlines() if "# {" in line]
    assert {name for line in lines for name in [line.partition("{")[0]]} >= {
        "llmdevops_llm_requests_total",
        "llmdevops_llm_tokens_total",
        "llmdevops_llm_cost_usd_total",
        "llmdevops_llm_request_duration_seconds_bucket",
    }
    for line in lines:
        assert f'span_id="{identity.span_id:016x}"' in line
        assert f'trace_id="{identity.trace_id:032x}"' in line


@pytest.mark.parametrize(
    ("agent", "tool", "step"),
    [
        (
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"},
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather"},
            {"gen_ai.operation.name": "plan"},
        ),
        (
            {"openinference.span.kind": "AGENT", "agent.name": "meteo"},
            {"openinference.span.kind": "TOOL", "tool.name": "weather"},
            {"openinference.span.kind": "CHAIN"},
        ),
        (
            {"traceloop.span.kind": "agent", "traceloop.entity.name": "meteo"},
            {"traceloop.span.kind": "tool", "traceloop.entity.name": "weather"},
            {"traceloop.span.kind": "task", "traceloop.entity.name": "think"},
        ),
        (
            {"agent_name": "meteo", "gen_ai.agent.name": "meteo"},
            {"gen_ai.tool.name": "weather", "logfire.msg": "running tool"},
            {"gen_ai.operation.name": "plan"},
        ),
        (
            {"langfuse.observation.type": "agent", "gen_ai.agent.name": "meteo"},
            {"langfuse.observation.type": "tool", "tool.name": "weather"},
            {"langfuse.observation.type": "chain"},
        ),
    ],
    ids=["gen_ai", "OpenInference", "OpenLLMetry", "pydantic-ai", "Langfuse"],
)
def test_agents_tools_and_steps(agent: Any, tool: Any, step: Any) -> None:
    """An agent that asks a model twice and a tool once, which fails."""
    with spans() as it:
        tracer = it.tracer()
        with tracer.start_as_current_span("agent run", attributes=agent):
            with tracer.start_as_current_span("step", attributes=step):
                for _ in range(2):
                    with tracer.start_as_current_span("chat", attributes=CHAT):
                        pass
            with pytest.raises(ValueError, match="rain"), tracer.start_as_current_span("t", attributes=tool):
                raise ValueError("rain")
        assert it.totals("agent_executions", "agent_type", "status") == {("meteo", "success"): 1}
        assert it.totals("agent_tool_calls", "agent_type", "tool_name", "status") == {
            ("meteo", "weather", "error"): 1
        }
        assert sum(it.totals("agent_steps", "agent_type").values()) == 1
        assert sum(it.totals("llm_requests").values()) == 2
        families = it.families()
    calls = {s.name: s.value for s in families["llmdevops_agent_execution_inference_calls"].samples}
    assert calls["llmdevops_agent_execution_inference_calls_sum"] == 2


def test_workflows_memory_and_mcp() -> None:
    """Each in its family; MCP of clients and of servers."""
    with spans() as it:
        tracer = it.tracer()
        for attributes, kind in (
            (
                {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "answer"},
                SpanKind.INTERNAL,
            ),
            ({"gen_ai.operation.name": "search_memory"}, SpanKind.CLIENT),
            ({"mcp.method.name": "tools/call", "gen_ai.tool.name": "add"}, SpanKind.CLIENT),
            ({"mcp.method.name": "tools/call", "gen_ai.tool.name": "add"}, SpanKind.SERVER),
            ({"openinference.span.kind": "RETRIEVER"}, SpanKind.INTERNAL),
        ):
            with tracer.start_as_current_span("x", attributes=attributes, kind=kind):
                pass
        assert it.totals("agent_workflows", "workflow", "status") == {("answer", "success"): 1}
        assert it.totals("agent_memory_operations", "operation") == {("search_memory",): 1}
        assert it.totals("llm_other_operations", "operation") == {("retrieval",): 1}
        shown = it.families()
    assert {"mcp_client_operation_duration_seconds", "mcp_server_operation_duration_seconds"} <= shown.keys()


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (lambda span: span.set_attribute("error.type", "openai.RateLimitError"), "rate_limit"),
        (lambda span: span.record_exception(TimeoutError("late")), "timeout"),
        (lambda span: None, "other"),
    ],
)
def test_errors(say: Any, kind: str) -> None:
    """By the attribute, by the exception that was recorded, or just by the status."""
    with spans() as it:
        with it.tracer().start_as_current_span("chat", attributes=CHAT) as span:
            say(span)
            span.set_status(Status(StatusCode.ERROR))
        assert it.totals("llm_errors", "error_type") == {(kind,): 1}
        assert it.totals("llm_requests", "status") == {("error",): 1}


@pytest.mark.parametrize("how", ["event", "milliseconds", "seconds", "langfuse"])
def test_the_time_to_the_first_chunk(how: str) -> None:
    """Where events or attributes say it."""
    start = time.time_ns()
    with spans() as it:
        span = it.tracer().start_span("chat", attributes=CHAT, start_time=start)
        if how == "event":
            span.add_event("First Token Stream Event", timestamp=start + 250_000_000)
        elif how == "milliseconds":
            span.set_attribute("ai.response.msToFirstChunk", 250)
        elif how == "seconds":
            span.set_attribute("gen_ai.response.time_to_first_chunk", 0.25)
        else:
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start // 10**9 + 1)) + "+00:00"
            span.set_attribute("langfuse.observation.completion_start_time", json.dumps(when))
        span.end(start + 2 * 10**9)
        (value,) = it.totals("llm_time_to_first_chunk_seconds", end="_sum").values()
    assert value == pytest.approx(0.25) if how != "langfuse" else 0 <= value <= 1


@pytest.mark.parametrize(
    ("outer", "inner", "calls", "tokens"),
    [
        ("framework", "client", 1, 1000),  # the framework's span counts
        ("framework", "opentelemetry.instrumentation.genai.openai", 0, 0),  # the client's metrics say it
        ("opentelemetry.instrumentation.genai.langchain", "framework", 0, 0),
        ("pydantic-ai", "client", 1, 0),  # it records its tokens, and no calls
        ("pydantic-ai", "opentelemetry.instrumentation.genai.openai", 0, 0),
    ],
)
def test_nothing_is_counted_twice(outer: str, inner: str, calls: int, tokens: int) -> None:
    """Two spans of one call are one call, and what a library measures itself is left alone."""
    with spans() as it:
        with (
            it.tracer(outer).start_as_current_span("chat", attributes=CHAT),
            it.tracer(inner).start_as_current_span("chat", attributes=CHAT),
        ):
            pass
        assert sum(it.totals("llm_requests").values()) == calls
        assert it.totals("llm_tokens", "type").get(("input",), 0) == tokens


@pytest.mark.parametrize("deep", [1, 2])
def test_what_only_the_inner_span_of_a_call_says(deep: int) -> None:
    """A framework streams and sees no tokens; the client below it does, at its second attempt."""
    said = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}
    inner = {**CHAT, "gen_ai.response.finish_reasons": ["stop"]}
    with spans() as it:
        with contextlib.ExitStack() as outer:
            for number in range(deep):
                tracer = it.tracer(f"framework{number}")
                outer.enter_context(tracer.start_as_current_span("ChatOpenAI", attributes=said))
            with it.tracer("client").start_as_current_span("chat", attributes=ASKED) as failed:
                failed.set_status(Status(StatusCode.ERROR))
            with it.tracer("client").start_as_current_span("chat", attributes=inner):
                pass
        one = ("gpt-4o", "openai")
        assert it.totals("llm_requests", "model", "provider", "status") == {(*one, "success"): 1}
        assert it.totals("llm_tokens", "model", "provider", "type") == {
            (*one, "input"): 1000,
            (*one, "output"): 100,
        }
        assert it.totals("llm_cached_tokens") == {(): 400}
        assert it.totals("llm_cost_usd") == {(): pytest.approx(0.003)}
        assert it.totals("llm_answers", "finish_reason") == {("stop",): 1}
        assert it.totals("llm_unpriced_requests") == {}


@pytest.mark.parametrize(
    "agent", ["Senior Researcher._execute_core", "Senior Researcher.find it._execute_core"]
)
def test_agents_of_crewai_are_named_by_their_role(agent: str) -> None:
    """OpenInference has the role, the task and the method in the name of the span, and no other name."""
    with spans() as it:
        tracer = it.tracer("openinference.instrumentation.crewai")
        with (
            tracer.start_as_current_span("Crew.kickoff", attributes={"openinference.span.kind": "CHAIN"}),
            tracer.start_as_current_span(agent, attributes={"openinference.span.kind": "AGENT"}),
        ):
            pass
        assert it.totals("agent_executions", "agent_type") == {("Senior Researcher",): 1}
        assert it.totals("agent_workflows", "workflow") == {("Crew",): 1}


def test_a_call_whose_event_has_the_details() -> None:
    """The conventions have an event with all of it; what the span says counts before that."""
    with spans() as it:
        with it.tracer().start_as_current_span("chat") as span:
            span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"})
            details = {**CHAT, "gen_ai.provider.name": "other", "gen_ai.response.finish_reasons": ["length"]}
            span.add_event("gen_ai.client.inference.operation.details", details)
        one = ("gpt-4o", "openai")
        assert it.totals("llm_tokens", "model", "provider") == {one: 1100}
        assert it.totals("llm_cost_usd", "model", "provider") == {one: pytest.approx(0.003)}
        assert it.totals("llm_answers", "finish_reason") == {("length",): 1}


@pytest.mark.parametrize(
    "said",
    [
        {"openinference.span.kind": "AGENT", "agent.name": "meteo"},
        {"traceloop.span.kind": "agent", "traceloop.entity.name": "meteo"},
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"},
    ],
    ids=lambda said: next(iter(said)),
)
@pytest.mark.parametrize("calls", [0, 1])
def test_an_agent_with_the_event_of_a_call_is_an_agent(said: dict[str, str], calls: int) -> None:
    """The current span may be that of the agent when somebody adds the event."""
    with spans() as it:
        with it.tracer("framework").start_as_current_span("agent", attributes=said) as agent:
            for _ in range(calls):
                with it.tracer("client").start_as_current_span("chat", attributes=CHAT):
                    pass
            agent.add_event("gen_ai.client.inference.operation.details", CHAT)
        assert it.totals("agent_executions", "agent_type") == {("meteo",): 1}
        assert sum(it.totals("llm_requests").values()) == calls


def test_attempts_inside_of_one_call_are_paid_together() -> None:
    """Each attempt had tokens; what the outer span says itself counts before that."""
    with spans() as it:
        for said in ({}, {"gen_ai.usage.input_tokens": 3000}):
            with it.tracer("framework").start_as_current_span("chat", attributes={**ASKED, **said}):
                for _ in range(2):
                    with it.tracer("client").start_as_current_span("chat", attributes=CHAT):
                        pass
        assert it.totals("llm_requests") == {(): 2}
        assert it.totals("llm_tokens", "type") == {("input",): 5000, ("output",): 400}


@pytest.mark.parametrize("number", [1e308, 2**62, 10**15], ids=str)
def test_one_wrong_number_is_not_all_that_a_counter_says(number: float) -> None:
    """Numbers that no call can have are no numbers of tokens, and nothing costs as much."""
    with spans() as it:
        for attribute in ("gen_ai.usage.input_tokens", "gen_ai.usage.cost"):
            with it.tracer().start_as_current_span("call", attributes={**CHAT, attribute: number}):
                pass
        with it.tracer().start_as_current_span("call", attributes=CHAT):
            pass
        LLMRecorder(it.bridge.meter_provider).record_request(
            model="gpt-4o", provider="openai", duration=1, input_tokens=number, output_tokens=100
        )
        assert it.totals("llm_tokens", "type") == {("input",): 2000, ("output",): 400}
        assert sum(it.totals("llm_cost_usd").values()) < 0.02


def test_who_says_late_what_a_span_is() -> None:
    """OpenInference's LangChain says it at the end: then the inner span of a call has counted already."""
    with spans() as it:
        tracer = it.tracer("langchain")
        with tracer.start_as_current_span("meteo") as agent:
            with tracer.start_as_current_span("model") as step:
                with tracer.start_as_current_span("ChatOpenAI") as call:
                    with it.tracer("client").start_as_current_span("chat", attributes=CHAT):
                        pass
                    call.set_attributes(CALLS["OpenInference"])
                step.set_attribute("openinference.span.kind", "CHAIN")
            agent.set_attribute("openinference.span.kind", "CHAIN")
            agent.set_attribute("metadata", json.dumps({"lc_agent_name": "meteo"}))
        assert it.totals("llm_requests") == {(): 1}
        assert it.totals("agent_steps", "step_type") == {("chain",): 1}
        assert it.totals("agent_executions", "agent_type") == {("meteo",): 1}


def test_who_measures_what_is_a_switch() -> None:
    """The application knows better, for its release of a library."""
    scope = "opentelemetry.instrumentation.genai.openai"
    with spans(measured={scope: ["tokens"]}) as it:
        with it.tracer(scope).start_as_current_span("chat", attributes=CHAT):
            pass
        assert sum(it.totals("llm_requests").values()) == 1
        assert it.totals("llm_tokens") == {}
    for wrong in ({"a": ["toolz"]}, {"a": "tokens"}, ["a"], {1: ["tokens"]}):
        with pytest.raises(ConfigurationError, match="measured"):
            SpanMetrics(measured=wrong)  # type: ignore[arg-type]


def test_failures_of_who_records_successes() -> None:
    """OpenLLMetry's LangChain has metrics of successes; the spans that failed are counted here."""
    with spans() as it:
        tracer = it.tracer("opentelemetry.instrumentation.langchain")
        for failed in (False, True):
            with tracer.start_as_current_span("chat", attributes=CHAT) as span:
                if failed:
                    span.set_status(Status(StatusCode.ERROR))
        assert it.totals("llm_requests", "status") == {("error",): 1}


def test_two_spans_of_one_agent() -> None:
    """OpenLLMetry's LangChain has two, and the node that runs the tools is a step."""
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"}
    with spans() as it:
        tracer = it.tracer("opentelemetry.instrumentation.langchain")
        with (
            tracer.start_as_current_span("invoke_agent meteo", attributes=agent),
            tracer.start_as_current_span("meteo.workflow", attributes=agent),
            tracer.start_as_current_span("tools", attributes={"gen_ai.operation.name": "execute_task"}),
        ):
            pass
        assert it.totals("agent_executions", "agent_type") == {("meteo",): 1}
        assert it.totals("agent_steps") == {(): 1}
        assert it.totals("llm_requests") == {}


def test_two_spans_of_one_request_of_mcp() -> None:
    """fastmcp's is around that of the SDK, and the server's is inside of both."""
    call = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "add"}
    with spans() as it:
        fast, sdk = it.tracer("fastmcp"), it.tracer("mcp-python-sdk")
        with (
            fast.start_as_current_span("call", attributes=call, kind=SpanKind.CLIENT),
            sdk.start_as_current_span(
                "send", attributes={"mcp.method.name": "tools/call"}, kind=SpanKind.CLIENT
            ),
            fast.start_as_current_span("call", attributes=call, kind=SpanKind.SERVER),
        ):
            pass
        families = it.families()
    for side in ("client", "server"):
        (count,) = [
            (sample.value, sample.labels["gen_ai_tool_name"])
            for sample in families[f"mcp_{side}_operation_duration_seconds"].samples
            if sample.name.endswith("_count")
        ]
        assert count == (1, "add")


@pytest.mark.parametrize("instrumented", [False, True])
def test_a_client_that_writes_spans_itself(instrumented: bool) -> None:
    """Anthropic's does; an instrumentation beside it, whose span is not around the client's, counts alone."""
    with spans(measured={"opentelemetry.instrumentation.anthropic": []}) as it:
        client = it.tracer("com.anthropic.sdk.python")
        for _ in range(2):
            outer = it.tracer("opentelemetry.instrumentation.anthropic") if instrumented else None
            around = outer and outer.start_span("anthropic.chat", attributes=CHAT)
            client.start_span("messages.create", attributes=CHAT).end()
            if around is not None:
                around.end()
        assert it.totals("llm_requests") == {(): 2}


def test_a_release_says_what_is_measured() -> None:
    """litellm's default callback has a scope without a release, and records successes only."""
    with spans() as it:
        for release, wanted in ((None, 1), ("1.110.2", 1)):
            tracer = it.tracers.get_tracer("litellm", release)
            with tracer.start_as_current_span("chat", attributes=CHAT) as span:
                span.set_status(Status(StatusCode.ERROR))
            assert it.totals("llm_errors") == {(): wanted}


def test_cached_tokens_correct_the_cost_of_tokens_that_others_record() -> None:
    """A library counts the tokens, and its spans say that some were cached: they cost what those cost."""
    scope = "opentelemetry.instrumentation.genai.openai"
    with spans() as it:
        usage = it.bridge.meter_provider.get_meter(scope).create_histogram("gen_ai.client.token.usage")
        for kind, count in (("input", 1000), ("output", 100)):
            said = {key: value for key, value in CHAT.items() if "usage" not in key}
            usage.record(count, {**said, "gen_ai.token.type": kind})
        assert it.totals("llm_cost_usd") == {(): pytest.approx(0.0035)}
        with it.tracer(scope).start_as_current_span("chat", attributes=CHAT):
            pass
        usage.record(1000, {**said, "gen_ai.token.type": "output"})
        # No sum falls: 500 tokens' worth of input is saved, and made up for before it grows again.
        assert it.totals("llm_cost_usd", "type") == {
            ("input",): pytest.approx(0.0025),
            ("output",): pytest.approx(0.011),
        }
        usage.record(1000, {**said, "gen_ai.token.type": "input"})
        assert it.totals("llm_cost_usd", "type")["input",] == pytest.approx(0.0045)


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("opentelemetry.instrumentation.genai.openai", {**ASKED, "server.address": "x", "server.port": 1}),
        (
            "opentelemetry.instrumentation.openai.v1",
            {**ANSWERED, "gen_ai.operation.name": "chat", "server.address": "http://x:1"},
        ),
        ("opentelemetry.instrumentation.anthropic", ANSWERED),
        ("opentelemetry.instrumentation.langchain", ANSWERED),
    ],
)
def test_cached_tokens_correct_the_cost_where_all_attributes_are_labels(
    scope: str, said: dict[str, Any]
) -> None:
    """As with `semconv`: they are counted with the scope and the attributes of the library's own tokens."""
    with running(prices=TABLE, scope_info_enabled=True) as bridge:
        tracers = TracerProvider()
        tracers.add_span_processor(SpanMetrics(bridge.meter_provider))
        meter = bridge.meter_provider.get_meter(scope, "1.0", schema_url="https://x/1")
        tokens = meter.create_histogram("gen_ai.client.token.usage")
        tokens.record(1000, {**said, "gen_ai.token.type": "input"})
        usage = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.cache_read.input_tokens": 400}
        where = {"server.address": "x", "server.port": 1, "gen_ai.openai.api_base": "http://x:1"}
        tracer = tracers.get_tracer(scope, "1.0", "https://x/1")
        with tracer.start_as_current_span("chat", attributes={**ASKED, **usage, **where}):
            pass
        (cost,) = families_of(bridge)["gen_ai_usage_cost_USD"].samples
        assert cost.labels["otel_scope_name"] == scope
        assert cost.value == pytest.approx((600 * 2.5 + 400 * 1.25) / 1e6)


@pytest.mark.parametrize("dialect", CALLS)
def test_costs_can_be_left_to_whoever_shows_the_tokens(dialect: str) -> None:
    """As the bridge does: each kind of token has its cost then, and what has none is counted."""
    with spans(costs="shown") as it:
        for attributes in (CALLS[dialect], {**CHAT, "gen_ai.usage.cost": 0.5}):
            with it.tracer().start_as_current_span("call", attributes=attributes):
                pass
        assert it.totals("llm_cost_usd", "type") == {
            ("input",): pytest.approx(0.0015),
            ("cached",): pytest.approx(0.0005),
            ("output",): pytest.approx(0.001),
            ("",): 0.5,
        }
        said = {key: value for key, value in CHAT.items() if "usage" not in key}
        with it.tracer().start_as_current_span("call", attributes=said):
            pass
        assert it.totals("llm_unpriced_requests") == {(): 1}
    with pytest.raises(ConfigurationError, match="costs"):
        SpanMetrics(costs="hidden")  # type: ignore[arg-type]


def test_costs_that_are_not_left_are_by_the_table_of_now() -> None:
    """Tokens without a name are priced here, also where other costs are left to whoever shows the tokens."""
    with spans(costs="shown", prices="default") as it:
        it.bridge.reader.prices = PriceTable("dearer", {"gpt-4o": Price(5, 20, cached=2.5)})
        with it.tracer("strands.telemetry").start_as_current_span("chat", attributes=CHAT):
            pass
        assert it.totals("llm_cost_usd") == {(): pytest.approx(0.006)}


def test_evaluations_with_and_without_an_error() -> None:
    """A result is none of an error, and says so by an empty label."""
    said = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.label": "pass"}
    with spans() as it:
        with it.tracer().start_as_current_span("work") as span:
            span.add_event("gen_ai.evaluation.result", said)
            span.add_event(
                "gen_ai.evaluation.result",
                {"gen_ai.evaluation.name": "Relevance", "error.type": "TimeoutError"},
            )
        assert it.totals("llm_evaluations", "result", "error_type") == {("pass", ""): 1, ("", "timeout"): 1}


def test_reported_costs_are_used() -> None:
    """A span that says what the call cost is believed."""
    with spans() as it:
        with it.tracer().start_as_current_span("chat", attributes={**CHAT, "llm.cost.total": 0.5}):
            pass
        assert it.totals("llm_cost_usd") == {(): 0.5}


def test_spans_that_are_dropped_can_be_counted() -> None:
    """With the sampler all calls are counted and none is exported; without it, none is counted."""
    exported = InMemorySpanExporter()
    for sampler, calls in ((ParentBased(ALWAYS_OFF), {}), (record_all(ParentBased(ALWAYS_OFF)), {(): 3.0})):
        with spans(sampler) as it:
            it.tracers.add_span_processor(SimpleSpanProcessor(exported))
            for _ in range(3):
                with it.tracer().start_as_current_span("chat", attributes=CHAT):
                    pass
            assert it.totals("llm_requests") == calls
            assert "trace_id" not in it.bridge.reader.expose(OPENMETRICS).body.decode()
    assert exported.get_finished_spans() == ()
    assert "RecordAll" in record_all(ALWAYS_OFF).get_description()
    with pytest.raises(ConfigurationError):
        record_all("off")


def test_other_spans_are_none_of_our_business() -> None:
    """HTTP, databases and what has no attributes become no metric."""
    with spans() as it:
        for attributes in (
            {},
            {"http.request.method": "GET"},
            {"gen_ai.custom": 1},
            {"ai.operationId": "ai.generateText"},
        ):
            with it.tracer().start_as_current_span("x", attributes=attributes):
                pass
        assert not [name for name in it.families() if "llm" in name or "agent" in name]


KEYS = sorted(
    {key for attributes in CALLS.values() for key in attributes}
    | {"error.type", "mcp.method.name", "gen_ai.tool.name"}
)
# prometheus_client's parser, one of the judges, refuses escaped quotes in exemplars; see tests/exposition.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters='"'), max_size=20)
VALUES = st.one_of(
    TEXT,
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.booleans(),
    st.lists(TEXT, max_size=2),
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
@settings(max_examples=examples(60))
def test_whatever_a_span_says_nothing_raises(attributes: dict[str, Any]) -> None:
    """Negative tokens, wrong types, odd names: scrapes work, and counters never have a negative part."""
    with spans() as it:
        with it.tracer().start_as_current_span("chat", attributes=attributes) as span:
            span.add_event("exception", {"exception.type": "X"})
        families = it.families()
    for family in families.values():
        for sample in family.samples:
            if sample.name.endswith(("_total", "_count", "_sum")):
                assert sample.value >= 0


def test_wrong_attributes_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of tokens below zero and of a wrong type there is one line each; the call is counted as unpriced."""
    bad = {**CHAT, "gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": "many"}
    with caplog.at_level(logging.WARNING), spans() as it:
        for _ in range(3):
            with it.tracer().start_as_current_span("chat", attributes=bad):
                pass
        assert it.totals("llm_requests") == {(): 3}
        assert it.totals("llm_unpriced_requests") == {(): 3}
    lines = [record.getMessage() for record in caplog.records if "of a span" in record.getMessage()]
    assert len(lines) == len(set(lines)) <= 2


@pytest.mark.parametrize("costs", ["recorded", "shown"])
def test_a_call_with_one_unreadable_number_is_among_the_unpriced(costs: Any) -> None:
    """The rest of it is paid, and nobody takes that for all that it cost."""
    kinds = ("input_tokens", "output_tokens", "cache_read.input_tokens")
    unpriced, paid = 0, 0.0
    with spans(costs=costs) as it:
        for kind, wrong in itertools.product(kinds, (-5, "many", math.nan, True, 10**18)):
            for _ in range(3):
                said = {**CHAT, f"gen_ai.usage.{kind}": wrong}
                with it.tracer().start_as_current_span("chat", attributes=said):
                    pass
            unpriced += 3
            assert it.totals("llm_unpriced_requests", "model") == {("gpt-4o",): unpriced}, (kind, wrong)
            before, paid = paid, sum(it.totals("llm_cost_usd").values())
            assert paid > before, (kind, wrong)


def test_a_cost_that_is_said_is_known_whatever_the_tokens_are() -> None:
    """An alias that is right counts, too; so nothing is unknown."""
    with spans() as it:
        for said in (
            {"gen_ai.usage.cost": 0.5, "gen_ai.usage.input_tokens": "many"},
            {"gen_ai.usage.input_tokens": "many", "gen_ai.usage.prompt_tokens": 1000},
        ):
            with it.tracer().start_as_current_span("chat", attributes={**CHAT, **said}):
                pass
        assert it.totals("llm_unpriced_requests") == {}


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("weather", {"langfuse.observation.type": "tool"}),
        ("execute_tool weather", {"gen_ai.operation.name": "execute_tool"}),
    ],
)
def test_tools_that_are_named_by_their_spans(name: str, attributes: dict[str, Any]) -> None:
    """Langfuse has no other name, and the conventions' spans have one that says it."""
    with spans() as it:
        with it.tracer().start_as_current_span(name, attributes=attributes):
            pass
        assert it.totals("agent_tool_calls", "tool_name") == {("weather",): 1}


@pytest.mark.parametrize(
    "said",
    [
        '{"input": -1, "output": "x"}',
        '{"input": 1e400}',
        "[1]",
        '{"input": true}',
        '{"prompt_tokens_details": 1}',
    ],
)
def test_what_langfuse_says_wrongly(said: str) -> None:
    """It is taken for not said."""
    usage = "langfuse.observation.usage_details"
    with spans() as it:
        with it.tracer().start_as_current_span("x", attributes={**CALLS["Langfuse"], usage: said}):
            pass
        assert it.totals("llm_unpriced_requests") == {(): 1}
        assert it.totals("llm_tokens") == {}


def test_what_langfuse_says_wrongly_in_part(caplog: pytest.LogCaptureFixture) -> None:
    """The rest of it is paid; the call is among the unpriced, and the log says once what is wrong."""
    usage = {"langfuse.observation.usage_details": '{"input": "many", "output": 100}'}
    with spans() as it:
        for _ in range(2):
            with it.tracer().start_as_current_span("x", attributes={**CALLS["Langfuse"], **usage}):
                pass
        assert it.totals("llm_unpriced_requests") == {(): 2}
        assert it.totals("llm_tokens", "type") == {("output",): 200}
    assert [line for line in caplog.messages if "Langfuse" in line] == [
        "'input' of Langfuse is no number of tokens: 'many'"
    ]


@pytest.mark.parametrize(
    ("usage", "costs", "tokens", "paid"),
    [
        ({"input": 1000, "output": 100}, {"input": 0.25, "output": 0.5, "cache_read": 0.25}, 1000, 1.0),
        ({"input": 1000, "output": 100}, {"input": 0.25, "output": 0.5, "total": 2.0}, 1000, 2.0),
        ({"input": 1000, "output": 100}, {"input": -1, "total": "x"}, 1000, 0.0035),
        ({"input": 1000, "output": 100}, {"input": -1, "output": 0.5}, 1000, 0.0035),
        ({"input": 1000, "output": 100}, {"input": 0.25, "output": 0.5, "total": None}, 1000, 0.75),
        # litellm's, whose first two words are OpenAI's, with the parts among them
        ({"prompt_tokens": 1000, "completion_tokens": 100, "cache_read_input_tokens": 800}, {}, 1000, 0.0025),
        # Anthropic's own words, handed on as they are: what was cached is beside the rest of the input.
        (
            {"input_tokens": 500, "output_tokens": 100, "cache_read_input_tokens": 400}
            | {"cache_creation_input_tokens": 100},
            *({}, 1000, 0.003),
        ),
    ],
)
def test_costs_and_parts_of_langfuse(
    usage: dict[str, int], costs: dict[str, Any], tokens: int, paid: float
) -> None:
    """Without a total, the parts of a cost are added up, and so are Anthropic's kinds of input."""
    said = {
        "langfuse.observation.usage_details": json.dumps(usage),
        "langfuse.observation.cost_details": json.dumps(costs),
    }
    with spans() as it:
        with it.tracer().start_as_current_span("x", attributes={**CALLS["Langfuse"], **said}):
            pass
        assert it.totals("llm_tokens", "type")[("input",)] == tokens
        assert it.totals("llm_cost_usd") == {(): pytest.approx(paid)}


def test_rerankings_of_vercel() -> None:
    """They are an operation, as those of others are, and the span around them is none."""
    with spans() as it:
        for operation in ("ai.rerank", "ai.rerank.doRerank"):
            with it.tracer().start_as_current_span(operation, attributes={"ai.operationId": operation}):
                pass
        assert it.totals("llm_other_operations", "operation") == {("rerank",): 1}


def test_reasons_as_json() -> None:
    """litellm's default callback writes them so; each is a reason of its own."""
    with spans() as it:
        for said in ('["stop"]', '["length", "stop"]', "[", '{"a": 1}'):
            with it.tracer().start_as_current_span(
                "chat", attributes={**CHAT, "gen_ai.response.finish_reasons": said}
            ):
                pass
        assert it.totals("llm_answers", "finish_reason") == {("stop",): 2, ("length",): 1, ("other",): 1}


def test_a_first_chunk_is_not_after_the_end() -> None:
    """strands-agents says it in milliseconds, under the name for seconds."""
    start = time.time_ns()
    with spans() as it:
        for said in (250, 0.25, 10**9):
            span = it.tracer().start_span("chat", attributes=CHAT, start_time=start)
            span.set_attribute("gen_ai.server.time_to_first_token", said)
            span.end(start + 2 * 10**9)
        (total,) = it.totals("llm_time_to_first_chunk_seconds", end="_sum").values()
        assert total == pytest.approx(0.5)


def test_a_clock_that_is_set_back() -> None:
    """A call that ended before it began is one that took no time."""
    with spans() as it:
        it.tracer().start_span("chat", attributes=CHAT, start_time=10**18).end(10**18 - 5)
        assert it.totals("llm_requests") == {(): 1}


def _calls_of_agents(it: Setup) -> dict[str, float]:
    family = it.families()["llmdevops_agent_execution_inference_calls"]
    return {s.labels["agent_type"]: s.value for s in family.samples if s.name.endswith("_sum")}


@pytest.mark.parametrize("how", ["measured", "late", "twice"])
def test_calls_of_agents_that_are_known_otherwise(how: str) -> None:
    """Of an agent that its library measures, that says at its end what it is, or that has two spans."""
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"}
    scope = {"measured": "opentelemetry.instrumentation.genai.langchain", "late": "a"}.get(
        how, "opentelemetry.instrumentation.langchain"
    )
    with spans() as it:
        tracer = it.tracer(scope)
        with tracer.start_as_current_span("meteo", attributes=None if how == "late" else agent) as span:
            inner = agent if how == "twice" else {}
            with tracer.start_as_current_span("meteo.workflow", attributes=inner):
                for _ in range(2):
                    with it.tracer("client").start_as_current_span("chat", attributes=CHAT):
                        pass
            span.set_attributes(agent)
        assert _calls_of_agents(it) == {"meteo": 2}
        assert it.totals("agent_executions") == ({} if how == "measured" else {(): 1})


def test_times_per_token_of_who_measures_chunks() -> None:
    """OpenTelemetry's own instrumentations have none; litellm has."""
    with spans() as it:
        for scope in ("opentelemetry.instrumentation.genai.openai", "litellm"):
            with it.tracer(scope).start_as_current_span("chat", attributes=CHAT):
                pass
        assert it.totals("llm_time_per_output_token_seconds", end="_count") == {(): 1}


def test_what_the_application_lets_go_is_gone() -> None:
    """A span that is never ended does not keep its prompt; those inside of it count all the same."""
    with spans() as it:
        lost = it.tracer().start_span("agent", attributes={**CHAT, "gen_ai.prompt": "x" * 1000})
        outer, gone = trace.set_span_in_context(lost), weakref.ref(lost)
        with it.tracer().start_as_current_span("step", context=outer):
            inner = it.tracer().start_span("chat", attributes=CHAT)
        del lost, outer
        gc.collect()
        assert gone() is None
        inner.end()
        assert it.totals("llm_requests") == {(): 1}


@pytest.mark.slow
def test_spans_without_end_take_bounded_room() -> None:
    """A hundred thousand spans that never end are forgotten, the oldest first."""
    with spans() as it:
        (processor,) = it.tracers._active_span_processor._span_processors
        kept = [it.tracer().start_span("chat", attributes=CHAT) for _ in range(12_000)]
        assert len(processor._open._nodes) <= 10_000  # type: ignore[attr-defined]
        for span in kept:
            span.end()
        assert it.totals("llm_requests") == {(): 12_000}
        assert not processor._open._nodes  # type: ignore[attr-defined]


def test_the_processor_is_quick() -> None:
    """It adds to a call what a recorder would, more or less, and to other spans nearly nothing.

    What is compared are calls of functions, which are the same on every machine.
    """
    other = {"http.request.method": "GET"}
    with spans() as it:
        plain = TracerProvider(shutdown_on_exit=False).get_tracer("a")
        recorder = LLMRecorder(it.bridge.meter_provider)
        recorded = _calls(
            lambda: recorder.record_request(
                model="gpt-4o",
                provider="openai",
                duration=1,
                input_tokens=9,
                output_tokens=9,
                cached_tokens=1,
            )
        )
        added = _of_spans(it.tracer(), CHAT) - _of_spans(plain, CHAT)
        beside = _of_spans(it.tracer(), other) - _of_spans(plain, other)
    assert added < 2.5 * recorded
    assert beside < 0.3 * recorded


def _of_spans(tracer: trace.Tracer, attributes: Mapping[str, Any]) -> int:
    return _calls(lambda: tracer.start_span("chat", attributes=attributes).end())


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called, once all is made that is made only once."""
    for _ in range(10):
        work()
    events: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: events.append(event))
    try:
        work()
    finally:
        sys.setprofile(before)
    return sum(event in ("call", "c_call") for event in events)


EVALUATE = """
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
def evaluate():
    result = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.5}
    event = _logs.LogRecord(event_name="gen_ai.evaluation.result", attributes=result)
    _logs.get_logger_provider().get_logger("judge").emit(event)
"""
PROGRAM = """
import otel_prom_bridge, sys
from opentelemetry import trace
if {early}:
    _logs.set_logger_provider(LoggerProvider())
bridge = otel_prom_bridge.start(port=0, addr="127.0.0.1", {options})
if not {early}:
    _logs.set_logger_provider(LoggerProvider())
    bridge.reader.expose()
evaluate()
call = {{"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 7}}
with trace.get_tracer("framework").start_as_current_span("chat", attributes=call):
    pass
print(bridge.reader.expose().body.decode())
bridge.shutdown()
if {again}:
    bridge = otel_prom_bridge.start(port=0, addr="127.0.0.1", {options})
    with trace.get_tracer("framework").start_as_current_span("chat", attributes=call):
        pass
    print(bridge.reader.expose().body.decode())
"""


@pytest.mark.parametrize("how", ["argument", "variable", "again", "direct"])
def test_start_has_it(how: str) -> None:
    """One argument, or one variable, whoever records; after a second start each span is counted once.

    Events of evaluations are recorded, too, whether the provider of logs was there before or comes after.
    """
    options = 'profile="llmdevops"' + (", span_metrics=True" if how != "variable" else "")
    options += ', recording="direct"' if how == "direct" else ""
    code = EVALUATE + PROGRAM.format(options=options, again=how == "again", early=how != "variable")
    environment = {"OTEL_PROM_BRIDGE_SPAN_METRICS": "true"} if how == "variable" else {}
    done = programs.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=_environment(environment),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("llmdevops_llm_requests_total{")]
    assert [line.rsplit(" ", 1)[1] for line in shown] == (["1", "1"] if how == "again" else ["1"])
    assert "llmdevops_llm_evaluations_total{" in done.stdout


WORKERS = """
import os, sys
import otel_prom_bridge
from opentelemetry import trace
bridge = otel_prom_bridge.start()
call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 7}
def work(count):
    for _ in range(count):
        with trace.get_tracer("framework").start_as_current_span("chat", attributes=call):
            pass
work(1)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        work(3)
        bridge.reader.force_flush()
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("way", [pytest.param("start", marks=pytest.mark.slow), "without code"])
def test_processes_with_a_hub(tmp_path: Path, way: str) -> None:
    """The spans of all processes count, as in one that is scraped itself; each of them once."""
    port = free_port()
    environment = {
        "OTEL_PROM_BRIDGE_SPAN_METRICS": "true",
        "OTEL_PROM_BRIDGE_PROFILE": "llmdevops",
        "OTEL_PROM_BRIDGE_PORT": str(port),
        "OTEL_PROM_BRIDGE_LINGER": "2",
        "OTEL_PROM_BRIDGE_CACHE_TTL": "0",
        "OTEL_METRICS_EXPORTER": "prometheus_bridge",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_CONFIGURATOR": "",
    }
    code = WORKERS
    if way == "without code":
        begin = "from opentelemetry.sdk._configuration import _OTelSDKConfigurator as C; C().configure()"
        reader = "from opentelemetry import metrics; bridge = type('', (), {})\n"
        reader += "(bridge.reader,) = metrics.get_meter_provider()._metric_readers"
        code = WORKERS.replace("bridge = otel_prom_bridge.start()", f"{begin}\n{reader}")
    run = [sys.executable, "-m", "otel_prom_bridge", "run", "--", sys.executable, "-c", code]
    done = programs.run(run, capture_output=True, text=True, env=_environment(environment), timeout=60)
    assert done.returncode == 0, done.stderr
    text = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
    shown = [line for line in text.splitlines() if line.startswith("llmdevops_llm_requests_total{")]
    assert [line.rsplit(" ", 1)[1] for line in shown] == ["7"], text


def test_without_a_change_to_the_code() -> None:
    """Under auto-instrumentation the variable is enough, with no exporter of traces."""
    code = """
from opentelemetry import metrics, trace
call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 7}
with trace.get_tracer("framework").start_as_current_span("chat", attributes=call):
    pass
(reader,) = metrics.get_meter_provider()._metric_readers
reader.expose()
evaluate()
print(reader.expose().body.decode())
"""
    environment = {
        "OTEL_PROM_BRIDGE_SPAN_METRICS": "true",
        "OTEL_PROM_BRIDGE_PROFILE": "llmdevops",
        "OTEL_METRICS_EXPORTER": "prometheus_bridge",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "OTEL_PYTHON_CONFIGURATOR": "",
    }
    start = "from opentelemetry.sdk._configuration import _OTelSDKConfigurator as C; C().configure()\n"
    done = programs.run(
        [sys.executable, "-c", start + EVALUATE + code],
        capture_output=True,
        text=True,
        env=_environment(environment),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "llmdevops_llm_requests_total{" in done.stdout, done.stderr
    assert "llmdevops_llm_evaluations_total{" in done.stdout, done.stderr


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **given}
