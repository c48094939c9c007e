"""Decorated functions whose result goes on after they have returned: streams, tasks, futures."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest.mock import MagicMock

import pytest
from genai_points import ACTIVE, DURATION, FIRST, PER_CHUNK, TOKENS, Recorded

from otel_prom_bridge.genai import AgentRecorder, AsyncStream, Call, LLMRecorder, Stream

EXECUTION = "gen_ai.invoke_agent.duration"


class Answer:
    """The stream of an SDK: an iterator, and no generator."""

    response = "the response"

    def __init__(self, chunks: int = 3, error: Exception | None = None) -> None:
        self.left = chunks
        self.error = error

    def __iter__(self) -> Answer:
        return self

    def __next__(self) -> int:
        time.sleep(0.01)
        if self.left:
            self.left -= 1
            return self.left
        raise self.error or StopIteration


class AsyncAnswer:
    """The same, asynchronous."""

    def __init__(self) -> None:
        self.answer = Answer()

    def __aiter__(self) -> AsyncAnswer:
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        try:
            return next(self.answer)
        except StopIteration:
            raise StopAsyncIteration from None


@pytest.fixture
def call(recorded: Recorded) -> Call:
    """A call that takes what it sees for tokens."""

    def observe(call: Call, value: int) -> None:
        call.tokens(output=value + 5)

    return LLMRecorder(recorded.provider).call(model="gpt-4o", provider="openai", observe=observe)


def ended(recorded: Recorded, *, chunks: int, error: str | None = None) -> None:
    """One call has ended so, and taken the time of its chunks."""
    assert (recorded.errors(), recorded.total(ACTIVE)) == ([error], 0)
    assert (recorded.count(FIRST), recorded.count(PER_CHUNK)) == (min(chunks, 1), max(chunks - 1, 0))
    assert recorded.points(DURATION)[0].sum >= 0.009 * max(chunks, 1)


def test_a_function_that_returns_a_stream(recorded: Recorded, call: Call) -> None:
    """The call goes on until the stream ends, and each chunk is observed; what else it has is there."""

    @call
    def ask() -> Answer:
        return Answer()

    stream = ask()
    assert isinstance(stream, Stream)
    assert (stream.response, recorded.total(ACTIVE), recorded.points(DURATION)) == ("the response", 1, [])
    assert list(stream) == [2, 1, 0]
    ended(recorded, chunks=3)
    assert recorded.points(TOKENS)[0].sum == 5


def test_a_stream_that_fails_later(recorded: Recorded, call: Call) -> None:
    """An error of the stream is the call's."""

    @call
    def ask() -> Answer:
        return Answer(2, TimeoutError())

    with pytest.raises(TimeoutError):
        list(ask())
    ended(recorded, chunks=2, error="TimeoutError")


def test_asynchronous_functions_that_return_a_stream(recorded: Recorded, call: Call) -> None:
    """The same for asynchronous functions, also for those that do not look like one."""

    @call
    async def ask() -> AsyncAnswer:
        return AsyncAnswer()

    @call
    def ask_too() -> Any:
        return ask.__wrapped__()  # type: ignore[attr-defined]

    async def main(function: Callable[[], Any]) -> list[int]:
        stream = await function()
        assert isinstance(stream, AsyncStream)
        return [chunk async for chunk in stream]

    assert asyncio.run(main(ask)) == [2, 1, 0]
    ended(recorded, chunks=3)
    assert asyncio.run(main(ask_too)) == [2, 1, 0]
    assert (recorded.errors(), recorded.count(PER_CHUNK)) == ([None, None], 4)


def test_functions_that_return_data(recorded: Recorded, call: Call) -> None:
    """What can be iterated and is no iterator is handed back as it is, and so is what can be everything."""
    for answer in ([1, 2], "text", {"a": 1}, range(3), MagicMock()):
        assert call(lambda answer=answer: answer)() is answer
    assert (recorded.errors(), recorded.count(FIRST)) == ([None] * 5, 0)


def test_functions_that_return_tasks(recorded: Recorded, call: Call) -> None:
    """A task ends its call as it ends itself, and is the same object."""

    async def work(value: int) -> int:
        await asyncio.sleep(0.01 if value >= 0 else 60)
        return 1 // value

    tasks = []

    @call
    def ask(value: int) -> asyncio.Task[int]:
        tasks.append(asyncio.ensure_future(work(value)))
        return tasks[-1]

    async def main() -> None:
        started = [ask(1), ask(0), ask(-1)]
        assert (started == tasks, recorded.total(ACTIVE)) == (True, 3)
        await asyncio.sleep(0.03)
        started[-1].cancel()
        await asyncio.wait(started)
        with contextlib.suppress(ZeroDivisionError):
            await started[1]

    asyncio.run(main())
    assert recorded.errors() == [None, "ZeroDivisionError", "asyncio.exceptions.CancelledError"]
    assert recorded.total(ACTIVE) == 0
    assert recorded.points(TOKENS)[0].sum == 6
    assert all(point.sum >= 0.009 for point in recorded.points(DURATION))


