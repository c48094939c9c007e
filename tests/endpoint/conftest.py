"""What most tests of the endpoint begin with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from setups import Setup


@pytest.fixture
def setup(bridge: Callable[..., Setup]) -> Setup:
    """A reader with one counter."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    return setup
