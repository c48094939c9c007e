"""What spans of one and the same call say together, of which only the outer one counts.

A framework that streams often sees no tokens, and the client library below it does. The client may have sent
the call more than once, and each attempt has a span and is paid. A second library below may see the same
attempts. So those of one library are summed, and only one library is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from otel_prom_bridge.genai import vocabulary
from otel_prom_bridge.genai.emission import Usage
from otel_prom_bridge.genai.spans.attributes import Seen

_TOKENS = ("input", "output", "cached", "reasoning", "cache_write")


class InnerCall(NamedTuple):
    """What a span inside of a call has said, and the scope of the library that wrote it."""

    scope: str
    found: Seen


def complete(outer: Seen, answers: Iterable[InnerCall]) -> None:
    """Take what the outer span of a call does not say from those inside of it."""
    inside = _inside(outer.operation, answers)
    if inside is None:
        return
    outer.labels = None  # they may be others then
    own, said = outer.usage, inside.usage
    # A part is of the number that it came with: that of two attempts may be more than one of them had.
    is_same_input, is_same_output = own.input in (None, said.input), own.output in (None, said.output)
    outer.usage = Usage(
        input=_first(own.input, said.input),
        output=_first(own.output, said.output),
        cached=_first(own.cached, said.cached if is_same_input else None),
        reasoning=_first(own.reasoning, said.reasoning if is_same_output else None),
        cache_write=_first(own.cache_write, said.cache_write if is_same_input else None),
        unreadable=frozenset(kind for kind in own.unreadable if getattr(said, kind) is None)
        | frozenset(kind for kind in said.unreadable if getattr(own, kind) is None),
        attempts=said.attempts if is_same_input and is_same_output else (),
    )
    outer.cost = _first(outer.cost, inside.cost)
    outer.provider, outer.model = outer.provider or inside.provider, outer.model or inside.model
    outer.response_model = outer.response_model or inside.response_model
    outer.finish_reasons = outer.finish_reasons or inside.finish_reasons


def _inside(operation: str, answers: Iterable[InnerCall]) -> Seen | None:
    """What one library says of this operation: the first that says tokens or a cost, if any does."""
    libraries: dict[str, list[Seen]] = {}
    for scope, found in answers:
        if found.operation == operation or {found.operation, operation} <= vocabulary.INFERENCE:
            libraries.setdefault(scope, []).append(found)
    sums = map(_together, libraries.values())
    return max(sums, key=lambda it: it.usage.reported or it.cost is not None, default=None)


def _together(attempts: Sequence[Seen]) -> Seen:
    """All attempts of one library: their tokens and costs, and what the last of them says otherwise."""
    usage = Usage(*(_sum([getattr(it.usage, kind) for it in attempts]) for kind in _TOKENS))
    usage.unreadable = frozenset().union(*(it.usage.unreadable for it in attempts))
    if len(attempts) > 1:
        usage.attempts = tuple(each for it in attempts for each in it.usage.attempts or (it.usage,))
    # If a cost is missing, the sum would hide it: then the tokens are priced.
    is_paid = all(it.cost is not None for it in attempts if it.usage.reported)
    return Seen(
        "call",
        provider=_last(attempts, "provider"),
        model=_last(attempts, "model"),
        response_model=_last(attempts, "response_model"),
        usage=usage,
        cost=_sum([it.cost for it in attempts]) if is_paid else None,
        finish_reasons=_last(attempts, "finish_reasons") or (),
    )


def _first(own: Any, inside: Any) -> Any:
    return inside if own is None else own


def _last(attempts: Sequence[Seen], name: str) -> Any:
    return next((value for it in reversed(attempts) if (value := getattr(it, name))), None)


def _sum(numbers: Iterable[Any]) -> Any:
    """None if none of them was reported, which is not 0."""
    reported = [number for number in numbers if number is not None]
    return sum(reported) if reported else None
