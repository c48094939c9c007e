"""Spans of one call: what only the inner ones say is counted with the outer one, and never twice."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from measured_spans import CHAT, Setup, spans
from opentelemetry import trace

from otel_prom_bridge.genai import PriceTable

ASKED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
EMBEDDED = {
    **ASKED,
    "gen_ai.operation.name": "embeddings",
    "gen_ai.request.model": "text-embedding-3-small",
}
EMBEDDED_TOKENS = {**EMBEDDED, "gen_ai.usage.input_tokens": 5000}


def tokens(it: Setup) -> dict[str, float]:
    """By their type."""
    return {kind: count for (kind,), count in it.totals("llm_tokens", "type").items()}


def inside(it: Setup, scope: str, said: Mapping[str, Any]) -> None:
    """A span of a call that begins and ends inside of the current one."""
    with it.tracer(scope).start_as_current_span("chat", attributes=said):
        pass


@contextlib.contextmanager
def often_switched() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("deep", [1, 2, 3])
def test_what_the_client_records_itself_is_left_alone_all_the_way_up(deep: int) -> None:
    """Its tokens go up through all frameworks around it, and so does that it has counted them."""
    with spans(measured={"client": ["calls", "tokens"]}) as it:
        with contextlib.ExitStack() as outer:
            for number in range(deep):
                tracer = it.tracer(f"framework{number}")
                outer.enter_context(tracer.start_as_current_span("chat", attributes=ASKED))
            inside(it, "client", CHAT)
        assert it.totals("llm_requests") == {}
        assert tokens(it) == {}
        assert sum(it.totals("llm_cost_usd").values()) == 0


def test_tokens_of_another_operation_are_not_those_of_the_call() -> None:
    """What is embedded inside of a chat has another model and another price."""
    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=ASKED):
            inside(it, "client", EMBEDDED_TOKENS)
            inside(it, "client", CHAT)
        assert tokens(it) == {"input": 1000, "output": 100}
        assert it.totals("llm_cost_usd") == {(): pytest.approx(0.003)}


@pytest.mark.parametrize(
    ("outer", "inner", "unpriced"),
    [
        ({"input": "many", "output": 100}, {"input": 1000, "output": 100}, 0),
        ({"input": 1000, "output": 100}, {"input": "many", "output": 100}, 0),
        ({"input": "many", "output": 100}, {"output": 100}, 1),
        ({"output": 100}, {"input": "many", "output": 100}, 1),
    ],
)
def test_a_number_that_neither_span_has_makes_the_cost_unknown(
    outer: Mapping[str, object], inner: Mapping[str, object], unpriced: int
) -> None:
    """What one of them says wrongly, the other one may say rightly."""

    def said(usage: Mapping[str, object]) -> dict[str, Any]:
        return {**ASKED, **{f"gen_ai.usage.{kind}_tokens": count for kind, count in usage.items()}}

    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=said(outer)):
            inside(it, "client", said(inner))
        assert tokens(it) == ({"output": 100} if unpriced else {"input": 1000, "output": 100})
        assert sum(it.totals("llm_unpriced_requests").values()) == unpriced


def late(it: Setup, *said: Mapping[str, Any]) -> None:
    """Spans within each other of which the outermost ends first, as where a stream is closed late."""
    begun: list[trace.Span] = []
    for number, attributes in enumerate(said):
        context = trace.set_span_in_context(begun[-1]) if begun else None
        tracer = it.tracer(f"library{number}")
        begun.append(tracer.start_span("chat", context=context, attributes=attributes))
    for span in begun:
        span.end()


@pytest.mark.parametrize(
    "said", [(CHAT, CHAT), (ASKED, CHAT), (CHAT, ASKED), (ASKED, CHAT, CHAT), (CHAT,) * 3]
)
@pytest.mark.parametrize("costs", ["recorded", "shown"])
def test_a_span_that_ends_after_the_one_around_it_is_of_the_same_call(
    costs: Any, said: tuple[Mapping[str, Any], ...]
) -> None:
    """There is one call, and the first of the spans that says tokens has them."""
    with spans(costs=costs) as it:
        late(it, *said)
        assert it.totals("llm_requests") == {(): 1}
        assert tokens(it) == {"input": 1000, "output": 100}
        assert sum(it.totals("llm_cost_usd").values()) == pytest.approx(0.003)


def test_spans_of_a_call_of_which_none_says_tokens() -> None:
    """Its cost is not known, of one request."""
    with spans() as it:
        late(it, ASKED, ASKED, ASKED)
        assert it.totals("llm_requests") == {(): 1}
        assert it.totals("llm_unpriced_requests") == {(): 1}


def test_two_spans_that_end_late_say_tokens_once() -> None:
    """They may be two libraries' of one attempt."""
    with spans() as it:
        outer = it.tracer("framework").start_span("chat", attributes=ASKED)
        context = trace.set_span_in_context(outer)
        inner = [
            it.tracer(scope).start_span("chat", context=context, attributes=CHAT)
            for scope in ("client", "other")
        ]
        for span in (outer, *inner):
            span.end()
        assert it.totals("llm_requests") == {(): 1}
        assert tokens(it) == {"input": 1000, "output": 100}


