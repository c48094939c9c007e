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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.emission import IMPOSSIBLE_AMOUNT, Usage
from otel_prom_bridge.genai.spans import guardrails, langfuse
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
    usage: Usage = field(default_factory=lambda: _NO_USAGE)  # a call has one of its own
    cost: float | None = None
    finish_reasons: tuple[str, ...] = ()
    result: str | None = None  # what came of the check of a guardrail
    keys: Keys = field(default_factory=lambda: ALL, repr=False)  # the attributes that the span has


# What the clients of OpenAI and Anthropic say of an answer that is an error.
_STATUS = re.compile(r"\bError code: ([45]\d\d)\b")
_LONGEST_TEXT = 1000
_NO_USAGE: Usage = Usage()
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
    # of calls that failed, by litellm's default callback
    **dict.fromkeys(("acompletion", "aembedding", "atext_completion", "responses", "aresponses"), "call"),
    "execute_event_loop_cycle": "step",  # strands-agents
    "execute_task": "step",  # OpenLLMetry, of a node of LangGraph
}
_SPELLED = {
    **dict.fromkeys(("embed", "embedding", "aembedding"), "embeddings"),
    **dict.fromkeys(("completion", "atext_completion"), "text_completion"),
    **dict.fromkeys(("acompletion", "responses", "aresponses"), "chat"),
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
    "doRerank": ("other", "rerank"),
    "toolCall": ("tool", "execute_tool"),
}


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
_MOST_CHOICES = 100
_LONGEST_JSON = 10_000
_FIRST_TIME = "langfuse.observation.completion_start_time"
_FIRST_EVENTS = frozenset(
    {
        *("First Token Stream Event", "llm.content.completion.chunk", "gen_ai.first_chunk", "first_token"),
        *("ai.stream.firstChunk", "gen_ai.first_token", "gen_ai.content.completion.chunk", "First chunk"),
    }
)
_NO_KEYS = Keys(*((),) * len(ALL))
# Attributes that only spans of these dialects have; without any of them nothing else is looked at.
_KNOWN = frozenset(key for keys in ALL for key in keys)
_NONE: Attributes = MappingProxyType({})
# Where the name is of what a span is about, by its kind.
_NAMED: Mapping[Kind, str] = {
    "agent": "agent",
    "tool": "tool",
    "workflow": "workflow",
    "step": "step",
    "mcp": "tool_of_mcp",
}
_ROOTS = (
    *("gen_ai.", "openinference.", "traceloop.", "llm.", "langfuse.", "ai.", "mcp.", "litellm.guardrail."),
    "validator_name",
)


def _keys(attributes: Attributes) -> Keys | None:
    """The attributes of a span that say something; None if it is about something else."""
    return _of_keys(tuple([key for key in attributes if key in _KNOWN]))


@lru_cache(maxsize=1000)
def _of_keys(present: tuple[str, ...]) -> Keys | None:
    # A library gives its spans the same attributes each time, so this is done once for all of them.
    if not any(key.startswith(_ROOTS) for key in present):
        return None
    return Keys(*(tuple(key for key in keys if key in present) for keys in ALL))


def attributes_of(span: Any) -> Attributes:
    """A copy of a span's attributes, which may still be changed; the SDK's own mapping is slow to ask."""
    attributes = span.attributes
    if not attributes:
        return _NONE
    copy = getattr(attributes, "copy", None)
    return dict(attributes) if copy is None else copy()


def outline(name: str, attributes: Attributes) -> Seen | None:
    """What a span is about, without what it says of tokens; None if it is about something else."""
    keys = _keys(attributes)
    if keys is None:
        return None
    kind, operation = _kind(name, attributes, keys)
    if kind is None:
        return None
    found = Seen(kind, operation, keys=keys)
    found.agent = _text(attributes, keys.agent_around)
    if kind in _NAMED:
        found.name = _text(attributes, getattr(keys, _NAMED[kind]))
        if found.name is None and kind in ("agent", "workflow"):
            found.name, found.is_named = _of_span(name), False
        elif found.name is None and kind == "tool":
            found.name = _tool_of_span(name, keys)
    return found


