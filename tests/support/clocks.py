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
def standing_still(kind: type = Store) -> Iterator[Clock]:
    """The clock of all objects of this class that are made in the block: stores let series go by it.

    No option of a reader or an endpoint says which clock it uses.
    """
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kind.__init__.__kwdefaults__, "clock", clock)  # type: ignore[misc]
        yield clock
