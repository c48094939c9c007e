"""`examples/agent.py`: it runs offline, ends by itself, and shows what it promises."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import programs
import pytest

AGENT = Path(__file__).parents[2] / "examples" / "agent.py"


def test_the_agent_shows_what_it_did() -> None:
    """Its calls, chunks, tokens, cost, steps and tools, with the tool that failed, are printed; quickly."""
    result = programs.run(
        [sys.executable, "-W", "error", AGENT],
        env={**os.environ, "OTEL_EXPORTER_PROMETHEUS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    values = {
        (name, match[1] if (match := re.search(wanted, labels)) else ""): float(value)
        for name, labels, value in re.findall(r"^(gen_ai\w+)\{(.*)\} (\S+)$", result.stdout, re.MULTILINE)
        for wanted in [r'(?:error_type|gen_ai_token_type|gen_ai_agent_step_type)="(\w+)"']
    }
    assert values == {
        ("gen_ai_client_operation_duration_seconds_count", ""): 2,
        ("gen_ai_client_operation_time_to_first_chunk_seconds_count", ""): 2,
        ("gen_ai_client_token_usage_sum", "input"): 40 * 32,
        ("gen_ai_client_token_usage_sum", "output"): 60,
        ("gen_ai_usage_cost_USD_total", ""): pytest.approx(40 * 32 * 2.5e-6 + 60 * 10e-6),
        ("gen_ai_client_active_requests", ""): 0,
        ("gen_ai_invoke_agent_duration_seconds_count", ""): 2,
        ("gen_ai_invoke_agent_tool_calls_sum", ""): 4,
        ("gen_ai_agent_step_duration_seconds_count", "think"): 2,
        ("gen_ai_agent_step_duration_seconds_count", "act"): 2,
        ("gen_ai_execute_tool_duration_seconds_count", ""): 2,
        ("gen_ai_execute_tool_duration_seconds_count", "ZeroDivisionError"): 2,
    }
