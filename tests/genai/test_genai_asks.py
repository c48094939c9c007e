"""What people ask for: retries, rate limits, why answers ended, guardrails, evaluations, steps of agents."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from bridges import families_of, running
from genai_points import Recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from properties import examples

from otel_prom_bridge.genai import AgentRecorder, EvaluationMetrics, LLMRecorder, SpanMetrics
from otel_prom_bridge.genai.rate_limits import RateLimits, parsed
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.recording.measurements import Measurements

CALL: dict[str, Any] = {"model": "gpt-4o", "provider": "openai"}
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
    "content-type": "application/json",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-ratelimit-requests-reset": "2026-11-29T10:00:30Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "29000",
    "anthropic-ratelimit-output-tokens-remaining": "7000",
}
AT = 1795946400.0  # 2026-11-29T10:00:00Z
SECRET = "sk-proj-4f9a8b7c6d5e4f9a8b7c6d5e"


# --- rate limits --------------------------------------------------------------------------------------------


KNOWN: dict[str, tuple[float | None, float, float | None]] = {
    "requests": (60, 59, AT + 1),
    "tokens": (150000, 149984, AT + 360),
}
LEFT = "x-ratelimit-remaining-"
HEADERS: list[tuple[Any, dict[str, tuple[float | None, float, float | None]]]] = [
    (OPENAI, KNOWN),
    ({f"llm_provider-{name}": value for name, value in OPENAI.items()}, KNOWN),
    (
        ANTHROPIC,
        {
            "requests": (50, 49, AT + 30),
            "input_tokens": (30000, 29000, None),
            "output_tokens": (None, 7000, None),
        },
    ),
    ({"X-RateLimit-Remaining-Requests": "0"}, {"requests": (None, 0, None)}),
    (
        {"ratelimit-limit": "10", "ratelimit-remaining": "9", "ratelimit-reset": "50"},
        {"requests": (10, 9, AT + 50)},
    ),
    (
        {"x-ratelimitbysize-limit-minute": "500", "x-ratelimitbysize-remaining-minute": "400"},
        {"tokens": (500, 400, None)},
    ),
    ({"x-ratelimit-limit-req-minute": "5", f"{LEFT}req-minute": "4"}, {"requests": (5, 4, None)}),
    ({f"{LEFT}requests": "7", "x-ratelimit-reset-requests": "20ms"}, {"requests": (None, 7, AT + 0.02)}),
    ({b"x-ratelimit-remaining-tokens": b"7"}, {"tokens": (None, 7, None)}),
    ([(f"{LEFT}tokens", "7")], {"tokens": (None, 7, None)}),
    ({f"{LEFT}tokens": "-1"}, {}),
    ({f"{LEFT}tokens": "many"}, {}),
    ({"x-ratelimit-limit-tokens": "5"}, {}),
    ({"retry-after": "5", "authorization": f"Bearer {SECRET}", f"{LEFT}secret": "5"}, {}),
    (None, {}),
]


@pytest.mark.parametrize(("headers", "expected"), HEADERS)
def test_headers_of_providers_are_read(headers: Any, expected: Mapping[str, Any]) -> None:
    """OpenAI's, Anthropic's, Mistral's, litellm's and the IETF's names; others say nothing."""
    found = {kind: (said.limit, said.remaining, said.until) for kind, said in parsed(headers, AT).items()}
    assert found == {
        kind: (limit, remaining, None if until is None else pytest.approx(until))
        for kind, (limit, remaining, until) in expected.items()
    }


@settings(max_examples=examples(200))
@given(
    st.dictionaries(
        st.sampled_from(sorted({*OPENAI, *ANTHROPIC, "x-ratelimit-", "ratelimit", "x" * 5000})), st.text()
    )
)
def test_whatever_headers_say(headers: dict[str, str]) -> None:
    """Nothing is raised, and what is left is a number that is none below zero."""
    for said in parsed(headers, AT).values():
        assert 0 <= said.remaining < 1e16


