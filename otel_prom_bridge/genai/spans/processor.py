"""Metrics of the conventions from spans: for frameworks that trace well and measure nothing.

It is a span processor of OpenTelemetry's SDK, without needing it: the SDK asks for these methods and for no
class. What a span says is recorded when it ends, with the span itself as the exemplar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.agents import in_step
from otel_prom_bridge.genai.cost import Costs
from otel_prom_bridge.genai.emission import CURRENT, per_token
from otel_prom_bridge.genai.evaluations import record_event
from otel_prom_bridge.genai.kept_words import Kept
from otel_prom_bridge.genai.rate_limits import RateLimits
from otel_prom_bridge.genai.requests import Labels, LabelSets
from otel_prom_bridge.genai.spans import guardrails
from otel_prom_bridge.genai.spans.attempts import request_of
from otel_prom_bridge.genai.spans.attributes import (
    Seen,
    attributes_of,
    error_of,
    first_chunk,
    outermost,
    outline,
    request,
    seen,
    without_attributes,
)
from otel_prom_bridge.genai.spans.dialects import Attributes
from otel_prom_bridge.genai.spans.measured import ASPECTS, Measured
from otel_prom_bridge.genai.spans.open import Node, OpenSpans
from otel_prom_bridge.genai.spans.repriced import Repriced
from otel_prom_bridge.genai.spans.same_call import InnerCall, complete
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.recording.operations import ERROR_TYPE, OTHER_ERROR
from otel_prom_bridge.recording.quick import CleanAttributes
from otel_prom_bridge.recording.reports import failed

_NOTHING: Attributes = MappingProxyType({})
_LABELS: Kept[CleanAttributes] = Kept()
_RETRY_EVENT = "retry"  # of OpenLIT, for LangChain
_DETAILS = "gen_ai.client.inference.operation.details"  # an event with all that a span of a call may say
_EVENTS = frozenset((vocabulary.EVALUATION_EVENT, guardrails.EVENT))
_ALL = frozenset(ASPECTS)
_BUT_TOKENS = frozenset(("calls", "chunks", "token_times", "choices", "retries", "rate_limits"))
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

    __slots__ = ("attributes", "context", "error", "events", "found", "left_alone", "span", "took")

    def __init__(
        self, span: Any, attributes: Attributes, events: Sequence[Any], found: Seen, node: Node
    ) -> None:
        self.span = span
        self.attributes = attributes
        self.events = events
        self.found = found
        self.left_alone: frozenset[str] = frozenset()  # what its library records itself
        self.took = max(0.0, (span.end_time - span.start_time) / 1e9)  # clocks are set back, too
        self.error = error_of(attributes, span, events)
        self.context = node.itself()


class SpanMetrics:
    """A span processor that records calls, tokens, costs, agents, tools, steps, workflows and MCP.

    ``TracerProvider.add_span_processor(SpanMetrics())`` adds it, beside any exporter. Nothing is counted
    twice: what the library of a span records as a metric is left alone, and of two spans of one call the
    outer one counts. ``measured`` says which scopes record what themselves, before the table that comes along
    (``measured={"my.scope": []}`` counts all that its spans say). ``prices`` and ``meter_provider`` are those
    of :class:`LLMRecorder`. With ``costs="shown"`` the costs of tokens are left to whoever shows these, as
    the bridge does with its own option ``prices``: recording is cheaper, and each kind of token has a cost.

    Raises :class:`~otel_prom_bridge.errors.ConfigurationError` for a wrong argument. After that nothing does.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        prices: PriceTable | Literal["default"] | None = "default",
        measured: Mapping[str, Iterable[str]] | None = None,
        costs: Literal["recorded", "shown"] = "recorded",
    ) -> None:
        if prices not in ("default", None) and not isinstance(prices, PriceTable):
            raise ConfigurationError("prices", prices, "a PriceTable or None")
        if costs not in ("recorded", "shown"):
            raise ConfigurationError("costs", costs, '"recorded" or "shown"')
        self._are_costs_shown = costs == "shown"
        self._measured = Measured(measured)
        self._measurements = Measurements(
            meter_provider, scope=conventions.SCOPE, schema_url=conventions.SCHEMA_URL
        )
        # Tokens whose costs are not recorded, since they are shown; and cached ones of a library that records
        # tokens and does not say which were cached. The bridge knows these two scopes.
        self._unpaid, self._details = (
            Measurements(
                meter_provider, scope=f"{conventions.SCOPE}.{part}", schema_url=conventions.SCHEMA_URL
            )
            for part in ("spans", "details")
        )
        self._repriced = Repriced(self._measurements.own_provider)
        self._costs = Costs(self._measurements, prices)
        self._limits = RateLimits(self._measurements)
        self._labels = LabelSets()
        self._open = OpenSpans()
        self._said_elsewhere: set[str] = set()  # scopes whose spans another library has, too
        self._is_shut_down = False

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Remember a span that begins."""
        try:
            twice = self._measured.counts_for(self._open.begin(span, parent_context).scope)
            if twice:
                self._said_elsewhere.update(twice)
        except Exception as error:
            failed("a span that begins", error)

    def on_end(self, span: Any) -> None:
        """Record a span that has ended."""
        try:
            node = self._open.end(span)
            if not self._is_shut_down:
                self._ended(span, node)
        except Exception as error:
            failed("a span", error)

    def _ended(self, span: Any, node: Node) -> None:
        if node.checks:
            self._checks(node.checks, span)
        events = span.events or ()  # the SDK makes a copy of them each time
        attributes = attributes_of(span)
        for event in events:
            if event.name in _EVENTS:
                self._event(event, span, node)
        attributes, found = _detailed(span.name or "", attributes, events)
        sent = request_of(span, attributes, is_call=found is not None and found.kind == "call")
        if sent is not None:
            for one in (node, *self._open.ancestors(node)):
                one.sent(sent)
        if found is not None:
            self._take(Ended(span, attributes, events, found, node), node)
        elif not attributes:
            self._without_attributes(span, events, node)

    def _on_ending(self, span: Any) -> None:
        """Called by newer SDKs while the span can still be changed."""

    def shutdown(self) -> None:
        """Record nothing any more."""
        self._is_shut_down = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Everything is recorded already."""
        return True

    def _without_attributes(self, span: Any, events: Sequence[Any], node: Node) -> None:
        """Record a call that failed before its span said anything, which its library measures nowhere."""
        found = without_attributes(span.name or "", node.scope)
        if found is not None:
            ended = Ended(span, _NOTHING, events, found, node)
            if ended.error is not None:
                self._call(ended, node)

    def _event(self, event: Any, span: Any, node: Node) -> None:
        """Record an event that says something by itself, whatever the span is about."""
        exemplar, attributes = node.itself(), event.attributes or {}
        if event.name == vocabulary.EVALUATION_EVENT:
            record_event(self._measurements, attributes, exemplar)
        elif "guardrails" not in self._measured.by(node.scope, _release(span)):
            checked = guardrails.labels_of_event(attributes)
            if checked is not None:
                self._measurements.record(conventions.GUARDRAIL_RESULTS, 1, checked, exemplar)

    def _take(self, ended: Ended, node: Node) -> None:
        scope, found = node.scope, ended.found
        if scope in self._said_elsewhere:
            return
        own = self._measured.by(scope, _release(ended.span))
        outer = self._open.ancestors(node)
        around = self._around(outer) if outer else []
        if found.kind == "step" and not around and not _is_inside(outer, scope):
            found = ended.found = outermost(ended.span.name or "", ended.attributes, found)
        step = _count_in_agent(found, outer, around) if outer else 0
        if node.answers and found.kind == "call":
            complete(found, node.answers)
        if around and _is_same(found, around[0][1], ended.span, around[0][0].span):
            around[0][0].covered |= own | node.covered  # the outer one says the same, and counts
            around[0][0].take_over(node)
            if found.kind == "call":
                _hand_up(found, node, outer, around[0][0])
                node.say(_ALL)
            return
        if found.kind == "call" and node.has_call:
            node.say(_ALL)
            return  # the inner one ended before anybody knew what this one is
        ended.left_alone = own | node.covered if node.covered else own
        if found.kind == "call":
            _leave_to_earlier(ended, node)
        _place(found, node, outer, around)
        self._record(ended, node, step)

    def _record(self, ended: Ended, node: Node, step: int) -> None:
        """Record what a span is about, which is part of this step of an agent."""
        if ended.found.kind in ("call", "other"):
            self._call(ended, node)
            return
        if _ASPECT[ended.found.kind] not in ended.left_alone:
            self._other(ended)
        if "agent_calls" not in ended.left_alone:
            if ended.found.kind == "agent":
                self._calls_of(ended, node)
            if step and ended.found.kind == "tool":
                self._in_step(ended, step)

    def _around(self, outer: list[Node]) -> list[tuple[Node, Seen]]:
        """Those of the spans around this one that are of generative AI, the nearest first."""
        result = []
        for ancestor in outer:
            found = outline(ancestor.span.name or "", attributes_of(ancestor.span))
            if found is not None:
                result.append((ancestor, found))
        if result:
            last, found = result[-1]
            if not _is_inside(self._open.ancestors(last), _scope(last.span)):
                result[-1] = (last, outermost(last.span.name or "", attributes_of(last.span), found))
        return result

    def _call(self, ended: Ended, node: Node) -> None:
        found, left_alone = ended.found, ended.left_alone
        labels = found.labels or self._labels.of(request(found, ended.attributes))
        record = self._measurements.record
        if "calls" not in left_alone and not ("successes" in left_alone and ended.error is None):
            record(CURRENT.duration, ended.took, labels.failed(ended.error), ended.context)
        if found.kind == "other":
            if found.operation == "guardrail" and "guardrails" not in left_alone:
                self._check(ended, node)
            return
        self._answers(ended, labels)
        self._sent(ended, node, labels)
        is_unpaid = self._is_unpaid(ended)
        self._tokens(ended, labels, is_unpaid=is_unpaid)
        if not left_alone.isdisjoint(("tokens", "cost")):
            return  # its library says it, or its tokens have a price
        if found.cost is not None:
            record(conventions.COST, found.cost, labels.common, ended.context)
        elif not is_unpaid or not found.usage.reported:
            self._costs.add(labels, found.usage, ended.error, ended.context)
        elif found.usage.unreadable:
            self._costs.add_unpriced(labels.request, ended.context)

    def _check(self, ended: Ended, node: Node) -> None:
        """A guardrail has checked something; what came of it may be known when the span around it ends."""
        result = ended.found.result
        if result is not None:
            self._checked(ended, result)
        elif node.scope in guardrails.SAID_AROUND:
            if ended.error is not None:
                self._checked(ended, "error")  # the check itself has failed
                return
            for around in self._open.ancestors(node)[:1]:
                around.check(ended)

    def _checks(self, checks: Iterable[Ended], around: Any) -> None:
        """The span around these checks has ended. If one has stopped it, nobody knows of the others."""
        name = guardrails.tripped(getattr(around.status, "description", None))
        for ended in checks:
            if name is None:
                self._checked(ended, "pass")
            elif name in ("", ended.found.name):
                self._checked(ended, "block")

    def _checked(self, ended: Ended, result: str) -> None:
        found = ended.found
        checked = guardrails.labels(found.name, result, found.provider, found.model)
        self._measurements.record(conventions.GUARDRAIL_RESULTS, 1, checked, ended.context)

    def _answers(self, ended: Ended, labels: Labels) -> None:
        """How fast the answers came, and why they ended."""
        found, left_alone, record = ended.found, ended.left_alone, self._measurements.record
        first = first_chunk(ended.attributes, found.keys, ended.span.start_time, ended.events, ended.took)
        if first is not None and "chunks" not in left_alone:
            record(CURRENT.first_chunk, first, labels.common, ended.context)
        if ended.error is None and "token_times" not in left_alone:
            slow = per_token(found.usage, ended.took, first)
            record(conventions.TIME_PER_OUTPUT_TOKEN, slow, labels.common, ended.context)
        if "choices" not in left_alone:
            for reason in found.finish_reasons:
                record(conventions.CHOICES, 1, labels.answered(reason), ended.context)

    def _sent(self, ended: Ended, node: Node, labels: Labels) -> None:
        """How often the call was sent again, and what its answers say of limits."""
        requests, found = node.requests, ended.found
        if requests is None and not ended.events:
            return
        if "retries" not in ended.left_alone:
            retries = dict(requests.retries) if requests is not None else {}
            for event in ended.events:
                if event.name == _RETRY_EVENT:
                    reason = (event.attributes or {}).get("retry.error.type")
                    retries[reason] = retries.get(reason, 0) + 1
            for reason, count in retries.items():
                said = labels.failed(reason if isinstance(reason, str) and reason else OTHER_ERROR)
                self._measurements.record(conventions.RETRIES, count, said, ended.context)
        if requests is not None and requests.headers and "rate_limits" not in ended.left_alone:
            about = {vocabulary.PROVIDER: found.provider, vocabulary.REQUEST_MODEL: found.model}
            self._limits.take(requests.headers, about)

    def _is_unpaid(self, ended: Ended) -> bool:
        """Whether what its tokens cost is left to whoever shows them."""
        table = self._costs.table  # always asked: what is not left to them is counted by the table of now
        if ended.found.cost is not None or not (self._are_costs_shown or table is None):
            return False
        return ended.left_alone.isdisjoint(("tokens", "nameless_tokens", "cost"))

    def _tokens(self, ended: Ended, labels: Labels, *, is_unpaid: bool) -> None:
        if "nameless_tokens" in ended.left_alone:
            return
        usage = ended.found.usage
        record = (self._unpaid if is_unpaid else self._measurements).record
        if is_unpaid:
            self._costs.add_surcharge(labels, usage, ended.context)
        if "tokens" not in ended.left_alone:
            record(conventions.TOKEN_USAGE, usage.input, labels.input, ended.context)
            record(conventions.TOKEN_USAGE, usage.output, labels.output, ended.context)
        elif "cost" not in ended.left_alone:
            record = self._details.record
            self._repriced.add(ended.span, usage, labels, ended.context)
            if self._are_costs_shown or self._costs.are_shown:  # more than nothing would be wrong
                self._costs.add_surcharge(labels, usage, ended.context)
        # Of these no other library has metrics. Most calls have none, and of a counter 0 says nothing.
        if usage.cached:
            record(conventions.CACHE_READ_TOKENS, usage.cached, labels.counted, ended.context)
        if usage.cache_write:
            record(conventions.CACHE_WRITE_TOKENS, usage.cache_write, labels.counted, ended.context)
        if usage.reasoning:
            record(conventions.REASONING_TOKENS, usage.reasoning, labels.counted, ended.context)

    def _other(self, ended: Ended) -> None:
        found, error, name = ended.found, ended.error, ended.found.name
        if found.kind == "mcp":
            is_server = getattr(ended.span.kind, "name", "") == "SERVER"
            metric = conventions.MCP_SERVER_DURATION if is_server else conventions.MCP_CLIENT_DURATION
            method = found.operation
            labels = clean({"mcp.method.name": method, vocabulary.TOOL_NAME: name, ERROR_TYPE: error})
        else:
            metric = _DURATION[found.kind]
            name = name or {"step": found.operation, "tool": "unknown"}.get(found.kind)
            agent = found.agent if found.kind in ("tool", "step") else None
            model = found.model if found.kind == "agent" else None
            labels = _labels(found.kind, agent, name, found.tool_type, model, error)
        self._measurements.record(metric, ended.took, labels, ended.context)

    def _calls_of(self, ended: Ended, node: Node) -> None:
        """How many calls and steps were inside of an agent."""
        record, labels = self._measurements.record, _labels("agent", None, ended.found.name)
        if node.inference_calls or node.tool_calls:
            record(conventions.INFERENCE_CALLS, node.inference_calls, labels, ended.context)
            record(conventions.TOOL_CALLS, node.tool_calls, labels, ended.context)
        if node.steps:
            record(conventions.STEPS, node.steps, labels, ended.context)

    def _in_step(self, ended: Ended, step: int) -> None:
        """Count the call of a tool by the step of the agent around it."""
        found, record = ended.found, self._measurements.record
        labels = in_step(_labels("tool", found.agent, found.name or "unknown", None, None, ended.error), step)
        record(conventions.TOOL_CALLS_BY_STEP, 1, labels, ended.context)


