"""LLMRecorder: what each way of recording a call shows."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from genai_points import ACTIVE, DURATION, FIRST, PER_CHUNK, TOKENS, Recorded
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.genai import Call, LLMRecorder, vocabulary
from otel_prom_bridge.recording import reports

COMMON = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
}
INFERENCE = "gen_ai.client.inference"


def test_a_request(recorded: Recorded, llm: LLMRecorder) -> None:
    """A request that was measured elsewhere is in the duration and in the tokens, with all attributes."""
    llm.record_request(
        model="gpt-4o",
        provider="openai",
        duration=1.5,
        input_tokens=100,
        output_tokens=20,
        response_model="gpt-4o-2024-08-06",
        server_address="api.openai.com",
        server_port=443,
        attributes={"team": "search"},
    )
    common = {
        **COMMON,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "server.address": "api.openai.com",
        "server.port": 443,
        "team": "search",
    }
    (duration,) = recorded.points(DURATION)
    assert (dict(duration.attributes), duration.count, duration.sum) == (common, 1, 1.5)
    assert tuple(duration.explicit_bounds) == vocabulary.SECONDS
    tokens = {point.attributes["gen_ai.token.type"]: point for point in recorded.points(TOKENS)}
    assert {kind: point.sum for kind, point in tokens.items()} == {"input": 100, "output": 20}
    assert dict(tokens["input"].attributes) == {**common, "gen_ai.token.type": "input"}
    assert tuple(tokens["input"].explicit_bounds) == vocabulary.TOKENS


def test_tokens_that_are_not_reported(recorded: Recorded, llm: LLMRecorder) -> None:
    """No count is not a count of 0: only what was reported is recorded."""
    llm.record_request(model="gpt-4o", provider="openai", duration=1, output_tokens=0)
    (point,) = recorded.points(TOKENS)
    assert (point.attributes["gen_ai.token.type"], point.sum, point.count) == ("output", 0, 1)


def test_subsets_have_counters(recorded: Recorded, llm: LLMRecorder) -> None:
    """Cached and reasoning tokens are in the latest conventions' counters, whatever is emitted."""
    llm.record_request(
        model="gpt-4o",
        provider="openai",
        duration=1,
        input_tokens=9,
        output_tokens=9,
        cached_tokens=4,
        reasoning_tokens=5,
    )
    cached = recorded.point(f"{INFERENCE}.usage.cache_read.input_tokens")
    assert (dict(cached.attributes), cached.value) == ({**COMMON, "gen_ai.token.modality": "unknown"}, 4)
    assert recorded.total(f"{INFERENCE}.usage.reasoning.output_tokens") == 5
    assert {point.sum for point in recorded.points(TOKENS)} == {9}


@pytest.mark.parametrize(
    ("emit", "names"),
    [
        ("current", {DURATION, TOKENS}),
        (
            "latest",
            {
                f"{INFERENCE}.duration",
                f"{INFERENCE}.usage.input_tokens",
                f"{INFERENCE}.usage.output_tokens",
                f"{INFERENCE}.operation.input_tokens",
                f"{INFERENCE}.operation.output_tokens",
            },
        ),
    ],
)
def test_generations(recorded: Recorded, emit: Any, names: set[str]) -> None:
    """Each generation has its metrics."""
    llm = LLMRecorder(recorded.provider, emit=emit, prices=None)
    llm.record_request(model="gpt-4o", provider="openai", duration=2, input_tokens=3, output_tokens=4)
    assert set(recorded.metrics()) == names | {"gen_ai.client.operation.time_per_output_token"}


def test_latest_counts_failures_with_zero_tokens(recorded: Recorded) -> None:
    """In the latest generation a request without usage is recorded with 0 tokens of unknown modality."""
    llm = LLMRecorder(recorded.provider, emit="latest")
    llm.record_request(model="gpt-4o", provider="openai", duration=2, error_type="timeout")
    point = recorded.point(f"{INFERENCE}.usage.input_tokens")
    assert (dict(point.attributes), point.value) == ({**COMMON, "gen_ai.token.modality": "unknown"}, 0)
    assert recorded.errors(f"{INFERENCE}.operation.output_tokens") == ["timeout"]