def test_a_limit_that_was_renewed_is_whole_again(recorded: Recorded) -> None:
    """What is left stands until the limit is renewed; without that time, for a minute."""
    now = [AT]
    limits = RateLimits(Measurements(recorded.provider, scope="s", schema_url=""), now=lambda: now[0])
    limits.take({**OPENAI, **ANTHROPIC}, {"gen_ai.request.model": "m"})

    def left() -> dict[str, float]:
        points = recorded.points("gen_ai.client.rate_limit.remaining")
        return {point.attributes["gen_ai.client.rate_limit.type"]: point.value for point in points}

    assert left() == {"requests": 49, "tokens": 149984, "input_tokens": 29000, "output_tokens": 7000}
    now[0] = AT + 31
    assert left() == {"requests": 50, "tokens": 149984, "input_tokens": 29000, "output_tokens": 7000}
    now[0] = AT + 400
    assert left() == {"requests": 50, "tokens": 150000}
    assert {point.value for point in recorded.points("gen_ai.client.rate_limit.limit")} == {50, 150000, 30000}


def test_two_recorders_of_one_provider_know_one_limit(recorded: Recorded) -> None:
    """The newer answer counts, whoever heard it, and a model that is new does not displace all others."""
    first, second = LLMRecorder(recorded.provider), LLMRecorder(recorded.provider)
    first.record_rate_limits({"x-ratelimit-remaining-requests": "9"}, **CALL)
    second.record_rate_limits({"x-ratelimit-remaining-requests": "8"}, **CALL)
    assert [point.value for point in recorded.points("gen_ai.client.rate_limit.remaining")] == [8]
    for number in range(1500):
        first.record_rate_limits({"x-ratelimit-remaining-requests": "7"}, model=f"m{number}", provider="p")
    assert len(recorded.points("gen_ai.client.rate_limit.remaining")) <= 1001


# --- calls --------------------------------------------------------------------------------------------------


def test_a_call_says_why_it_ended_and_how_often_it_was_sent(recorded: Recorded) -> None:
    """Finish reasons are counted at the end, the last ones that were said; retries at once, with reasons."""
    llm = LLMRecorder(recorded.provider)
    with llm.call(**CALL) as call:
        call.retry(TimeoutError())
        call.retry("rate_limit", count=2)
        assert recorded.total("gen_ai.client.retries") == 3
        call.finish_reasons("tool_calls")
        call.finish_reasons("stop", "length", None)
        call.rate_limits(OPENAI)
    llm.record_request(**CALL, duration=1, finish_reason="stop")
    llm.record_request(**CALL, duration=1, finish_reason=["stop", "content_filter"])
    llm.record_retry(**CALL, reason=KeyError("secret"))
    reasons = {
        point.attributes["gen_ai.response.finish_reason"]: point.value
        for point in recorded.points("gen_ai.client.generation.choices")
    }
    assert reasons == {"stop": 3, "length": 1, "content_filter": 1}
    retries = {p.attributes["error.type"]: p.value for p in recorded.points("gen_ai.client.retries")}
    assert retries == {"TimeoutError": 1, "rate_limit": 2, "KeyError": 1}
    (point,) = recorded.points("gen_ai.client.rate_limit.remaining")[:1]
    assert point.attributes["gen_ai.provider.name"] == "openai"


def test_time_per_output_token(recorded: Recorded) -> None:
    """Of a stream without its first chunk, otherwise of the whole; nothing of failures or without tokens."""
    llm = LLMRecorder(recorded.provider)
    name = "gen_ai.client.operation.time_per_output_token"
    llm.record_request(**CALL, duration=2, output_tokens=20)
    assert recorded.point(name).sum == pytest.approx(0.1)
    llm.record_request(**CALL, duration=2, output_tokens=11, time_to_first_chunk=1)
    assert recorded.point(name).sum == pytest.approx(0.2)
    for odd in (0, None, -3):
        llm.record_request(**CALL, duration=2, output_tokens=odd)
    llm.record_request(**CALL, duration=2, output_tokens=1, time_to_first_chunk=1)
    assert recorded.count(name) == 2