def _labels(
    kind: str,
    agent: str | None,
    name: str | None,
    tool_type: str | None = None,
    model: str | None = None,
    error: str | None = None,
) -> CleanAttributes:
    """The attributes of a metric of an agent, a tool, a workflow or a step."""
    words = {
        vocabulary.AGENT_NAME: agent,
        _NAME[kind]: name,
        vocabulary.TOOL_TYPE: tool_type,
        vocabulary.REQUEST_MODEL: model,
        ERROR_TYPE: error,
    }
    return _LABELS.of((kind, agent, name, tool_type, model, error), clean, words)


def _detailed(name: str, attributes: Attributes, events: Sequence[Any]) -> tuple[Attributes, Seen | None]:
    """What a span says together with the event of a call, which has what the span itself may leave out.

    The event may be at a span around the call, such as that of an agent. That one is no call by it.
    """
    found = seen(name, attributes)
    for event in events:
        if event.name == _DETAILS:
            together = {**(event.attributes or {}), **attributes}
            detailed = seen(name, together)
            if found is None or (detailed is not None and detailed.kind == found.kind):
                attributes, found = together, detailed
    return attributes, found


def _count_in_agent(found: Seen, outer: list[Node], around: list[tuple[Node, Seen]]) -> int:
    """Count a call of a model, a tool or a step in the agent that it is a part of.

    The result is the number of the step in which the agent is. Where it has none, it is that of its calls of
    models, since each of these begins one. It is 0 if there is no agent.
    """
    if found.kind not in ("call", "tool", "step") or (around and around[0][1].kind == found.kind):
        return 0  # the outer one counts
    known = {id(node): what.kind for node, what in around}
    for ancestor in outer:
        kind = known.get(id(ancestor))
        if kind == "agent":
            ancestor.count(found.kind)
            return ancestor.steps or ancestor.inference_calls
        if kind is None:
            ancestor.count(found.kind)  # it may say at its end that it is one, as OpenInference's LangChain
    return 0


