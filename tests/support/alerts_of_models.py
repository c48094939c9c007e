"""Cases of the alerts about calls of models, agents and cardinality, in llmdevops and semconv."""

from __future__ import annotations

from alerts import SCRAPED, Case, quantile, shares

# What an alert says of itself, not of the series that it fires for.
CALL = {"service": "s", "provider": "p", "model": "m"}


def _ended(name: str, label: str, errors: int) -> dict[str, str]:
    """So many of a hundred agents or tools per minute that failed."""
    count = f'gen_ai_{name}_duration_seconds_count{{job="app", {label}="n"'
    return {f"{count}}}": f"0+{100 - errors}x120", f'{count}, error_type="timeout"}}': f"0+{errors}x120"}


def calls(errors: int, successes: int, *, model: str = "m", kind: str = "server_error") -> dict[str, str]:
    """So many calls per minute, of which those that failed are in the families of requests and of errors."""
    labels = f'service="s", provider="p", model="{model}"'
    return {
        f'llmdevops_llm_requests_total{{{labels}, status="success"}}': f"0+{successes}x120",
        f'llmdevops_llm_requests_total{{{labels}, status="error"}}': f"0+{errors}x120",
        f'llmdevops_llm_errors_total{{{labels}, error_type="{kind}"}}': f"0+{errors}x120",
    }


def untimed(errors: int, successes: int) -> dict[str, str]:
    """Errors that were recorded without a time are in no family of requests."""
    return {name: values for name, values in calls(errors, successes).items() if '"error"' not in name}


def openllmetry(errors: int, successes: int) -> dict[str, str]:
    """Calls that failed have neither model nor provider, and the others do."""
    nameless = {
        name.replace('provider="p", model="m"', 'provider="", model=""'): values
        for name, values in calls(errors, 0).items()
        if '"success"' not in name
    }
    return calls(0, successes) | nameless


def gen_ai(
    generation: str,
    failing: int,
    labels: str = 'gen_ai_request_model="m", gen_ai_operation_name="chat"',
    kind: str = "TimeoutError",
) -> dict[str, str]:
    """Calls under the names of one generation of the conventions, a hundred per minute."""
    name = f'gen_ai_client_{generation}_duration_seconds_count{{job="app", {labels}'
    return {
        f"{name}}}": f"0+{100 - failing}x120",
        f'{name}, error_type="{kind}"}}': f"0+{failing}x120",
    }


def gen_ai_untimed(failing: int) -> dict[str, str]:
    """A hundred calls per minute, and errors that were recorded without a time."""
    name = 'gen_ai_client_untimed_errors_total{job="app", gen_ai_request_model="m", error_type="x"}'
    return gen_ai("operation", 0) | {name: f"0+{failing}x120"}


# Client operations that are no calls of models: they are slow, and all of them fail.
OTHER = 'gen_ai_request_model="m", gen_ai_operation_name='
SLOW_OTHERS = {
    name: values
    for operation in ("search_memory", "create_memory_store", "invoke_agent")
    for name, values in quantile(
        "gen_ai_client_operation_duration_seconds", f'job="app", {OTHER}"{operation}"', "+Inf"
    ).items()
}
FAILING_OTHERS = {
    name: values
    for operation in ("search_memory", "create_memory_store", "invoke_agent")
    for name, values in gen_ai("operation", 100, f'{OTHER}"{operation}"').items()
}
CANCELLED = ("asyncio.exceptions.CancelledError", "cancelled", "GeneratorExit", "KeyboardInterrupt", "499")


LABELS = 'service="s", provider="p", model="m"'
DURATION, FIRST = "llmdevops_llm_request_duration_seconds", "llmdevops_llm_time_to_first_chunk_seconds"
EXECUTIONS, TOOLS = "llmdevops_agent_executions_total", "llmdevops_agent_tool_calls_total"
OVERFLOW = '{job="app", instance="host:9464", metric="m"}'
GEN_AI_ERRORS: list[tuple[str, dict[str, str]]] = [
    ("GenAIErrorsHigh", {}),
    ("GenAIModelErrorsHigh", {"gen_ai_request_model": "m"}),
]
HTTP, MODEL = "llmdevops_http_requests_total", 'job="app", gen_ai_request_model="m"'

LIMITED = f'{MODEL}, gen_ai_provider_name="p", gen_ai_client_rate_limit_type="tokens"'


