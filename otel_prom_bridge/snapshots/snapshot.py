"""A snapshot: what an exposition said at one time, in any format, ours or anybody's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.exposition import Exposer, Exposition, Format, WriterOptions
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots.differences import Difference, difference
from otel_prom_bridge.snapshots.fetching import DEFAULT_TIMEOUT, decompressed, fetch
from otel_prom_bridge.snapshots.findings import Finding
from otel_prom_bridge.snapshots.reading import read

# The only format that says everything that a snapshot knows.
_SAVED = Format.OPENMETRICS_2_0_0.value + "; escaping=allow-utf-8"
# A reader that does not write it has OpenMetrics 1.0, where native histograms are classic ones.
_ASKED = f"{_SAVED}, {Format.OPENMETRICS_1_0_0.value}; escaping=allow-utf-8;q=0.9"


@runtime_checkable
class Exposes(Protocol):
    """What gives an exposition, as a ``PrometheusMetricReader`` and a ``Bridge``'s reader do."""

    def expose(self, accept: str | None = None) -> Exposition:
        """The exposition for an Accept header."""
        ...


SnapshotSource: TypeAlias = "Exposes | Exposition | str | os.PathLike[str] | bytes"


@dataclass(frozen=True)
class Snapshot:
    """The families of an exposition, and when it was taken, in seconds since the epoch.

    ``findings`` is what is wrong with the exposition. What cannot be read at all is an error of :meth:`of`.
    """

    families: tuple[MetricFamily, ...]
    time: float
    content_type: str = ""
    findings: tuple[Finding, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        source: SnapshotSource,
        *,
        content_type: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """The snapshot of a reader, an exposition, a URL, the path of a file, or bytes.

        ``content_type`` says in which format bytes are, if they do not say it themselves. ``timeout`` and
        ``headers`` are for URLs.

        Raises:
            ExpositionError: it cannot be had, or a line of it cannot be read.
        """
        snapshot = cls.lenient(source, content_type=content_type, timeout=timeout, headers=headers)
        for finding in snapshot.findings:
            if finding.rule == "syntax":
                raise ExpositionError(f"{_named(source)}{_complaint(finding)}")
        return snapshot

    @classmethod
    def lenient(
        cls,
        source: SnapshotSource,
        *,
        content_type: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """The same, but lines that cannot be read are left out, and are among the findings."""
        match source:
            case bytes():
                body = decompressed(source)
            case Exposition():
                body, content_type = source.body, source.content_type
            case str() | os.PathLike():
                body, said = fetch(os.fspath(source), timeout=timeout, headers=headers)
                content_type = content_type or said
            case _:
                exposition = source.expose(_ASKED)
                body, content_type = exposition.body, exposition.content_type
        found = read(body, content_type)
        return cls(found.families, time.time(), found.content_type, found.findings)

    @classmethod
    def of_families(cls, families: Iterable[MetricFamily]) -> Snapshot:
        """The snapshot of families that are there already."""
        return cls(tuple(families), time.time())

    @cached_property
    def by_name(self) -> dict[str, MetricFamily]:
        """The families by name."""
        return {family.name: family for family in self.families}

    def expose(self, accept: str | None = None, *, names: Iterable[str] = ()) -> Exposition:
        """The snapshot as an exposition in the format that an Accept header asks for."""
        return _EXPOSER.expose(self.families, accept=accept, names=names)

    def diff(
        self, other: Snapshot, *, compare_values: bool = True, wanted: Callable[[str], object] = bool
    ) -> Difference:
        """What is different in ``other``, which is the later one. ``wanted`` says which families count."""
        return difference(
            self.families,
            other.families,
            compare_values=compare_values,
            is_said=all(map(_says_everything, (self.content_type, other.content_type))),
            wanted=wanted,
        )

    def complete(self) -> Exposition:
        """The snapshot as OpenMetrics 2.0, which loses nothing."""
        return self.expose(_SAVED)

    def text(self) -> str:
        """The snapshot as text, families and series in their order by name: what diffs well."""
        ordered = sorted(self.families, key=lambda family: family.name)
        return Snapshot(tuple(map(_ordered, ordered)), self.time).complete().body.decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, from which :meth:`of` reads it again: OpenMetrics 2.0, which loses nothing."""
        Path(path).write_text(self.text(), encoding="utf-8")


_EXPOSER = Exposer(
    findings=Findings(),
    options=WriterOptions(created=True, openmetrics_2=True),
)


def _says_everything(content_type: str) -> bool:
    return content_type in ("", _SAVED) or content_type.startswith("application/openmetrics")


def _ordered(family: MetricFamily) -> MetricFamily:
    points = sorted(family.points, key=lambda point: (point.labels, point.timestamp or 0))
    return replace(family, points=tuple(points))


def _named(source: object) -> str:
    return f"{os.fspath(source)}: " if isinstance(source, str | os.PathLike) else ""


def _complaint(finding: Finding) -> str:
    place = f"line {finding.line}: " if finding.line else ""
    return f"{place}{finding.message}"
