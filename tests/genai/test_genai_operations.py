"""Whatever happens to operations, each is counted exactly once and none stays active."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from genai_points import ACTIVE, DURATION, Recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge.genai import AgentRecorder, LLMRecorder
from otel_prom_bridge.recording.decorators import DecoratingOperation
from otel_prom_bridge.recording.operations import error_type

ACTIVE_AGENTS = "gen_ai.agent.active"
ENDS = ("exit", "raise", "end", "end twice", "cancel", "drop", "cycle", "generator", "exhaust", "break")
Step = tuple[str, bool]  # how the operation ends, and whether it is an agent's


def make(step: Step, llm: LLMRecorder, agents: AgentRecorder) -> DecoratingOperation:
    """An operation that has not begun."""
    if step[1]:
        return agents.execution(agent="planner")
    return llm.call(model="gpt-4o", provider="openai")


def perform(end: str, operation: DecoratingOperation) -> None:
    """End an operation in one of the ways."""
    if end == "exit":
        with operation:
            pass
    elif end == "raise":
        with suppress(ValueError), operation:
            raise ValueError
    elif end == "end":
        operation.start().end()
    elif end == "end twice":
        with operation:
            operation.end("failed")
        operation.end()
    elif end == "cancel":
        asyncio.run(cancelled(operation))
    elif end in ("drop", "cycle"):
        operation.start()
        if end == "cycle":
            cycle: list[object] = [operation]
            cycle.append(cycle)
    else:
        generated(end, operation)


def generated(end: str, operation: DecoratingOperation) -> None:
    """End a generator that the operation decorates."""

    @operation
    def numbers():  # type: ignore[no-untyped-def]
        yield 1
        yield 2

    generator = numbers()
    next(generator)
    if end == "generator":
        generator.close()
    elif end == "exhaust":
        list(generator)


async def cancelled(operation: DecoratingOperation) -> None:
    """Cancel a task inside of the operation."""

    async def run() -> None:
        async with operation:
            await asyncio.sleep(60)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(st.sampled_from(ENDS), st.booleans()), max_size=12))
def test_everything_ends_once(steps: list[Step]) -> None:
    """After any sequence of ends nothing is active, and there is one duration per operation."""
    recorded = Recorded()
    llm, agents = LLMRecorder(recorded.provider), AgentRecorder(recorded.provider)
    for step in steps:
        perform(step[0], make(step, llm, agents))
    gc.collect()
    for name, active, of_agents in (
        (DURATION, ACTIVE, False),
        ("gen_ai.invoke_agent.duration", ACTIVE_AGENTS, True),
    ):
        assert recorded.count(name) == sum(step[1] is of_agents for step in steps)
        assert recorded.total(active) == 0


@settings(max_examples=examples(25))
@given(st.lists(st.sampled_from(ENDS), max_size=12), st.integers(0, 12))
def test_what_is_still_going_on_is_active(ends: list[str], running: int) -> None:
    """The number of active calls is that of the calls that have not ended, among any others."""
    recorded = Recorded()
    llm = LLMRecorder(recorded.provider)
    calls = [llm.call(model="gpt-4o", provider="openai").start() for _ in range(running)]
    for end in ends:
        perform(end, llm.call(model="gpt-4o", provider="openai"))
    gc.collect()
    assert recorded.total(ACTIVE) == running
    for call in calls:
        call.end()
    assert recorded.total(ACTIVE) == 0


def test_many_threads_end_one_call() -> None:
    """Of several threads that end one call, one does."""
    recorded = Recorded()
    llm = LLMRecorder(recorded.provider)
    barrier = threading.Barrier(8)
    for _ in range(20):
        call = llm.call(model="gpt-4o", provider="openai").start()

        def end(call: DecoratingOperation = call) -> None:
            barrier.wait()
            call.end()

        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(end)
    assert (recorded.count(DURATION), recorded.total(ACTIVE)) == (20, 0)


def test_many_threads_and_a_collector() -> None:
    """Calls of many threads, some dropped in cycles, while metrics are collected, are all counted once."""
    recorded = Recorded()
    llm = LLMRecorder(recorded.provider)

    def work(number: int) -> None:
        for index in range(100):
            perform(ENDS[(number + index) % 4], llm.call(model=f"m{number}", provider="p"))
            perform("cycle", llm.call(model=f"m{number}", provider="p"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gc.collect()
        recorded.metrics()
    gc.collect()
    assert (recorded.count(DURATION), recorded.total(ACTIVE)) == (8 * 200, 0)


def test_garbage_inside_of_the_sdk() -> None:
    """A call that is collected while the SDK holds a lock that recording needs does not wait for it."""
    recorded = Recorded()
    llm = LLMRecorder(recorded.provider)
    perform("exit", llm.call(model="m", provider="p"))
    perform("cycle", llm.call(model="m", provider="p"))
    consumer = recorded.provider._measurement_consumer  # type: ignore[attr-defined]
    (storage,) = consumer._reader_storages.values()
    locks = [
        match._lock for matches in storage._instrument_view_instrument_matches.values() for match in matches
    ]
    assert locks
    for lock in locks:
        lock.acquire()
    done = threading.Thread(target=gc.collect, daemon=True)
    done.start()
    done.join(10)
    for lock in locks:
        lock.release()
    assert not done.is_alive()
    assert (recorded.count(DURATION), recorded.total(ACTIVE)) == (2, 0)


class LocalError(Exception):
    """An error of this module."""


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (None, None),
        ("", "_OTHER"),
        ("429", "429"),
        (ValueError("secret"), "ValueError"),
        (asyncio.CancelledError, "asyncio.exceptions.CancelledError"),
        (LocalError(), f"{__name__}.LocalError"),
    ],
)
def test_types_of_errors(failure: object, expected: str | None) -> None:
    """An exception is its full name, as in OpenTelemetry's spans, and never its message."""
    assert error_type(failure) == expected  # type: ignore[arg-type]