def _leave_to_earlier(ended: Ended, node: Node) -> None:
    """Leave alone what a span around this one has counted that has ended before, and tell those inside.

    A call is one in any case. Its tokens are those of the first of its spans that says any.
    """
    around = node.said_around
    if around is not None and not around.left_alone:
        around = None  # what is around it is no call, or goes on
    if around is not None:
        ended.left_alone |= around.left_alone
    if ended.found.usage.reported or ended.found.cost is not None:
        node.say(_ALL)
        if around is not None:
            around.left_alone = _ALL
    else:
        node.say(ended.left_alone | _BUT_TOKENS)
        if around is not None:
            ended.left_alone = _ALL


def _place(found: Seen, node: Node, outer: list[Node], around: list[tuple[Node, Seen]]) -> None:
    """Say whose a span is, and tell the spans around it what is inside of them."""
    if found.agent is None and around:
        found.agent = next((it.name for _, it in around if it.kind == "agent"), None)
    if found.kind == "call":
        for ancestor in outer:
            ancestor.has_call = True
    if found.kind == "agent":
        for ancestor, what in around:
            ancestor.has_agent |= what.kind == "agent"
        if node.has_agent and not found.is_named:
            found.kind = "workflow"  # openai-agents has a span around all agents of a run


def _hand_up(found: Seen, node: Node, outer: list[Node], around: Node) -> None:
    """Tell the outer span of a call what the inner one says; it may say more."""
    if node.has_call:
        return  # what it says was that of a span inside of it, which counts already
    around.answered(InnerCall(node.scope, found))
    for between in outer[: outer.index(around)]:
        between.has_call = True  # it may say at its end that it is of the same call


