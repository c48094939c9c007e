"""Retries, limits and guardrails from spans: those of a real client, and in the words of each library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_openai import fake_openai
from measured_spans import CHAT, Setup, spans
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"http.request.method": "POST", "url.full": URL}


@pytest.fixture(scope="module")
def it() -> Iterator[Setup]:
    """One bridge for all, as each would take longer to start than its test."""
    with spans() as setup:
        yield setup


def _ask(it: Setup, *requests: dict[str, Any], **call: Any) -> None:
    """A call of a model that is made of these requests."""
    with it.tracer().start_as_current_span("chat", attributes={**CHAT, **call}):
        for request in requests:
            with it.tracer("http").start_as_current_span(
                "POST", kind=SpanKind.CLIENT, attributes={**ASKED, **request}
            ) as span:
                if request.get("error.type"):
                    span.set_status(Status(StatusCode.ERROR))


def _retries(it: Setup) -> Callable[[], dict[tuple[str, ...], float]]:
    return it.changes("llm_retries", "error_type")


def _limits(it: Setup) -> dict[tuple[str, ...], float]:
    samples = it.families()["llmdevops_llm_rate_limit_remaining"].samples
    return {(s.labels["provider"], s.labels["model"], s.labels["limit_type"]): s.value for s in samples}


def test_a_real_client_that_tries_again(it: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's client with OpenTelemetry's instrumentations: retries have reasons, limits are those said."""
    # Here, since each process that runs tests reads all files, and these take a second.
    import openai
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    captured = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE"
    monkeypatch.setenv(captured, "x-ratelimit-.*")
    instrumentors = (OpenAIInstrumentor(), HTTPX2ClientInstrumentor())
    retries = _retries(it)
    with fake_openai() as url:
        for instrumentor in instrumentors:
            instrumentor.instrument(tracer_provider=it.tracers, meter_provider=MeterProvider())
        try:
            with openai.OpenAI(base_url=url, api_key="none", max_retries=2, timeout=5) as client:
                for model in ("gpt-4o", "gpt-4o-429-once", "gpt-4o-500-once"):
                    message = {"role": "user", "content": "hello"}
                    client.chat.completions.create(model=model, messages=[message])  # type: ignore[list-item]
        finally:
            for instrumentor in instrumentors:
                instrumentor.uninstrument()
    assert retries() == {("rate_limit",): 1, ("server_error",): 1}
    assert _limits(it)["openai", "gpt-4o", "requests"] == 59
    assert _limits(it)["openai", "gpt-4o", "tokens"] == 149_984


@pytest.mark.parametrize(
    ("requests", "wanted"),
    [
        ([{"http.response.status_code": 200}], {}),
        ([{"http.response.status_code": 429}], {}),  # it gave up
        ([{"http.response.status_code": 429}, {"http.response.status_code": 200}], {("rate_limit",): 1}),
        (
            [{"http.status_code": 503}, {"http.status_code": 503}, {"http.status_code": 200}],
            {("overloaded",): 2},
        ),
        ([{"error.type": "httpx.ReadTimeout"}, {"http.response.status_code": 200}], {("timeout",): 1}),
        ([{"http.response.status_code": 200, "http.request.resend_count": 1}], {("other",): 1}),
        (
            [
                {"http.response.status_code": 429},
                {"http.response.status_code": 200, "http.request.header.x_stainless_retry_count": ("1",)},
            ],
            {("rate_limit",): 1},
        ),
        ([{"http.request.header.x-stainless-retry-count": ("0",)}], {}),
        # another address is another request: that of a token, for example
        ([{"url.full": "https://a/token", "http.response.status_code": 401}, {}], {}),
        ([{"http.request.resend_count": "often"}, {"http.request.resend_count": -3}], {}),
    ],
)
def test_requests_inside_of_a_call(
    it: Setup, requests: list[dict[str, Any]], wanted: dict[tuple[str], int]
) -> None:
    """A request that follows a failed one is a retry, and so is one that says so; each counts once."""
    retries = _retries(it)
    _ask(it, *requests)
    assert retries() == wanted


@pytest.mark.parametrize(
    "attributes", [{"http.request.resend_count": 3}, {"retry_attempts": 3}], ids=["Anthropic", "botocore"]
)
def test_a_span_of_a_call_that_says_how_often(it: Setup, attributes: dict[str, Any]) -> None:
    """Also if it is inside of another library's, and what the requests said is among them."""
    retries = _retries(it)
    _ask(it, {"http.response.status_code": 429}, {"http.response.status_code": 200}, **attributes)
    assert retries() == {("rate_limit",): 1, ("other",): 2}
    with it.tracer("outer").start_as_current_span("chat", attributes=CHAT):
        _ask(it, **attributes)
    assert retries() == {("rate_limit",): 1, ("other",): 5}


