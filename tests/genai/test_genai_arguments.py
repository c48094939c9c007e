"""What recorders and shorthands take: durations, tokens, outcomes, names; and what they refuse, and when."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import programs
import pytest
from genai_points import DURATION, FIRST, Recorded
from opentelemetry.metrics import NoOpMeterProvider

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.genai import AgentRecorder, LLMRecorder, Metrics, timer
from otel_prom_bridge.profiles.reading import read_profile
from otel_prom_bridge.recording.operations import Operation

HERE = Path(__file__).parents[1] / "support"
CALL: dict[str, Any] = {"model": "gpt-4o", "provider": "openai"}


@pytest.fixture
def agents(recorded: Recorded) -> AgentRecorder:
    """A recorder on it."""
    return AgentRecorder(recorded.provider)


def test_durations_may_be_timedeltas(recorded: Recorded, llm: LLMRecorder, agents: AgentRecorder) -> None:
    """Wherever seconds are taken."""
    took = timedelta(seconds=2)
    llm.record_request(**CALL, duration=took)
    llm.record_error(**CALL, duration=took, error_type="timeout")
    llm.record_streaming_chunk(**CALL, duration=timedelta(milliseconds=500), first=True)
    agents.record_execution(agent="a", duration=took)
    agents.record_step(agent="a", step_type="s", duration=took)
    agents.record_tool_call(tool="t", duration=took)
    agents.record_workflow(workflow="w", duration=took)
    agents.record_memory_operation(operation="read", duration=took)
    Metrics(recorded.provider.get_meter("app")).observe_duration("mine", took)
    assert recorded.point(FIRST).sum == 0.5
    names = ("invoke_agent", "agent.step", "execute_tool", "invoke_workflow")
    for name in ("mine", DURATION, *(f"gen_ai.{name}.duration" for name in names)):
        assert all(point.sum == 2 * point.count for point in recorded.points(name))
        assert recorded.points(name)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"status": "success"}, None),
        ({"status": "error"}, "_OTHER"),
        ({"status": "timeout"}, "timeout"),
        ({"status": "error", "error_type": TimeoutError}, "TimeoutError"),
    ],
)
def test_who_knows_a_status_only(recorded: Recorded, said: dict[str, Any], error: str | None) -> None:
    """A status is enough, where nothing more is known of an error."""
    LLMRecorder(recorded.provider).record_request(**CALL, duration=1, **said)
    AgentRecorder(recorded.provider).record_execution(agent="a", duration=1, **said)
    assert recorded.errors() == [error]
    assert recorded.errors("gen_ai.invoke_agent.duration") == [error]


def test_tools_succeed_or_not(recorded: Recorded, agents: AgentRecorder) -> None:
    """As the documents have it: a boolean."""
    for success in (True, False):
        agents.record_tool_call(tool="search", duration=1, success=success)
    agents.record_tool_call(tool="search", duration=1, success=False, error_type="timeout")
    assert recorded.errors("gen_ai.execute_tool.duration") == [None, "_OTHER", "timeout"]


def test_names_by_their_place(recorded: Recorded, agents: AgentRecorder) -> None:
    """What an operation is of needs no keyword."""
    with agents.workflow("w"), agents.execution("planner") as run, run.step("plan"), run.tool("search"):
        pass
    with agents.step("planner", "plan"):
        pass
    assert recorded.point("gen_ai.invoke_agent.duration", gen_ai__agent__name="planner").count == 1
    assert recorded.count("gen_ai.agent.step.duration") == 2


def test_tokens_by_both_names(recorded: Recorded, llm: LLMRecorder) -> None:
    """The names of record_request do for a call, too; others are mistakes."""
    with llm.call(**CALL) as call:
        call.tokens(input_tokens=9, output=3, cached_tokens=2, reasoning_tokens=None)
        call.tokens(cache_write_tokens=1)
        with pytest.raises(TypeError, match="inputs"):
            call.tokens(inputs=1)
        with pytest.raises(TypeError, match="total_tokens"):
            call.tokens(total_tokens=1)
    usage = "gen_ai.client.inference.usage"
    names = ("cache_read.input_tokens", "cache_write.input_tokens")
    assert [recorded.total(f"{usage}.{name}") for name in names] == [2, 1]
    assert sum(point.sum for point in recorded.points("gen_ai.client.token.usage")) == 12


def test_what_a_call_does_not_have_cannot_be_set(llm: LLMRecorder, agents: AgentRecorder) -> None:
    """An attribute that nobody reads is an error, and not tokens that are lost."""
    operations: list[Any] = [llm.call(**CALL), agents.execution("a"), agents.step("a", "s")]
    for operation in operations:
        with pytest.raises(AttributeError):
            operation.input_tokens = 5
    operations[0].response_model = "gpt-4o-2024-08-06"


def test_one_object_is_for_one_operation_at_a_time(
    recorded: Recorded, llm: LLMRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever nests one, or gives it to several threads, is told, once; one after the other is fine."""
    call = llm.call(**CALL)
    for _ in range(2):
        with call:
            call.start()

    def left() -> Iterator[int]:
        with call:
            yield 1

    next(iter(left()))  # and dropped
    with call:
        pass
    assert (recorded.count(DURATION), caplog.records) == (4, [])
    for _ in range(2):
        with call, call:
            pass
    assert recorded.count(DURATION) == 6
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "one Call is for one operation at a time: others inside or beside it are not recorded",
        )
    ]


