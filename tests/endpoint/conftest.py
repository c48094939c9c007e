"""What most tests of the endpoint begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from setups import Setup

from otel_prom_bridge.testing import Clock


@pytest.fixture
def setup(bridge: Callable[..., Setup]) -> Setup:
    """A reader with one counter."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    return setup


@pytest.fixture
def later() -> Iterator[Callable[[Any], Any]]:
    """Let a second pass, after which files are looked at again, and return what was given."""
    with Clock().standing() as clock:

        def later(watching: Any) -> Any:
            clock.now += 1
            return watching

        yield later
