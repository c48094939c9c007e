"""Saying for whom something is done, so that what is recorded meanwhile is counted for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import Self

from opentelemetry.context import Context, attach, detach, get_current, set_value

from otel_prom_bridge.attribution import ATTRIBUTED
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.reports import guarded


class attributed:  # noqa: N801 - used like a function, as contextlib.suppress is
    """Count what is recorded within a ``with`` block for a team, a tenant, a feature.

    Each name is a label of the option ``context_labels``; other names say nothing. A block inside of another
    one adds to what that one says, and None takes it back. What is said stays in this process. Tasks that
    begin in the block have it, and threads that run in its context. Nothing is raised: what is no text,
    number or truth value is left out and logged once.
    """

    __slots__ = ("_said", "_tokens")

    def __init__(self, **labels: object) -> None:
        self._said = labels
        self._tokens: list[Token[Context]] = []

    def __enter__(self) -> Self:
        with guarded("what is attributed"):
            before = get_current().get(ATTRIBUTED)
            said = {**before} if isinstance(before, Mapping) else {}
            for name in self._said:
                said.pop(name, None)
            self._tokens.append(attach(set_value(ATTRIBUTED, {**said, **clean(self._said)})))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with guarded("what is attributed"):
            if self._tokens:
                detach(self._tokens.pop())