def test_a_task_that_nobody_looks_at(
    recorded: Recorded, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """To have recorded an exception is not to have seen it: asyncio still says that nobody has."""

    async def work() -> int:
        raise KeyError

    async def main() -> None:
        call(lambda: asyncio.ensure_future(work()))()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert recorded.errors() == ["KeyError"]
    (record,) = caplog.records
    assert record.getMessage().startswith("Task exception was never retrieved")


def test_functions_that_return_futures(recorded: Recorded, call: Call) -> None:
    """The same for the futures of threads, also one that was done before."""
    with ThreadPoolExecutor() as pool:
        assert call(lambda: pool.submit(time.sleep, 0.01))().result() is None
        assert isinstance(call(lambda: pool.submit(int, "x"))().exception(), ValueError)
    future: Future[int] = Future()
    future.cancel()
    assert call(lambda: future)() is future
    assert recorded.errors() == [None, "ValueError", "concurrent.futures._base.CancelledError"]
    assert recorded.total(ACTIVE) == 0


def test_agents_that_return_generators(recorded: Recorded) -> None:
    """An agent whose function returns a generator or a task is active until that ends."""
    agents = AgentRecorder(recorded.provider)

    def words() -> Iterator[str]:
        yield from "ab"

    async def later() -> AsyncIterator[str]:
        yield "c"

    @agents.execution(agent="planner")
    def run(make: Callable[[], Any]) -> Any:
        return make()

    async def main() -> list[str]:
        stream = run(later)
        assert recorded.total("gen_ai.agent.active") == 1
        await run(lambda: asyncio.ensure_future(asyncio.sleep(0.01)))
        return [word async for word in stream]

    stream = run(words)
    assert (recorded.total("gen_ai.agent.active"), recorded.points(EXECUTION)) == (1, [])
    assert [*stream, *asyncio.run(main())] == ["a", "b", "c"]
    assert (recorded.errors(EXECUTION), recorded.total("gen_ai.agent.active")) == ([None] * 3, 0)


def test_generators_that_are_driven(recorded: Recorded, call: Call) -> None:
    """What is sent or thrown into a generator reaches it, and its answers are chunks as any others."""

    @call
    def talk() -> Generator[int, int, str]:
        heard = 0
        for _ in range(3):
            try:
                heard = yield heard
            except KeyError:
                heard = -1
        return "done"

    talking = talk()
    assert [next(talking), talking.send(7), talking.throw(KeyError())] == [0, 7, -1]
    with pytest.raises(StopIteration, match="done"):
        talking.send(9)
    assert (recorded.count(FIRST), recorded.count(PER_CHUNK), recorded.errors()) == (1, 2, [None])


def test_asynchronous_generators_that_are_driven(recorded: Recorded, call: Call) -> None:
    """The same for asynchronous generators."""

    @call
    async def talk() -> AsyncGenerator[int, int]:
        heard = 0
        for _ in range(3):
            try:
                heard = yield heard
            except KeyError:
                heard = -1

    async def main() -> list[int]:
        talking = talk()
        said = [await anext(talking), await talking.asend(7), await talking.athrow(KeyError())]
        with pytest.raises(StopAsyncIteration):
            await talking.asend(9)
        return said

    assert asyncio.run(main()) == [0, 7, -1]
    assert (recorded.count(FIRST), recorded.count(PER_CHUNK), recorded.errors()) == (1, 2, [None])


def test_tokens_said_to_the_decorator(recorded: Recorded) -> None:
    """Tokens that a decorated function says to its decorator are those of the call that goes on."""
    call = LLMRecorder(recorded.provider).call(model="gpt-4o", provider="openai")

    @call
    def ask() -> None:
        call.tokens(output=5)

    ask()
    assert recorded.points(TOKENS)[0].sum == 5


def test_decorators_above_those_of_methods(recorded: Recorded) -> None:
    """A class method and a static method are what they were; what is no function is refused at once."""
    llm = LLMRecorder(recorded.provider)

    class Client:
        name = "client"

        @llm.call(model="gpt-4o", provider="openai")
        @classmethod
        def ask(cls, question: str) -> str:
            return f"{cls.name}: {question}"

        @llm.call(model="gpt-4o", provider="openai")
        @staticmethod
        async def ask_later(question: str) -> str:
            return question

    assert (Client.ask("a"), Client().ask("b")) == ("client: a", "client: b")
    assert asyncio.run(Client.ask_later("c")) == asyncio.run(Client().ask_later("c")) == "c"
    assert recorded.count(DURATION) == 4
    with pytest.raises(TypeError, match="no function that could be decorated"):
        llm.call(model="gpt-4o", provider="openai")(property(len))  # type: ignore[arg-type]