def test_a_call_that_begins_after_the_one_around_it_is_another_one() -> None:
    """Its context may be used for long; and an agent is no call, whenever it ends."""
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"}
    with spans() as it:
        late(it, agent, CHAT)
        outer = it.tracer().start_span("chat", attributes=CHAT)
        outer.end()
        with trace.use_span(outer):
            inside(it, "client", CHAT)
        assert it.totals("llm_requests") == {(): 3}
        assert tokens(it) == {"input": 3000, "output": 300}


def test_other_words_for_inference_are_of_the_same_call() -> None:
    """Google's client generates content where a framework chats."""
    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=ASKED):
            inside(it, "client", {**CHAT, "gen_ai.operation.name": "generate_content"})
        assert tokens(it) == {"input": 1000, "output": 100}


def test_two_libraries_that_see_the_same_attempts_are_not_summed() -> None:
    """One does not attach its span, so that those of the other are beside it; a third says no tokens."""
    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=ASKED):
            inside(it, "silent", ASKED)
            for scope in ("client", "other", "client", "other"):
                inside(it, scope, CHAT)
        assert tokens(it) == {"input": 2000, "output": 200}
        assert it.totals("llm_cached_tokens") == {(): 800}
        assert it.totals("llm_cost_usd") == {(): pytest.approx(0.006)}


def test_a_span_between_that_says_late_what_it_is_adds_nothing() -> None:
    """What is inside of it has gone to the outer one already, by the same library."""
    with spans() as it:
        with (
            it.tracer("framework").start_as_current_span("chat", attributes=ASKED),
            it.tracer("client").start_as_current_span("chat") as between,
        ):
            inside(it, "client", CHAT)
            between.set_attributes(CHAT)
        assert it.totals("llm_requests") == {(): 1}
        assert tokens(it) == {"input": 1000, "output": 100}


@pytest.mark.parametrize(
    ("attempts", "cached", "cost"),
    [(1, {(): 900}, 0.00238), (2, {}, 0.0035)],
    ids=["the same input", "the input of one attempt of two"],
)
def test_cached_tokens_are_of_the_input_that_they_came_with(
    attempts: int, cached: dict[Any, float], cost: float
) -> None:
    """Those of two attempts are none of the input that the outer span has of one."""
    own = {**ASKED, "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
    said = {**own, "gen_ai.usage.cache_read.input_tokens": 900}
    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=own):
            for _ in range(attempts):
                inside(it, "client", said)
        assert tokens(it) == {"input": 1000, "output": 100}
        assert it.totals("llm_cached_tokens") == cached
        assert it.totals("llm_cost_usd") == {(): pytest.approx(cost, abs=6e-6)}


@pytest.mark.parametrize(
    ("costs", "expected"), [((0.5, None), 0.006), ((0.5, 0.25), 0.75)], ids=["one missing", "all"]
)
def test_costs_of_attempts_count_only_if_none_is_missing(
    costs: tuple[float | None, ...], expected: float
) -> None:
    """Otherwise the tokens of all of them are priced, so that none is for nothing."""
    with spans() as it:
        with it.tracer("framework").start_as_current_span("chat", attributes=ASKED):
            for cost in costs:
                inside(it, "client", CHAT if cost is None else {**CHAT, "gen_ai.usage.cost": cost})
        assert tokens(it) == {"input": 2000, "output": 200}
        assert it.totals("llm_cost_usd") == {(): pytest.approx(expected)}


@pytest.mark.parametrize("costs", ["recorded", "shown"])
@pytest.mark.parametrize(
    ("own", "expected"), [({}, 0.9), ({"input": 300_000, "output": 0}, 0.9), ({"input": 250_000}, 1.5)]
)
def test_attempts_are_long_calls_only_if_one_of_them_is(
    costs: Any, own: Mapping[str, int], expected: float
) -> None:
    """Their tokens are summed, and each has the price of its own length; other numbers are of one call."""
    long = {**ASKED, "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.provider.name": "anthropic"}
    usage = {"gen_ai.usage.input_tokens": 100_000, "gen_ai.usage.output_tokens": 0}
    said = {f"gen_ai.usage.{kind}_tokens": count for kind, count in own.items()}
    with spans(costs=costs, table=PriceTable.default()) as it:
        with it.tracer("framework").start_as_current_span("chat", attributes={**long, **said}):
            for _ in range(3):
                inside(it, "client", {**long, **usage})
        assert sum(it.totals("llm_cost_usd").values()) == pytest.approx(expected)


def test_attempts_that_end_at_once_lose_nothing() -> None:
    """Batches that are embedded by many threads below one span."""
    threads, each = 8, 150
    with spans() as it, often_switched():
        outer = it.tracer("framework").start_span("embed", attributes=EMBEDDED)
        ready = threading.Barrier(threads)

        def embed() -> None:
            with trace.use_span(outer):
                ready.wait()
                for _ in range(each):
                    inside(it, "client", EMBEDDED_TOKENS)

        running = [threading.Thread(target=embed) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        outer.end()
        assert tokens(it) == {"input": threads * each * 5000}
