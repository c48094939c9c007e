"""What there is to look at: a bridge's own families and what it knows of them, or anybody's exposition.

A source that has an ``inside`` is one of ours: it hands its families over as they are. Of anything else the
exposition is read, as a scraper reads it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from otel_prom_bridge.explorer.as_json import text
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots import Finding, Snapshot

if TYPE_CHECKING:  # whoever looks at another exporter's exposition needs nothing of a bridge
    from otel_prom_bridge.pipeline.inside import Inside


class Subject(Protocol):
    """What is looked at. It may have an ``inside``, too."""

    @property
    def is_ready(self) -> bool: ...
    @property
    def is_healthy(self) -> bool: ...
    @property
    def is_shut_down(self) -> bool: ...
    def expose(self, accept: str | None = None) -> Exposition: ...


class Look(NamedTuple):
    """The families at one time, whether that is all of them, and what is wrong with the exposition."""

    families: Sequence[MetricFamily]
    time: float
    complete: bool
    findings: tuple[Finding, ...] = ()
    content_type: str = ""

    def find(self, name: str) -> MetricFamily | None:
        """The family of this name."""
        found = (family for family in self.families if family.name == name or text(family.name) == name)
        return next(found, None)

    def snapshot(self) -> Snapshot:
        """The same as a snapshot, with what is wrong with it."""
        return Snapshot(tuple(self.families), self.time, self.content_type, self.findings)


def look_at(source: Subject) -> Look:
    """Collect, or fetch, what there is now.

    Raises:
        ExpositionError: it cannot be had.
    """
    inside = inside_of(source)
    if inside is not None:
        families, complete = inside.families()
        return Look(families, time.time(), complete)
    snapshot = getattr(source, "snapshot", None)
    found: Snapshot = Snapshot.lenient(source) if snapshot is None else snapshot()
    return Look(found.families, found.time, True, found.findings, found.content_type)


def inside_of(source: object) -> Inside | None:
    """What a source knows of itself, if it is one of ours."""
    found: Inside | None = getattr(source, "inside", None)
    return found
