"""How many calls and agents go on: what is shown of it whoever records, and since when."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import programs
from genai_points import ACTIVE, Recorded

from otel_prom_bridge.genai import AgentRecorder, LLMRecorder
from otel_prom_bridge.recording import active

AGENTS = "gen_ai.agent.active"


def output_of(script: str) -> str:
    """What a process prints, which has no meter provider until the script sets one."""
    setup = """
    import gc, os
    from opentelemetry import metrics
    from otel_prom_bridge.genai import AgentRecorder, LLMRecorder
    from genai_points import ACTIVE, Recorded

    recorded = Recorded()
    CALL = {"model": "gpt-4o", "provider": "openai"}
    """
    code = textwrap.dedent(setup) + textwrap.dedent(script)
    done = programs.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[1] / "support",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_number_is_set_by_any_recorder(recorded: Recorded) -> None:
    """Several recorders of one provider say the same thing, and the last word counts."""
    recorders = [AgentRecorder(recorded.provider) for _ in range(3)]
    for recorder in recorders:
        recorder.set_active_agents("planner", 2)
    assert recorded.total(AGENTS) == 2
    recorders[0].set_active_agents("planner", 5)
    recorders[1].set_active_agents("writer", 1)
    with recorders[2].execution(agent="planner"):
        assert recorded.point(AGENTS, gen_ai__agent__name="planner").value == 6
    assert recorded.total(AGENTS) == 6
    assert AgentRecorder(Recorded().provider) is not None
    assert recorded.total(AGENTS) == 6


def test_providers_share_nothing(recorded: Recorded) -> None:
    """What goes on is that of a provider."""
    other = Recorded()
    with (
        LLMRecorder(recorded.provider).call(model="a", provider="x"),
        LLMRecorder(other.provider).call(model="a", provider="x"),
        LLMRecorder(other.provider).call(model="a", provider="x"),
    ):
        assert (recorded.total(ACTIVE), other.total(ACTIVE)) == (1, 2)
    assert (recorded.total(ACTIVE), other.total(ACTIVE)) == (0, 0)


def test_what_began_before_there_was_an_sdk() -> None:
    """It is among those that go on, and what was set is set."""
    said = output_of(
        """
        agents, llm = AgentRecorder(), LLMRecorder()
        agents.set_active_agents("planner", 4)
        call, run = llm.call(**CALL).start(), agents.execution(agent="planner").start()
        metrics.set_meter_provider(recorded.provider)
        print(recorded.total(ACTIVE), recorded.total("gen_ai.agent.active"))
        second = LLMRecorder().call(**CALL).start()
        third = LLMRecorder(recorded.provider).call(**CALL).start()
        AgentRecorder(recorded.provider).set_active_agents("planner", 3)
        print(recorded.total(ACTIVE), recorded.total("gen_ai.agent.active"))
        AgentRecorder().set_active_agents("planner", 1)
        for operation in (call, run, second, third):
            operation.end()
        print(recorded.total(ACTIVE), recorded.total("gen_ai.agent.active"))
        """
    )
    assert said.splitlines() == ["1 5", "3 4", "0 1"]


def test_the_global_provider_is_one_however_it_is_named() -> None:
    """Before there is an SDK, a proxy stands for it; recorders of either count together."""
    said = output_of(
        """
        early, nameless = AgentRecorder(metrics.get_meter_provider()), AgentRecorder()
        early.set_active_agents("planner", 2)
        metrics.set_meter_provider(recorded.provider)
        late = AgentRecorder()
        with late.execution("late"), early.execution("early"), nameless.execution("nameless"):
            print(recorded.total("gen_ai.agent.active"))
        AgentRecorder(recorded.provider).set_active_agents("planner", 1)
        print(recorded.total("gen_ai.agent.active"))
        """
    )
    assert said.splitlines() == ["5", "1"]


def test_a_forked_process_begins_with_nothing() -> None:
    """What its parent does goes on there, also if a block that was begun before it ends in the child."""
    said = output_of(
        """
        metrics.set_meter_provider(recorded.provider)
        llm = LLMRecorder()
        other = llm.call(**CALL).start()
        with llm.call(**CALL):
            if os.fork() == 0:
                with llm.call(**CALL):
                    print("in the child", recorded.total(ACTIVE), flush=True)
            else:
                os.wait()
                print("in the parent", recorded.total(ACTIVE), flush=True)
        print(recorded.total(ACTIVE), flush=True)
        """
    )
    assert said.splitlines() == ["in the child 1", "0", "in the parent 2", "1"]


def test_what_is_0_is_not_kept_for_ever(recorded: Recorded) -> None:
    """A model that was called once is shown as 0 for a while; one that is being called always."""
    llm = LLMRecorder(recorded.provider)
    running = llm.call(model="running", provider="x").start()
    for number in range(250):
        with llm.call(model=str(number), provider="x"):
            pass
    AgentRecorder(recorded.provider).set_active_agents("planner", 0)
    points = {point.attributes["gen_ai.request.model"]: point.value for point in recorded.points(ACTIVE)}
    assert points.pop("running") == 1
    assert set(points.values()) == {0}
    assert set(points) == {str(number) for number in range(250 - active._MOST_ZEROS + 1, 250)}
    running.end()
    assert recorded.total(ACTIVE) == 0
