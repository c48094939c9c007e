"""Metrics of the conventions from spans: for frameworks that trace well and measure nothing.

It is a span processor of OpenTelemetry's SDK, without needing it: the SDK asks for these methods and for no
class. What a span says is recorded when it ends, with the span itself as the exemplar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.agents import in_step
from otel_prom_bridge.genai.cost import Costs
from otel_prom_bridge.genai.emission import CURRENT, LLMRequest, per_token
from otel_prom_bridge.genai.evaluations import record_event
from otel_prom_bridge.genai.spans.attributes import Attributes, Seen, error_of, first_chunk, outermost, seen
from otel_prom_bridge.genai.spans.measured import Measured
from otel_prom_bridge.genai.spans.open import Node, OpenSpans
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.operations import ERROR_TYPE
from otel_prom_bridge.recording.reports import guarded

_ASPECT = {"agent": "agents", "tool": "tools", "workflow": "workflows", "step": "steps", "mcp": "mcp"}
_DURATION = {
    "agent": conventions.INVOKE_AGENT_DURATION,
    "tool": conventions.TOOL_DURATION,
    "workflow": conventions.WORKFLOW_DURATION,
    "step": conventions.STEP_DURATION,
}
_NAME = {
    "agent": vocabulary.AGENT_NAME,
    "tool": vocabulary.TOOL_NAME,
    "workflow": vocabulary.WORKFLOW_NAME,
    "step": vocabulary.STEP_TYPE,
}


class Ended:
    """A span that has ended, and what is recorded of it."""

    __slots__ = ("attributes", "context", "error", "found", "left_alone", "span", "took")

    def __init__(self, span: Any, attributes: Attributes, found: Seen, context: Context) -> None:
        self.span = span
        self.attributes = attributes
        self.found = found
        self.left_alone: frozenset[str] = frozenset()  # what its library records itself
        self.took = (span.end_time - span.start_time) / 1e9
        self.error = error_of(attributes, span.status, span.events)
        # Exemplars are of this very span; who it was for is said where it began.
        itself = trace.NonRecordingSpan(span.get_span_context())
        self.context = trace.set_span_in_context(itself, context)


class SpanMetrics:
    """A span processor that records calls, tokens, costs, agents, tools, steps, workflows and MCP.

    ``TracerProvider.add_span_processor(SpanMetrics())`` adds it, beside any exporter. Nothing is counted
    twice: what the library of a span records as a metric is left alone, and of two spans of one call the
    outer one counts. ``measured`` says which scopes record what themselves, before the table that comes along
    (``measured={"my.scope": []}`` counts all that its spans say). ``prices`` and ``meter_provider`` are those
    of :class:`LLMRecorder`.

    Raises :class:`~otel_prom_bridge.errors.ConfigurationError` for a wrong argument. After that nothing does.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        prices: PriceTable | Literal["default"] | None = "default",
        measured: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        table = PriceTable.default() if prices == "default" else prices
        if table is not None and not isinstance(table, PriceTable):
            raise ConfigurationError("prices", prices, "a PriceTable or None")
        self._measured = Measured(measured)
        self._measurements = Measurements(
            meter_provider, scope=conventions.SCOPE, schema_url=conventions.SCHEMA_URL
        )
        self._costs = Costs(self._measurements)
        self._costs.replace(table)
        self._open = OpenSpans()
        self._is_shut_down = False

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Remember a span that begins."""
        with guarded("a span that begins"):
            self._open.begin(span, parent_context)

    def on_end(self, span: Any) -> None:
        """Record a span that has ended."""
        with guarded("a span"):
            node = self._open.end(span)
            if self._is_shut_down:
                return
            for event in span.events or ():
                if event.name == vocabulary.EVALUATION_EVENT:
                    self._evaluation(event, span, node.context)
            attributes = dict(span.attributes or {})  # the SDK's own mapping is slow to ask
            found = seen(span.name or "", attributes)
            if found is not None:
                self._take(Ended(span, attributes, found, node.context), node)

    def _on_ending(self, span: Any) -> None:
        """Called by newer SDKs while the span can still be changed."""

    def shutdown(self) -> None:
        """Record nothing any more."""
        self._is_shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Everything is recorded already."""
        return True

    def _evaluation(self, event: Any, span: Any, context: Context) -> None:
        itself = trace.NonRecordingSpan(span.get_span_context())
        exemplar = trace.set_span_in_context(itself, context)
        record_event(self._measurements, event.attributes or {}, exemplar)

    def _take(self, ended: Ended, node: Node) -> None:
        scope, around = _scope(ended.span), self._around(node)
        own = self._measured.by(scope)
        if not around and not self._is_inside(node, scope):
            ended.found = outermost(ended.span.name or "", ended.attributes, ended.found)
        step = 0
        if ended.found.kind in ("call", "tool", "step"):
            step = _count_in_agent(ended.found, around)
        if around and _is_same(ended.found, around[0][1], scope, _scope(around[0][0].span)):
            around[0][0].covered |= own  # the outer one says the same, and counts
            return
        if ended.found.kind == "call" and node.has_call:
            return  # the inner one ended before anybody knew what this one is
        ended.left_alone = own | node.covered
        self._place(ended.found, node, around)
        if ended.found.kind in ("call", "other"):
            self._call(ended)
        elif _ASPECT[ended.found.kind] not in ended.left_alone:
            self._other(ended, node)
            if step and ended.found.kind == "tool":
                self._in_step(ended, step)

    def _place(self, found: Seen, node: Node, around: list[tuple[Node, Seen]]) -> None:
        """Say whose a span is, and tell the spans around it what is inside of them."""
        if found.agent is None:
            found.agent = next((outer.name for _, outer in around if outer.kind == "agent"), None)
        if found.kind == "call":
            for ancestor in self._open.ancestors(node):
                ancestor.has_call = True
        if found.kind == "agent":
            for outer, what in around:
                outer.has_agent |= what.kind == "agent"
            if node.has_agent and not found.is_named:
                found.kind = "workflow"  # openai-agents has a span around all agents of a run

    def _is_inside(self, node: Node, scope: str) -> bool:
        """Whether a span of the same library goes on around it. Some say at the end what a span is about."""
        return any(_scope(ancestor.span) == scope for ancestor in self._open.ancestors(node))

    def _around(self, node: Node) -> list[tuple[Node, Seen]]:
        """The spans of generative AI around this one, the nearest first."""
        result = []
        for ancestor in self._open.ancestors(node):
            found = seen(ancestor.span.name or "", dict(ancestor.span.attributes or {}))
            if found is not None:
                result.append((ancestor, found))
        if result and not self._is_inside(result[-1][0], _scope(result[-1][0].span)):
            last, found = result[-1]
            result[-1] = (last, outermost(last.span.name or "", last.span.attributes or {}, found))
        return result

    def _call(self, ended: Ended) -> None:
        found, attributes, left_alone = ended.found, ended.attributes, ended.left_alone
        request = LLMRequest(
            found.model,
            found.provider,
            found.operation,
            found.response_model,
            server_address=_of_type(attributes.get("server.address"), str),
            server_port=_of_type(attributes.get("server.port"), int),
        )
        common, record = request.common(), self._measurements.record
        failed = common if ended.error is None else {**common, ERROR_TYPE: ended.error}
        if "calls" not in left_alone and not ("successes" in left_alone and ended.error is None):
            record(CURRENT.duration, ended.took, failed, ended.context)
        if found.kind == "other":
            return
        if "chunks" not in left_alone:
            first = first_chunk(attributes, ended.span.events, ended.span.start_time)
            record(CURRENT.first_chunk, first, common, ended.context)
            if ended.error is None:
                slow = per_token(found.usage, ended.took, first)
                record(conventions.TIME_PER_OUTPUT_TOKEN, slow, common, ended.context)
        if "choices" not in left_alone:
            for reason in found.finish_reasons:
                record(conventions.CHOICES, 1, {**common, vocabulary.FINISH_REASON: reason}, ended.context)
        self._tokens(ended, common)
        if left_alone.isdisjoint(("tokens", "cost")):  # else its library says it, or its tokens have a price
            if found.cost is not None:
                record(conventions.COST, found.cost, common, ended.context)
            else:
                self._costs.add(request, found.usage, ended.error, ended.context)

    def _tokens(self, ended: Ended, common: dict[str, AttributeValue]) -> None:
        if "nameless_tokens" in ended.left_alone:
            return
        usage, record = ended.found.usage, self._measurements.record
        if "tokens" not in ended.left_alone:
            for kind, count in zip(vocabulary.TOKEN_TYPES, (usage.input, usage.output), strict=True):
                if count is not None:
                    record(
                        conventions.TOKEN_USAGE, count, {**common, vocabulary.TOKEN_TYPE: kind}, ended.context
                    )
        # Of these no other library has metrics.
        counted = {**common, vocabulary.TOKEN_MODALITY: "unknown"}
        record(conventions.CACHE_READ_TOKENS, usage.cached, counted, ended.context)
        record(conventions.CACHE_WRITE_TOKENS, usage.cache_write, counted, ended.context)
        record(conventions.REASONING_TOKENS, usage.reasoning, counted, ended.context)

    def _other(self, ended: Ended, node: Node) -> None:
        record, found, name = self._measurements.record, ended.found, ended.found.name
        if found.kind == "mcp":
            is_server = getattr(ended.span.kind, "name", "") == "SERVER"
            metric = conventions.MCP_SERVER_DURATION if is_server else conventions.MCP_CLIENT_DURATION
            method = ended.attributes.get("mcp.method.name")
            labels = {
                "mcp.method.name": method,
                vocabulary.TOOL_NAME: name,
                ERROR_TYPE: ended.error,
            }
            record(metric, ended.took, clean(labels), ended.context)
            return
        if found.kind == "step":
            name = name or found.operation
        labels = {
            vocabulary.AGENT_NAME: found.agent if found.kind in ("tool", "step") else None,
            _NAME[found.kind]: name or ("unknown" if found.kind == "tool" else None),
            vocabulary.TOOL_TYPE: found.tool_type,
            vocabulary.REQUEST_MODEL: found.model if found.kind == "agent" else None,
            ERROR_TYPE: ended.error,
        }
        record(_DURATION[found.kind], ended.took, clean(labels), ended.context)
        if found.kind == "agent" and (node.inference_calls or node.tool_calls):
            by_name = clean({vocabulary.AGENT_NAME: name})
            record(conventions.INFERENCE_CALLS, node.inference_calls, by_name, ended.context)
            record(conventions.TOOL_CALLS, node.tool_calls, by_name, ended.context)
        if found.kind == "agent" and node.steps:
            record(conventions.STEPS, node.steps, clean({vocabulary.AGENT_NAME: name}), ended.context)

    def _in_step(self, ended: Ended, step: int) -> None:
        """Count the call of a tool by the step of the agent around it."""
        labels = {
            vocabulary.AGENT_NAME: ended.found.agent,
            vocabulary.TOOL_NAME: ended.found.name or "unknown",
            ERROR_TYPE: ended.error,
        }
        record = self._measurements.record
        record(conventions.TOOL_CALLS_BY_STEP, 1, in_step(clean(labels), step), ended.context)


