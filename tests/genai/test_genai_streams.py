"""Streams: every way in which a stream can end ends its call, once, and what passes through is unchanged."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from genai_points import ACTIVE, DURATION, FIRST, PER_CHUNK, TOKENS, Recorded

from otel_prom_bridge.genai import AsyncStream, Call, LLMRecorder, Stream

MODEL = {"model": "gpt-4o", "provider": "openai"}


class Source:
    """A stream as the SDKs of providers have them."""

    response = "the response"

    def __init__(self, chunks: int = 3, error: BaseException | None = None) -> None:
        self.left = chunks
        self.error = error
        self.closed = 0

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> int:
        if self.left:
            self.left -= 1
            return self.left
        raise self.error or StopIteration

    def close(self) -> None:
        self.closed += 1


class AsyncSource(Source):
    """The same, asynchronous."""

    def __aiter__(self) -> AsyncSource:
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0)
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self) -> None:  # type: ignore[override]
        self.closed += 1


AsyncSource.__iter__ = None  # type: ignore[assignment, method-assign]


def ended(recorded: Recorded, error: str | None, *, chunks: int) -> None:
    """There was one call, it ended so, and each chunk was recorded."""
    assert recorded.total(ACTIVE) == 0
    assert recorded.errors() == [error]
    assert (recorded.count(FIRST), recorded.count(PER_CHUNK)) == (min(chunks, 1), max(chunks - 1, 0))


def test_exhausted(recorded: Recorded, llm: LLMRecorder) -> None:
    """A stream that is read to its end passes its chunks on, and the call succeeded."""
    assert list(llm.stream(Source(), **MODEL)) == [2, 1, 0]
    ended(recorded, None, chunks=3)


def test_raising(recorded: Recorded, llm: LLMRecorder) -> None:
    """An error of the stream passes, and is the call's; reading on raises what the stream raises."""
    stream = llm.stream(Source(1, KeyError()), **MODEL)
    assert next(stream) == 0
    for _ in range(2):
        with pytest.raises(KeyError):
            next(stream)
    ended(recorded, "KeyError", chunks=1)


def test_closed(recorded: Recorded, llm: LLMRecorder) -> None:
    """To close a stream is no error; the wrapped one is closed, too."""
    source = Source()
    stream = llm.stream(source, **MODEL)
    next(stream)
    stream.close()
    assert source.closed == 1
    ended(recorded, None, chunks=1)


def test_dropped(recorded: Recorded, llm: LLMRecorder) -> None:
    """A loop that is left drops the stream: the call is recorded as an error of another kind."""
    for _ in llm.stream(Source(), **MODEL):
        break
    ended(recorded, "cancelled", chunks=1)


def test_dropped_in_a_cycle(recorded: Recorded, llm: LLMRecorder) -> None:
    """The same, if only the garbage collector can find it."""
    stream = llm.stream(Source(), **MODEL)
    stream._source.cycle = stream  # type: ignore[attr-defined]
    next(stream)
    gc.disable()  # it may run by itself at any time
    try:
        del stream
        assert recorded.total(ACTIVE) == 1
    finally:
        gc.enable()
    gc.collect()
    ended(recorded, "cancelled", chunks=1)


def test_never_read(recorded: Recorded, llm: LLMRecorder) -> None:
    """A stream that nobody reads was a call nevertheless."""
    llm.stream(Source(), **MODEL)
    ended(recorded, "cancelled", chunks=0)


def test_a_generator_around_it(recorded: Recorded, llm: LLMRecorder) -> None:
    """A generator that is closed with a call inside records what it gets, GeneratorExit."""

    def answer() -> Iterator[int]:
        with llm.call(**MODEL) as call:
            yield from call.stream(Source())

    generator = answer()
    next(generator)
    generator.close()
    ended(recorded, "GeneratorExit", chunks=1)


def test_a_stream_as_a_block(recorded: Recorded, llm: LLMRecorder) -> None:
    """The block of a stream closes it; what the block raises is the call's error."""
    source = Source()

    def block() -> None:
        with llm.stream(source, **MODEL) as stream:
            next(stream)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        block()
    assert source.closed == 1
    ended(recorded, "ValueError", chunks=1)


def test_tokens_inside_of_the_block_of_a_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """In the block of a call tokens may be said after the stream, whose end is what the duration goes to."""
    with llm.call(**MODEL) as call:
        assert sum(call.stream(Source())) == 3
        assert recorded.points(DURATION) == []
        call.tokens(output=9)
    ended(recorded, None, chunks=3)
    assert recorded.points(TOKENS)[0].sum == 9


def test_an_error_of_the_stream_that_the_block_handles(recorded: Recorded, llm: LLMRecorder) -> None:
    """A block that handles an error of its stream ended well, when it ended."""
    with llm.call(**MODEL) as call:
        with suppress(TimeoutError):
            list(call.stream(Source(2, TimeoutError())))
        time.sleep(0.05)  # another way to an answer
        call.tokens(output=5)
    ended(recorded, None, chunks=2)
    assert recorded.points(DURATION)[0].sum >= 0.05


