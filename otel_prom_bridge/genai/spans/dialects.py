"""The attributes in which spans say something of a call of a model, of a tool or of an agent.

Six dialects are read: the two generations of OpenTelemetry's conventions, OpenInference, OpenLLMetry, what
pydantic-ai adds to the conventions, Langfuse, and the Vercel AI SDK with those who write as it does. A span
that speaks none of them is none of our business.

https://github.com/open-telemetry/semantic-conventions-genai
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
https://langfuse.com/integrations/native/opentelemetry
https://ai-sdk.dev/docs/ai-sdk-core/telemetry
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.spans import guardrails

Attributes: TypeAlias = Mapping[str, Any]


class Keys(NamedTuple):
    """The attributes that say something, in the order in which they are asked."""

    mcp: tuple[str, ...]
    operation: tuple[str, ...]
    vercel: tuple[str, ...]
    kind: tuple[str, ...]
    request_type: tuple[str, ...]
    request_model: tuple[str, ...]  # of a span that says tokens, and nothing else of what it is
    model: tuple[str, ...]
    response_model: tuple[str, ...]
    provider: tuple[str, ...]
    agent: tuple[str, ...]
    agent_around: tuple[str, ...]  # of a call or a tool, whose own name may be in the rest of `agent`
    agent_of_run: tuple[str, ...]  # what says that a span with the name of a run is one
    tool: tuple[str, ...]
    tool_of_mcp: tuple[str, ...]
    tool_by_name: tuple[str, ...]
    tool_type: tuple[str, ...]
    workflow: tuple[str, ...]
    step: tuple[str, ...]
    input: tuple[str, ...]
    output: tuple[str, ...]
    cached: tuple[str, ...]
    written: tuple[str, ...]
    reasoning: tuple[str, ...]
    cost: tuple[str, ...]
    finished: tuple[str, ...]
    first_seconds: tuple[str, ...]
    first_milliseconds: tuple[str, ...]
    langfuse: tuple[str, ...]
    guardrail: tuple[str, ...]


ALL: Keys = Keys(
    mcp=("mcp.method.name",),
    operation=("gen_ai.operation.name",),
    vercel=("ai.operationId",),
    kind=("openinference.span.kind", "traceloop.span.kind", "langfuse.observation.type"),
    request_type=("llm.request.type",),
    request_model=("gen_ai.request.model",),
    model=(
        "gen_ai.request.model",
        "llm.request.model",
        "llm.model_name",
        "embedding.model_name",
        "ai.model.id",
        "langfuse.observation.model.name",
        "langfuse.observation.model",
    ),
    response_model=(
        "gen_ai.response.model",
        "llm.response.model",
        "ai.response.model",
    ),
    provider=(
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
    ),
    agent=(
        "gen_ai.agent.name",
        "agent.name",
        "agent_name",
        "traceloop.entity.name",
        "ai.telemetry.functionId",
    ),
    agent_around=("gen_ai.agent.name", "agent.name", "agent_name"),
    agent_of_run=("gen_ai.agent.name", "agent_name"),
    tool=(
        "gen_ai.tool.name",
        "tool.name",
        "tool_name",
        "ai.toolCall.name",
        "traceloop.entity.name",
    ),
    tool_of_mcp=("gen_ai.tool.name", "mcp.tool.name"),
    tool_by_name=("gen_ai.tool.name",),  # pydantic-ai's "running tool" says nothing else
    tool_type=("gen_ai.tool.type",),
    workflow=(
        "gen_ai.workflow.name",
        "workflow.name",
        "traceloop.workflow.name",
        "traceloop.entity.name",
    ),
    step=("traceloop.entity.name",),
    input=(
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "ai.usage.tokens",
    ),
    output=(
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
    ),
    cached=(
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "gen_ai.usage.details.cache_read_tokens",
    ),
    written=(
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "gen_ai.usage.details.cache_write_tokens",
    ),
    reasoning=(
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "ai.usage.reasoningTokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "llm.token_count.completion_details.reasoning",
        "gen_ai.usage.details.reasoning_tokens",
    ),
    cost=(
        "gen_ai.usage.cost",
        "operation.cost",
        "llm.cost.total",
        "llm.usage.cost",
        "gen_ai.usage.total_cost",
    ),
    finished=(
        "gen_ai.response.finish_reasons",
        "llm.finish_reason",
        "ai.response.finishReason",
        "llm.response.finish_reason",
        "gen_ai.completion.0.finish_reason",
        "gen_ai.response.finish_reason",
    ),
    first_seconds=(
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
    ),
    first_milliseconds=(
        "ai.response.msToFirstChunk",
        "ai.stream.msToFirstChunk",
    ),
    langfuse=("langfuse.observation.usage_details", "langfuse.observation.cost_details"),
    guardrail=(*guardrails.NAMES, *guardrails.RESULTS),
)
NO_KEYS = Keys(*((),) * len(ALL))
SERVER = (vocabulary.SERVER_ADDRESS, vocabulary.SERVER_PORT)
# Attributes that only spans of these dialects have; without any of them nothing else is looked at.
_SAID = frozenset((*(key for keys in ALL for key in keys), *SERVER))
_ROOTS = (
    *("gen_ai.", "openinference.", "traceloop.", "llm.", "langfuse.", "ai.", "mcp.", "litellm.guardrail."),
    "validator_name",
)
# What differs from call to call, though they are alike in all that is said in words.
_AMOUNTS = {
    "input",
    "output",
    "cached",
    "written",
    "reasoning",
    "cost",
    "first_seconds",
    "first_milliseconds",
}
_WORDS = frozenset(Keys._fields) - _AMOUNTS - {"langfuse", "guardrail"}


class SpanShape:
    """The attributes that a span has. A library gives its spans the same ones each time.

    ``words`` gets the values of those that say something in words.
    """

    __slots__ = ("keys", "words")

    def __init__(self, keys: Keys, names: tuple[str, ...]) -> None:
        self.keys = keys
        said = {key for kind in _WORDS for key in getattr(keys, kind)}
        words = [key for key in names if key in said or key in SERVER]
        # One of them twice: what gets a single value gives no tuple.
        self.words: Callable[[Attributes], Any] = itemgetter(*words, words[0]) if words else tuple


def shape_of(attributes: Attributes) -> SpanShape | None:
    """That of a span with these attributes; None if it is about something else."""
    # Those that say nothing here may have other names each time, such as those of messages with a number.
    return _shape(tuple([key for key in attributes if key in _SAID]))


@lru_cache(maxsize=1000)
def _shape(said: tuple[str, ...]) -> SpanShape | None:
    if not any(key.startswith(_ROOTS) for key in said):
        return None
    return SpanShape(Keys(*(tuple(key for key in keys if key in said) for keys in ALL)), said)