@pytest.mark.parametrize("make", [LLMRecorder, AgentRecorder])
def test_a_recorder_is_of_a_provider(recorded: Recorded, make: Callable[[Any], object]) -> None:
    """What is none is refused with what is allowed; one of no SDK is fine."""
    for wrong in (recorded.provider.get_meter("app"), "svc", 5):
        with pytest.raises(ConfigurationError, match=r"^meter_provider: .* expected a MeterProvider or None"):
            make(wrong)
    make(NoOpMeterProvider())


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1e3), ("us", 1e6), ("ns", 1e9), ("s", 1), ("", 1)])
def test_a_timer_has_the_unit_of_its_histogram(recorded: Recorded, unit: str, factor: float) -> None:
    """Of an instrument that says its unit, whoever made it; a keyword has the last word."""
    profile = read_profile({"instruments": [{"name": "own", "type": "histogram", "unit": unit}]}, name="mine")
    meter = recorded.provider.get_meter("app")
    own: Any = profile.instruments(meter)["own"]
    timers: list[Operation] = [timer(meter.create_histogram("plain", unit)), timer(own)]
    timers.append(timer(meter.create_histogram("said", "{x}"), unit=unit or None))
    for each in timers:
        each.start()
        each._began -= 2
        each.end()
    for name in ("plain", "own", "said"):
        assert recorded.point(name).sum == pytest.approx(2 * factor, rel=0.2)
    with pytest.raises(ConfigurationError, match=r"timer: unit: 'minutes' .* expected one of s, ms, us, ns"):
        timer(own, unit="minutes")


def test_the_unit_of_an_instrument_that_has_no_sdk_yet() -> None:
    """A histogram that was made when the module was imported has its unit all the same."""
    script = """
from opentelemetry import metrics
from otel_prom_bridge.genai import timer
from genai_points import Recorded
took = timer(metrics.get_meter("app").create_histogram("plain", "ms")).start()
recorded = Recorded()
metrics.set_meter_provider(recorded.provider)
took._began -= 2
took.end()
print(2000 <= recorded.point("plain").sum < 5000)
"""
    done = programs.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=HERE, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_to_add_to_a_gauge_by_name(recorded: Recorded) -> None:
    """It goes up and down, by itself or in a batch."""
    named = Metrics(recorded.provider.get_meter("app"))
    named.add_to_gauge("jobs", 3, {"queue": "a"}, unit="{job}")
    named.batch().add_to_gauge("jobs", -1, {"queue": "a"}, unit="{job}").record()
    assert recorded.total("jobs") == 2
    assert recorded.metrics()["jobs"].unit == "{job}"
