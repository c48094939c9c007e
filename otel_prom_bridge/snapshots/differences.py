"""What is different between two snapshots: families, metadata, series, values, counters that went back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_prom_bridge.families import Kind, Labels, MetricFamily
from otel_prom_bridge.snapshots.quantities import Quantity, quantities

# Prometheus text and protobuf have gauges for these, and anything may be untyped.
_UNSAID = {Kind.INFO: Kind.GAUGE, Kind.STATESET: Kind.GAUGE}
_SHOWN = 10


class MetadataChange(NamedTuple):
    """A family whose ``what`` (type, unit or help) is another one."""

    metric: str
    what: str
    before: str
    after: str


class ValueChange(NamedTuple):
    """A number that is another one; ``before`` or ``after`` is None if its series is new or gone."""

    metric: str
    labels: Labels
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """All differences; false if there are none. ``str()`` is a text for people."""

    new_families: tuple[str, ...] = ()
    gone_families: tuple[str, ...] = ()
    metadata: tuple[MetadataChange, ...] = ()
    new_series: tuple[ValueChange, ...] = ()
    gone_series: tuple[ValueChange, ...] = ()
    values: tuple[ValueChange, ...] = ()
    resets: tuple[ValueChange, ...] = field(default=())

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__dataclass_fields__)

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "no difference"

    def lines(self, *, most: int | None = _SHOWN) -> Iterator[str]:
        """A line for each difference, at most so many of each kind."""
        yield from _some(self.new_families, most, lambda name: f"+ {name} is a new family", "new families")
        yield from _some(self.gone_families, most, lambda name: f"- {name} is gone", "families that are gone")
        yield from _some(self.metadata, most, _metadata_line, "changes of metadata")
        yield from _some(
            self.new_series, most, lambda item: f"+ {_series(item)} {_shown(item.after)}", "new series"
        )
        yield from _some(
            self.gone_series, most, lambda item: f"- {_series(item)} {_shown(item.before)}", "series gone"
        )
        yield from _some(
            self.resets, most, lambda item: f"! {_change(item)}: a counter that went back", "resets"
        )
        yield from _some(self.values, most, lambda item: f"~ {_change(item)}", "changed values")

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {name: [_as_json(item) for item in getattr(self, name)] for name in self.__dataclass_fields__}


def difference(
    before: tuple[MetricFamily, ...],
    after: tuple[MetricFamily, ...],
    *,
    compare_values: bool = True,
    is_said: bool = True,
    wanted: Callable[[str], object] = bool,
) -> Difference:
    """Compare the families whose name is ``wanted``.

    ``is_said`` is False if one of the formats has no units, and writes gauges for what it has no type for.
    """
    first = {family.name: family for family in before if wanted(family.name)}
    second = {family.name: family for family in after if wanted(family.name)}
    shared = [name for name in first if name in second]
    changes = _Changes()
    for name in shared:
        changes.metadata += _metadata(first[name], second[name], is_said=is_said)
        changes.compare(first[name], second[name], compare_values=compare_values)
    return Difference(
        tuple(name for name in second if name not in first),
        tuple(name for name in first if name not in second),
        tuple(changes.metadata),
        tuple(changes.new),
        tuple(changes.gone),
        tuple(changes.values),
        tuple(changes.resets),
    )


class _Changes:
    """What is found, family by family."""

    def __init__(self) -> None:
        self.metadata: list[MetadataChange] = []
        self.new: list[ValueChange] = []
        self.gone: list[ValueChange] = []
        self.values: list[ValueChange] = []
        self.resets: list[ValueChange] = []

    def compare(self, before: MetricFamily, after: MetricFamily, *, compare_values: bool) -> None:
        old, new = _by_series(before), _by_series(after)
        for key, item in new.items():
            was = old.get(key)
            if was is None:
                self.new.append(ValueChange(*key, None, item.value))
            elif item.grows and item.value < was.value:
                self.resets.append(ValueChange(*key, was.value, item.value))
            elif compare_values and not _same(was.value, item.value):
                self.values.append(ValueChange(*key, was.value, item.value))
        self.gone += [ValueChange(*key, item.value, None) for key, item in old.items() if key not in new]


def _by_series(family: MetricFamily) -> dict[tuple[str, Labels], Quantity]:
    return {(item.name, item.labels): item for item in quantities(family)}


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _metadata(before: MetricFamily, after: MetricFamily, *, is_said: bool) -> Iterator[MetadataChange]:
    kinds = [family.kind if is_said else _UNSAID.get(family.kind, family.kind) for family in (before, after)]
    if kinds[0] is not kinds[1] and (is_said or Kind.UNKNOWN not in kinds):
        yield MetadataChange(after.name, "type", before.kind.value, after.kind.value)
    if before.unit != after.unit and is_said:
        yield MetadataChange(after.name, "unit", before.unit, after.unit)
    if before.help != after.help:
        yield MetadataChange(after.name, "help", before.help, after.help)


def _some(items: tuple[Any, ...], most: int | None, line: Callable[[Any], str], what: str) -> Iterator[str]:
    shown = items[:most]
    yield from map(line, shown)
    if len(shown) < len(items):
        yield f"  … and {len(items) - len(shown):,} more {what}"


def _metadata_line(item: MetadataChange) -> str:
    return f"~ {item.metric}: the {item.what} was {item.before!r} and is {item.after!r}"


def series_text(name: str, labels: Labels) -> str:
    """A series as queries write it."""
    shown = ", ".join(f"{key}={value!r}" for key, value in labels)
    return f"{name}{{{shown}}}" if shown else name


def _series(item: ValueChange) -> str:
    return series_text(item.metric, item.labels)


def _change(item: ValueChange) -> str:
    return f"{_series(item)} was {_shown(item.before)} and is {_shown(item.after)}"


def _shown(value: float | None) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _as_json(item: object) -> object:
    if isinstance(item, ValueChange):
        return {**item._asdict(), "labels": dict(item.labels)}
    return item._asdict() if isinstance(item, MetadataChange) else item