def seen(name: str, attributes: Attributes) -> Seen | None:
    """What a span of this name says, or None if it is about something else."""
    found = outline(name, attributes)
    if found is None:
        return None
    keys = found.keys
    found.provider, found.model = _text(attributes, keys.provider), _text(attributes, keys.model)
    if found.kind in ("call", "other"):
        found.response_model = _text(attributes, keys.response_model)
        found.usage = _usage(attributes, keys)
        if keys.cost:
            found.cost = _number(attributes, keys.cost, "a cost")
        if keys.finished:
            found.finish_reasons = _finish_reasons(attributes, keys)
        if keys.langfuse:
            _langfuse(attributes, found)
        if found.operation == "guardrail":
            _guardrail(name, attributes, found)
    elif found.kind == "tool":
        found.tool_type = _text(attributes, keys.tool_type)
    return found


def _guardrail(name: str, attributes: Attributes, found: Seen) -> None:
    found.result = guardrails.result_of(attributes)
    found.name = _text(attributes, guardrails.NAMES) or _text(attributes, found.keys.agent_around) or name


def without_attributes(name: str, scope: str) -> Seen | None:
    """A call of which the name of its span says all: one of OpenLIT's that failed before it had attributes.

    OpenLIT has no metric of it either.
    """
    operation, _, model = name.partition(" ")
    if not scope.startswith("openlit.instrumentation.") or _OPERATIONS.get(operation) != "call" or not model:
        return None
    provider = scope.rpartition(".")[2]
    return Seen("call", operation, provider=provider, model=model, usage=Usage(), keys=_NO_KEYS)


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
    if name.endswith("._execute_core"):  # CrewAI has the role, and maybe the task
        return name.partition(".")[0] or None
    found = name.removeprefix("invoke_agent ").removesuffix(".run").removesuffix(" run")
    found = found.removesuffix(".kickoff").strip()
    return found if found and found not in ("agent", "invoke_agent", "invoke_workflow") else None


def _tool_of_span(name: str, keys: Keys) -> str | None:
    """The name of a tool in that of its span: `execute_tool weather`, and all of it in Langfuse."""
    found = name.removeprefix("execute_tool ").strip()
    return found if found and ("langfuse.observation.type" in keys.kind or found != name) else None


def _kind(name: str, attributes: Attributes, keys: Keys) -> tuple[Kind | None, str]:
    """Whoever says it in the most exact words is asked first."""
    if keys.mcp and (method := _text(attributes, keys.mcp)):
        return "mcp", method
    if keys.guardrail and not (keys.operation and _text(attributes, keys.operation) in _INFERENCE):
        return "other", "guardrail"
    if keys.operation and (operation := _text(attributes, keys.operation)):
        return _OPERATIONS.get(operation, "other"), _SPELLED.get(operation, operation)
    if keys.vercel and (vercel := _text(attributes, keys.vercel)):
        return _VERCEL.get(vercel.rsplit(".", 1)[-1], (None, ""))
    if keys.kind and (said := _text(attributes, keys.kind)):
        return _KINDS.get(said.lower(), (None, ""))
    if keys.request_type and (request := _text(attributes, keys.request_type)):
        operation = _REQUEST_TYPES.get(request.lower(), "chat")
        return ("other" if operation == "rerank" else "call"), operation
    return _by_what_it_has(name, attributes, keys)


def _by_what_it_has(name: str, attributes: Attributes, keys: Keys) -> tuple[Kind | None, str]:
    """Of a span that does not say what it is about."""
    if _text(attributes, keys.tool_by_name):
        return "tool", "execute_tool"
    if name.endswith((" run", "agent")) and _text(attributes, keys.agent_of_run):
        return "agent", "invoke_agent"
    if _text(attributes, keys.request_model) and _usage(attributes, keys).reported:
        return "call", "chat"
    return None, ""


