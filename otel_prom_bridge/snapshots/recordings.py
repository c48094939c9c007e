"""Recordings: one exposition after the other, with their times.

A recording is a file of lines, each of which is an exposition in JSON: ``{"time": …, "content_type": …,
"body": …}``. So it can be appended to, cut with ``head`` and read with ``jq``. A name that ends with ``.gz``
is for a compressed one. Bodies are OpenMetrics 2.0, which loses nothing.
"""

from __future__ import annotations

import gzip
import json
import math
import os
from bisect import bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots.fetching import fetch
from otel_prom_bridge.snapshots.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Recording:
    """Snapshots in the order of their times; there is one at least."""

    snapshots: tuple[Snapshot, ...]

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Recording:
        """The recording in a file. A file with a single exposition is one, too.

        Raises:
            ExpositionError: the file cannot be read, or is neither.
        """
        body = fetch(os.fspath(path)).body
        try:
            if body[:1] == b"{" and body.partition(b"\n")[0].rstrip().endswith(b"}"):
                lines = body.splitlines()
                snapshots = [_moment(line, number) for number, line in enumerate(lines, 1) if line.strip()]
                return cls(tuple(sorted(snapshots, key=lambda snapshot: snapshot.time)))
            if not body.strip():
                raise ExpositionError("there is nothing in it")
            return cls((Snapshot.of(body),))
        except ExpositionError as error:
            raise ExpositionError(f"{os.fspath(path)}: {error}") from None

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.snapshots[-1].time - self.snapshots[0].time

    def at(self, seconds: float) -> Snapshot:
        """What there was so many seconds after the beginning; the last one after the end."""
        times = [snapshot.time - self.snapshots[0].time for snapshot in self.snapshots]
        return self.snapshots[max(0, bisect_right(times, seconds) - 1)]

    def with_times(self) -> tuple[MetricFamily, ...]:
        """All families, with all points that each series ever had, each with the time at which it was taken.

        As OpenMetrics that is what ``promtool tsdb create-blocks-from openmetrics`` reads.
        """
        points: dict[str, dict[Any, list[Any]]] = {}
        last: dict[str, MetricFamily] = {}
        for snapshot in self.snapshots:
            for family in snapshot.families:
                last[family.name] = family
                series = points.setdefault(family.name, {})
                for point in family.points:
                    series.setdefault(point.labels, []).append(_at(point, snapshot.time))
        return tuple(
            replace(family, points=tuple(point for series in points[name].values() for point in series))
            for name, family in last.items()
        )


def _at(point: Any, time: float) -> Any:
    # Start times would stand between the timestamps of a series, which some parsers do not take.
    changes = {"timestamp": time, "created": None}
    return point._replace(**{name: changes[name] for name in changes if name in point._fields})


class Recorder:
    """Writes a recording, one snapshot after the other. Each is in the file when ``write`` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        opened = gzip.open if self._path.suffix == ".gz" else open
        try:
            self._file: Any = opened(self._path, "wt", encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ExpositionError(f"{self._path}: cannot be written: {reason}") from None

    def write(self, snapshot: Snapshot) -> None:
        """Add a snapshot."""
        exposition = snapshot.complete()
        line = {
            "time": round(snapshot.time, 3),
            "content_type": exposition.content_type,
            "body": exposition.body.decode(),
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _moment(line: bytes, number: int) -> Snapshot:
    try:
        found = json.loads(line)
        time, body, content_type = float(found["time"]), found["body"].encode(), str(found["content_type"])
        if not math.isfinite(time):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"line {number} is no snapshot of a recording, which has time, content_type and body"
        raise ExpositionError(message) from None
    snapshot = Snapshot.of(body, content_type=content_type)
    return Snapshot(snapshot.families, time, snapshot.content_type, snapshot.findings)
