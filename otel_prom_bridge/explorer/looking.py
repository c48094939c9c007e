"""What there is to look at: a bridge's own families and what it knows of them, or anybody's exposition.

A source that has an ``inside`` is one of ours: it hands its families over as they are. Of anything else the
exposition is read, as a scraper reads it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from otel_prom_bridge.explorer.as_json import text
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.families import Labels, MetricFamily
from otel_prom_bridge.report.facts import Facts, FamilyOrigin
from otel_prom_bridge.snapshots import Finding, Snapshot


class Source(Protocol):
    """What is looked at. It may have an ``inside``, too."""

    @property
    def is_ready(self) -> bool: ...
    @property
    def is_healthy(self) -> bool: ...
    @property
    def is_shut_down(self) -> bool: ...
    def expose(self, accept: str | None = None) -> Exposition: ...


class View(Protocol):
    """A view as one writes it."""

    @property
    def python(self) -> str: ...
    @property
    def toml(self) -> str: ...


class Without(Protocol):
    """The views that leave labels out, and why there are none."""

    @property
    def views(self) -> Sequence[View]: ...
    @property
    def problem(self) -> str: ...


class Inside(Protocol):
    """What a bridge knows of itself; ``otel_prom_bridge.pipeline.inside`` has it."""

    def families(self) -> tuple[Sequence[MetricFamily], bool]: ...
    def facts(self) -> Facts: ...
    def origin(self, name: str, labels: Labels | None = None) -> FamilyOrigin: ...
    def attributes(self, name: str) -> Mapping[str, list[str]]: ...
    def without(self, name: str, labels: frozenset[str]) -> Without: ...


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


def look_at(source: Source) -> Look:
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
