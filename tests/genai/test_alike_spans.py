"""What spans say in words is read once for all that say the same; the numbers of each are its own."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from measured_spans import CALLS, CHAT, TABLE
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.genai import SpanMetrics, kept_words
from otel_prom_bridge.genai.spans import attributes as module
from otel_prom_bridge.genai.spans import dialects

PORT = "server.port"


class Recorded:
    """Spans whose metrics an exporter of OpenTelemetry gets."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], shutdown_on_exit=False)
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SpanMetrics(provider, prices=TABLE))
        self.tracer = tracers.get_tracer("a.framework")

    @contextmanager
    def span(self, said: dict[str, Any], name: str = "a") -> Iterator[trace.Span]:
        """A span that says this."""
        with self.tracer.start_as_current_span(name, attributes=said) as span:
            yield span

    def end(self, said: dict[str, Any], name: str = "a") -> None:
        """A span that says this has ended."""
        with self.span(said, name):
            pass

    def points(self, metric: str) -> list[Any]:
        """What was recorded of this metric."""
        data: Any = self._reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]


DURATION = "gen_ai.client.operation.duration"


@pytest.mark.parametrize("first", [1, 1.0, True, "1"], ids=repr)
def test_equal_values_of_other_types_say_something_else(first: object) -> None:
    """A port is a whole number; 1.0 and True are none, whichever of them comes first."""
    it = Recorded()
    for port in (first, 1, 1.0, True, "1"):
        it.end({**CHAT, PORT: port})
    shown = {repr(point.attributes.get(PORT)): point.count for point in it.points(DURATION)}
    assert shown == ({"1": 2, "None": 3} if type(first) is int else {"1": 1, "None": 4})


def test_tokens_and_reasons_are_those_of_each_span() -> None:
    """Spans that are alike otherwise."""
    it = Recorded()
    for tokens, reason in ((1, "stop"), (2, "stop"), (4, "length")):
        more = {"gen_ai.usage.input_tokens": tokens, "gen_ai.response.finish_reasons": (reason,)}
        it.end({**CHAT, **more})
    (given,) = [
        point
        for point in it.points("gen_ai.client.token.usage")
        if point.attributes["gen_ai.token.type"] == "input"
    ]
    assert (given.count, given.sum) == (3, 7)
    reasons = it.points("gen_ai.client.generation.choices")
    assert {point.attributes["gen_ai.response.finish_reason"]: point.value for point in reasons} == {
        "stop": 2,
        "length": 1,
    }


def test_a_span_that_is_a_call_by_its_tokens_is_none_without() -> None:
    """Of two spans with the same words one says tokens."""
    it = Recorded()
    said = {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 10}
    for wrong in ("many", -1):
        it.end({**said, "gen_ai.usage.input_tokens": wrong})
    it.end(said)
    it.end({**said, "gen_ai.usage.input_tokens": "many"})
    assert [point.count for point in it.points(DURATION)] == [1]


def test_what_an_inner_span_adds_is_not_said_of_others() -> None:
    """A span of a framework that says no model gets that of the client below it; the next one has none."""
    it = Recorded()
    asked = {"gen_ai.operation.name": "chat"}
    with it.span(asked):
        it.end(CHAT)
    it.end(asked)
    models = {point.attributes.get("gen_ai.request.model"): point.count for point in it.points(DURATION)}
    assert models == {"gpt-4o": 1, None: 1}


def test_spans_of_all_dialects_do_not_mix() -> None:
    """Each twice, in turns: all are calls of one model."""
    it = Recorded()
    for _ in range(2):
        for said in CALLS.values():
            it.end(said)
    points = it.points(DURATION)
    assert sum(point.count for point in points) == 2 * len(CALLS)
    assert {point.attributes["gen_ai.request.model"] for point in points} == {"gpt-4o"}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names without end, and names of great length, are read each time anew."""
    outlines: kept_words.Kept[module.Seen | None] = kept_words.Kept()
    monkeypatch.setattr(module, "_OUTLINES", outlines)
    for number in range(kept_words._MOST + 10):
        said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"tool{number}"}
        found = module.outline("a", said)
        assert found is not None
        assert found.name == f"tool{number}"
    assert 0 < len(outlines._made) <= 10
    before = len(outlines._made)
    found = module.outline("a", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t" * 10_000})
    assert found is not None
    assert found.name == "t" * 10_000
    assert len(outlines._made) == before


LONG = 300_000
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "w"}


@pytest.mark.parametrize(
    "said",
    [
        lambda text: {**TOOL, "gen_ai.tool.name": text},
        lambda text: {**TOOL, "error.type": text},
        lambda text: {**CHAT, "gen_ai.request.model": text},
        lambda text: {**CHAT, "gen_ai.response.finish_reasons": (text,)},
        lambda text: {**CHAT, text: 1},
        lambda text: {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": text},
    ],
)
def test_long_words_are_not_kept(said: Callable[[str], dict[str, Any]]) -> None:
    """Whatever says them: values, types of errors, and names of attributes."""
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SpanMetrics(metrics.NoOpMeterProvider(), prices=None))
    tracer = tracers.get_tracer("a.framework")
    tracemalloc.start()
    try:
        for number in range(22):
            if number == 2:
                gc.collect()
                before, _ = tracemalloc.get_traced_memory()
            tracer.start_span("a", attributes=said(f"{number}" + "x" * LONG)).end()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2 * LONG
    finally:
        tracemalloc.stop()


def test_a_number_of_many_digits_is_no_reason_to_lose_a_span() -> None:
    """It is a port that there is not, and cannot be written down."""
    it = Recorded()
    it.end({**CHAT, PORT: 10**5000})
    assert sum(point.count for point in it.points(DURATION)) == 1


def test_numbered_messages_make_no_difference() -> None:
    """What says nothing of metrics has other names in each conversation."""
    before = dialects._shape.cache_info()
    for number in range(20):
        said = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.provider": "openai"}
        said |= {f"llm.input_messages.{index}.message.role": "user" for index in range(number)}
        assert module.outline("a", said) is not None
    assert dialects._shape.cache_info().misses <= before.misses + 1


def test_words_without_a_hash_are_read_each_time() -> None:
    """Whoever writes spans without OpenTelemetry's SDK may have lists in them."""
    said = {**CHAT, "gen_ai.response.finish_reasons": ["stop", "length"]}
    for _ in range(2):
        found = module.seen("a", said)
        assert found is not None
        assert found.finish_reasons == ("stop", "length")