@pytest.mark.parametrize("emit", ["current", "latest"])
def test_other_operations_keep_their_name(recorded: Recorded, emit: Any) -> None:
    """Embeddings are in the general metric once, whatever is emitted: only inference has new names."""
    llm = LLMRecorder(recorded.provider, emit=emit, prices=None)
    llm.record_request(model="embed", provider="openai", operation="embeddings", duration=1, input_tokens=7)
    assert set(recorded.metrics()) == {DURATION, TOKENS}
    assert recorded.count(DURATION) == recorded.count(TOKENS) == 1


def test_errors_with_and_without_time(recorded: Recorded, llm: LLMRecorder) -> None:
    """An error with a duration is a request that failed; one without is counted, outside of histograms."""
    llm.record_error(model="gpt-4o", provider="openai", error_type="rate_limit", duration=0.5)
    llm.record_error(model="gpt-4o", provider="openai", error_type=TimeoutError())
    assert recorded.errors() == ["rate_limit"]
    untimed = recorded.point("gen_ai.client.untimed_errors")
    assert (dict(untimed.attributes), untimed.value) == ({**COMMON, "error.type": "TimeoutError"}, 1)


def test_exceptions_stand_for_their_names(recorded: Recorded, llm: LLMRecorder) -> None:
    """An exception given to record_request is its type; what it says, which may be anything, is no label."""
    failures = (TimeoutError("request 4711 of user 42"), KeyError, "rate_limit", None)
    for failure in failures:
        llm.record_request(model="gpt-4o", provider="openai", duration=1, error_type=failure)
    assert recorded.errors() == [None, "KeyError", "TimeoutError", "rate_limit"]


def test_chunks_with_and_without_time(recorded: Recorded, llm: LLMRecorder) -> None:
    """Chunks that were measured elsewhere are first or later ones, or only counted."""
    llm.record_streaming_chunk(model="gpt-4o", provider="openai", duration=0.4, first=True)
    llm.record_streaming_chunk(model="gpt-4o", provider="openai", duration=0.1)
    llm.record_streaming_chunk(model="gpt-4o", provider="openai")
    assert [recorded.point(name).sum for name in (FIRST, PER_CHUNK)] == [0.4, 0.1]
    assert recorded.total("gen_ai.client.untimed_chunks") == 1


def test_a_block(recorded: Recorded, llm: LLMRecorder) -> None:
    """A call in a block is active inside, and afterwards recorded with what was said of it."""
    with llm.call(model="gpt-4o", provider="openai") as call:
        assert recorded.point(ACTIVE, gen_ai__request__model="gpt-4o").value == 1
        call.tokens(input=10)
        call.tokens(input=12, output=3)
        call.response_model = "gpt-4o-2024-08-06"
        call.attributes["team"] = "search"
    assert recorded.total(ACTIVE) == 0
    (duration,) = recorded.points(DURATION)
    assert dict(duration.attributes) == {
        **COMMON,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "team": "search",
    }
    assert sorted(point.sum for point in recorded.points(TOKENS)) == [3, 12]


def test_an_exception_passes(recorded: Recorded, llm: LLMRecorder) -> None:
    """What a block raises is recorded by its full name, and is the same object outside."""

    class BrokenError(Exception):
        pass

    broken = BrokenError()
    with pytest.raises(BrokenError) as caught, llm.call(model="gpt-4o", provider="openai"):
        raise broken
    assert caught.value is broken
    assert recorded.errors() == [f"{__name__}.{BrokenError.__qualname__}"]
    assert recorded.total(ACTIVE) == 0


