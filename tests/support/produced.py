"""What producers recorded, and what they did: the numbers of a scrape, and the truth of the server."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from json import loads
from pathlib import Path
from typing import Any

from fake_models import Answer, fake_models
from oracles import parse
from prometheus_client import Metric
from prometheus_client.samples import Sample

from otel_prom_bridge.prices import PriceTable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "producers"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# What is compared, in the order of the tables: calls, tokens, what they cost, agents and their tools, checks
# of guardrails, and what clients send again.
ASPECTS = (
    *("calls", "errors", "input", "output", "cost"),
    *("agents", "tools", "tool errors", "guardrails", "retries"),
)
_RUN_SECONDS = 240


@dataclass(frozen=True)
class Producer:
    """One producer, as `producers.toml` has it."""

    name: str
    title: str
    environment: str
    packages: tuple[str, ...]
    set: str
    does: tuple[str, ...]  # aspects of what its program does
    why: Mapping[str, str] = field(default_factory=dict)  # of aspects that are not right


@cache
def table() -> Mapping[str, Any]:
    """The file with the producers."""
    return tomllib.loads((FOLDER / "producers.toml").read_text(encoding="utf-8"))


def producers() -> list[Producer]:
    """All of them."""
    return [
        Producer(
            name,
            given["title"],
            given["environment"],
            tuple(given["packages"]),
            given["set"],
            tuple(given["does"]),
            given.get("why", {}),
        )
        for name, given in table()["producers"].items()
    ]


def environment(name: str) -> Path:
    """The interpreter of an environment, which is made if it is not there.

    Raises RuntimeError with what the installer says.
    """
    folder = Path(os.environ.get("PRODUCERS_ENVIRONMENTS") or ROOT / ".venvs")
    python = folder / name / "bin" / "python"
    requirements = "\n".join(table()["environments"][name]["requires"])
    stamp = folder / name / "requirements.txt"
    if python.exists() and stamp.exists() and stamp.read_text() == requirements:
        return python
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder / name)],
        [*uv, "pip", "install", "-q", "--python", str(python), "-r", "-"],
    ):
        done = subprocess.run(
            command, input=requirements, capture_output=True, text=True, timeout=400, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the environment {name} cannot be installed: {done.stderr[-500:]}")
    stamp.write_text(requirements)
    return python


@dataclass
class Result:
    """What one run of a producer showed and did."""

    profile: str
    spans: str
    shown: list[str]
    truth: dict[str, float]
    cost_as_input: float  # if cached tokens cost what input costs
    error: str
    log: list[str]

    def verdict(self, aspect: str) -> str:
        """``yes`` if an aspect is right, else ``cached as input``, ``too much``, ``partly`` or ``no``."""
        found, truth = self.numbers[aspect], self.truth[aspect]
        if math.isclose(found, truth, rel_tol=1e-9):
            return "yes"
        if aspect == "cost" and math.isclose(found, self.cost_as_input, rel_tol=1e-9):
            return "cached as input"
        most = self.cost_as_input if aspect == "cost" else truth
        return "too much" if found > most else "partly" if found else "no"

    @cached_property
    def numbers(self) -> dict[str, float]:
        """What the last scrape says of each aspect."""
        families = {family.name: family for family in parse(OPENMETRICS, self.shown[-1].encode())}
        return (_dialect if self.profile == "llmdevops" else _conventions)(families)


def run(producer: Producer) -> list[Result]:
    """Run a producer in all four ways, in its environment."""
    python = environment(producer.environment)
    script = ROOT / "tests" / "support" / "producing.py"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/tmp"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}",
    }
    with tempfile.TemporaryDirectory() as folder, fake_models() as (url, answers):
        file = Path(folder) / "found.json"
        done = subprocess.run(
            [python, script, producer.name, url, file],
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
            env=environ,
        )
        if done.returncode:
            raise RuntimeError(f"{producer.name}: {done.stderr[-2000:]}")
        found = loads(file.read_text())
    return [_result(producer, part, answers) for part in found]


def run_all() -> dict[str, list[Result] | str]:
    """All producers, two at a time; or what is the reason that one cannot be run here."""

    def one(producer: Producer) -> list[Result] | str:
        try:
            return run(producer)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return str(error)

    every = producers()
    problems = {}
    for name in {producer.environment for producer in every}:  # once, before several need one
        try:
            environment(name)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            problems[name] = str(error)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda it: problems.get(it.environment) or one(it), every)
    return dict(zip((producer.name for producer in every), found, strict=True))


def releases(producer: Producer) -> dict[str, str]:
    """The releases of its packages that are installed."""
    code = "import sys, importlib.metadata as m; print(*(m.version(n) for n in sys.argv[1:]))"
    command = [environment(producer.environment), "-c", code, *producer.packages]
    versions = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(producer.packages, versions, strict=True))


def _result(producer: Producer, part: Mapping[str, Any], answers: Iterable[Answer]) -> Result:
    name = f"{producer.name}.{part['profile']}.{part['spans']}"
    sent = [answer for answer in answers if answer.run == name]
    own = [answer for answer in sent if not answer.busy]
    prices, cost, as_input = PriceTable.default(), 0.0, 0.0
    for answer in own:
        price = prices.price(answer.model)
        assert price is not None, answer
        output = answer.output * price.output
        as_input += (answer.input * price.input + output) / 1e6
        cached = answer.cached * (price.cached or price.input)
        cost += ((answer.input - answer.cached) * price.input + cached + output) / 1e6
    did = part["did"]
    truth = {
        "calls": len(own),
        "errors": sum(answer.status != 200 for answer in own),
        "input": sum(answer.input for answer in own),
        "output": sum(answer.output for answer in own),
        "cost": cost,
        "agents": did.get("agents", 0),
        "tools": did.get("tools", 0),
        "tool errors": did.get("tool errors", 0),
        "guardrails": did.get("guardrails", 0),
        "retries": len(sent) - len(own),
    }
    return Result(part["profile"], part["spans"], part["shown"], truth, as_input, part["error"], part["log"])


def _samples(families: Mapping[str, Metric], name: str, end: str) -> list[Sample]:
    family = families.get(name)
    return [sample for sample in (family.samples if family else ()) if sample.name == name + end]


def _sum(families: Mapping[str, Metric], name: str, end: str, **labels: str) -> float:
    return sum(
        sample.value for sample in _samples(families, name, end) if labels.items() <= sample.labels.items()
    )


def _dialect(families: Mapping[str, Metric]) -> dict[str, float]:
    def total(name: str, **labels: str) -> float:
        return _sum(families, f"llmdevops_{name}", "_total", **labels)

    mcp = _of_mcp(families)
    return {
        "calls": total("llm_requests"),
        "errors": total("llm_errors"),
        "input": total("llm_input_tokens"),
        "output": total("llm_output_tokens"),
        "cost": total("llm_cost_usd"),
        "agents": total("agent_executions"),
        "tools": total("agent_tool_calls") + sum(mcp.values()),
        "tool errors": total("agent_tool_calls", status="error") + mcp[True],
        "guardrails": total("llm_guardrail_results"),
        "retries": total("llm_retries"),
    }


def _of_mcp(families: Mapping[str, Metric]) -> dict[bool, float]:
    """Tools that a client of MCP called, by whether they failed."""
    found = {False: 0.0, True: 0.0}
    for sample in _samples(families, "mcp_client_operation_duration_seconds", "_count"):
        if sample.labels.get("gen_ai_tool_name"):
            found[bool(sample.labels.get("error_type"))] += sample.value
    return found


_CALLS = {"chat", "generate_content", "text_completion", "embeddings", "embedding", "responses", ""}


def _conventions(families: Mapping[str, Metric]) -> dict[str, float]:
    def counted(name: str) -> list[Sample]:
        return _samples(families, name, "_count")

    calls = [
        sample
        for sample in counted("gen_ai_client_operation_duration_seconds")
        if sample.labels.get("gen_ai_operation_name", "") in _CALLS
    ]
    tools = counted("gen_ai_execute_tool_duration_seconds")
    usage, mcp = "gen_ai_client_inference_usage", _of_mcp(families)
    return {
        "calls": sum(sample.value for sample in calls),
        "errors": sum(sample.value for sample in calls if sample.labels.get("error_type")),
        "input": _sum(families, f"{usage}_input_tokens", "_total"),
        "output": _sum(families, f"{usage}_output_tokens", "_total"),
        "cost": _sum(families, "gen_ai_usage_cost_USD", "_total"),
        "agents": sum(sample.value for sample in counted("gen_ai_invoke_agent_duration_seconds")),
        "tools": sum(sample.value for sample in tools) + sum(mcp.values()),
        "tool errors": sum(s.value for s in tools if s.labels.get("error_type")) + mcp[True],
        "guardrails": _sum(families, "gen_ai_guardrail_results", "_total"),
        "retries": _sum(families, "gen_ai_client_retries", "_total"),
    }