def _count_in_agent(found: Seen, around: list[tuple[Node, Seen]]) -> int:
    """Count a call of a model, a tool or a step in the agent that it is a part of.

    The result is the number of the step in which the agent is. Where it has none, it is that of its calls of
    models, since each of these begins one.
    """
    if around and around[0][1].kind == found.kind:
        return 0  # the outer one counts
    for ancestor, outer in around:
        if outer.kind == "agent":
            ancestor.inference_calls += found.kind == "call"
            ancestor.tool_calls += found.kind == "tool"
            ancestor.steps += found.kind == "step"
            return ancestor.steps or ancestor.inference_calls
    return 0


def _scope(span: Any) -> str:
    scope = getattr(span, "instrumentation_scope", None)
    return str(getattr(scope, "name", "") or "")


def _is_same(found: Seen, outer: Seen, scope: str, outer_scope: str) -> bool:
    """Whether a span and the one around it are of one call, tool or agent, as two libraries have it."""
    if found.kind == "call" and outer.kind == "call":
        return True
    if found.kind == "mcp" and outer.kind == "tool":
        return False  # a tool that is elsewhere: both are asked for
    same_name = found.name is None or outer.name is None or found.name == outer.name
    return found.kind == outer.kind and found.kind in ("tool", "agent") and scope != outer_scope and same_name


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
