"""AgentRecorder: executions, steps, tools, memories and workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from genai_points import DURATION, Recorded

from otel_prom_bridge.genai import AgentRecorder, vocabulary

EXECUTION = "gen_ai.invoke_agent.duration"
STEP = "gen_ai.agent.step.duration"
TOOL = "gen_ai.execute_tool.duration"
WORKFLOW = "gen_ai.invoke_workflow.duration"
ACTIVE = "gen_ai.agent.active"


@pytest.fixture
def agents(recorded: Recorded) -> AgentRecorder:
    """A recorder on it."""
    return AgentRecorder(recorded.provider)


def only(recorded: Recorded, name: str) -> tuple[dict[str, Any], int]:
    """The attributes and the count of a histogram's only point."""
    (point,) = recorded.points(name)
    return dict(point.attributes), point.count


def test_an_execution_and_what_it_does(recorded: Recorded, agents: AgentRecorder) -> None:
    """Everything that an execution does carries its agent's name; its calls are counted per execution."""
    with agents.execution(agent="planner", model="gpt-4o", attributes={"team": "search"}) as run:
        assert recorded.total(ACTIVE) == 1
        with run.step("think"):
            run.inference_call()
        with run.tool("web_search", type="function"):
            pass
        with run.tool("web_search", type="function"):
            pass
        with run.memory("search_memory"):
            pass
    agent = {"gen_ai.agent.name": "planner"}
    assert only(recorded, EXECUTION) == ({**agent, "gen_ai.request.model": "gpt-4o", "team": "search"}, 1)
    assert only(recorded, STEP) == ({**agent, "gen_ai.agent.step.type": "think"}, 1)
    assert only(recorded, TOOL) == (
        {**agent, "gen_ai.tool.name": "web_search", "gen_ai.tool.type": "function"},
        2,
    )
    assert only(recorded, DURATION) == ({**agent, "gen_ai.operation.name": "search_memory"}, 1)
    calls = {kind: recorded.point(f"gen_ai.invoke_agent.{kind}_calls") for kind in ("inference", "tool")}
    assert {kind: (dict(point.attributes), point.sum) for kind, point in calls.items()} == {
        "inference": (agent, 1),
        "tool": (agent, 2),
    }
    assert recorded.total(ACTIVE) == 0


def test_buckets(recorded: Recorded, agents: AgentRecorder) -> None:
    """Each histogram has the buckets of the conventions."""
    agents.record_execution(agent="a", duration=1, inference_calls=1, tool_calls=2)
    agents.record_workflow(workflow="w", duration=1)
    agents.record_tool_call(tool="t", duration=1)
    agents.record_step(agent="a", step_type="s", duration=1)
    bounds = {name: recorded.points(name)[0].explicit_bounds for name in recorded.metrics()}
    assert bounds == {
        EXECUTION: vocabulary.AGENT_SECONDS,
        WORKFLOW: vocabulary.WORKFLOW_SECONDS,
        TOOL: vocabulary.SECONDS,
        STEP: vocabulary.SECONDS,
        "gen_ai.invoke_agent.inference_calls": vocabulary.CALLS,
        "gen_ai.invoke_agent.tool_calls": vocabulary.CALLS,
    }


def test_uncounted_calls(recorded: Recorded, agents: AgentRecorder) -> None:
    """Calls that nobody counted are not said to be none."""
    with agents.execution(agent="planner"):
        pass
    assert set(recorded.metrics()) == {EXECUTION, ACTIVE}


def test_failures(recorded: Recorded, agents: AgentRecorder) -> None:
    """Each kind records the type of what it raised, and lets it pass."""
    with (
        pytest.raises(TimeoutError),
        agents.workflow("research"),
        agents.execution(agent="planner"),
        agents.step("planner", "act"),
        agents.memory("upsert_memory", agent="planner"),
        agents.tool("web_search", agent="planner"),
    ):
        raise TimeoutError
    for name in (WORKFLOW, EXECUTION, STEP, DURATION, TOOL):
        assert recorded.errors(name) == ["TimeoutError"]


def test_decorators(recorded: Recorded, agents: AgentRecorder) -> None:
    """Functions, sync and async, are run as tools and executions, each time afresh."""

    @agents.tool("calculator", agent="planner")
    def add(left: int, right: int) -> int:
        return left + right

    @agents.execution(agent="planner")
    async def run() -> int:
        return add(1, 2)

    async def main() -> list[int]:
        return await asyncio.gather(run(), run(), run())

    assert asyncio.run(main()) == [3, 3, 3]
    assert (recorded.count(TOOL), recorded.count(EXECUTION), recorded.total(ACTIVE)) == (3, 3, 0)


