"""Time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from otel_prom_bridge.store.store import Store


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def standing_still() -> Iterator[Clock]:
    """The clock by which readers that are made in this block let series go; no option of a reader says it."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Store.__init__.__kwdefaults__, "clock", clock)  # type: ignore[arg-type]
        yield clock