def executions(name: str, labels: str, steps: str) -> dict[str, str]:
    """Executions of an agent, all of which took so many steps."""
    bounds = ["1", "2", "4", "8", "16", "32", "64", "128", "+Inf"]
    return {
        f'{name}_bucket{{{labels}, le="{le}"}}': "0+60x120" if float(le) >= float(steps) else "0x120"
        for le in bounds
    }


CASES = [
    *(
        Case(
            alert="LLMErrorsHigh",
            series=failing(10, 30),
            quiet=quiet,
            labels={"service": "s", "severity": "critical"},
            summary="s: 25% of the LLM requests fail",
        )
        for failing, quiet in (
            (calls, calls(1, 99)),
            (untimed, calls(10, 90, kind="cancelled")),
            (openllmetry, openllmetry(1, 999)),
        )
    ),
    *(
        Case(
            alert="LLMModelErrorsHigh",
            series=failing(10, 30) | calls(0, 9999, model="other"),
            quiet=quiet,
            labels={"service": "s", "model": "m", "severity": "critical"},
            summary="s: 25% of the requests to m fail",
        )
        for failing, quiet in (
            (calls, openllmetry(10, 30)),
            (untimed, calls(10, 90, kind="cancelled")),
        )
    ),
    Case(
        alert="LLMRateLimited",
        series={f'llmdevops_llm_errors_total{{{LABELS}, error_type="rate_limit"}}': "0+60x120"},
        quiet={f'llmdevops_llm_errors_total{{{LABELS}, error_type="timeout"}}': "0+60x120"},
        labels={**CALL, "severity": "warning"},
        summary="p refuses 1 requests per second of s",
    ),
    Case(
        alert="LLMRateLimited",
        series={'llmdevops_llm_errors_total{service="s", provider="", error_type="quota"}': "0+60x120"},
        quiet={'llmdevops_llm_errors_total{service="s", provider="", error_type="quota"}': "60x120"},
        labels={"service": "s", "severity": "warning"},
        summary="The provider refuses 1 requests per second of s",
    ),
    Case(
        alert="LLMLatencyHigh",
        series=quantile(DURATION, LABELS, "40.96"),
        quiet=quantile(DURATION, LABELS, "20.48")
        | quantile(DURATION, 'service="s", model=""', "+Inf"),  # errors of OpenLLMetry
        labels={**CALL, "severity": "warning"},
        summary="s: 1 of 20 requests to m takes more than 39.94s",
    ),
    Case(
        alert="LLMFirstTokenSlow",
        series=quantile(FIRST, LABELS, "10.24"),
        quiet=quantile(FIRST, LABELS, "2.56"),
        labels={**CALL, "severity": "warning"},
        summary="s: users wait 9.984s for the first token of m",
    ),
    Case(
        alert="LLMCostHigh",
        series={f"llmdevops_llm_cost_usd_total{{{LABELS}}}": "0+3x120"},
        quiet={f"llmdevops_llm_cost_usd_total{{{LABELS}}}": "0+1x120"},
        labels={"service": "s", "severity": "warning"},
        summary="s spent 180 USD in an hour",
        fires="90m",
    ),
    Case(
        alert="LLMRequestsWithoutPrice",
        series={'llmdevops_llm_unpriced_requests_total{service="s", model="m"}': "0x10 1000x110"},
        quiet={'llmdevops_llm_unpriced_requests_total{service="s", model="m"}': "7x120"},
        labels={"service": "s", "model": "m", "severity": "info"},
        summary="s: what requests to m cost is not known",
        fires="20m",  # of a burst, which is over
        before="14m",
    ),
    Case(
        alert="LLMRequestsWithoutPrice",  # of an instrumentation that records tokens
        series={'llmdevops_llm_unpriced_tokens_total{service="s", model="m"}': "0x10 1000x110"},
        quiet={'llmdevops_llm_unpriced_tokens_total{service="s", model="m"}': "7x120"},
        labels={"service": "s", "model": "m", "severity": "info"},
        summary="s: what requests to m cost is not known",
        fires="20m",
        before="14m",
    ),
    Case(
        alert="AgentExecutionsFailing",
        series=shares(
            EXECUTIONS, 'service="s", agent_type="a"', "status", good="success", bad="error", failing=20
        ),
        quiet=shares(
            EXECUTIONS, 'service="s", agent_type="a"', "status", good="success", bad="error", failing=5
        ),
        labels={"service": "s", "agent_type": "a", "severity": "critical"},
        summary="s: 20% of the executions of a fail",
    ),
    Case(
        alert="ToolCallsFailing",
        series=shares(TOOLS, 'service="s", tool_name="t"', "status", good="success", bad="error", failing=50),
        quiet=shares(TOOLS, 'service="s", tool_name="t"', "status", good="success", bad="error", failing=20),
        labels={"service": "s", "tool_name": "t", "severity": "warning"},
        summary="s: 50% of the calls of t fail",
    ),
    Case(
        alert="HTTPErrorsHigh",
        series=shares(HTTP, 'service="s", path="/x"', "status", good="2xx", bad="5xx", failing=10),
        quiet=shares(HTTP, 'service="s", path="/x"', "status", good="2xx", bad="4xx", failing=10),
        labels={"service": "s", "path": "/x", "severity": "critical"},
        summary="s: 10% of the requests to /x fail",
    ),
    Case(
        alert="SeriesNearLimit",
        series={
            'llmdevops_metrics_series_count{job="app", instance="host:9464"}': "8500x120",
            'otel_prom_bridge_series_limit{job="app", instance="host:9464"}': "10000x120",
        },
        quiet={
            'llmdevops_metrics_series_count{job="app", instance="host:9464"}': "8500x120",
            'otel_prom_bridge_series_limit{job="app", instance="host:9464"}': "20000x120",
        },
        labels={**SCRAPED, "severity": "warning"},
        summary="host:9464 has 85% of the series that it may have",
    ),
    *(
        Case(
            alert="SeriesOverflow",
            series={f"llmdevops_metrics_cardinality_overflow_total{OVERFLOW}": growing},
            quiet={f"llmdevops_metrics_cardinality_overflow_total{OVERFLOW}": "5x60 _x20 5x40"},
            labels={**SCRAPED, "metric": "m", "severity": "warning"},
            summary="host:9464: m has no room for new series",
            before="30m",
        )
        # The second one is new, and does not grow. If Prometheus was away, nothing is new for that.
        for growing in ("0x35 1+1x80", "_x35 5x80")
    ),
    *(
        Case(
            profile="semconv",
            alert=alert,
            series=gen_ai(generation, 10),
            quiet=gen_ai(generation, 1),
            labels={"job": "app", "severity": "critical", **labels},
            summary=f"app: 10% of the calls of {'m' if labels else 'models'} fail",
        )
        for alert, labels in GEN_AI_ERRORS
        for generation in ("operation", "inference")
    ),
    *(
        Case(
            profile="semconv",
            alert=alert,
            series=gen_ai_untimed(300),
            quiet=quiet,
            labels={"job": "app", "severity": "critical", **labels},
            summary=f"app: 75% of the calls of {'m' if labels else 'models'} fail",
        )
        for alert, labels in GEN_AI_ERRORS
        for quiet in (
            gen_ai("operation", 0) | FAILING_OTHERS,
            *(gen_ai("operation", 10, kind=kind) for kind in CANCELLED),
        )
    ),
    Case(
        profile="semconv",
        alert="GenAIModelErrorsHigh",
        series=gen_ai("operation", 10) | gen_ai("operation", 0, 'gen_ai_request_model="other"'),
        quiet=gen_ai("operation", 0) | gen_ai("operation", 100, 'gen_ai_provider_name=""'),
        labels={"job": "app", "gen_ai_request_model": "m", "severity": "critical"},
        summary="app: 10% of the calls of m fail",
    ),
    *(
        Case(
            profile="semconv",
            alert="GenAILatencyHigh",
            series=quantile(f"gen_ai_client_{generation}_duration_seconds", MODEL, "40.96"),
            quiet=quantile(f"gen_ai_client_{generation}_duration_seconds", MODEL, "20.48") | SLOW_OTHERS,
            labels={"job": "app", "gen_ai_request_model": "m", "severity": "warning"},
            summary="app: 1 of 20 calls of m takes more than 39.94s",
        )
        for generation in ("operation", "inference")
    ),
    *(
        Case(
            profile="semconv",
            alert="GenAIRateLimited",
            series=gen_ai("operation", 10, kind=kind),
            quiet=gen_ai("operation", 10, kind="InternalServerError"),
            labels={"job": "app", "gen_ai_request_model": "m", "severity": "warning"},
            summary="app: 166.7m calls of m per second are refused",
        )
        for kind in ("openai.RateLimitError", "ThrottlingException", "429", "insufficient_quota")
    ),
    *(
        Case(
            profile="semconv",
            alert="GenAIFirstTokenSlow",
            series=quantile(f"gen_ai_client_{generation}_time_to_first_chunk_seconds", MODEL, "10.24"),
            quiet=quantile(f"gen_ai_client_{generation}_time_to_first_chunk_seconds", MODEL, "2.56"),
            labels={"job": "app", "gen_ai_request_model": "m", "severity": "warning"},
            summary="app: users wait 9.984s for the first token of m",
        )
        for generation in ("operation", "inference")
    ),
    Case(
        profile="semconv",
        alert="GenAICostHigh",
        series={'gen_ai_usage_cost_USD_total{job="app"}': "0+2x120"},
        quiet={f"gen_ai_usage_cost_USD_total{{{MODEL}}}": "0+1x120"},
        labels={"job": "app", "severity": "warning"},
        summary="app spent 120 USD in an hour",
        fires="119m",
    ),
    *(
        Case(
            profile="semconv",
            alert=alert,
            series=_ended(name, label, 30),
            quiet=_ended(name, label, 5),
            labels={"job": "app", label: "n", "severity": severity},
            summary=f"app: 30% of the {what} of n fail",
        )
        for alert, name, label, severity, what in (
            ("GenAIAgentsFailing", "invoke_agent", "gen_ai_agent_name", "critical", "executions"),
            ("GenAIToolCallsFailing", "execute_tool", "gen_ai_tool_name", "warning", "calls"),
        )
    ),
    *(
        Case(
            profile="semconv",
            alert="GenAISeriesOverflow",
            series={f"otel_prom_bridge_overflowed_points_total{OVERFLOW}": growing},
            quiet={f"otel_prom_bridge_overflowed_points_total{OVERFLOW}": "5x60 _x20 5x40"},
            labels={**SCRAPED, "metric": "m", "severity": "warning"},
            summary="host:9464: m has no room for new series",
            before="30m",
        )
        # The second one is new, and does not grow. If Prometheus was away, nothing is new for that.
        for growing in ("0x35 1+1x80", "_x35 5x80")
    ),
    *(
        Case(
            profile=profile,
            alert=alert,
            series={left: "5x120", limit: "100x120"},
            quiet={left: "50x120", limit: "100x120"},
            labels={**labels, "severity": "warning"},
            summary=f"{whose}: 5% of the tokens that p allows for m are left",
            before="3m",
        )
        for profile, alert, left, limit, labels, whose in (
            (
                "llmdevops",
                "LLMRateLimitNear",
                f'llmdevops_llm_rate_limit_remaining{{{LABELS}, limit_type="tokens"}}',
                f'llmdevops_llm_rate_limit{{{LABELS}, limit_type="tokens"}}',
                {**CALL, "limit_type": "tokens"},
                "s",
            ),
            (
                "semconv",
                "GenAIRateLimitNear",
                f"gen_ai_client_rate_limit_remaining{{{LIMITED}}}",
                f"gen_ai_client_rate_limit_limit{{{LIMITED}}}",
                {
                    "job": "app",
                    "gen_ai_request_model": "m",
                    "gen_ai_provider_name": "p",
                    "gen_ai_client_rate_limit_type": "tokens",
                },
                "app",
            ),
        )
    ),
    *(
        Case(
            profile=profile,
            alert=alert,
            series={retries: "0+60x120", requests: "0+60x120"},
            quiet={retries: "0+6x120", requests: "0+60x120"},
            labels={**labels, "severity": "warning"},
            summary=summary,
        )
        for profile, alert, retries, requests, labels, summary in (
            (
                "llmdevops",
                "LLMRetriesHigh",
                f'llmdevops_llm_retries_total{{{LABELS}, error_type="rate_limit"}}',
                f'llmdevops_llm_requests_total{{{LABELS}, status="success"}}',
                {"service": "s", "model": "m"},
                "s: 1 retries for each request to m",
            ),
            (
                "semconv",
                "GenAIRetriesHigh",
                f'gen_ai_client_retries_total{{{MODEL}, error_type="x"}}',
                f"gen_ai_client_operation_duration_seconds_count{{{MODEL}}}",
                {"job": "app", "gen_ai_request_model": "m"},
                "app: 1 retries for each call of m",
            ),
        )
    ),
    *(
        Case(
            profile=profile,
            alert=f"{prefix}{alert}",
            series=shares(metric, labels, label, good="stop", bad=bad, failing=20),
            quiet=shares(metric, labels, label, good="stop", bad=bad, failing=5),
            labels={**named, "severity": "warning"},
            summary=f"{whose}: {summary}",
        )
        for profile, prefix, metric, labels, label, named, whose in (
            (
                "llmdevops",
                "LLM",
                "llmdevops_llm_answers_total",
                LABELS,
                "finish_reason",
                {"service": "s", "model": "m"},
                "s",
            ),
            (
                "semconv",
                "GenAI",
                "gen_ai_client_generation_choices_total",
                MODEL,
                "gen_ai_response_finish_reason",
                {"job": "app", "gen_ai_request_model": "m"},
                "app",
            ),
        )
        for alert, bad, summary in (
            ("AnswersCutOff", "length", "20% of the answers of m are cut off"),
            ("AnswersRefused", "content_filter", "m refuses 20% of the answers"),
        )
    ),
    *(
        Case(
            profile=profile,
            alert=alert,
            series=shares(metric, labels, label, good="pass", bad=bad, failing=50),
            quiet=shares(metric, labels, label, good="pass", bad=bad, failing=10),
            labels={**named, "severity": "warning"},
            summary=summary,
            fires="90m",
        )
        for profile, alert, metric, labels, label, bad, named, summary in (
            (
                "llmdevops",
                "GuardrailBlocking",
                "llmdevops_llm_guardrail_results_total",
                'service="s", guardrail="pii"',
                "result",
                "block",
                {"service": "s", "guardrail": "pii"},
                "s: pii blocks 50% of what it checks",
            ),
            (
                "semconv",
                "GenAIGuardrailBlocking",
                "gen_ai_guardrail_results_total",
                'job="app", gen_ai_guardrail_name="pii"',
                "gen_ai_guardrail_result",
                "block",
                {"job": "app", "gen_ai_guardrail_name": "pii"},
                "app: pii blocks 50% of what it checks",
            ),
            (
                "llmdevops",
                "EvaluationsFailing",
                "llmdevops_llm_evaluations_total",
                'service="s", evaluation="Relevance"',
                "result",
                "not_relevant",
                {"service": "s", "evaluation": "Relevance"},
                "s: 50% of the answers fail Relevance",
            ),
            (
                "semconv",
                "GenAIEvaluationsFailing",
                "gen_ai_evaluation_results_total",
                'job="app", gen_ai_evaluation_name="Relevance"',
                "gen_ai_evaluation_score_label",
                "Fail",
                {"job": "app", "gen_ai_evaluation_name": "Relevance"},
                "app: 50% of the answers fail Relevance",
            ),
        )
    ),
    *(
        Case(
            profile=profile,
            alert=alert,
            series=executions(metric, labels, "64") | (executions(beside, labels, "2") if beside else {}),
            quiet=executions(metric, labels, "16"),
            labels={**named, "severity": "warning"},
            summary=f"{whose}: 1 of 20 executions of a takes more than 62.4 steps",
        )
        for profile, alert, labels, named, whose, metrics in (
            (
                "llmdevops",
                "AgentLoops",
                'service="s", agent_type="a"',
                {"service": "s", "agent_type": "a"},
                "s",
                ("llmdevops_agent_execution_steps", "llmdevops_agent_execution_inference_calls"),
            ),
            (
                "semconv",
                "GenAIAgentLoops",
                'job="app", gen_ai_agent_name="a"',
                {"job": "app", "gen_ai_agent_name": "a"},
                "app",
                ("gen_ai_invoke_agent_steps", "gen_ai_invoke_agent_inference_calls"),
            ),
        )
        # Where steps are counted, calls of models are not asked; where they are not, they are.
        for metric, beside in (metrics, (metrics[1], None))
    ),
    Case(
        profile="semconv",
        alert="GenAICallsWithoutPrice",
        series={f"gen_ai_client_unpriced_tokens_total{{{MODEL}}}": "0x10 1000x110"},
        quiet={f"gen_ai_client_unpriced_tokens_total{{{MODEL}}}": "7x120"},
        labels={"job": "app", "gen_ai_request_model": "m", "severity": "info"},
        summary="app: what calls of m cost is not known",
        fires="20m",
        before="14m",
    ),
    Case(
        profile="semconv",
        alert="GenAICallsWithoutPrice",  # of our recorders
        series={f"gen_ai_client_unpriced_requests_total{{{MODEL}}}": "0x10 1000x110"},
        quiet={f"gen_ai_client_unpriced_requests_total{{{MODEL}}}": "7x120"},
        labels={"job": "app", "gen_ai_request_model": "m", "severity": "info"},
        summary="app: what calls of m cost is not known",
        fires="20m",
        before="14m",
    ),
]
