"""Real frameworks for agents, of which most measure nothing: their spans fill the families of agents.

Each is installed in an environment of its own, as their pins clash, and talks to a server on loopback. The
first run may take a minute. The server's answers say how many tokens there were, so costs are known.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import installed
from fake_openai import REPLY, fake_openai
from oracles import parse
from prometheus_client import Metric

from otel_prom_bridge.prices import PriceTable

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# What is installed, the times that the model was asked, and the times that the tool was called. The agent of
# smolagents has to call a tool to give its answer, which the server does not know: so it goes on.
FRAMEWORKS = {
    "strands": (["strands-agents[openai]"], 2, 1),
    "openai_agents": (["openai-agents", "openinference-instrumentation-openai-agents"], 2, 1),
    "langchain": (["langchain", "langchain-openai", "openinference-instrumentation-langchain"], 2, 1),
    "smolagents": (["smolagents[openai]", "openinference-instrumentation-smolagents"], 3, 2),
}


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environments are; `PRODUCERS_ENVIRONMENTS` keeps them from run to run."""
    return Path(os.environ.get("PRODUCERS_ENVIRONMENTS") or tmp_path_factory.mktemp("environments"))


def run(python: Path, name: str) -> dict[str, Any]:
    """What the framework's program prints."""
    program = ROOT / "tests" / "support" / "frameworks.py"
    with fake_openai() as url:
        done = subprocess.run(
            [python, program, name, url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"content_type"') :])
    assert found["error"] == ""
    return found


def total(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The sum of a counter's series with these labels."""
    family = families.get(f"llmdevops_{name}")
    return sum(
        sample.value
        for sample in (family.samples if family else ())
        if sample.name.endswith("_total") and labels.items() <= sample.labels.items()
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_calls_tokens_cost_agents_and_tools(name: str, environments: Path) -> None:
    """Everything that the agent did is in its family, once; the cost is that of the server's tokens."""
    packages, asked, called = FRAMEWORKS[name]
    found = run(installed(environments, name, packages), name)
    families = {family.name: family for family in parse(found["content_type"], found["body"].encode())}
    assert total(families, "llm_requests", status="success") == asked, found["spans"]
    assert total(families, "llm_output_tokens") == asked * len(REPLY)
    assert total(families, "agent_tool_calls", tool_name="weather") == called
    assert total(families, "agent_executions") == total(families, "agent_executions", agent_type="meteo") == 1
    price = PriceTable.default().price("gpt-4o")
    assert price is not None
    cost = (total(families, "llm_input_tokens") * price.input + asked * len(REPLY) * price.output) / 1e6
    assert total(families, "llm_cost_usd") == pytest.approx(cost)
