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

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.cost import Costs
from otel_prom_bridge.genai.emission import CURRENT, LLMRequest
from otel_prom_bridge.genai.measurements import Measurements, clean
from otel_prom_bridge.genai.reports import guarded
from otel_prom_bridge.genai.spans.attributes import Seen, error_of, first_chunk, seen
from otel_prom_bridge.genai.spans.measured import Measured
from otel_prom_bridge.genai.spans.open import Node, OpenSpans
from otel_prom_bridge.genai.vocabulary import Metric
from otel_prom_bridge.prices import PriceTable

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
        self._measurements = Measurements(meter_provider)
        self._costs = Costs(self._measurements)
        self._costs.replace(table)
        self._open = OpenSpans()
        self._is_shut_down = False

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Remember a span that begins."""
        with guarded("a span that begins"):
            self._open.begin(span)

    def on_end(self, span: Any) -> None:
        """Record a span that has ended."""
        with guarded("a span"):
            node = self._open.end(span)
            if self._is_shut_down:
                return
            found = seen(span.name or "", span.attributes or {})
            if found is not None:
                self._take(span, found, node)

    def _on_ending(self, span: Any) -> None:
        """Called by newer SDKs while the span can still be changed."""

    def shutdown(self) -> None:
        """Record nothing any more."""
        self._is_shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Everything is recorded already."""
        return True

    def _take(self, span: Any, found: Seen, node: Node) -> None:
        own = self._measured.by(_scope(span))
        around = self._around(node)
        if found.kind in ("call", "tool"):
            self._count_in_agent(found, node, around)
        nearest = around[0] if around else None
        if nearest is not None and _is_same(found, nearest[1], _scope(span), _scope(nearest[0].span)):
            nearest[0].covered |= own  # the outer one says the same, and counts
            return
        left_alone = own | node.covered
        took = (span.end_time - span.start_time) / 1e9
        error = error_of(span.attributes or {}, span.status, span.events)
        context = trace.set_span_in_context(trace.NonRecordingSpan(span.get_span_context()), Context())
        if found.agent is None and around:
            found.agent = next((seen.name for _, seen in around if seen.kind == "agent"), None)
        if found.kind in ("call", "other"):
            self._call(span, found, took, error, left_alone, context)
        elif _ASPECT[found.kind] not in left_alone:
            self._other(span, found, node, took, error, context)

    def _around(self, node: Node) -> list[tuple[Node, Seen]]:
        """The spans of generative AI around this one, the nearest first."""
        result = []
        for ancestor in self._open.ancestors(node):
            found = seen(ancestor.span.name or "", ancestor.span.attributes or {})
            if found is not None:
                result.append((ancestor, found))
        return result

    def _count_in_agent(self, found: Seen, node: Node, around: list[tuple[Node, Seen]]) -> None:
        if around and around[0][1].kind == found.kind:
            return  # the outer one counts
        for ancestor, what in around:
            if what.kind == "agent":
                if found.kind == "call":
                    ancestor.inference_calls += 1
                else:
                    ancestor.tool_calls += 1
                return

    def _call(
        self,
        span: Any,
        found: Seen,
        took: float,
        error: str | None,
        left_alone: frozenset[str] | set[str],
        context: Context,
    ) -> None:
        attributes = span.attributes or {}
        request = LLMRequest(
            found.model,
            found.provider,
            found.operation,
            found.response_model,
            server_address=_of_type(attributes.get("server.address"), str),
            server_port=_of_type(attributes.get("server.port"), int),
        )
        common, record = request.common(), self._measurements.record
        failed = common if error is None else {**common, vocabulary.ERROR_TYPE: error}
        if "calls" not in left_alone and not ("successes" in left_alone and error is None):
            record(CURRENT.duration, took, failed, context)
        if found.kind == "other":
            return
        if "chunks" not in left_alone:
            first = first_chunk(attributes, span.events, span.start_time)
            record(CURRENT.first_chunk, first, common, context)
        self._tokens(found, request, error, left_alone, context)

    def _tokens(
        self, found: Seen, request: LLMRequest, error: str | None, left_alone: Iterable[str], context: Context
    ) -> None:
        usage, common, record = found.usage, request.common(), self._measurements.record
        if "tokens" not in left_alone:
            for kind, count in zip(vocabulary.TOKEN_TYPES, (usage.input, usage.output), strict=True):
                record(conventions.TOKEN_USAGE, count, {**common, vocabulary.TOKEN_TYPE: kind}, context)
        # No library has metrics of these.
        counted = {**common, vocabulary.TOKEN_MODALITY: "unknown"}
        record(conventions.CACHE_READ_TOKENS, usage.cached, counted, context)
        record(conventions.CACHE_WRITE_TOKENS, usage.cache_write, counted, context)
        record(conventions.REASONING_TOKENS, usage.reasoning, counted, context)
        if "tokens" in left_alone or "cost" in left_alone:
            return  # their costs are reported, or are those of the tokens that the library recorded
        if found.cost is not None:
            record(conventions.COST, found.cost, common, context)
        else:
            self._costs.add(request, usage, error, context)

    def _other(
        self, span: Any, found: Seen, node: Node, took: float, error: str | None, context: Context
    ) -> None:
        record, name = self._measurements.record, found.name
        if found.kind == "mcp":
            record(*self._mcp(span, found, took, error), context)
            return
        if found.kind == "step":
            name = name or found.operation
        agent = found.agent if found.kind in ("tool", "step") else None
        labels = {
            vocabulary.AGENT_NAME: agent,
            _NAME[found.kind]: name or ("unknown" if found.kind == "tool" else None),
            vocabulary.TOOL_TYPE: found.tool_type,
            vocabulary.REQUEST_MODEL: found.model if found.kind == "agent" else None,
            vocabulary.ERROR_TYPE: error,
        }
        record(_DURATION[found.kind], took, clean(labels), context)
        if found.kind == "agent" and (node.inference_calls or node.tool_calls):
            by_name = clean({vocabulary.AGENT_NAME: name})
            record(conventions.INFERENCE_CALLS, node.inference_calls, by_name, context)
            record(conventions.TOOL_CALLS, node.tool_calls, by_name, context)

    def _mcp(
        self, span: Any, found: Seen, took: float, error: str | None
    ) -> tuple[Metric, float, dict[str, Any]]:
        attributes = span.attributes or {}
        is_server = getattr(span.kind, "name", "") == "SERVER"
        labels = {
            "mcp.method.name": attributes.get("mcp.method.name"),
            vocabulary.TOOL_NAME: found.name,
            vocabulary.ERROR_TYPE: error,
        }
        metric = conventions.MCP_SERVER_DURATION if is_server else conventions.MCP_CLIENT_DURATION
        return metric, took, clean(labels)


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