def test_retries_of_one_call_are_not_those_of_the_next(it: Setup) -> None:
    """An agent that asks again after a failed call begins a new call."""
    agent, retries = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"}, _retries(it)
    with it.tracer().start_as_current_span("agent", attributes=agent):
        _ask(it, {"http.response.status_code": 500})
        _ask(it, {"http.response.status_code": 200})
    assert retries() == {}


def test_events_of_retries(it: Setup) -> None:
    """OpenLIT writes one for each retry of LangChain."""
    retries = _retries(it)
    with it.tracer().start_as_current_span("chat", attributes=CHAT) as span:
        for attributes in ({"retry.error.type": "RateLimitError"}, {}):
            span.add_event("retry", {"retry.attempt": 1, **attributes})
    assert retries() == {("rate_limit",): 1, ("other",): 1}


def test_limits_in_hidden_params(it: Setup) -> None:
    """litellm's default callback has the headers there."""
    said = {"x_ratelimit_remaining_requests": 7, "llm_provider-x-ratelimit-remaining-tokens": "42"}
    model = {"gen_ai.request.model": "of-litellm"}
    _ask(it, hidden_params=json.dumps({"additional_headers": said}), **model)
    before = _limits(it)
    assert before["openai", "of-litellm", "requests"] == 7
    assert before["openai", "of-litellm", "tokens"] == 42
    for wrong in ("ratelimit", '{"additional_headers": "ratelimit"}', "[" * 9000 + "ratelimit", "{}"):
        _ask(it, hidden_params=wrong, **model)
    assert _limits(it) == before


def test_what_is_measured_elsewhere_is_left_alone() -> None:
    """The switch has words for these, too."""
    words = ["retries", "rate_limits", "guardrails"]
    with spans(measured={"a.framework": words}) as it:
        headers = {"http.response.header.x_ratelimit_remaining_requests": ("5",)}
        _ask(it, {"http.response.status_code": 429}, {"http.response.status_code": 200, **headers})
        with it.tracer().start_as_current_span("check", attributes={"gen_ai.guardrail.triggered": True}):
            trace.get_current_span().add_event("guard.evaluation", {"guard.action": "deny"})
        assert it.totals("llm_retries") == {}
        assert it.totals("llm_guardrail_results") == {}
        assert "llmdevops_llm_rate_limit_remaining" not in it.families()


GUARDRAIL = {"openinference.span.kind": "GUARDRAIL"}


@pytest.mark.parametrize(
    ("attributes", "name", "result"),
    [
        ({"gen_ai.guardrail.name": "pii", "gen_ai.guardrail.triggered": True}, "pii", "block"),
        ({"gen_ai.guardrail.name": "pii", "gen_ai.guardrail.triggered": False}, "pii", "pass"),
        # OpenLIT, of openai-agents
        (
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "tone",
                "gen_ai.guardrail.triggered": True,
            },
            "tone",
            "block",
        ),
        ({"gen_ai.guardrail.name": "toxicity", "gen_ai.guardrail.status": "PASSED"}, "toxicity", "pass"),
        ({"gen_ai.guardrail.name": "toxicity", "gen_ai.guardrail.status": "FAILED"}, "toxicity", "block"),
        ({"gen_ai.guardrail.name": "toxicity", "gen_ai.guardrail.status": "ERROR"}, "toxicity", "error"),
        ({**GUARDRAIL, "guardrail_name": "pii", "guardrail_status": "success"}, "pii", "pass"),
        (
            {
                **GUARDRAIL,
                "guardrail_name": "pii",
                "guardrail_status": "success",
                "masked_entity_count": '{"PERSON": 2}',
            },
            "pii",
            "modify",
        ),
        ({**GUARDRAIL, "guardrail_name": "pii", "guardrail_status": "guardrail_intervened"}, "pii", "block"),
        ({"litellm.guardrail.name": "pii", "litellm.guardrail.status": "guardrail_flagged"}, "pii", "warn"),
        (
            {"litellm.guardrail.name": "pii", "litellm.guardrail.status": "guardrail_failed_to_respond"},
            "pii",
            "error",
        ),
        ({"litellm.guardrail.name": "pii", "litellm.guardrail.status": "not_run"}, "pii", None),
        ({"validator_name": "valid_length", "output.value": "fail"}, "valid_length", "block"),
        ({"validator_name": "valid_length", "output.value": "pass"}, "valid_length", "pass"),
        (GUARDRAIL, "", None),  # it does not say what came of it
    ],
)
def test_guardrails(it: Setup, attributes: dict[str, Any], name: str, result: str | None) -> None:
    """Each in its library's words; what says no result is no result."""
    results = it.changes("llm_guardrail_results", "guardrail", "result")
    others, agents = it.changes("llm_other_operations", "operation"), it.changes("agent_executions")
    with it.tracer().start_as_current_span("check", attributes=attributes):
        pass
    assert results() == ({} if result is None else {(name, result): 1})
    assert others() == {("guardrail",): 1}
    assert agents() == {}


