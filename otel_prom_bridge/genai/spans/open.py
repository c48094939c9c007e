"""The spans that have not ended, so that one that ends knows what it is part of.

A framework and the client library below it may both have a span of one call. The outer one counts, and it
leaves alone what the inner one's library recorded. Spans that never end leave when there are too many.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any
from weakref import ref

from opentelemetry.context import Context, get_current

from otel_prom_bridge.genai.spans.attempts import SpanRequest, SpanRequests
from otel_prom_bridge.genai.spans.same_call import InnerCall
from otel_prom_bridge.recording.quick import InSpan

_NOTHING: frozenset[str] = frozenset()
_GONE = SimpleNamespace(name="", attributes={}, instrumentation_scope=None, kind=None)
_MOST = 10_000
_DEEPEST = 64
_MOST_CHECKS = 100
_MOST_ANSWERS = 10_000  # each is kept until the outer span ends


class CountedBefore:
    """What a call tells the spans inside of it that end after its own, as where streams are closed late."""

    __slots__ = ("left_alone",)

    def __init__(self) -> None:
        self.left_alone: frozenset[str] = _NOTHING  # what of these calls is counted with it


class Node:
    """A span that goes on."""

    # Not the nodes themselves: a task that begins the next one and ends would keep all before it.
    said: CountedBefore | None = None  # to the spans that have begun inside of it
    said_around: CountedBefore | None = None  # to it, by the span around it
    covered: frozenset[str] = _NOTHING  # what was recorded of it by libraries inside
    has_agent = False  # an agent ran inside
    has_call = False  # a call of a model was recorded inside, or left to a span around both
    inference_calls = 0
    tool_calls = 0
    steps = 0
    checks: tuple[Any, ...] = ()  # of guardrails, of which it says at its end what came of them
    requests: SpanRequests | None = None  # those that were sent inside, where they say something

    def __init__(self, span: Any, context: Context | None = None) -> None:
        self._span = ref(span)  # one that is never ended goes when the application lets it go
        parent, scope = span.parent, getattr(span, "instrumentation_scope", None)
        self.about = about = span.get_span_context()
        self.trace: int = about.trace_id
        self.parent: int | None = parent and parent.span_id
        self.scope = "" if scope is None else str(scope.name or "")
        self.context = get_current() if context is None else context
        self.answers: list[InnerCall] = []  # what spans of the same call inside of it have said

    @property
    def span(self) -> Any:
        """The span; one that says nothing if it is gone."""
        return self._span() or _GONE

    def itself(self) -> Context:
        """What is recorded of the span is in this context, so that exemplars are of this very span.

        Who it was for is said where it began.
        """
        return InSpan(self.about, self.context)

    def count(self, kind: str) -> None:
        """A call of a model, a tool or a step has ended inside of it."""
        self.inference_calls += kind == "call"
        self.tool_calls += kind == "tool"
        self.steps += kind == "step"

    def take_over(self, other: Node) -> None:
        """A span inside of it that says the same has ended."""
        self.inference_calls += other.inference_calls
        self.tool_calls += other.tool_calls
        self.steps += other.steps

    def answered(self, answer: InnerCall) -> None:
        """A span of the same call has ended inside of it, maybe in another thread: it is added up later."""
        if len(self.answers) < _MOST_ANSWERS:
            self.answers.append(answer)

    def check(self, ended: Any) -> None:
        """A check of a guardrail has ended inside of it."""
        if len(self.checks) < _MOST_CHECKS:
            self.checks = (*self.checks, ended)

    def say(self, left_alone: frozenset[str]) -> None:
        """Tell the spans that have begun inside of this call, and go on, what is counted already."""
        if self.said is not None:
            self.said.left_alone = left_alone

    def sent(self, request: SpanRequest) -> None:
        """A request inside of it has ended."""
        if self.requests is None:
            if not request.is_remarkable:
                return
            self.requests = SpanRequests()
        self.requests.add(request)


class OpenSpans:
    """Spans by the ids of trace and span.

    There is no lock, for which a forked child or a signal handler might wait. Each step is a single one of
    the dictionary.
    """

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], Node] = {}

    def begin(self, span: Any, parent_context: Context | None = None) -> Node:
        """A span begins in this context, or in the current one."""
        node = Node(span, parent_context)
        while len(self._nodes) >= _MOST:
            with contextlib.suppress(RuntimeError, StopIteration):  # another thread begins or ends a span
                self._nodes.pop(next(iter(self._nodes)), None)
        around = None if node.parent is None else self._nodes.get((node.trace, node.parent))
        if around is not None:
            node.said_around = around.said = around.said or CountedBefore()
        self._nodes[node.trace, node.about.span_id] = node
        return node

    def end(self, span: Any) -> Node:
        """A span has ended."""
        about = span.get_span_context()
        return self._nodes.pop((about.trace_id, about.span_id), None) or Node(span)

    def ancestors(self, node: Node) -> list[Node]:
        """The spans around it that go on, the nearest first."""
        result: list[Node] = []
        parent = node.parent
        if parent is not None:
            trace = node.trace
            while parent is not None and len(result) < _DEEPEST:
                found = self._nodes.get((trace, parent))
                if found is None:
                    break
                result.append(found)
                parent = found.parent
        return result
