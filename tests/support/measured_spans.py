"""Spans that become metrics, and one call of a model as each dialect of spans has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bridges import families_of, running
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS, parse
from prometheus_client import Metric

from otel_prom_bridge.bridge import Bridge
from otel_prom_bridge.genai import Price, PriceTable, SpanMetrics

TABLE = PriceTable("test", {"gpt-4o": Price(2.5, 10, cached=1.25)})

# One call of gpt-4o with 1000 tokens in, 100 out, 400 of the input from a cache; in each dialect.
CALLS: dict[str, dict[str, Any]] = {
    "gen_ai of today": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 400,
    },
    "gen_ai before": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.prompt_tokens": 1000,
        "gen_ai.usage.completion_tokens": 100,
        "gen_ai.usage.cache_read_input_tokens": 400,
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.provider": "openai",
        "llm.token_count.prompt": 1000,
        "llm.token_count.completion": 100,
        "llm.token_count.prompt_details.cache_read": 400,
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read_input_tokens": 400,
    },
    "Langfuse": {
        "langfuse.observation.type": "generation",
        "gen_ai.system": "openai",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": json.dumps(
            {"input": 600, "output": 100, "input_cache_read": 400}  # its parts add up
        ),
    },
    "Langfuse, of OpenAI": {
        "langfuse.observation.type": "generation",
        "gen_ai.system": "openai",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": json.dumps(
            {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "total_tokens": 1100,
                "prompt_tokens_details": {"cached_tokens": 400, "audio_tokens": 0},
            }
        ),
    },
    "Vercel": {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "gpt-4o",
        "ai.model.provider": "openai",
        "ai.usage.inputTokens": 1000,
        "ai.usage.outputTokens": 100,
        "ai.usage.cachedInputTokens": 400,
    },
    "Vercel, newer": {
        "ai.operationId": "ai.streamText.doStream",
        "ai.model.id": "gpt-4o",
        "ai.model.provider": "openai.responses",
        "ai.usage.inputTokens": 1000,
        "ai.usage.outputTokens": 100,
        "ai.usage.inputTokenDetails.cacheReadTokens": 400,
    },
}
CHAT = CALLS["gen_ai of today"]


class Setup:
    """A bridge whose metrics come from spans."""

    def __init__(self, bridge: Bridge, tracers: TracerProvider) -> None:
        self.bridge = bridge
        self.tracers = tracers

    def tracer(self, scope: str = "a.framework") -> trace.Tracer:
        """A tracer of this scope."""
        return self.tracers.get_tracer(scope)

    def families(self) -> dict[str, Metric]:
        """What a scrape shows."""
        return families_of(self.bridge)

    def totals(self, family: str, *labels: str, end: str = "_total") -> dict[tuple[str, ...], float]:
        """Sums of the samples of a family by these labels."""
        found: dict[tuple[str, ...], float] = {}
        shown = self.bridge.reader.expose(OPENMETRICS)
        name = f"llmdevops_{family}"
        # The lines of other families cost time to parse, and tests that are about them have families().
        own = [line for line in shown.body.decode().splitlines() if name in line.partition("{")[0]]
        text = "\n".join([*own, "# EOF", ""])
        families = {metric.name: metric for metric in parse(shown.content_type, text.encode())}
        metric = families.get(name)
        for sample in () if metric is None else metric.samples:
            if sample.name.endswith(end):
                key = tuple(sample.labels[label] for label in labels)
                found[key] = found.get(key, 0) + sample.value
        return found

    def changes(self, family: str, *labels: str) -> Callable[[], dict[tuple[str, ...], float]]:
        """What says how much these totals have grown since now."""
        before = self.totals(family, *labels)

        def grown() -> dict[tuple[str, ...], float]:
            now = self.totals(family, *labels)
            return {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key)}

        return grown


@contextmanager
def spans(sampler: Any = None, table: PriceTable = TABLE, **options: Any) -> Iterator[Setup]:
    """Spans that become metrics under the profile llmdevops."""
    with running(profile="llmdevops", prices=table) as bridge:
        tracers = TracerProvider(shutdown_on_exit=False, sampler=sampler)
        tracers.add_span_processor(SpanMetrics(bridge.meter_provider, **{"prices": table, **options}))
        yield Setup(bridge, tracers)
