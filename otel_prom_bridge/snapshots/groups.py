"""Samples → the families that they belong to.

A family is known by its TYPE line; what its samples are called follows from the type. Some exporters leave
the type out, and Prometheus' federation makes everything untyped, so buckets say by their label ``le`` that
they belong to a histogram. In Prometheus text, ``prometheus_client`` writes start times as gauges of their
own (``x_created``); they belong to the family ``x``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_prom_bridge.families import Kind
from otel_prom_bridge.snapshots.findings import Faults
from otel_prom_bridge.snapshots.lines import Lines, Metadata, Sample

# The suffixes of the names of samples, and the types whose samples have them.
_SUFFIXES: dict[str, tuple[Kind, ...]] = {
    "_total": (Kind.COUNTER,),
    "_info": (Kind.INFO,),
    "_bucket": (Kind.HISTOGRAM, Kind.GAUGE_HISTOGRAM),
    "_count": (Kind.HISTOGRAM, Kind.SUMMARY, Kind.GAUGE_HISTOGRAM),
    "_sum": (Kind.HISTOGRAM, Kind.SUMMARY, Kind.GAUGE_HISTOGRAM),
    "_gcount": (Kind.GAUGE_HISTOGRAM,),
    "_gsum": (Kind.GAUGE_HISTOGRAM,),
    "_created": (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY),
}
_KINDS = {kind.value: kind for kind in Kind} | {"untyped": Kind.UNKNOWN}
# What Prometheus text has no sample for in the family itself is a gauge beside it.
_COMPANIONS = ("_created", "_gcount", "_gsum")
_TEXT_KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}


@dataclass(slots=True)
class Group:
    """A family as it is written: ``base`` is the name in its TYPE line.

    ``openmetrics`` is the main number of the version, and empty for Prometheus text.
    """

    base: str
    kind: Kind
    help: str = ""
    unit: str = ""
    line: int = 0
    openmetrics: str = ""
    samples: list[Sample] = field(default_factory=list)


def grouped(lines: Lines, *, openmetrics: str, faults: Faults) -> list[Group]:
    """The families in the order in which they begin. What has metadata but no samples is one, too."""
    groups = {
        name: Group(
            name,
            _kind(name, said, openmetrics=bool(openmetrics), faults=faults),
            said.help or "",
            said.unit or "",
            said.line,
        )
        for name, said in lines.metadata.items()
    }
    _recognise(lines.samples, lines.metadata, groups)
    if not openmetrics:
        _recognise_gauge_histograms(groups)
    order = _Order(lines.metadata, faults)
    places: dict[str, Group] = {}
    for sample in lines.samples:
        place = places.get(sample.name)
        if place is None:
            place = places[sample.name] = _owner(sample, groups)
        if place is not order.current:
            order.enter(place, sample)
        place.samples.append(sample)
    _join_parts(groups, places)
    for group in groups.values():
        group.openmetrics = openmetrics
    return sorted(groups.values(), key=lambda group: group.line)


def _kind(name: str, said: Metadata, *, openmetrics: bool, faults: Faults) -> Kind:
    if said.kind is None:
        return Kind.UNKNOWN
    allowed = set(_KINDS) - {"untyped"} if openmetrics else _TEXT_KINDS
    if said.kind not in allowed:
        what = ", ".join(sorted(allowed))
        faults.error("type", name, f"there is no type {said.kind!r}; there are {what}", line=said.line)
    return _KINDS.get(said.kind, Kind.UNKNOWN)


def _recognise(samples: list[Sample], metadata: dict[str, Metadata], groups: dict[str, Group]) -> None:
    """Find the histograms of which nobody said that they are some."""
    for sample in samples:
        if sample.name.endswith("_bucket") and any(name == "le" for name, _ in sample.labels):
            base = sample.name.removesuffix("_bucket")
            own = groups.get(sample.name)
            if own is not None and own.kind is not Kind.UNKNOWN:
                continue
            if base not in groups or (base not in metadata and groups[base].kind is Kind.UNKNOWN):
                line = own.line if own is not None else sample.line
                groups[base] = Group(base, Kind.HISTOGRAM, own.help if own else "", line=line)


def _recognise_gauge_histograms(groups: dict[str, Group]) -> None:
    for name, group in groups.items():
        base = groups.get(name.removesuffix("_gcount"))
        if base is None or base is group:
            continue
        if group.kind is Kind.GAUGE and base.kind is Kind.HISTOGRAM:
            base.kind = Kind.GAUGE_HISTOGRAM


def _owner(sample: Sample, groups: dict[str, Group]) -> Group:
    name = sample.name
    own = groups.get(name)
    if own is not None and own.kind is not Kind.UNKNOWN and not _may_be_companion(own):
        return own
    for suffix, kinds in _SUFFIXES.items():
        base = name.removesuffix(suffix)
        if base == name:
            continue
        for owner in (base, f"{base}_total") if suffix == "_created" else (base,):
            if owner in groups and groups[owner].kind in kinds:
                return groups[owner]
    if own is None:
        own = groups[name] = Group(name, Kind.UNKNOWN, line=sample.line)
    return own


def _may_be_companion(group: Group) -> bool:
    return group.kind is Kind.GAUGE and group.base.endswith(_COMPANIONS)


def _join_parts(groups: dict[str, Group], places: dict[str, Group]) -> None:
    """Leave out the families whose samples went to another one, such as ``x_created`` and ``x_bucket``."""
    for name, place in places.items():
        if name in groups and groups[name] is not place and not groups[name].samples:
            del groups[name]


class _Order:
    """Notices what stands where it may not: samples of a family in two places, and metadata after them."""

    def __init__(self, metadata: dict[str, Metadata], faults: Faults) -> None:
        self._metadata = metadata
        self._faults = faults
        self._left: set[int] = set()
        self.current: Group | None = None

    def enter(self, group: Group, sample: Sample) -> None:
        """Another family begins."""
        if self.current is not None:
            self._left.add(id(self.current))
        if id(group) in self._left and self._is_one(group, sample):
            message = "its samples stand in two places, with those of another family in between"
            self._faults.error("interleaved", group.base, message, line=sample.line)
        said = self._metadata.get(group.base)
        if not group.samples and said is not None and said.line > sample.line:
            self._faults.error("metadata", group.base, "TYPE, HELP or UNIT after its samples", line=said.line)
        if not group.line:
            group.line = sample.line
        self.current = group

    def _is_one(self, group: Group, sample: Sample) -> bool:
        # Start times that are gauges of their own, and parts of an untyped histogram, stand by themselves.
        return sample.name == group.base or sample.name not in self._metadata