def test_an_asynchronous_block(recorded: Recorded, llm: LLMRecorder) -> None:
    """The same object works with async with."""

    async def main() -> None:
        async with llm.call(model="gpt-4o", provider="openai") as call:
            await asyncio.sleep(0)
            call.tokens(output=1)

    asyncio.run(main())
    assert (recorded.errors(), recorded.count(TOKENS), recorded.total(ACTIVE)) == ([None], 1, 0)


def test_a_cancelled_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """A call whose task is cancelled is recorded with the name of the cancellation, which passes."""

    async def main() -> None:
        async def ask() -> None:
            async with llm.call(model="gpt-4o", provider="openai"):
                await asyncio.sleep(60)

        task = asyncio.create_task(ask())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorded.errors() == ["asyncio.exceptions.CancelledError"]
    assert recorded.total(ACTIVE) == 0


def test_ending_twice(recorded: Recorded, llm: LLMRecorder) -> None:
    """An end by hand is the end: the block's adds nothing, and what it raises is not recorded again."""

    def block() -> None:
        with llm.call(model="gpt-4o", provider="openai") as call:
            call.end("content_filter")
            call.end()
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        block()
    assert recorded.errors() == ["content_filter"]
    assert recorded.total(ACTIVE) == 0


def test_a_call_can_be_used_again(recorded: Recorded, llm: LLMRecorder) -> None:
    """A call that has ended can be started again, without the tokens and attributes of the last time."""
    call = llm.call(model="gpt-4o", provider="openai")
    for _ in range(2):
        with call:
            if not recorded.points(TOKENS):
                call.tokens(input=5)
    assert (recorded.count(DURATION), recorded.count(TOKENS), recorded.total(ACTIVE)) == (2, 1, 0)


def tokens_from(call: Call, answer: Any) -> None:
    """An observer."""
    call.tokens(output=answer)


def test_decorated_functions(recorded: Recorded, llm: LLMRecorder) -> None:
    """A decorated function, sync or async, is a fresh call each time; observe sees what it returns."""
    call = llm.call(model="gpt-4o", provider="openai", observe=tokens_from)

    @call
    def ask(answer: int) -> int:
        """Ask."""
        if answer < 0:
            raise ValueError
        return answer

    @call
    async def ask_later(answer: int) -> int:
        return ask(answer)

    assert (ask(1), asyncio.run(ask_later(2)), ask.__doc__) == (1, 2, "Ask.")
    with pytest.raises(ValueError, match=r"^$"):
        ask(-1)
    assert recorded.errors() == [None, None, None, "ValueError"]
    assert recorded.point(TOKENS, gen_ai__token__type="output").sum == 1 + 2 + 2
    assert recorded.total(ACTIVE) == 0


def test_decorated_generators(recorded: Recorded, llm: LLMRecorder) -> None:
    """What a decorated generator yields, sync or async, are the chunks of its call."""
    call = llm.call(model="gpt-4o", provider="openai")

    @call
    def tell() -> Iterator[str]:
        yield from "abc"

    @call
    async def tell_later() -> AsyncIterator[str]:
        for letter in "abc":
            yield letter

    async def main() -> list[str]:
        return [letter async for letter in tell_later()]

    assert [*tell(), *asyncio.run(main())] == list("abcabc")
    assert (recorded.count(FIRST), recorded.count(PER_CHUNK), recorded.errors()) == (2, 4, [None, None])
    assert recorded.total(ACTIVE) == 0


