"""Queries of panels, judged by promtool: what they show of fleets that are mixed, failing or silent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from promtool import approved

from otel_prom_bridge.dashboards import read_dashboard
from otel_prom_bridge.profiles import load_profile

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.usefixtures("real_prometheus"),  # promtool comes with it
]

LABELS = 'service="s", model="m"'
SUCCESS = f'llmdevops_llm_requests_total{{{LABELS}, operation="chat", status="success"}}'
FAILED = f'llmdevops_llm_requests_total{{{LABELS}, operation="chat", status="error"}}'
ERROR = f'llmdevops_llm_errors_total{{{LABELS}, error_type="timeout"}}'
CANCELLED = f'llmdevops_llm_errors_total{{{LABELS}, error_type="cancelled"}}'
UNTIMED = 'gen_ai_client_untimed_errors_total{job="j", gen_ai_request_model="m", error_type="x"}'


def query(profile: str, title: str, number: int = 0) -> str:
    """A panel's query as Grafana sends it, where all of every variable is chosen."""
    (panel,) = (panel for panel in read_dashboard(load_profile(profile)).panels if panel.title == title)
    expression = panel.queries[number].expr.replace("$__rate_interval", "5m")
    return re.sub(r"\$\w+", ".*", expression)


def shows(folder: Path, expression: str, series: Mapping[str, str], expected: Mapping[str, float]) -> None:
    """After half an hour of these series in promtool's notation, the query gives these, and no others."""
    found = [{"labels": labels, "value": value} for labels, value in expected.items()]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": "30m", "exp_samples": found}],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    approved("test", "rules", file)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param({SUCCESS: "0+6x60", ERROR: "0+2x60", FAILED: "0+2x60"}, {"{}": 0.25}, id="timed"),
        pytest.param({SUCCESS: "0+6x60", ERROR: "0+54x60", FAILED: "0x60"}, {"{}": 0.9}, id="untimed"),
        pytest.param({ERROR: "0+54x60"}, {"{}": 1}, id="errors-alone"),
        pytest.param({SUCCESS: "0+6x60"}, {"{}": 0}, id="no-errors"),
        pytest.param({SUCCESS: "0+6x60", FAILED: "0+6x60", CANCELLED: "0+6x60"}, {"{}": 0}, id="cancelled"),
        pytest.param({SUCCESS: "6x60", ERROR: "3x60"}, {}, id="idle"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_the_share_of_failed_requests(
    tmp_path: Path, series: dict[str, str], expected: dict[str, float]
) -> None:
    """Errors with and without a time count once; what the client cancelled does not; silence is no 0."""
    shows(tmp_path, query("llmdevops", "Failed LLM requests"), series, expected)


@pytest.mark.parametrize(("number", "kind"), [(0, "input"), (1, "output")])
def test_tokens_of_a_fleet_in_migration(tmp_path: Path, number: int, kind: str) -> None:
    """One process shows the old names, too, another one only the new: none of their tokens is missing."""
    counter, old = f"gen_ai_client_inference_usage_{kind}_tokens_total", "gen_ai_client_token_usage_sum"
    model = 'gen_ai_request_model="m"'
    series = {
        f'{old}{{job="j", instance="old", {model}, gen_ai_token_type="{kind}"}}': "0+60x60",
        f'{counter}{{job="j", instance="old", {model}}}': "0+60x60",
        f'{counter}{{job="j", instance="new", {model}}}': "0+600x60",
        f'{counter}{{job="j", instance="new", {model}, gen_ai_operation_name="invoke_agent"}}': "0+600x60",
    }
    shows(tmp_path, query("semconv", "Tokens by model", number), series, {f"{{{model}}}": 11})


def of_operations(suffix: str = "count") -> dict[str, str]:
    """A call per second, as many of an operation with a name of its own, and others that are no calls."""
    name = f'gen_ai_client_operation_duration_seconds_{suffix}{{job="j", gen_ai_request_model="m"'
    return {
        f'{name}{", " if said else ""}{said}, le="+Inf"}}': "0+60x60"
        for said in (
            "",
            *(
                f'gen_ai_operation_name="{operation}"'
                for operation in (
                    *("chat", "responses", "search_memory", "create_memory_store"),
                    *("invoke_agent", "execute_tool", "retrieval"),
                )
            ),
        )
    }


def test_calls_are_no_other_operations(tmp_path: Path) -> None:
    """Memories, tools and agents are client operations, too, and no calls of models."""
    shows(
        tmp_path,
        query("semconv", "Calls by model"),
        of_operations(),
        {
            '{gen_ai_request_model="m"}': 1,
            '{gen_ai_request_model="m", gen_ai_operation_name="chat"}': 1,
            '{gen_ai_request_model="m", gen_ai_operation_name="responses"}': 1,
        },
    )
    shows(tmp_path, query("semconv", "Latency"), of_operations("bucket"), {'{le="+Inf"}': 3 * 300})


def test_other_operations_have_a_panel(tmp_path: Path) -> None:
    """What is no call of a model is to be seen, too."""
    shows(
        tmp_path,
        query("semconv", "Memory and other operations"),
        of_operations(),
        {
            f'{{gen_ai_operation_name="{name}"}}': 1
            for name in (
                *("search_memory", "create_memory_store"),
                *("invoke_agent", "execute_tool", "retrieval"),
            )
        },
    )


def test_errors_without_a_time_are_failed_calls(tmp_path: Path) -> None:
    """They are in a metric of their own, and count beside the others, also if their labels are equal."""
    timed = UNTIMED.replace("untimed_errors_total", "operation_duration_seconds_count")
    expected = {'{gen_ai_request_model="m", error_type="x"}': 3.0}
    series = {UNTIMED: "0+60x60", timed: "0+120x60"}
    shows(tmp_path, query("semconv", "Failed calls by type of error"), series, expected)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({'llmdevops_metrics_series_count{job="j", instance="i"}': "7x60"}, {"{}": 0}),
        (
            {
                'llmdevops_metrics_series_count{job="j", instance="i"}': "7x60",
                'llmdevops_metrics_cardinality_overflow_total{job="j", instance="i", metric="m"}': "5x60",
            },
            {'{metric="m"}': 5},
        ),
        ({}, {}),
    ],
)
def test_overflow_is_0_only_if_it_is_known(
    tmp_path: Path, series: dict[str, str], expected: dict[str, float]
) -> None:
    """Without an overflow it is 0; without a process that says so, or beside an overflow, there is no 0."""
    shows(tmp_path, query("llmdevops", "Points in overflow series"), series, expected)
