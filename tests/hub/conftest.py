from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_prom_bridge.hub.hub import Hub


@pytest.fixture
def make() -> Iterator[Callable[..., Hub]]:
    """Makes hubs, with options of a reader and, in ``receiving``, of the receiver; they end with the test."""
    hubs: list[Hub] = []

    def make(receiving: dict[str, Any] | None = None, **options: Any) -> Hub:
        hubs.append(Hub(options, **(receiving or {})))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.shutdown()


@pytest.fixture
def hub(make: Callable[..., Hub]) -> Hub:
    """A hub with the defaults."""
    return make()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the sockets of hubs. Those of tests have paths that are too long for sockets."""
    with tempfile.TemporaryDirectory(prefix="hub-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)