def test_nested_use_of_one_object() -> None:
    """One object in two blocks at once is one operation, ended by the inner one; nothing is raised."""
    recorded = Recorded()
    call = LLMRecorder(recorded.provider).call(model="m", provider="p")
    with call, call:
        pass
    assert (recorded.count(DURATION), recorded.total(ACTIVE)) == (1, 0)


def test_started_and_left_to_the_interpreter() -> None:
    """An operation that was made and never started is nothing."""
    recorded = Recorded()
    LLMRecorder(recorded.provider).call(model="m", provider="p")
    assert (recorded.points(DURATION), recorded.points(ACTIVE)) == ([], [])


def test_functions_that_turn_out_to_be_asynchronous() -> None:
    """What returns a coroutine, as the methods of openai's client do, ends with that, once, as it ends."""
    recorded = Recorded()
    llm = LLMRecorder(recorded.provider)
    seen = []

    async def work(seconds: float) -> float:
        await asyncio.sleep(seconds)
        if seconds > 1e-3:
            raise ValueError(seconds)
        return seconds

    def create(seconds: float) -> Coroutine[None, None, float]:
        return work(seconds)

    async def run() -> None:
        call = llm.call(model="gpt-4o", provider="openai", observe=lambda _, result: seen.append(result))
        decorated = call(create)
        with pytest.raises(ValueError, match=r"0\.05"):
            await decorated(0.05)
        assert await decorated(0.001) == 0.001
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(decorated(60), 0.01)
        with pytest.raises(TypeError):
            decorated()  # type: ignore[call-arg]

    asyncio.run(run())
    errors = [None, "TypeError", "ValueError", "asyncio.exceptions.CancelledError"]
    assert recorded.errors() == errors
    assert recorded.point(DURATION, error__type="ValueError").sum >= 0.05
    assert recorded.total(ACTIVE) == 0
    assert seen == [0.001]
