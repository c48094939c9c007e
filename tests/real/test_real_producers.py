"""Real instrumentations under both profiles: whatever records, one view of it. See producers.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_openai import CHAT_MODEL, EMBEDDING_MODEL, RELEASE
from genai_conventions import AGENT_SECONDS, SECONDS, TOKENS, WORKFLOW_SECONDS
from oracles import parse
from prometheus_client import Metric
from prometheus_client.samples import Sample

from otel_prom_bridge.profiles import load_profile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.producers,  # scripts/test-older-sdks asks for them, too
    pytest.mark.timeout(240),  # the first test waits for four processes
]
SCRIPT = Path(__file__).parents[1] / "support" / "producers.py"
RUNS = [(p, f) for p in ("conventions", "openllmetry") for f in ("semconv", "llmdevops")]
COMMON = {"service", "version", "environment", "region", "instance"}
SCOPE = {"otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}


@dataclass
class Run:
    """What a process recorded and showed."""

    families: dict[str, Metric]
    spans: set[tuple[str, str]]
    truth: dict[str, int]
    conflicts: list[str]

    def samples(self, name: str) -> list[Sample]:
        """The samples of a family."""
        return list(self.families[name].samples)

    def values(self, name: str, *labels: str, suffix: str = "", **where: str) -> dict[tuple[str, ...], float]:
        """Sums over all other labels of the samples of a family that have these labels."""
        result: dict[tuple[str, ...], float] = {}
        for sample in self.samples(name):
            if sample.name == name + suffix and where.items() <= sample.labels.items():
                key = tuple(sample.labels.get(label, "") for label in labels)
                result[key] = result.get(key, 0) + sample.value
        return result

    def labels(self, name: str) -> set[str]:
        """The names of all labels, but those of the scope."""
        return {label for s in self.samples(name) for label in s.labels} - SCOPE - {"le"}

    def bounds(self, name: str) -> list[float]:
        """The limits of the buckets of a histogram."""
        limits = {float(s.labels["le"]) for s in self.samples(name) if s.name.endswith("_bucket")}
        return sorted(limits)[:-1]


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, str], Run]:
    """Each producer in a process of its own with each profile, two at a time."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "OPENAI_", "TRACELOOP_"))
    }
    result = {}
    for pair in (RUNS[:2], RUNS[2:]):
        processes = {
            run: subprocess.Popen(
                [sys.executable, SCRIPT, *run],
                env={
                    **clean,
                    "TRACELOOP_METRICS_ENABLED": "true",
                    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for run in pair
        }
        for run, process in processes.items():
            with process:
                output, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
            result[run] = _read(json.loads(output))
    return result


def _read(found: dict[str, Any]) -> Run:
    families = {family.name: family for family in parse(found["content_type"], found["body"].encode())}
    return Run(
        families, {(trace, span) for trace, span in found["spans"]}, found["truth"], found["conflicts"]
    )


@pytest.fixture(params=["conventions", "openllmetry"])
def producer(request: pytest.FixtureRequest) -> str:
    """An instrumentation of the client: OpenTelemetry's, or OpenLLMetry's."""
    return str(request.param)


@pytest.fixture
def dialect(runs: dict[tuple[str, str], Run], producer: str) -> Run:
    """What it shows with the profile llmdevops."""
    return runs[producer, "llmdevops"]


@pytest.fixture
def semconv(runs: dict[tuple[str, str], Run], producer: str) -> Run:
    """What it shows with the profile semconv."""
    return runs[producer, "semconv"]


def test_the_dialect_counts_calls_exactly(dialect: Run, producer: str) -> None:
    """Calls by model, kind and outcome; of OpenLLMetry's errors nothing is known but what they are."""
    failed = {(CHAT_MODEL + code, "openai", "chat", "error"): 1 for code in ("-429", "-500")}
    requests = dialect.values(
        "llmdevops_llm_requests", "model", "provider", "operation", "status", suffix="_total"
    )
    assert requests == {
        (CHAT_MODEL, "openai", "chat", "success"): 3,
        (EMBEDDING_MODEL, "openai", "embeddings", "success"): 1,
        **({("", "", "", "error"): 2} if producer == "openllmetry" else failed),
    }
    durations = dialect.values("llmdevops_llm_request_duration_seconds", "operation", suffix="_count")
    assert sum(durations.values()) == 6
    errors = dialect.values("llmdevops_llm_errors", "error_type", suffix="_total")
    assert errors == {("rate_limit",): 1, ("server_error",): 1}


def test_the_dialect_counts_tokens_and_chunks_exactly(dialect: Run, producer: str) -> None:
    """Tokens are those of the answers; OpenLLMetry says of a stream's chunks only that there was a first."""
    truth = dialect.truth
    openai = {"provider": "openai"}
    assert dialect.values("llmdevops_llm_tokens", "model", "type", suffix="_total", **openai) == {
        (CHAT_MODEL, "input"): truth["input"],
        (CHAT_MODEL, "output"): truth["output"],
        (EMBEDDING_MODEL, "input"): truth["embedded"],
    }
    for kind in ("input", "output"):
        name = f"llmdevops_llm_{kind}_tokens"
        assert dialect.values(name, "model", suffix="_total", **openai)[CHAT_MODEL,] == truth[kind]
        distribution = f"llmdevops_llm_request_{kind}_tokens"
        assert dialect.values(distribution, "model", suffix="_count", **openai)[CHAT_MODEL,] == 3
    first = dialect.values("llmdevops_llm_time_to_first_chunk_seconds", "model", suffix="_count", **openai)
    assert first == {(CHAT_MODEL,): 1}
    chunks = dialect.values("llmdevops_llm_streaming_chunks", "model", suffix="_total", **openai)
    assert chunks == {(CHAT_MODEL,): 1 if producer == "openllmetry" else truth["chunks"]}


def test_the_dialect_is_the_same_whoever_records(runs: dict[tuple[str, str], Run]) -> None:
    """The families of calls and their labels do not tell which instrumentation it was."""
    one, other = runs["conventions", "llmdevops"], runs["openllmetry", "llmdevops"]

    def calls(run: Run) -> dict[str, tuple[str, set[str]]]:
        return {
            name: (family.type, run.labels(name))
            for name, family in run.families.items()
            # Only one of the two says how an answer ended.
            if name.startswith("llmdevops_llm_") and name != "llmdevops_llm_answers"
        }

    assert calls(one) == calls(other)
    assert len(calls(one)) >= 10
    families = {family.name: family for family in load_profile("llmdevops").families}
    for name, (kind, labels) in calls(one).items():
        family = families[f"{name}_total" if kind == "counter" else name]
        assert labels == {label.name for label in family.labels or ()} | COMMON


def test_the_dialect_shows_agents(runs: dict[tuple[str, str], Run]) -> None:
    """Agents, tools and workflows of the handlers; of a remote agent without the name, which is not said."""
    run = runs["conventions", "llmdevops"]
    executions = run.values("llmdevops_agent_executions", "agent_type", "status", suffix="_total")
    assert executions == {("planner", "success"): 1, ("", "success"): 1}
    tools = run.values("llmdevops_agent_tool_calls", "agent_type", "tool_name", "status", suffix="_total")
    assert tools == {("planner", "search", "success"): 1, ("planner", "search", "error"): 1}
    assert run.values("llmdevops_agent_workflows", "workflow", "status", suffix="_total") == {
        ("answer", "success"): 1
    }
    assert run.bounds("llmdevops_agent_execution_duration_seconds") == pytest.approx(AGENT_SECONDS)
    assert run.bounds("llmdevops_agent_workflow_duration_seconds") == list(WORKFLOW_SECONDS)
    assert run.bounds("llmdevops_agent_tool_call_duration_seconds") == pytest.approx(SECONDS)


def test_pydantic_ai_is_in_both_profiles(runs: dict[tuple[str, str], Run]) -> None:
    """Tokens and first chunks of its test model; it records no durations, so it has no requests."""
    dialect, semconv = (runs["conventions", profile] for profile in ("llmdevops", "semconv"))
    tokens = dialect.values("llmdevops_llm_tokens", "type", suffix="_total", provider="test")
    shown = semconv.values(
        "gen_ai_client_token_usage", "gen_ai_token_type", suffix="_sum", gen_ai_provider_name="test"
    )
    assert tokens == shown
    assert tokens.keys() == {("input",), ("output",)}
    assert all(value > 0 for value in tokens.values())
    first = dialect.values(
        "llmdevops_llm_time_to_first_chunk_seconds", "model", suffix="_count", provider="test"
    )
    assert first == {("test",): 2}
    assert not dialect.values("llmdevops_llm_requests", "model", suffix="_total", provider="test")
    assert "gen_ai_system" not in semconv.labels("gen_ai_client_token_usage")


BASE = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_response_model", "server_address"}
# What one of them says and the other does not.
ONLY_CONVENTIONS = {
    *("gen_ai_request_model", "server_port"),
    *("openai_response_service_tier", "openai_response_system_fingerprint"),
}
SHARED = {
    "gen_ai_client_operation_duration_seconds": {*BASE, "error_type"},
    "gen_ai_client_token_usage": {*BASE, "gen_ai_token_type"},
    "gen_ai_client_operation_time_to_first_chunk_seconds": BASE,
    "gen_ai_client_inference_usage_input_tokens": {*BASE, "gen_ai_token_modality"},
    "gen_ai_client_inference_usage_output_tokens": {*BASE, "gen_ai_token_modality"},
}


def test_the_conventions_are_the_same_whoever_records(semconv: Run) -> None:
    """The same names, labels, units and buckets; with exact counts and sums."""
    for name, labels in SHARED.items():
        assert labels <= semconv.labels(name) <= labels | ONLY_CONVENTIONS
        family = semconv.families[name]
        assert family.unit == ("seconds" if name.endswith("_seconds") else "")
        if family.type == "histogram":
            assert semconv.bounds(name) == pytest.approx(SECONDS if name.endswith("_seconds") else TOKENS)
    openai, truth = {"gen_ai_provider_name": "openai"}, semconv.truth
    duration = "gen_ai_client_operation_duration_seconds"
    answered = semconv.values(
        duration, "gen_ai_response_model", "gen_ai_operation_name", suffix="_count", **openai
    )
    assert {key: count for key, count in answered.items() if key[0]} == {
        (f"{CHAT_MODEL}-{RELEASE}", "chat"): 3,
        (f"{EMBEDDING_MODEL}-{RELEASE}", "embeddings"): 1,
    }
    failed = semconv.values(duration, "error_type", suffix="_count")
    assert {kind.rpartition(".")[2]: count for (kind,), count in failed.items() if kind} == {
        "RateLimitError": 1,
        "InternalServerError": 1,
    }
    sums = semconv.values(
        "gen_ai_client_token_usage", "gen_ai_operation_name", "gen_ai_token_type", suffix="_sum", **openai
    )
    assert sums == {
        ("chat", "input"): truth["input"],
        ("chat", "output"): truth["output"],
        ("embeddings", "input"): truth["embedded"],
    }
    totals = semconv.values("gen_ai_client_inference_usage_input_tokens", suffix="_total", **openai)
    assert totals == {(): truth["input"] + truth["embedded"]}


@pytest.mark.parametrize("profile", ["semconv", "llmdevops"])
def test_every_exemplar_leads_to_a_recorded_span(
    runs: dict[tuple[str, str], Run], producer: str, profile: str
) -> None:
    """The ids of exemplars are those of spans; each kind of call has some, but for OpenLLMetry's streams."""
    run = runs[producer, profile]
    exemplars = [
        (name, sample.exemplar.labels)
        for name, family in run.families.items()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert {(labels["trace_id"], labels["span_id"]) for _, labels in exemplars} <= run.spans
    without = (
        {"semconv": "time_to", "llmdevops": "chunk"}[profile] if producer == "openllmetry" else "nothing"
    )
    wanted = {
        name
        for name, family in run.families.items()
        if name.startswith(("gen_ai_client_operation", "gen_ai_client_token", "llmdevops_llm"))
        if family.type in ("histogram", "counter") and without not in name
    }
    assert len(wanted) >= 2
    assert wanted <= {name for name, _ in exemplars}


def test_nothing_is_in_conflict(runs: dict[tuple[str, str], Run]) -> None:
    """No name or unit is of two minds in any of them."""
    assert {run: found.conflicts for run, found in runs.items()} == {run: [] for run in RUNS}
