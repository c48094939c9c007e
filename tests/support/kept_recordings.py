"""Recordings in files, for tests that read them again."""

from __future__ import annotations

import os
from collections.abc import Iterable

from otel_prom_bridge.snapshots.recordings import Recorder
from otel_prom_bridge.testing import Snapshot


def save_recording(snapshots: Iterable[Snapshot], path: str | os.PathLike[str]) -> None:
    """Write a recording of these."""
    with Recorder(path) as recorder:
        for snapshot in snapshots:
            recorder.write(snapshot)