def test_a_decorated_tool_of_an_execution_is_counted_when_called(
    recorded: Recorded, agents: AgentRecorder
) -> None:
    """Counted are calls of a tool, not its mention."""
    with agents.execution(agent="planner") as run:

        @run.tool("calculator")
        def one() -> int:
            return 1

        assert [one(), one(), one()] == [1, 1, 1]
    assert recorded.point("gen_ai.invoke_agent.tool_calls").sum == 3


def test_what_was_measured_elsewhere(recorded: Recorded, agents: AgentRecorder) -> None:
    """The plain methods record the same metrics, and touch no number of active ones."""
    agents.record_execution(agent="planner", duration=2.5, error_type="budget", tool_calls=4)
    agents.record_step(agent="planner", step_type="plan", duration=0.5)
    agents.record_tool_call(agent="planner", tool="web_search", duration=0.25, error_type=OSError())
    agents.record_memory_operation(agent="planner", operation="create_memory", duration=0.125)
    agents.record_workflow(workflow="research", duration=60)
    sums = {name: recorded.point(name).sum for name in (EXECUTION, STEP, TOOL, DURATION, WORKFLOW)}
    assert sums == {EXECUTION: 2.5, STEP: 0.5, TOOL: 0.25, DURATION: 0.125, WORKFLOW: 60}
    assert (recorded.errors(EXECUTION), recorded.errors(TOOL)) == (["budget"], ["OSError"])
    assert recorded.point("gen_ai.invoke_agent.tool_calls").sum == 4
    assert recorded.points(ACTIVE) == []


def test_active_agents_can_be_set(recorded: Recorded, agents: AgentRecorder) -> None:
    """A number that was set is shown with the executions that go on beside it."""
    for count in (3, 5, 2):
        agents.set_active_agents("planner", count)
        assert recorded.total(ACTIVE) == count
    with agents.execution(agent="planner"):
        assert recorded.total(ACTIVE) == 3
    agents.set_active_agents("planner", 0)
    assert recorded.total(ACTIVE) == 0


def test_what_is_no_number_of_agents(
    recorded: Recorded,
    agents: AgentRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A number that cannot be is reported once, and those that come after it count."""
    agents.set_active_agents("planner", 2)
    for count in (float("nan"), float("inf"), -1):
        agents.set_active_agents("planner", count)  # type: ignore[arg-type]
        assert recorded.total(ACTIVE) == 2
    agents.set_active_agents("planner", 1)
    assert recorded.total(ACTIVE) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "'planner': nan is no number of active agents"
    ]


def test_counts_of_a_decorated_execution(recorded: Recorded, agents: AgentRecorder) -> None:
    """What a decorated function says to its decorator is said of the run that goes on, of several at once."""
    run = agents.execution(agent="planner")

    @run
    def work(calls: int) -> None:
        run.inference_call(calls)
        with run.tool("calculator"):
            pass

    @run
    async def work_later(calls: int) -> None:
        run.inference_call(calls)
        await asyncio.sleep(0.01)
        run.tool_call()
        work(7)
        run.tool_call()

    async def main() -> None:
        await asyncio.gather(work_later(1), work_later(2))

    work(4)
    asyncio.run(main())
    calls = {kind: recorded.point(f"gen_ai.invoke_agent.{kind}_calls") for kind in ("inference", "tool")}
    assert {kind: (point.count, point.sum) for kind, point in calls.items()} == {
        "inference": (5, 4 + 1 + 7 + 2 + 7),
        "tool": (5, 1 + 3 + 3),
    }
    assert calls["tool"].max == 2


def test_counts_that_belong_to_no_run(
    recorded: Recorded,
    agents: AgentRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a decorator cannot know which run is meant, the count is reported once."""
    run = agents.execution(agent="planner")

    @run
    def work() -> Iterator[int]:
        run.tool_call()
        yield 1

    assert [*work(), *work()] == [1, 1]
    assert (recorded.count(EXECUTION), recorded.points("gen_ai.invoke_agent.tool_calls")) == (2, [])
    assert [record.getMessage() for record in caplog.records] == [
        "calls are counted inside of what is decorated: this one is not recorded"
    ]


def test_nonsense_never_raises(recorded: Recorded, agents: AgentRecorder) -> None:
    """Whatever is given, the code inside runs."""
    nonsense: Any = object()
    with agents.execution(agent=nonsense, attributes=nonsense) as run, run.step(nonsense):
        run.tool_call()
    agents.record_step(agent=nonsense, step_type=nonsense, duration=nonsense)
    agents.set_active_agents("planner", nonsense)
    assert recorded.count(EXECUTION) == 1