def test_guards_of_openlit(it: Setup) -> None:
    """They are events of whatever span is the current one."""
    results = it.changes("llm_guardrail_results", "guardrail", "result")
    with it.tracer().start_as_current_span("request") as span:
        for action in ("allow", "redact", "deny", "warn", "?", 7):
            span.add_event("guard.evaluation", {"guard.name": "pii", "guard.action": action})
    assert results() == {("pii", result): 1 for result in ("pass", "modify", "block", "warn")}


def test_a_call_with_a_guardrail_is_a_call(it: Setup) -> None:
    """A provider's own guardrail is named in the span of the call."""
    calls = it.changes("llm_requests", "operation")
    _ask(it, **{"gen_ai.guardrail.name": "bedrock"})
    assert calls() == {("chat",): 1}


TRIPPED = "Guardrail tripwire triggered: {'guardrail': 'pii'}"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (None, {("pii", "pass"): 1, ("tone", "pass"): 1}),
        (TRIPPED, {("pii", "block"): 1}),  # nobody knows whether the other one was done
        ("{'message': 'Guardrail tripwire triggered', 'data': {'guardrail': 'pii'}}", {("pii", "block"): 1}),
        ("Error code: 429 - slow down", {("pii", "pass"): 1, ("tone", "pass"): 1}),
    ],
)
def test_guardrails_of_openai_agents(description: str | None, expected: dict[tuple[str, str], int]) -> None:
    """What came of them is known when the turn around them ends; then each counts once."""
    with spans() as it:
        tracer = it.tracer("openinference.instrumentation.openai_agents")
        with tracer.start_as_current_span("turn", attributes={"openinference.span.kind": "CHAIN"}) as turn:
            for name in ("pii", "tone"):
                with tracer.start_as_current_span(name, attributes=GUARDRAIL):
                    pass
            assert it.totals("llm_guardrail_results") == {}
            if description is not None:
                turn.set_status(Status(StatusCode.ERROR, description))
        assert it.totals("llm_guardrail_results", "guardrail", "result") == expected


def test_a_guardrail_that_fails_itself_has_not_passed() -> None:
    """Its span says so, whatever stops the turn around it."""
    with spans() as it:
        tracer = it.tracer("openinference.instrumentation.openai_agents")
        with tracer.start_as_current_span("turn", attributes={"openinference.span.kind": "CHAIN"}) as turn:
            with tracer.start_as_current_span("pii", attributes=GUARDRAIL) as check:
                check.set_status(Status(StatusCode.ERROR, "its model cannot be reached"))
            turn.set_status(Status(StatusCode.ERROR, "Error code: 500 - no"))
        assert it.totals("llm_guardrail_results", "guardrail", "result") == {("pii", "error"): 1}


def test_guardrails_of_others_wait_for_nobody() -> None:
    """Only where it is known that the span around them says it."""
    with spans() as it:
        begin = it.tracer("another").start_as_current_span
        with begin("turn"), begin("pii", attributes=GUARDRAIL):
            pass
        assert it.totals("llm_guardrail_results") == {}


@pytest.mark.parametrize(
    ("attributes", "description", "kind"),
    [
        ({}, "Error getting response: {'error': 'Error code: 429 - slow down'}", "rate_limit"),
        ({"error.type": "_OTHER"}, "{'error': 'Error code: 500 - no'}", "server_error"),
        ({"error.type": "openai.APITimeoutError"}, "Error code: 429", "timeout"),
        ({}, TRIPPED, "guardrail"),
        ({}, "Error code: 4290", "other"),
        ({}, "Error code: 200", "other"),
        ({}, None, "other"),
    ],
)
def test_errors_that_only_a_text_tells(
    attributes: dict[str, Any], description: str | None, kind: str
) -> None:
    """openai-agents has no types of errors, and the text of those of its client."""
    with spans() as it:
        said = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", **attributes}
        with it.tracer().start_as_current_span("response", attributes=said) as span:
            span.set_status(Status(StatusCode.ERROR, description))
        assert it.totals("llm_errors", "error_type") == {(kind,): 1}
