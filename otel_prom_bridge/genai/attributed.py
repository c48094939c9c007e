"""Saying for whom something is done, so that what is recorded meanwhile is counted for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Self
from weakref import ref

from opentelemetry.context import attach, get_current, set_value
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.attribution import ATTRIBUTED
from otel_prom_bridge.recording.measurements import clean
from otel_prom_bridge.recording.reports import guarded, report

_Said = Mapping[str, AttributeValue]


class _Block(NamedTuple):
    """A block that goes on: what it says, and what was said before."""

    of: ref[attributed]  # the statement keeps it alive: of one that is gone, no block can end any more
    names: Mapping[str, object]
    before: _Said

    def said(self) -> _Said:
        """What is said within it."""
        kept = {name: value for name, value in self.before.items() if name not in self.names}
        return {**kept, **_values(self.names)}


# The blocks that go on here, the innermost last: of this task or thread, as those of others end in their own
# order. A block in a generator may end within one that began later, and in a task that did not begin it. So
# what is said is put together anew, and no token of a context is kept, which only its own task may use.
_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("otel_prom_bridge.genai.attributed", default=())


class attributed:  # noqa: N801 - used like a function, as contextlib.suppress is
    """Count what is recorded within a ``with`` block for a team, a tenant, a feature.

    Each name is a label of the option ``context_labels``; other names say nothing. A block inside of another
    one adds to what that one says, and None takes it back. What is said stays in this process. Tasks that
    begin in the block have it, and threads that run in its context. One object may be used again, also by
    several at once. Nothing is raised: what is no text, number or truth value is left out and logged once.

    A generator takes back what it said where it is closed. One that nobody closes (``contextlib.aclosing``)
    goes on saying it in the task that left it, and so does one that is closed within a span which began
    later, as the end of a span brings back the context of its start.
    """

    __slots__ = ("__weakref__", "_said")

    def __init__(self, **labels: object) -> None:
        self._said = labels

    def __enter__(self) -> Self:
        with guarded("what is attributed"):
            before = get_current().get(ATTRIBUTED)
            block = _Block(ref(self), self._said, before if isinstance(before, Mapping) else {})
            # Loops of events close generators in tasks of their own, which cannot take a block away here.
            going_on = [other for other in _blocks.get() if other.of() is not None]
            _blocks.set((*going_on, block))
            _say(block.said())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with guarded("what is attributed"):
            blocks = _blocks.get()
            own = next((at for at in reversed(range(len(blocks))) if blocks[at].of() is self), None)
            if own is None:
                return  # it has begun in another context
            said, later = blocks[own].before, []
            for block in blocks[own + 1 :]:
                later.append(block._replace(before=said))
                said = later[-1].said()
            _blocks.set((*blocks[:own], *later))
            _say(said)


def _values(names: Mapping[str, object]) -> dict[str, AttributeValue]:
    """What these names say. A list may be an attribute, and is nobody for whom something is done."""
    found = clean(names)
    for name in [name for name, value in found.items() if isinstance(value, tuple)]:
        report(("attributed", name), "attributed: %r is left out: a list is no value of a label", name)
        del found[name]
    return found


def _say(said: _Said) -> None:
    attach(set_value(ATTRIBUTED, said or None))
