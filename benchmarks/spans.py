"""What recorders and metrics from spans cost: ``python -m benchmarks.spans``.

A span is begun and ended by a tracer without and with ``SpanMetrics``, as ``start(span_metrics=True)`` adds
it: with the SDK's meter provider, and with direct recording. The recorders that an application calls itself
are beside it, at their defaults. Times are those of the processor, of rounds of calls: with and without take
turns, and what is printed is the median of the rounds, and the least. ``--quick`` has fewer of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

import otel_prom_bridge
from otel_prom_bridge.genai import AgentRecorder, LLMRecorder, PriceTable, SpanMetrics

CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-123",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "server.address": "api.openai.com",
    "server.port": 443,
}
CACHED = {**CALL, "gen_ai.usage.cache_read.input_tokens": 400}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "meteo"}
REQUEST = {"http.request.method": "GET", "http.route": "/orders", "http.response.status_code": 200}


_CALLS = 200  # of a round


class Cost(NamedTuple):
    """What a call costs, in µs: the median of the rounds, and the least."""

    median: float
    least: float


def each(call: Callable[[], object]) -> float:
    """Of one call, in µs, the mean of a round."""
    start = time.process_time()
    for _ in range(_CALLS):
        call()
    return (time.process_time() - start) / _CALLS * 1e6


def cost(call: Callable[[], object], rounds: int, without: Callable[[], object] | None = None) -> Cost:
    """What a call costs, or costs more than the other one."""
    call()  # the first one makes instruments and series
    took = [(each(call), 0.0 if without is None else each(without)) for _ in range(rounds)]
    own, other = zip(*took, strict=True)
    return Cost(statistics.median(one - two for one, two in took), min(own) - min(other))


def span(tracer: Tracer, attributes: dict[str, Any]) -> Callable[[], object]:
    return lambda: tracer.start_span("a", attributes=attributes).end()


def call_in_agent(tracer: Tracer) -> Callable[[], object]:
    def run() -> None:
        with tracer.start_as_current_span("agent", attributes=AGENT):
            tracer.start_span("a", attributes=CALL).end()

    return run


def of_spans(provider: Any, rounds: int) -> dict[str, Cost]:
    """What each kind of span costs more than without, in µs."""
    tracers = TracerProvider(shutdown_on_exit=False)
    processor: Any = SpanMetrics(provider, prices=PriceTable.default(), costs="shown")
    tracers.add_span_processor(processor)
    plain, measured = TracerProvider(shutdown_on_exit=False).get_tracer("a"), tracers.get_tracer("a")
    kinds: dict[str, Callable[[Tracer], Callable[[], object]]] = {
        "a span of a call of a model": lambda tracer: span(tracer, CALL),
        "the same with cached tokens": lambda tracer: span(tracer, CACHED),
        "an agent's with a call inside": call_in_agent,
        "a span of HTTP": lambda tracer: span(tracer, REQUEST),
    }
    return {kind: cost(make(measured), rounds, make(plain)) for kind, make in kinds.items()}


def of_recorders(provider: Any, rounds: int) -> dict[str, Cost]:
    """What each record of a recorder costs, in µs."""
    llm, agents = LLMRecorder(provider), AgentRecorder(provider)
    asked: dict[str, Any] = {"model": "gpt-4o", "provider": "openai"}

    def request() -> None:
        llm.record_request(duration=1, input_tokens=1000, output_tokens=100, **asked)

    def everything() -> None:
        llm.record_request(
            duration=1,
            input_tokens=1000,
            output_tokens=100,
            cached_tokens=400,
            cache_write_tokens=50,
            reasoning_tokens=20,
            time_to_first_chunk=0.1,
            finish_reason="stop",
            response_model="gpt-4o-2024-08-06",
            server_address="api.openai.com",
            server_port=443,
            **asked,
        )

    def call() -> None:
        with llm.call(**asked) as running:
            running.tokens(input=1000, output=100)

    def chunk() -> None:
        llm.record_streaming_chunk(duration=0.01, **asked)

    def tool() -> None:
        with agents.tool("web_search", agent="planner"):
            pass

    kinds = {
        "record_request()": request,
        "the same with everything": everything,
        "with call()": call,
        "a chunk": chunk,
        "with tool()": tool,
    }
    return {kind: cost(record, rounds) for kind, record in kinds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 10 if parser.parse_args().quick else 60
    columns: dict[str, dict[str, Cost]] = {}
    for recording in ("sdk", "direct"):
        with otel_prom_bridge.start(
            port=0, addr="127.0.0.1", recording=recording, set_global=False, collect_interval=0
        ) as bridge:
            provider = bridge.meter_provider
            columns[recording] = {**of_spans(provider, rounds), **of_recorders(provider, rounds)}
    print(f"{'µs':<30}" + "".join(f"{name:>10}{'least':>10}" for name in columns))
    for kind in columns["sdk"]:
        costs = [column[kind] for column in columns.values()]
        print(f"{kind:<30}" + "".join(f"{it.median:>10.1f}{it.least:>10.1f}" for it in costs))


if __name__ == "__main__":
    main()
