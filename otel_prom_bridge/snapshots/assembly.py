"""The samples of a family → its points, and the rules that they have to keep with each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from otel_prom_bridge.families import (
    EXEMPLAR_CHARACTERS,
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    Labels,
    MetricFamily,
    Point,
    SummaryPoint,
    UnknownPoint,
    identity,
    is_legacy_label,
    is_legacy_name,
)
from otel_prom_bridge.snapshots.composite import composite
from otel_prom_bridge.snapshots.findings import Faults
from otel_prom_bridge.snapshots.groups import Group
from otel_prom_bridge.snapshots.lines import Sample, number_of

_Key: TypeAlias = tuple[Labels, float | None]
# The suffixes of the samples of each type. In Prometheus text a counter may be called anything.
_SAMPLES: dict[Kind, tuple[str, ...]] = {
    Kind.COUNTER: ("_total", "_created"),
    Kind.GAUGE: ("",),
    Kind.UNKNOWN: ("",),
    Kind.STATESET: ("",),
    Kind.INFO: ("_info",),
    Kind.HISTOGRAM: ("_bucket", "_count", "_sum", "_created"),
    Kind.GAUGE_HISTOGRAM: ("_bucket", "_gcount", "_gsum"),
    Kind.SUMMARY: ("", "_count", "_sum", "_created"),
}
_WITH_EXEMPLARS = ("_total", "_bucket")


def family_of(group: Group, faults: Faults) -> MetricFamily:
    """The family of these samples."""
    _check_names(group, faults)
    _check_exemplars(group, faults)
    name = _full_name(group)
    points = tuple(_distinct(_MAKERS[group.kind](group, faults), group, faults))
    return MetricFamily(
        name,
        group.kind,
        group.help,
        group.unit,
        points,
        foreign=is_foreign(name, points),
        shows_created=True,
    )


def is_foreign(name: str, points: Iterable[Point]) -> bool:
    """Whether a name in a family has to be escaped for scrapers that read only legacy names.

    What need not be escaped is passed on as it is, also what would collide with other families.
    """
    labels = {label for point in points for label, _ in point.labels}
    return not is_legacy_name(name) or not all(map(is_legacy_label, labels))


def _full_name(group: Group) -> str:
    suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(group.kind)
    if suffix is None or group.base.endswith(suffix):
        return group.base
    has_suffix = any(sample.name == group.base + suffix for sample in group.samples)
    return (
        group.base + suffix if has_suffix or (group.openmetrics == "1" and not group.samples) else group.base
    )


def _distinct(points: Iterable[Point], group: Group, faults: Faults) -> Iterator[Point]:
    lines: dict[_Key, int] = {}
    for number, point in enumerate(points):
        key = identity(point.labels), point.timestamp
        if key in lines:
            shown = ", ".join(f'{name}="{value}"' for name, value in point.labels)
            faults.error("duplicate", group.base, f"the series {{{shown}}} is there twice", line=group.line)
        else:
            lines[key] = number
            yield point


def _check_names(group: Group, faults: Faults) -> None:
    if group.openmetrics != "1":
        return
    allowed = {group.base + suffix for suffix in _SAMPLES[group.kind]}
    for name, line in {sample.name: sample.line for sample in reversed(group.samples)}.items():
        if name not in allowed:
            message = f"a {group.kind.value} has no sample of the name {name}"
            hint = f"it has {', '.join(sorted(allowed))}"
            faults.error("sample-name", group.base, message, line=line, hint=hint)
    if group.unit and not group.base.endswith(f"_{group.unit}"):
        message = f"the unit {group.unit} is not the end of its name"
        faults.error("unit", group.base, message, line=group.line)
    if group.unit and group.kind in (Kind.INFO, Kind.STATESET):
        faults.error("unit", group.base, f"a {group.kind.value} has no unit", line=group.line)


def _check_exemplars(group: Group, faults: Faults) -> None:
    for sample in group.samples:
        for item in sample.exemplars:
            if not group.openmetrics:
                faults.error("exemplar", group.base, "Prometheus text has no exemplars", line=sample.line)
            elif group.openmetrics == "1" and not sample.name.endswith(_WITH_EXEMPLARS):
                message = f"only {' and '.join(_WITH_EXEMPLARS)} have exemplars"
                faults.error("exemplar", group.base, message, line=sample.line)
            if (size := sum(len(name) + len(value) for name, value in item.labels)) > EXEMPLAR_CHARACTERS:
                message = f"an exemplar of {size} characters; {EXEMPLAR_CHARACTERS} are allowed"
                faults.error("exemplar", group.base, message, line=sample.line)


def _simple(sample: Sample, faults: Faults) -> float:
    if isinstance(sample.value, str):
        message = "a composite value, which only histograms and summaries have"
        faults.error("value", sample.name, message, line=sample.line)
        return math.nan
    return sample.value


def _counters(group: Group, faults: Faults) -> Iterator[Point]:
    created = {_key(item): item.value for item in group.samples if _is_created(item, group)}
    for sample in group.samples:
        if _is_created(sample, group):
            continue
        value = _simple(sample, faults)
        if not value >= 0:
            faults.error("value", group.base, f"a counter of {value}", line=sample.line)
        start = created.get(_key(sample), sample.start)
        exemplar = sample.exemplars[0] if sample.exemplars else None
        yield CounterPoint(sample.labels, value, exemplar, _number(start), sample.time)


def _is_created(sample: Sample, group: Group) -> bool:
    return sample.name.endswith("_created") and sample.name != group.base


def _number(value: float | str | None) -> float | None:
    return value if value is not None and not isinstance(value, str) else None


def _gauges(group: Group, faults: Faults) -> Iterator[Point]:
    for sample in group.samples:
        yield GaugePoint(sample.labels, _simple(sample, faults), timestamp=sample.time)


def _states(group: Group, faults: Faults) -> Iterator[Point]:
    for sample in group.samples:
        value = _simple(sample, faults)
        if value not in (0, 1):
            faults.error("value", group.base, f"a state of {value}; it is 0 or 1", line=sample.line)
        if not any(name == group.base for name, _ in sample.labels):
            message = f"a stateset without the label {group.base}"
            faults.error("label", group.base, message, line=sample.line)
        yield GaugePoint(sample.labels, value, timestamp=sample.time)


def _unknowns(group: Group, faults: Faults) -> Iterator[Point]:
    for sample in group.samples:
        yield UnknownPoint(sample.labels, _simple(sample, faults), sample.time)


def _infos(group: Group, faults: Faults) -> Iterator[Point]:
    for sample in group.samples:
        if _simple(sample, faults) != 1:
            faults.error("value", group.base, f"an info of {sample.value}; it is 1", line=sample.line)
        yield InfoPoint(sample.labels, sample.time)


@dataclass(slots=True)
class _Parts:
    """The samples of one histogram or summary, put together."""

    line: int
    limits: dict[float, float] = field(default_factory=dict)
    exemplars: dict[float, Exemplar] = field(default_factory=dict)
    sum: float | None = None
    count: float | None = None
    created: float | None = None
    is_ascending: bool = True
    whole: list[Sample] = field(default_factory=list)


def _put_together(group: Group, label: str, faults: Faults) -> dict[_Key, _Parts]:
    found: dict[_Key, _Parts] = {}
    limits: dict[str, float | None] = {}
    order = _Together(group, faults)
    for sample in group.samples:
        is_limit = sample.name == group.base + ("_bucket" if label == "le" else "")
        key = _key(sample, without=label) if is_limit else _key(sample)
        order.enter(key, sample)
        parts = found.get(key)
        if parts is None:
            parts = found[key] = _Parts(sample.line)
        if isinstance(sample.value, str):
            parts.whole.append(sample)
        elif is_limit:
            _put_limit(sample, parts, label, limits, group, faults)
        else:
            _put_total(sample, parts, group, faults)
    return found


class _Together:
    """Notices where the samples of a series do not stand together, as OpenMetrics wants them to."""

    def __init__(self, group: Group, faults: Faults) -> None:
        self._group = group
        self._faults = faults
        self._key: _Key | None = None
        self._seen: set[_Key] = set()
        self._labels: set[Labels] = set()

    def enter(self, key: _Key, sample: Sample) -> None:
        """The next sample is of this series, and has this timestamp."""
        if key == self._key or not self._group.openmetrics:
            return
        is_same_series = self._key is not None and self._key[0] == key[0]
        if key in self._seen or (key[0] in self._labels and not is_same_series):
            message = "the samples of a series do not stand together"
            self._faults.error("interleaved", self._group.base, message, line=sample.line)
        self._key = key
        self._seen.add(key)
        self._labels.add(key[0])


def _put_total(sample: Sample, parts: _Parts, group: Group, faults: Faults) -> None:
    assert not isinstance(sample.value, str)
    suffix = sample.name.removeprefix(group.base)
    field = {"_sum": "sum", "_gsum": "sum", "_count": "count", "_gcount": "count", "_created": "created"}.get(
        suffix
    )
    if field is None:
        message = f"a {group.kind.value} has no sample of the name {sample.name}"
        faults.error("sample-name", group.base, message, line=sample.line)
    elif getattr(parts, field) is not None:
        faults.error("duplicate", group.base, f"{sample.name} is there twice", line=sample.line)
    else:
        setattr(parts, field, sample.value)


def _put_limit(
    sample: Sample, parts: _Parts, label: str, limits: dict[str, float | None], group: Group, faults: Faults
) -> None:
    assert not isinstance(sample.value, str)
    text = next((value for name, value in sample.labels if name == label), "")
    if text not in limits:
        limits[text] = _limit(text)
    limit = limits[text]
    if limit is None:
        message = f"the label {label} is {text!r}, which is no number" if text else f"no label {label}"
        faults.error("label", group.base, message, line=sample.line)
        return
    if limit in parts.limits:
        faults.error("duplicate", group.base, f'the series {label}="{text}" is there twice', line=sample.line)
        return
    if parts.limits and limit < next(reversed(parts.limits)):
        parts.is_ascending = False
    parts.limits[limit] = sample.value
    if sample.exemplars:
        parts.exemplars[limit] = sample.exemplars[0]


def _limit(text: str) -> float | None:
    try:
        value = float(number_of(text))
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _histograms(group: Group, faults: Faults) -> Iterator[Point]:
    for (labels, time), parts in _put_together(group, "le", faults).items():
        for sample in parts.whole:
            yield from composite(sample, group.kind, faults)
        if parts.whole:
            continue
        _check_buckets(group, parts, faults)
        if math.inf not in parts.limits:
            parts.limits[math.inf] = max(parts.count or 0, max(parts.limits.values(), default=0))
        limits = sorted(parts.limits)
        totals = [_whole(parts.limits[limit]) for limit in limits]
        counts = tuple(after - before for before, after in zip([0, *totals], totals, strict=False))
        exemplars = tuple(parts.exemplars.get(limit) for limit in limits) if parts.exemplars else ()
        yield HistogramPoint(labels, tuple(limits[:-1]), counts, parts.sum, exemplars, parts.created, time)


def _whole(value: float) -> int:
    return int(value) if math.isfinite(value) else 0


def _check_buckets(group: Group, parts: _Parts, faults: Faults) -> None:
    def fault(text: str) -> None:
        faults.error("buckets", group.base, text, line=parts.line)

    if not parts.limits:
        fault("a histogram without buckets")
        return
    if math.inf not in parts.limits:
        fault('the bucket le="+Inf" is missing')
    if not parts.is_ascending:
        fault("buckets that are not in the order of their bounds")
    totals = [parts.limits[limit] for limit in sorted(parts.limits)]
    if any(after < before for before, after in pairwise(totals)):
        fault("a bucket has fewer observations than the one before, but buckets are cumulative")
    if not all(math.isfinite(total) and total >= 0 for total in totals):
        fault("a bucket whose number of observations is none")
    if parts.count is not None and parts.count != parts.limits.get(math.inf, parts.count):
        fault(f'the count is {parts.count}, and the bucket le="+Inf" is {parts.limits[math.inf]}')
    if (parts.count is None) != (parts.sum is None):
        fault("a count without a sum, or a sum without a count")


def _summaries(group: Group, faults: Faults) -> Iterator[Point]:
    for (labels, time), parts in _put_together(group, "quantile", faults).items():
        for sample in parts.whole:
            yield from composite(sample, group.kind, faults)
        if parts.whole:
            continue
        if any(not 0 <= quantile <= 1 for quantile in parts.limits):
            faults.error("label", group.base, "a quantile that is not between 0 and 1", line=parts.line)
        quantiles = tuple(sorted(parts.limits.items()))
        yield SummaryPoint(labels, quantiles, parts.sum, parts.count, parts.created, time)


_MAKERS: dict[Kind, Callable[[Group, Faults], Iterator[Any]]] = {
    Kind.COUNTER: _counters,
    Kind.GAUGE: _gauges,
    Kind.STATESET: _states,
    Kind.UNKNOWN: _unknowns,
    Kind.INFO: _infos,
    Kind.HISTOGRAM: _histograms,
    Kind.GAUGE_HISTOGRAM: _histograms,
    Kind.SUMMARY: _summaries,
}


def _key(sample: Sample, *, without: str = "") -> _Key:
    if not without:
        return sample.labels, sample.time
    return tuple([pair for pair in sample.labels if pair[0] != without]), sample.time