def test_a_second_stream_in_the_block_of_a_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """The pause before another attempt is no time between chunks; that begins with its own request."""
    with llm.call(**MODEL) as call:
        for error in (TimeoutError(), None):
            with suppress(TimeoutError):
                list(call.stream(lambda error=error: Source(2, error)))
                continue
            time.sleep(0.05)
    assert (recorded.errors(), recorded.count(FIRST), recorded.count(PER_CHUNK)) == ([None], 2, 2)
    assert recorded.points(PER_CHUNK)[0].sum < 0.05
    assert recorded.points(FIRST)[0].sum < 0.05
    assert recorded.points(DURATION)[0].sum >= 0.05


def test_no_stream_in_the_block_of_a_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """What cannot be iterated is no stream that could say when the call ended."""
    with llm.call(**MODEL) as call:
        with suppress(TypeError):
            call.stream(7)  # type: ignore[call-overload]
        time.sleep(0.05)
    assert recorded.points(DURATION)[0].sum >= 0.05


def test_leaving_a_stream_in_the_block_of_a_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """To have read enough is no error: the block of the call says how the call ended."""
    with llm.call(**MODEL) as call:
        for _ in call.stream(Source()):
            break
    ended(recorded, None, chunks=1)


def test_observe_sees_chunks(recorded: Recorded, llm: LLMRecorder) -> None:
    """Tokens are taken from chunks; an observer that raises is only logged."""

    def observe(call: Call, chunk: int) -> None:
        call.tokens(output=6 // chunk)  # there is a chunk 0

    assert list(llm.stream(Source(), **MODEL, observe=observe)) == [2, 1, 0]
    assert recorded.points(TOKENS)[0].sum == 6
    ended(recorded, None, chunks=3)


def test_the_rest_of_the_stream(llm: LLMRecorder) -> None:
    """What else a stream has can be had through the wrapper."""
    stream = llm.stream(Source(), **MODEL)
    assert isinstance(stream, Stream)
    assert stream.response == "the response"
    with pytest.raises(AttributeError, match="missing"):
        _ = stream.missing
    stream.close()


def test_another_stream_of_a_call_that_has_ended(recorded: Recorded, llm: LLMRecorder) -> None:
    """A call that has ended with its stream is another call with the next one."""
    call = llm.call(**MODEL)
    assert [sum(call.stream(Source())) for _ in range(2)] == [3, 3]
    assert (recorded.errors(), recorded.count(FIRST), recorded.total(ACTIVE)) == ([None, None], 2, 0)


def test_what_is_no_stream(recorded: Recorded, llm: LLMRecorder) -> None:
    """What cannot be iterated raises what it raises everywhere, and was no call."""
    with pytest.raises(TypeError, match="not iterable"):
        llm.stream(7, **MODEL)  # type: ignore[call-overload]
    assert recorded.points(ACTIVE) == []


def test_asynchronous_exhausted(recorded: Recorded, llm: LLMRecorder) -> None:
    """An asynchronous stream that is read to its end is recorded as a sync one."""

    async def main() -> list[int]:
        stream = llm.stream(AsyncSource(), **MODEL)
        assert isinstance(stream, AsyncStream)
        return [chunk async for chunk in stream]

    assert asyncio.run(main()) == [2, 1, 0]
    ended(recorded, None, chunks=3)


def test_asynchronous_raising(recorded: Recorded, llm: LLMRecorder) -> None:
    """An error of an asynchronous stream passes, and is the call's."""

    async def main() -> None:
        async for _ in llm.stream(AsyncSource(1, KeyError()), **MODEL):
            pass

    with pytest.raises(KeyError):
        asyncio.run(main())
    ended(recorded, "KeyError", chunks=1)


def test_asynchronous_closed(recorded: Recorded, llm: LLMRecorder) -> None:
    """An asynchronous stream is closed by the method that its source has, and by its block."""
    source = AsyncSource()

    async def main() -> None:
        async with llm.stream(source, **MODEL) as stream:
            await anext(stream)

    asyncio.run(main())
    assert source.closed == 1
    ended(recorded, None, chunks=1)


def test_asynchronous_cancelled(recorded: Recorded, llm: LLMRecorder) -> None:
    """A task that is cancelled while it waits for a chunk ends the call, and is cancelled."""

    async def slow() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)

    async def main() -> None:
        async def read() -> None:
            async for _ in llm.stream(slow(), **MODEL):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    ended(recorded, "asyncio.exceptions.CancelledError", chunks=1)


def test_asynchronous_dropped(recorded: Recorded, llm: LLMRecorder) -> None:
    """An asynchronous loop that is left drops the stream."""

    async def main() -> None:
        async for _ in llm.stream(AsyncSource(), **MODEL):
            break

    asyncio.run(main())
    gc.collect()
    ended(recorded, "cancelled", chunks=1)


def test_a_generator_of_asyncio(recorded: Recorded, llm: LLMRecorder) -> None:
    """An asynchronous generator of the application that is dropped with a call inside ends the call."""

    async def answer() -> AsyncIterator[int]:
        async with llm.call(**MODEL) as call:
            async for chunk in call.stream(AsyncSource()):
                yield chunk

    async def main() -> None:
        async for _ in answer():
            break
        await asyncio.sleep(0.01)  # the loop closes generators that were dropped

    asyncio.run(main())
    ended(recorded, "GeneratorExit", chunks=1)
