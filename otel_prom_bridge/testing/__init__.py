"""For tests of metrics: probes, a clock, snapshots, recordings that are served again, and made-up load.

Each name is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_prom_bridge.snapshots import Difference, Finding, Snapshot
    from otel_prom_bridge.snapshots.recording import Recording
    from otel_prom_bridge.testing.clock import Clock
    from otel_prom_bridge.testing.lookup import NoMetricError
    from otel_prom_bridge.testing.oracles import assert_valid_exposition
    from otel_prom_bridge.testing.probe import Histogram, MetricsProbe
    from otel_prom_bridge.testing.replay import Replay
    from otel_prom_bridge.testing.synthetic import Synthetic

__all__ = [
    "MetricsProbe",
    "Histogram",
    "NoMetricError",
    "Clock",
    "Snapshot",
    "Difference",
    "Finding",
    "assert_valid_exposition",
    "Recording",
    "Replay",
    "Synthetic",
]

_HOMES = {
    "MetricsProbe": "testing.probe",
    "Histogram": "testing.probe",
    "NoMetricError": "testing.lookup",
    "Clock": "testing.clock",
    "Snapshot": "snapshots",
    "Difference": "snapshots",
    "Finding": "snapshots",
    "assert_valid_exposition": "testing.oracles",
    "Recording": "snapshots.recording",
    "Replay": "testing.replay",
    "Synthetic": "testing.synthetic",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"otel_prom_bridge.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
