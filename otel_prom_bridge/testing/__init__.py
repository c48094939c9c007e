"""For tests of metrics: probes, a clock, snapshots, recordings that are served again, and made-up load.

Each name is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.lazy import names_of

if TYPE_CHECKING:
    from otel_prom_bridge.snapshots import Difference, Finding, Snapshot
    from otel_prom_bridge.snapshots.recordings import Recording
    from otel_prom_bridge.testing.clock import Clock
    from otel_prom_bridge.testing.oracles import assert_valid_exposition
    from otel_prom_bridge.testing.probe import Histogram, MetricsProbe
    from otel_prom_bridge.testing.replay import Replay
    from otel_prom_bridge.testing.search import NoMetricError
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
    "otel_prom_bridge.snapshots": ("Snapshot", "Difference", "Finding"),
    "otel_prom_bridge.snapshots.recordings": ("Recording",),
    "otel_prom_bridge.testing.clock": ("Clock",),
    "otel_prom_bridge.testing.search": ("NoMetricError",),
    "otel_prom_bridge.testing.oracles": ("assert_valid_exposition",),
    "otel_prom_bridge.testing.probe": ("MetricsProbe", "Histogram"),
    "otel_prom_bridge.testing.replay": ("Replay",),
    "otel_prom_bridge.testing.synthetic": ("Synthetic",),
}
if not TYPE_CHECKING:  # so that checkers refuse a name that is not there
    __getattr__ = names_of(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
