"""What tests of several files here do before they compare settings."""

from __future__ import annotations

import pytest

from otel_prom_bridge.profiles import loading


@pytest.fixture
def equal_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal settings have equal views. Two rules that remember values are never equal, so here is one."""
    monkeypatch.setattr(loading, "with_rules_of_its_own", lambda profile: profile)
