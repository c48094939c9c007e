"""Which measurements are to be exemplars, in whatever context they are recorded."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, set_value
from opentelemetry.trace.propagation import _SPAN_KEY

from otel_prom_bridge import points
from otel_prom_bridge.points import sampled

FLAGS = trace.TraceFlags(trace.TraceFlags.SAMPLED)


class OtherContext(trace.SpanContext):
    """Of somebody who adds to what tells spans apart."""


class OtherSpan(trace.NonRecordingSpan):
    """A span of somebody else's."""


def context_of(span: Any) -> Context:
    """A context with this in the place of its span."""
    return set_value(_SPAN_KEY, span, Context())


def spans() -> list[Any]:
    """Spans that are sampled."""
    return [
        kind(about(1, 2, is_remote=False, trace_flags=FLAGS))
        for kind in (trace.NonRecordingSpan, OtherSpan)
        for about in (trace.SpanContext, OtherContext)
    ]


@pytest.fixture(params=["the key is known", "the key is not known"])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the API has the name that is private to it."""
    assert points._SPAN is not None
    if request.param == "the key is not known":
        monkeypatch.setattr(points, "_SPAN", None)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("always", [True, False])
def test_a_sampled_span_is_found(always: bool) -> None:
    """Of whatever class it is, in the context that is given and in the current one."""
    for span in spans():
        given = sampled(3, context_of(span), always=always, left_out=None)
        with trace.use_span(span):
            current = sampled(3, None, always=always, left_out=None)
        for found in (given, current):
            assert found is not None
            assert (found.value, found.trace_id, found.span_id) == (3, 1, 2)
            assert found.time_unix_nano > 0


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    "context",
    [
        Context(),
        Context({"other": 1}),
        context_of(None),
        context_of("no span"),
        context_of(trace.INVALID_SPAN),
    ],
    ids=["empty", "without a span", "None", "no span", "invalid"],
)
def test_without_a_span_it_depends(context: Context) -> None:
    """Then a measurement is an exemplar if all are, and has no ids."""
    assert sampled(3, context, always=False, left_out=None) is None
    found = sampled(3, context, always=True, left_out={"k": "v"}, when=5)
    assert found == (3, 5, None, None, {"k": "v"})


@pytest.mark.usefixtures("key")
def test_a_span_that_is_not_sampled_is_passed_over() -> None:
    """Unless all are wanted, and then with its ids."""
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    assert sampled(3, context_of(span), always=False, left_out=None) is None
    found = sampled(3, context_of(span), always=True, left_out=None)
    assert found is not None
    assert found.trace_id == 1
