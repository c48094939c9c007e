"""What all tests of the recorders begin with."""

from __future__ import annotations

import pytest

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.recording import reports


@pytest.fixture(autouse=True)
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests reported is reported again."""
    monkeypatch.setattr(reports, "_findings", Findings(log=reports.logger))
