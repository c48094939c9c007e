"""Streams that the recorder makes: the request is part of the call, whether it succeeds or not."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from genai_points import ACTIVE, DURATION, FIRST, Recorded

from otel_prom_bridge.genai import AsyncStream, LLMRecorder, Stream

MODEL = {"model": "gpt-4o", "provider": "openai"}


async def letters() -> AsyncIterator[str]:
    """A stream."""
    for letter in "abc":
        await asyncio.sleep(0)
        yield letter


def refused() -> Iterator[str]:
    """A request that fails."""
    time.sleep(0.01)
    raise ConnectionError


async def refused_later() -> AsyncIterator[str]:
    """The same of an asynchronous client."""
    await asyncio.sleep(0.01)
    raise ConnectionError


async def sent() -> AsyncIterator[str]:
    """A request of an asynchronous client: to be awaited for its stream."""
    await asyncio.sleep(0.01)
    return letters()


def failed(recorded: Recorded, error: str = "ConnectionError") -> None:
    """There was one call, which failed so and took some time."""
    assert (recorded.errors(), recorded.total(ACTIVE)) == ([error], 0)
    assert recorded.points(DURATION)[0].sum >= 0.009


def test_a_request_of_a_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """The call is active while the request is sent, and its time to the first chunk includes that."""
    call = llm.call(**MODEL)
    time.sleep(0.1)  # what is done before the request is no part of it

    def send() -> Iterator[str]:
        assert recorded.total(ACTIVE) == 1
        time.sleep(0.01)
        return iter("abc")

    stream = call.stream(send)
    assert isinstance(stream, Stream)
    assert (recorded.total(ACTIVE), list(stream), recorded.total(ACTIVE)) == (1, list("abc"), 0)
    assert recorded.errors() == [None]
    assert 0.009 <= recorded.points(FIRST)[0].sum <= recorded.points(DURATION)[0].sum < 0.1


def test_a_request_that_fails(recorded: Recorded, llm: LLMRecorder) -> None:
    """A request that raises is a call that failed, at once, and the exception passes."""
    call = llm.call(**MODEL)
    with pytest.raises(ConnectionError):
        call.stream(refused)
    failed(recorded)


def test_a_request_of_a_recorder_that_fails(recorded: Recorded, llm: LLMRecorder) -> None:
    """The recorder's own method takes the function as well."""
    with pytest.raises(ConnectionError):
        llm.stream(refused, **MODEL)
    failed(recorded)


def test_a_request_that_gives_no_stream(recorded: Recorded, llm: LLMRecorder) -> None:
    """A request was sent, so it is recorded; what it gave raises what it raises everywhere."""
    with pytest.raises(TypeError, match="not iterable"):
        llm.stream(lambda: time.sleep(0.01), **MODEL)  # type: ignore[call-overload]
    failed(recorded, "TypeError")


def test_another_request_after_one_that_failed(recorded: Recorded, llm: LLMRecorder) -> None:
    """One call object is one call per request, if it is not in a block."""
    call = llm.call(**MODEL)
    with pytest.raises(ConnectionError):
        call.stream(refused)
    assert list(call.stream(lambda: "abc")) == list("abc")
    assert (recorded.errors(), recorded.total(ACTIVE)) == ([None, "ConnectionError"], 0)


def test_a_request_that_fails_in_a_block(recorded: Recorded, llm: LLMRecorder) -> None:
    """The block of a call says how it ended, also if it handles the failure."""
    with llm.call(**MODEL) as call:
        with pytest.raises(ConnectionError):
            call.stream(refused)
        assert list(call.stream(lambda: iter("abc"))) == list("abc")
    assert (recorded.errors(), recorded.total(ACTIVE)) == ([None], 0)
    with pytest.raises(ConnectionError), llm.call(**MODEL) as call:
        call.stream(refused)
    assert recorded.errors() == [None, "ConnectionError"]


@pytest.mark.parametrize(
    "make", [lambda: letters, lambda: sent, lambda: sent()], ids=["generator", "client", "awaitable"]
)
def test_asynchronous_requests(recorded: Recorded, llm: LLMRecorder, make: Callable[[], object]) -> None:
    """A function may give an asynchronous stream or what is awaited for one; that works alone, too."""

    async def main() -> list[str]:
        stream = llm.stream(make(), **MODEL)  # type: ignore[call-overload]
        assert isinstance(stream, AsyncStream)
        assert recorded.total(ACTIVE) == 1
        return [letter async for letter in stream]

    assert asyncio.run(main()) == list("abc")
    assert (recorded.errors(), recorded.total(ACTIVE), recorded.count(FIRST)) == ([None], 0, 1)


def test_an_asynchronous_request_that_fails(recorded: Recorded, llm: LLMRecorder) -> None:
    """What the awaited request raises is the call's; afterwards there is nothing to read."""

    async def main() -> None:
        stream = llm.stream(refused_later, **MODEL)
        with pytest.raises(ConnectionError):
            await anext(stream)
        assert [letter async for letter in stream] == []

    asyncio.run(main())
    failed(recorded)


def test_an_asynchronous_request_that_is_cancelled(recorded: Recorded, llm: LLMRecorder) -> None:
    """A task may be cancelled while it waits for the response's headers."""

    async def main() -> None:
        stream = llm.stream(lambda: asyncio.sleep(60, letters()), **MODEL)
        await asyncio.wait_for(anext(stream), 0.02)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    failed(recorded, "asyncio.exceptions.CancelledError")


def test_the_block_of_an_asynchronous_request(recorded: Recorded, llm: LLMRecorder) -> None:
    """The request is awaited at the beginning of the stream's block, so that what it gives is there."""

    async def main() -> None:
        async with llm.stream(sent, **MODEL) as stream:
            assert stream.ag_running is False
            assert await anext(stream) == "a"
        with pytest.raises(ConnectionError):
            async with llm.stream(refused_later, **MODEL):
                pass

    asyncio.run(main())
    assert (recorded.errors(), recorded.total(ACTIVE)) == ([None, "ConnectionError"], 0)


def test_an_asynchronous_request_that_nobody_waits_for(
    recorded: Recorded, llm: LLMRecorder, recwarn: pytest.WarningsRecorder
) -> None:
    """A stream may be closed before its request was sent."""

    async def main() -> None:
        stream = llm.stream(sent, **MODEL)
        await stream.aclose()
        assert [letter async for letter in stream] == []

    asyncio.run(main())
    gc.collect()
    assert (recorded.errors(), recorded.total(ACTIVE), recwarn.list) == ([None], 0, [])


class Both:
    """A stream that can be read in both ways, as litellm's."""

    def __init__(self) -> None:
        self.letters = iter("abc")

    def __iter__(self) -> Both:
        return self

    def __next__(self) -> str:
        return next(self.letters)

    def __aiter__(self) -> Both:
        return self

    async def __anext__(self) -> str:
        try:
            return next(self.letters)
        except StopIteration:
            raise StopAsyncIteration from None


def test_streams_of_both_kinds(recorded: Recorded, llm: LLMRecorder) -> None:
    """Whether the request had to be awaited says how the stream is read."""

    async def send() -> Both:
        return Both()

    async def main() -> list[str]:
        return [letter async for letter in llm.stream(send, **MODEL)]

    assert list(llm.stream(Both, **MODEL)) == list("abc")
    assert asyncio.run(main()) == list("abc")
    assert recorded.errors() == [None, None]
