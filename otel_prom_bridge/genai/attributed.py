"""Saying for whom something is done, so that what is recorded meanwhile is counted for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from opentelemetry.context import Context, attach, detach, get_current, set_value

from otel_prom_bridge.attribution import ATTRIBUTED
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.reports import guarded

# What ends the blocks that go on here, the innermost last: of this task or thread, as those of others end
# in their own order.
_blocks: ContextVar[tuple[Token[Context] | None, ...]] = ContextVar(
    "otel_prom_bridge.genai.attributed", default=()
)


class attributed:  # noqa: N801 - used like a function, as contextlib.suppress is
    """Count what is recorded within a ``with`` block for a team, a tenant, a feature.

    Each name is a label of the option ``context_labels``; other names say nothing. A block inside of another
    one adds to what that one says, and None takes it back. What is said stays in this process. Tasks that
    begin in the block have it, and threads that run in its context. One object may be used again, also by
    several at once. Nothing is raised: what is no text, number or truth value is left out and logged once.
    """

    __slots__ = ("_said",)

    def __init__(self, **labels: object) -> None:
        self._said = labels

    def __enter__(self) -> Self:
        token = None
        with guarded("what is attributed"):
            before = get_current().get(ATTRIBUTED)
            said = {**before} if isinstance(before, Mapping) else {}
            for name in self._said:
                said.pop(name, None)
            token = attach(set_value(ATTRIBUTED, {**said, **clean(self._said)}))
        _blocks.set((*_blocks.get(), token))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        *others, token = _blocks.get() or (None,)
        _blocks.set(tuple(others))
        if token is not None:
            detach(token)  # which never raises
