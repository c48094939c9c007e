"""What a span says of a call of a model, of a tool or of an agent, whoever wrote it.

Six dialects are read: the two generations of OpenTelemetry's conventions, OpenInference, OpenLLMetry, what
pydantic-ai adds to the conventions, Langfuse, and the Vercel AI SDK with those who write as it does. A span
that speaks none of them is none of our business. Attributes may be anything: what is no number of tokens is
taken for not reported.

https://github.com/open-telemetry/semantic-conventions-genai
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
https://langfuse.com/integrations/native/opentelemetry
https://ai-sdk.dev/docs/ai-sdk-core/telemetry
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.emission import Usage
from otel_prom_bridge.recording.operations import OTHER_ERROR
from otel_prom_bridge.recording.reports import report

Kind: TypeAlias = Literal["call", "agent", "tool", "workflow", "step", "mcp", "other"]
Attributes: TypeAlias = Mapping[str, Any]


@dataclass(slots=True)
class Seen:
    """What a span is about. ``operation`` is a value of ``gen_ai.operation.name``, or of that kind."""

    kind: Kind
    operation: str = ""
    name: str | None = None  # of the agent, tool, workflow or step
    is_named: bool = True  # the name is that of an attribute, and not made of the span's
    provider: str | None = None
    model: str | None = None
    response_model: str | None = None
    agent: str | None = None
    tool_type: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    finish_reasons: tuple[str, ...] = ()


_INFERENCE = {*vocabulary.INFERENCE, *vocabulary.EMBEDDINGS, "fetch_response"}
_OPERATIONS: Mapping[str, Kind] = {
    **dict.fromkeys(_INFERENCE, "call"),
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "invoke_workflow": "workflow",
    "plan": "step",
    "embed": "call",
    "embedding": "call",
    "completion": "call",
    "execute_event_loop_cycle": "step",  # strands-agents
}
# Kinds of OpenInference and of Langfuse, in lower case, and what they are here.
_KINDS: Mapping[str, tuple[Kind, str]] = {
    "llm": ("call", "chat"),
    "generation": ("call", "chat"),
    "embedding": ("call", "embeddings"),
    "tool": ("tool", "execute_tool"),
    "agent": ("agent", "invoke_agent"),
    "workflow": ("workflow", "invoke_workflow"),
    "task": ("step", "step"),
    "chain": ("step", "chain"),
    "retriever": ("other", "retrieval"),
    "reranker": ("other", "rerank"),
    "guardrail": ("other", "guardrail"),
    "evaluator": ("other", "evaluate"),
}
_REQUEST_TYPES = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
    "rerank": "rerank",
}
# The Vercel AI SDK has a span for the whole and one for each call of a model inside of it.
_VERCEL: Mapping[str, tuple[Kind, str]] = {
    "doGenerate": ("call", "chat"),
    "doStream": ("call", "chat"),
    "doEmbed": ("call", "embeddings"),
    "toolCall": ("tool", "execute_tool"),
}

# The attributes that say something, in the order in which they are asked.
_MODEL: tuple[str, ...] = (
    "gen_ai.request.model",
    "llm.request.model",
    "llm.model_name",
    "embedding.model_name",
    "ai.model.id",
    "langfuse.observation.model.name",
    "langfuse.observation.model",
)
_RESPONSE_MODEL: tuple[str, ...] = (
    "gen_ai.response.model",
    "llm.response.model",
    "ai.response.model",
)
_PROVIDER: tuple[str, ...] = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
)
_AGENT: tuple[str, ...] = (
    "gen_ai.agent.name",
    "agent.name",
    "agent_name",
    "traceloop.entity.name",
    "ai.telemetry.functionId",
)
_TOOL: tuple[str, ...] = (
    "gen_ai.tool.name",
    "tool.name",
    "tool_name",
    "ai.toolCall.name",
    "traceloop.entity.name",
)
_WORKFLOW: tuple[str, ...] = (
    "gen_ai.workflow.name",
    "workflow.name",
    "traceloop.workflow.name",
    "traceloop.entity.name",
)
_INPUT: tuple[str, ...] = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
    "ai.usage.tokens",
)
_OUTPUT: tuple[str, ...] = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
_CACHED: tuple[str, ...] = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
    "ai.usage.cachedInputTokens",
    "gen_ai.usage.details.cache_read_tokens",
)
_WRITTEN: tuple[str, ...] = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "gen_ai.usage.details.cache_write_tokens",
)
_REASONING: tuple[str, ...] = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "ai.usage.reasoningTokens",
    "llm.token_count.completion_details.reasoning",
    "gen_ai.usage.details.reasoning_tokens",
)
_COST: tuple[str, ...] = (
    "gen_ai.usage.cost",
    "operation.cost",
    "llm.cost.total",
    "llm.usage.cost",
    "gen_ai.usage.total_cost",
)
_FINISHED: tuple[str, ...] = (
    "gen_ai.response.finish_reasons",
    "llm.finish_reason",
    "ai.response.finishReason",
    "llm.response.finish_reason",
    "gen_ai.completion.0.finish_reason",
    "gen_ai.response.finish_reason",
)
_MOST_CHOICES = 100
_FIRST_SECONDS: tuple[str, ...] = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
)
_FIRST_MILLISECONDS: tuple[str, ...] = (
    "ai.response.msToFirstChunk",
    "ai.stream.msToFirstChunk",
)
_FIRST_TIME = "langfuse.observation.completion_start_time"
_FIRST_EVENTS = frozenset(
    {
        *("First Token Stream Event", "llm.content.completion.chunk", "gen_ai.first_chunk", "first_token"),
        *("ai.stream.firstChunk", "gen_ai.first_token", "gen_ai.content.completion.chunk", "First chunk"),
    }
)
# Attributes that only spans of these dialects have; without any of them nothing else is looked at.
_ROOTS = ("gen_ai.", "openinference.", "traceloop.", "llm.", "langfuse.", "ai.", "mcp.")


def seen(name: str, attributes: Attributes) -> Seen | None:
    """What a span of this name says, or None if it is about something else."""
    if not any(key.startswith(_ROOTS) for key in attributes):
        return None
    kind, operation = _kind(name, attributes)
    if kind is None:
        return None
    found = Seen(kind, operation, provider=_text(attributes, _PROVIDER), model=_text(attributes, _MODEL))
    found.agent = _text(attributes, _AGENT[:3])
    if kind in ("call", "other"):
        found.response_model = _text(attributes, _RESPONSE_MODEL)
        found.usage, found.cost = _usage(attributes), _number(attributes, _COST, "a cost")
        found.finish_reasons = _finish_reasons(attributes)
        _langfuse(attributes, found)
    elif kind == "mcp":
        found.name = _text(attributes, ("gen_ai.tool.name", "mcp.tool.name"))
    else:
        names = {"agent": _AGENT, "tool": _TOOL, "workflow": _WORKFLOW, "step": ("traceloop.entity.name",)}[
            kind
        ]
        found.name = _text(attributes, names)
        if found.name is None and kind in ("agent", "workflow"):
            found.name, found.is_named = _of_span(name), False
        found.tool_type = _text(attributes, ("gen_ai.tool.type",)) if kind == "tool" else None
    return found


def outermost(name: str, attributes: Attributes, found: Seen) -> Seen:
    """A chain that is part of nothing is a workflow, or an agent of LangChain: its metadata has the name."""
    if (found.kind, found.operation) != ("step", "chain"):
        return found
    agent = _table(attributes, "metadata").get("lc_agent_name")
    if isinstance(agent, str) and agent:
        return Seen("agent", "invoke_agent", agent)
    return Seen("workflow", "invoke_workflow", _of_span(name), is_named=False)


def _of_span(name: str) -> str | None:
    """The name of an agent in that of its span: `meteo.run`, `invoke_agent meteo`, `meteo run`."""
    found = name.removeprefix("invoke_agent ").removesuffix(".run").removesuffix(" run").strip()
    return found if found and found not in ("agent", "invoke_agent", "invoke_workflow") else None


def _kind(name: str, attributes: Attributes) -> tuple[Kind | None, str]:
    """Whoever says it in the most exact words is asked first."""
    if _text(attributes, ("mcp.method.name",)):
        return "mcp", ""
    operation = _text(attributes, ("gen_ai.operation.name",))
    if operation:
        return _of_operation(operation)
    vercel = _text(attributes, ("ai.operationId",))
    if vercel:
        return _VERCEL.get(vercel.rsplit(".", 1)[-1], (None, ""))
    said = _text(attributes, ("openinference.span.kind", "traceloop.span.kind", "langfuse.observation.type"))
    if said:
        return _KINDS.get(said.lower(), (None, ""))
    request = _text(attributes, ("llm.request.type",))
    if request:
        operation = _REQUEST_TYPES.get(request.lower(), "chat")
        return ("other" if operation == "rerank" else "call"), operation
    if _text(attributes, ("gen_ai.tool.name",)):  # pydantic-ai's "running tool"
        return "tool", "execute_tool"
    if _text(attributes, ("gen_ai.agent.name", "agent_name")) and name.endswith((" run", "agent")):
        return "agent", "invoke_agent"
    if _text(attributes, _MODEL[:1]) and _usage(attributes).reported:
        return "call", "chat"
    return None, ""


def _of_operation(operation: str) -> tuple[Kind, str]:
    kind = _OPERATIONS.get(operation, "other")
    return kind, {"embed": "embeddings", "embedding": "embeddings", "completion": "text_completion"}.get(
        operation, operation
    )


def _usage(attributes: Attributes) -> Usage:
    return Usage(
        input=_count(attributes, _INPUT),
        output=_count(attributes, _OUTPUT),
        cached=_count(attributes, _CACHED),
        reasoning=_count(attributes, _REASONING),
        cache_write=_count(attributes, _WRITTEN),
    )


def _finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    """Why each of the answers ended, as the first attribute says that says anything."""
    for key in _FINISHED:
        value = attributes.get(key)
        said = (value,) if isinstance(value, str) else value
        if isinstance(said, tuple | list) and said:
            return tuple(reason for reason in said[:_MOST_CHOICES] if isinstance(reason, str) and reason)
    return ()


def _langfuse(attributes: Attributes, found: Seen) -> None:
    """Langfuse writes tokens and costs as JSON."""
    usage = _table(attributes, "langfuse.observation.usage_details")
    if usage:
        found.usage.input = found.usage.input or _count(usage, ("input", "prompt_tokens", "input_tokens"))
        found.usage.output = found.usage.output or _count(
            usage, ("output", "completion_tokens", "output_tokens")
        )
        cached = ("input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
        found.usage.cached = found.usage.cached or _count(usage, cached)
    costs = _table(attributes, "langfuse.observation.cost_details")
    if costs and found.cost is None:
        found.cost = _number(costs, ("total",), "a cost")


def _table(attributes: Attributes, key: str) -> dict[str, Any]:
    text = attributes.get(key)
    if not isinstance(text, str) or len(text) > 10_000:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(attributes: Attributes, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _count(attributes: Attributes, keys: tuple[str, ...]) -> int | None:
    value = _number(attributes, keys, "a number of tokens")
    return None if value is None else int(value)


def _number(attributes: Attributes, keys: tuple[str, ...], what: str) -> float | None:
    """The first number among these that is none below zero. Anything else is logged once."""
    for key in keys:
        value = attributes.get(key)
        if value is None:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return value if isinstance(value, int) else float(value)
        report(("span", key), "the attribute %r of a span is no %s: %r", key, what.split(" ", 1)[1], value)
    return None


def first_chunk(attributes: Attributes, events: Any, start: int) -> float | None:
    """Seconds from the start of the span to the first chunk, where attributes or events say it."""
    seconds = _number(attributes, _FIRST_SECONDS, "a time")
    if seconds is not None:
        return seconds
    milliseconds = _number(attributes, _FIRST_MILLISECONDS, "a time")
    if milliseconds is not None:
        return milliseconds / 1000
    text = attributes.get(_FIRST_TIME)
    if isinstance(text, str):
        try:
            when = datetime.datetime.fromisoformat(text.strip('"'))
            return max(0.0, float(when.timestamp()) - start / 1e9)
        except (ValueError, OverflowError):
            return None
    for event in events or ():
        if event.name in _FIRST_EVENTS:
            return max(0.0, float(event.timestamp - start) / 1e9)
    return None


def error_of(attributes: Attributes, status: Any, events: Any) -> str | None:
    """The type of the error that a span ended with, or None."""
    said = attributes.get("error.type")
    failed = getattr(getattr(status, "status_code", None), "name", "") == "ERROR"
    if not failed and attributes.get("langfuse.observation.level") != "ERROR":
        return said if isinstance(said, str) and said else None
    if isinstance(said, str) and said:
        return said
    for event in reversed(events or ()):
        kind = (event.attributes or {}).get("exception.type")
        if event.name == "exception" and isinstance(kind, str) and kind:
            return kind
    return OTHER_ERROR
