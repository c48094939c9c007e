"""What a span says of a call of a model, of a tool or of an agent, whoever wrote it.

The dialects in which they say it are in ``dialects.py``. Attributes may be anything: what is no number of
tokens is taken for not reported.

Calls are alike in most of what they say: in everything that is said in words. So that is read once for all
spans that say the same, together with the attributes of their metrics.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from opentelemetry import trace

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.emission import IMPOSSIBLE_AMOUNT, Usage
from otel_prom_bridge.genai.kept_words import Kept
from otel_prom_bridge.genai.requests import Labels, LLMRequest
from otel_prom_bridge.genai.spans import guardrails, langfuse
from otel_prom_bridge.genai.spans.dialects import ALL, NO_KEYS, SERVER, Attributes, Keys, shape_of
from otel_prom_bridge.recording.operations import OTHER_ERROR
from otel_prom_bridge.recording.reports import report

Kind: TypeAlias = Literal["call", "agent", "tool", "workflow", "step", "mcp", "other"]


@dataclass
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
    labels: Labels | None = None  # of the metrics of a call that says no more than its own span
    is_guess: bool = False  # it is a call if any tokens are reported
    keys: Keys = field(default_factory=lambda: ALL, repr=False)  # the attributes that the span has

    def copy(self) -> Seen:
        """Another one that says the same, and may be changed."""
        result = object.__new__(Seen)
        result.__dict__ = self.__dict__.copy()
        return result


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


_MOST_CHOICES = 100
_LONGEST_JSON = 10_000
_FIRST_TIME = "langfuse.observation.completion_start_time"
_FIRST_EVENTS = frozenset(
    {
        *("First Token Stream Event", "llm.content.completion.chunk", "gen_ai.first_chunk", "first_token"),
        *("ai.stream.firstChunk", "gen_ai.first_token", "gen_ai.content.completion.chunk", "First chunk"),
    }
)
_NONE: Attributes = MappingProxyType({})
_ERROR = trace.StatusCode.ERROR
_OUTLINES: Kept[Seen | None] = Kept()
# Where the name is of what a span is about, by its kind.
_NAMED: Mapping[Kind, str] = {
    "agent": "agent",
    "tool": "tool",
    "workflow": "workflow",
    "step": "step",
    "mcp": "tool_of_mcp",
}


def attributes_of(span: Any) -> Attributes:
    """A copy of a span's attributes, which may still be changed; the SDK's own mapping is slow to ask."""
    attributes = span.attributes
    if not attributes:
        return _NONE
    copy = getattr(attributes, "copy", None)
    return dict(attributes) if copy is None else copy()


def outline(name: str, attributes: Attributes) -> Seen | None:
    """What a span is about, without what it says in numbers; None if it is about something else.

    Nobody changes it, as it is the same for spans that say the same.
    """
    shape = shape_of(attributes)
    if shape is None:
        return None
    words = (shape, name, *shape.words(attributes))
    found = _OUTLINES.of(words, _outlined, name, attributes, shape.keys)
    if found is not None and found.is_guess and not _usage(attributes, found.keys).reported:
        return None
    return found


def _outlined(name: str, attributes: Attributes, keys: Keys) -> Seen | None:
    kind, operation = _kind(name, attributes, keys)
    if kind is None:
        return None
    is_guess = kind == "call" and not operation
    found = Seen(kind, "chat" if is_guess else operation, keys=keys, is_guess=is_guess)
    found.agent = _text(attributes, keys.agent_around)
    if kind in _NAMED:
        found.name = _text(attributes, getattr(keys, _NAMED[kind]))
        if found.name is None and kind in ("agent", "workflow"):
            found.name, found.is_named = _of_span(name), False
        elif found.name is None and kind == "tool":
            found.name = _tool_of_span(name, keys)
    found.provider, found.model = _text(attributes, keys.provider), _text(attributes, keys.model)
    if kind in ("call", "other"):
        found.response_model = _text(attributes, keys.response_model)
        found.finish_reasons = _finish_reasons(attributes, keys)
        found.labels = Labels(request(found, attributes))
    elif kind == "tool":
        found.tool_type = _text(attributes, keys.tool_type)
    return found


def request(found: Seen, attributes: Attributes) -> LLMRequest:
    """The call that a span is about."""
    address, port = map(attributes.get, SERVER)
    return LLMRequest(
        found.model,
        found.provider,
        found.operation,
        found.response_model,
        address if isinstance(address, str) else None,
        port if isinstance(port, int) and not isinstance(port, bool) else None,
    )


def seen(name: str, attributes: Attributes) -> Seen | None:
    """What a span of this name says, or None if it is about something else."""
    known = outline(name, attributes)
    if known is None:
        return None
    found, keys = known.copy(), known.keys
    if found.kind in ("call", "other"):
        found.usage = _usage(attributes, keys)
        if keys.cost:
            found.cost = _number(attributes, keys.cost, "a cost")
        if keys.langfuse:
            _langfuse(attributes, found)
        if found.operation == "guardrail":
            _guardrail(name, attributes, found)
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
    return Seen("call", operation, provider=provider, model=model, usage=Usage(), keys=NO_KEYS)


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
    if _text(attributes, keys.request_model):
        return "call", ""  # if it says tokens
    return None, ""


def _usage(attributes: Attributes, keys: Keys) -> Usage:
    usage = Usage()
    usage.input = _count(attributes, keys.input, usage, "input")
    usage.output = _count(attributes, keys.output, usage, "output")
    if keys.cached:
        usage.cached = _count(attributes, keys.cached, usage, "cached")
    if keys.reasoning:
        usage.reasoning = _count(attributes, keys.reasoning, usage, "reasoning")
    if keys.written:
        usage.cache_write = _count(attributes, keys.written, usage, "cache_write")
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
        if costs.get("total") is None:
            costs["total"] = langfuse.sum_of(costs)
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


def _count(attributes: Attributes, keys: tuple[str, ...], usage: Usage, kind: str) -> int | None:
    if not keys:
        return None
    first = attributes.get(keys[0])
    if type(first) is int and 0 <= first < IMPOSSIBLE_AMOUNT:  # as nearly always
        return first
    value = _number(attributes, keys, "a number of tokens")
    if value is not None:
        return int(value)
    if any(attributes.get(key) is not None for key in keys):
        usage.unreadable |= {kind}
    return None


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
    seconds = _number(attributes, keys.first_seconds, "a time") if keys.first_seconds else None
    if seconds is not None:
        # No chunk comes after the end: strands-agents says it in milliseconds.
        return next((said for said in (seconds, seconds / 1000) if said <= took), None)
    milliseconds = _number(attributes, keys.first_milliseconds, "a time") if keys.first_milliseconds else None
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
    code = getattr(span.status, "status_code", None)
    # The name of a member of an enumeration is slow to ask.
    failed = code is _ERROR or (type(code) is not type(_ERROR) and getattr(code, "name", "") == "ERROR")
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