def _usage(attributes: Attributes, keys: Keys) -> Usage:
    usage = Usage(_count(attributes, keys.input), _count(attributes, keys.output))
    if keys.cached:
        usage.cached = _count(attributes, keys.cached)
    if keys.reasoning:
        usage.reasoning = _count(attributes, keys.reasoning)
    if keys.written:
        usage.cache_write = _count(attributes, keys.written)
    return usage


def _finish_reasons(attributes: Attributes, keys: Keys) -> tuple[str, ...]:
    """Why each of the answers ended, as the first attribute says that says anything."""
    for key in keys.finished:
        value = attributes.get(key)
        said = _listed(value) if isinstance(value, str) else value
        if isinstance(said, tuple | list) and said:
            return tuple(reason for reason in said[:_MOST_CHOICES] if isinstance(reason, str) and reason)
    return ()


def _listed(text: str) -> list[Any] | tuple[str, ...]:
    """What a text says, which may be a list as JSON: litellm's default callback writes `["stop"]`."""
    if text.startswith("[") and len(text) <= _LONGEST_JSON:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        return value if isinstance(value, list) else ()
    return (text,)


def _langfuse(attributes: Attributes, found: Seen) -> None:
    """Langfuse writes tokens and costs as JSON."""
    said = _table(attributes, "langfuse.observation.usage_details")
    if said and not found.usage.reported:
        found.usage = langfuse.usage_of(said)
    costs = _table(attributes, "langfuse.observation.cost_details")
    if costs and found.cost is None:
        costs.setdefault("total", langfuse.sum_of(costs))
        found.cost = _number(costs, ("total",), "a cost")


def _table(attributes: Attributes, key: str) -> dict[str, Any]:
    text = attributes.get(key)
    if not isinstance(text, str) or len(text) > _LONGEST_JSON:
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
    """The first number among these that a call can have. Anything else is logged once."""
    for key in keys:
        value = attributes.get(key)
        if value is None:
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < IMPOSSIBLE_AMOUNT:
            return value if isinstance(value, int) else float(value)
        report(("span", key), "the attribute %r of a span is no %s: %r", key, what.split(" ", 1)[1], value)
    return None


def first_chunk(
    attributes: Attributes, keys: Keys, start: int, events: Sequence[Any], took: float
) -> float | None:
    """Seconds from the start of a span to the first chunk, where attributes or events say it."""
    seconds = _number(attributes, keys.first_seconds, "a time")
    if seconds is not None:
        # No chunk comes after the end: strands-agents says it in milliseconds.
        return next((said for said in (seconds, seconds / 1000) if said <= took), None)
    milliseconds = _number(attributes, keys.first_milliseconds, "a time")
    if milliseconds is not None:
        return milliseconds / 1000
    text = attributes.get(_FIRST_TIME)
    if isinstance(text, str):
        try:
            when = datetime.datetime.fromisoformat(text.strip('"'))
            return max(0.0, float(when.timestamp() - start / 1e9))
        except (ValueError, OverflowError):
            return None
    for event in events:
        if event.name in _FIRST_EVENTS:
            return max(0.0, float(event.timestamp - start) / 1e9)
    return None


def error_of(attributes: Attributes, span: Any, events: Sequence[Any]) -> str | None:
    """The type of the error that a span ended with, or None."""
    said = attributes.get("error.type")
    failed = getattr(getattr(span.status, "status_code", None), "name", "") == "ERROR"
    if not failed and attributes.get("langfuse.observation.level") != "ERROR":
        return said if isinstance(said, str) and said else None
    if isinstance(said, str) and said and said != OTHER_ERROR:
        return said
    for event in reversed(events):
        kind = (event.attributes or {}).get("exception.type")
        if event.name == "exception" and isinstance(kind, str) and kind:
            return kind
    return _described(getattr(span.status, "description", None)) or OTHER_ERROR


def _described(text: object) -> str | None:
    """The type of an error of which a span has a text only, as openai-agents writes it."""
    if not isinstance(text, str):
        return None
    code = _STATUS.search(text[:_LONGEST_TEXT])
    return code[1] if code else guardrails.TRIPPED_ERROR if guardrails.tripped(text) is not None else None