def test_guardrails_and_evaluations(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """Results are counted, scores are in a histogram by name; what is no score is logged once and counted."""
    llm = LLMRecorder(recorded.provider)
    for result in ("pass", "pass", "block"):
        llm.record_guardrail("pii", result)
    llm.record_evaluation("Relevance", 0.9, label="pass", model="gpt-4o")
    llm.record_evaluation("Relevance", 0.1, label="fail", model="gpt-4o")
    llm.record_evaluation("Relevance", error_type=TimeoutError())
    odd: list[Any] = [-1, float("nan"), "good", True, object()]
    for score in odd:
        llm.record_evaluation("Odd", score)
    points = recorded.points("gen_ai.guardrail.results")
    assert {p.attributes["gen_ai.guardrail.result"]: p.value for p in points} == {"pass": 2, "block": 1}
    assert recorded.point("gen_ai.evaluation.score", gen_ai__evaluation__name="Relevance").sum == 1.0
    assert recorded.count("gen_ai.evaluation.score") == 2
    assert recorded.total("gen_ai.evaluation.results") == 8
    assert 1 <= len(caplog.records) <= 4


# --- agents -------------------------------------------------------------------------------------------------


def test_steps_of_an_execution_and_tools_by_step(recorded: Recorded) -> None:
    """Steps are counted, and tools say in which one they are; else each call of a model begins one."""
    agents = AgentRecorder(recorded.provider)
    with agents.execution("planner") as run:
        for _ in range(3):
            with run.step("think"), run.tool("search"):
                pass
    with agents.execution("caller") as run:
        with run.tool("early"):
            pass
        run.inference_call()
        run.inference_call()
        with pytest.raises(KeyError), run.tool("search"):
            raise KeyError
    agents.record_execution(agent="else", duration=1, steps=40)
    agents.record_tool_call(tool="t", duration=1, step=30, success=False)
    assert recorded.point("gen_ai.invoke_agent.steps", gen_ai__agent__name="planner").sum == 3
    assert recorded.point("gen_ai.invoke_agent.steps", gen_ai__agent__name="else").sum == 40
    assert recorded.count("gen_ai.invoke_agent.steps") == 2
    found = {
        (said["gen_ai.tool.name"], said["gen_ai.agent.step.number"], said.get("error.type"))
        for said in (point.attributes for point in recorded.points("gen_ai.agent.step.tool_calls"))
    }
    assert found == {
        *(("search", step, None) for step in ("1", "2", "3")),
        ("search", "2", "KeyError"),
        ("t", "21 to 50", "_OTHER"),
    }
    assert recorded.count("gen_ai.execute_tool.duration") == 6


def test_a_decorated_agent_counts_for_each_invocation(recorded: Recorded) -> None:
    """An execution that decorates a function begins its steps anew each time."""
    agents = AgentRecorder(recorded.provider)
    run = agents.execution("planner")

    @run
    def once(steps: int) -> None:
        for _ in range(steps):
            with run.step("think"):
                pass

    once(2)
    once(5)
    point = recorded.point("gen_ai.invoke_agent.steps")
    assert (point.count, point.min, point.max) == (2, 2, 5)


# --- spans and events ---------------------------------------------------------------------------------------


def test_spans_say_the_same(recorded: Recorded) -> None:
    """Finish reasons, time per token, steps and evaluations of spans, whoever wrote them."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SpanMetrics(recorded.provider))
    tracer = tracers.get_tracer("a.framework")
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.output_tokens": 10,
    }
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
    with tracer.start_as_current_span("agent", attributes=agent):
        for _ in range(2):
            with tracer.start_as_current_span("chat", attributes=chat) as span:
                span.set_attribute("gen_ai.response.finish_reasons", ["tool_calls", "stop"])
            with tracer.start_as_current_span("tool", attributes=tool) as span:
                said = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 0.5}
                span.add_event("gen_ai.evaluation.result", {**said, "gen_ai.evaluation.score.label": "pass"})
    with tracer.start_as_current_span("odd", attributes=chat) as span:
        span.set_attribute("gen_ai.response.finish_reasons", 5)
        span.add_event("gen_ai.evaluation.result", {"gen_ai.evaluation.score.value": "high"})
    assert recorded.total("gen_ai.client.generation.choices") == 4
    assert recorded.count("gen_ai.client.operation.time_per_output_token") == 3
    steps = {
        p.attributes["gen_ai.agent.step.number"]: p.value
        for p in recorded.points("gen_ai.agent.step.tool_calls")
    }
    assert steps == {"1": 1, "2": 1}
    assert recorded.point("gen_ai.evaluation.score").sum == 1.0
    assert recorded.total("gen_ai.evaluation.results") == 3


def test_events_of_logs(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    """The conventions' event is recorded, other logs are not, and nothing is raised for odd ones."""
    provider = LoggerProvider(shutdown_on_exit=False)
    processor = EvaluationMetrics(recorded.provider)
    provider.add_log_record_processor(processor)  # type: ignore[arg-type]  # it is one by its methods
    log = provider.get_logger("evaluator")
    said = {"gen_ai.evaluation.name": "Relevance", "gen_ai.evaluation.score.value": 4.0}
    log.emit(event_name="gen_ai.evaluation.result", attributes={**said, "gen_ai.response.id": "resp_1"})
    log.emit(event_name="gen_ai.evaluation.result", attributes={"error.type": "timeout"})
    log.emit(body="gen_ai.evaluation.result", severity_text="INFO")
    with caplog.at_level(logging.WARNING):
        processor.on_emit(object())
    assert len(caplog.records) == 1
    assert processor.force_flush()
    processor.shutdown()
    log.emit(event_name="gen_ai.evaluation.result", attributes=said)
    (score,) = recorded.points("gen_ai.evaluation.score")
    assert (score.sum, dict(score.attributes)) == (4.0, {"gen_ai.evaluation.name": "Relevance"})
    errors = {p.attributes.get("error.type"): p.value for p in recorded.points("gen_ai.evaluation.results")}
    assert errors == {None: 1, "timeout": 1}


# --- profiles -----------------------------------------------------------------------------------------------

LLMDEVOPS = {
    *("llm_answers", "llm_retries", "llm_rate_limit_remaining", "llm_rate_limit", "llm_guardrail_results"),
    *("llm_evaluation_score", "llm_evaluations", "llm_time_per_output_token_seconds"),
    *("agent_execution_steps", "agent_execution_inference_calls", "agent_execution_tool_calls"),
    "agent_step_tool_calls",
}
SEMCONV = {
    *(
        "client_generation_choices",
        "client_retries",
        "client_rate_limit_remaining",
        "client_rate_limit_limit",
    ),
    *("guardrail_results", "evaluation_score", "evaluation_results", "invoke_agent_steps"),
    *("client_operation_time_per_output_token_seconds", "agent_step_tool_calls"),
}


@pytest.mark.parametrize("recording", ["sdk", "direct"])
@pytest.mark.parametrize("name", ["semconv", "llmdevops"])
def test_both_profiles_have_a_family_of_each(name: str, recording: str) -> None:
    """With bounded labels, through either door."""
    with running(profile=load_profile(name), recording=recording) as bridge:
        llm, agents = LLMRecorder(bridge.meter_provider), AgentRecorder(bridge.meter_provider)
        for number in range(70):
            with llm.call(**CALL) as call:
                call.retry("rate_limit")
                call.rate_limits(OPENAI)
                call.tokens(input=10, output=10)
                call.finish_reasons("max_tokens" if number else f"odd {number}")
            llm.record_guardrail(f"guardrail {number}", f"result {number}")
            llm.record_evaluation(f"evaluation {number}", 0.5, label=f"label {number}")
        with agents.execution("planner") as run, run.step("think"), run.tool("search"):
            run.inference_call()
        families = families_of(bridge)
    wanted = (
        {f"llmdevops_{n}" for n in LLMDEVOPS} if name == "llmdevops" else {f"gen_ai_{n}" for n in SEMCONV}
    )
    assert wanted <= families.keys()
    most = {
        label: len({sample.labels[label] for sample in family.samples if label in sample.labels})
        for family_name, family in families.items()
        if family_name in wanted
        for label in {*{key for sample in family.samples for key in sample.labels}} - {"le"}
    }
    assert max(most.values()) == 51
    text = str(families)
    assert "max_tokens" not in text
    assert "length" in text