def _is_inside(outer: list[Node], scope: str) -> bool:
    """Whether a span of the same library goes on around it. Some say at the end what a span is about."""
    return any(_scope(ancestor.span) == scope for ancestor in outer)


def _scope(span: Any) -> str:
    scope = getattr(span, "instrumentation_scope", None)
    return "" if scope is None else str(scope.name or "")


def _release(span: Any) -> str:
    scope = getattr(span, "instrumentation_scope", None)
    return "" if scope is None else str(scope.version or "")


def _is_same(found: Seen, outer: Seen, span: Any, around: Any) -> bool:
    """Whether a span and the one around it are of one call, tool or agent, as two libraries have it."""
    if found.kind != outer.kind:
        return False  # a tool that is elsewhere, for example: a span of a tool and one of MCP
    is_foreign = _scope(span) != _scope(around)
    if found.kind == "call":
        return True
    if found.kind == "mcp":  # fastmcp's around those of the SDK; a server's are inside of a client's
        return is_foreign and found.operation == outer.operation and span.kind is around.kind
    if found.kind == "agent" and not is_foreign:  # OpenLLMetry has two spans of one agent of LangGraph
        return found.is_named and outer.is_named and found.name == outer.name
    same_name = found.name is None or outer.name is None or found.name == outer.name
    return found.kind in ("tool", "agent") and is_foreign and same_name