def test_exemplars_get_the_span_of_the_call(recorded: Recorded, llm: LLMRecorder) -> None:
    """The exemplars of duration, tokens and chunks lead to the span in which the call began."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("ask") as span:
        call = llm.call(model="gpt-4o", provider="openai").start()
        call.chunk()
        call.tokens(output=3)
    call.end()
    metrics = recorded.metrics()
    for name in (DURATION, TOKENS, FIRST):
        (exemplar,) = next(iter(metrics[name].data.data_points)).exemplars
        assert exemplar.span_id == span.get_span_context().span_id


class Provider(enum.Enum):
    OPENAI = "openai"


def test_attributes_that_cannot_be(
    recorded: Recorded, llm: LLMRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """An attribute with no possible value is left out, and logged once; the rest is recorded."""
    for _ in range(3):
        llm.record_request(
            model="gpt-4o",
            provider=Provider.OPENAI,  # type: ignore[arg-type]
            duration=1,
            attributes={"client": object(), "none": None, "tags": ["a", "b"]},
        )
    (point,) = recorded.points(DURATION)
    assert (dict(point.attributes), point.count) == ({**COMMON, "tags": ("a", "b")}, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "attribute 'client' is left out: <class 'object'> is no value"
    ]


@pytest.mark.parametrize("duration", ["soon", None, float("nan"), -1, object()])
def test_values_that_cannot_be(recorded: Recorded, llm: LLMRecorder, duration: Any) -> None:
    """A duration that is none is not recorded, and nothing is raised; the tokens are recorded."""
    llm.record_request(model="gpt-4o", provider="openai", duration=duration, input_tokens=5)
    assert (recorded.count(DURATION), recorded.count(TOKENS)) == (0, 1)


def test_nonsense_never_raises(recorded: Recorded, llm: LLMRecorder) -> None:
    """Whatever is said of a call, the call goes on, ends and is counted once."""
    nonsense: Any = object()
    with llm.call(
        model=nonsense, provider=nonsense, operation=nonsense, attributes=nonsense, observe=nonsense
    ) as call:
        call.tokens(input=nonsense, cached="many")  # type: ignore[arg-type]
        call.response_model = nonsense
        call.attributes = nonsense
        assert list(call.stream([1])) == [1]
        call.end(nonsense)
    llm.record_error(model=nonsense, provider=nonsense, error_type=nonsense)
    assert (recorded.count(DURATION), recorded.total(ACTIVE)) == (1, 0)


def test_a_logger_that_raises(llm: LLMRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a log handler that raises reaches the caller."""

    asked: list[logging.LogRecord] = []

    def emit(record: logging.LogRecord) -> bool:
        asked.append(record)
        raise RuntimeError

    monkeypatch.setattr(reports.logger, "filters", [emit])
    llm.record_request(model="gpt-4o", provider="openai", duration=-1)
    assert len(asked) == 1


def test_tokens_after_the_end(llm: LLMRecorder, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens that come too late are not lost in silence."""
    call = llm.call(model="gpt-4o", provider="openai").start()
    call.end()
    call.tokens(input=1)
    assert [record.getMessage() for record in caplog.records] == [
        "tokens of a call that has ended are not recorded"
    ]


def test_an_asynchronous_observer(
    recorded: Recorded, llm: LLMRecorder, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """An observer that would have to be awaited is reported once, and the call goes on."""

    async def observe(call: Call, answer: int) -> None:
        call.tokens(output=answer)

    @llm.call(model="gpt-4o", provider="openai", observe=observe)
    async def ask() -> int:
        return 1

    assert [asyncio.run(ask()) for _ in range(2)] == [1, 1]
    (report,) = caplog.records
    assert report.getMessage().startswith("observe must not be an async function: <coroutine object")
    assert (recorded.errors(), recorded.points(TOKENS), recwarn.list) == ([None, None], [], [])


def test_wrong_options_are_said_at_once() -> None:
    """A wrong option of the constructor is the one thing that raises."""
    with pytest.raises(ConfigurationError, match='"current" or "latest"'):
        LLMRecorder(emit="newest")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"emit: \['latest'\] is not allowed"):
        LLMRecorder(emit=["latest"])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a PriceTable or None"):
        LLMRecorder(prices={})  # type: ignore[arg-type]


def test_without_an_sdk() -> None:
    """With no SDK at all everything is a no-op that works."""
    with LLMRecorder().call(model="gpt-4o", provider="openai") as call:
        assert list(call.stream("ab")) == ["a", "b"]
