"""Finding a number among families, and saying what there was if it is not there.

A name may be that of a family or of one of its samples: ``http_seconds`` is a histogram, and
``http_seconds_count`` is its count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import NamedTuple

from otel_prom_bridge.families import Kind, Labels, MetricFamily
from otel_prom_bridge.snapshots.differences import series_text
from otel_prom_bridge.snapshots.quantities import Quantity, quantities

_SHOWN = 8
# What adds up over series. Of current values there is one for each series.
_ADDITIVE = (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)


class NoMetricError(AssertionError):
    """There is no such metric, or no such series of it. The message says what there is."""


class Found(NamedTuple):
    """The numbers of a name, those that have the labels that were asked for, and the family."""

    family: MetricFamily
    numbers: tuple[Quantity, ...]


def find(families: Sequence[MetricFamily], name: str, labels: Mapping[str, object]) -> Found:
    """The numbers of this name that have these labels.

    Raises:
        NoMetricError: there are none.
    """
    wanted = {key: str(value) for key, value in labels.items()}
    of_name: list[Quantity] = []
    owner: MetricFamily | None = None
    for family in families:
        if name.startswith(family.name):
            found = [item for item in quantities(family) if item.name == name]
            if found:
                owner, of_name = family, found
    if owner is None:
        raise NoMetricError(_no_such_name(families, name))
    matching = tuple(item for item in of_name if _has(item.labels, wanted))
    if not matching:
        raise NoMetricError(_no_such_series(name, wanted, of_name))
    return Found(owner, matching)


def total(found: Found, name: str, labels: Mapping[str, object]) -> float:
    """The one number, or the sum of those that add up.

    Raises:
        NoMetricError: there are several current values, which do not add up to anything.
    """
    if len(found.numbers) == 1:
        return found.numbers[0].value
    if found.family.kind in _ADDITIVE and not any(key in ("le", "quantile") for key in _keys(found, labels)):
        return sum(item.value for item in found.numbers)
    shown = "\n".join(_listed(found.numbers))
    raise NoMetricError(
        f"{len(found.numbers)} series of {name} have these labels, and their values do not add up; say which "
        f"one is meant:\n{shown}"
    )


def _keys(found: Found, labels: Mapping[str, object]) -> set[str]:
    return {key for item in found.numbers for key, _ in item.labels} - labels.keys()


def _has(labels: Labels, wanted: Mapping[str, str]) -> bool:
    own = dict(labels)
    return all(own.get(key, "") == value for key, value in wanted.items())


def _no_such_name(families: Sequence[MetricFamily], name: str) -> str:
    names = [family.name for family in families]
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if family := next((item for item in families if item.name == name), None):
        return _no_plain_number(family)
    if not names:
        return f"there is no metric {name!r}; nothing was recorded at all"
    first = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    rest = [item for item in names if item not in near]
    shown = ", ".join((near + rest)[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"there is no metric {name!r}{first}\nthere are: {shown}"


def _no_plain_number(family: MetricFamily) -> str:
    if not family.points:
        return f"{family.name!r} has no series yet"
    samples = sorted({item.name for item in quantities(family)})
    return f"{family.name!r} is a {family.kind.value}; ask for {', '.join(samples)}, or with histogram()"


def _no_such_series(name: str, wanted: Mapping[str, str], numbers: Sequence[Quantity]) -> str:
    ranked = sorted(numbers, key=lambda item: -_likeness(item.labels, wanted))
    asked = series_text(name, tuple(wanted.items()))
    shown = "\n".join(_listed(ranked, wanted))
    return f"no series is {asked}; those of {name}, most alike first:\n{shown}"


def _likeness(labels: Labels, wanted: Mapping[str, str]) -> float:
    own = dict(labels)
    return sum(SequenceMatcher(None, own.get(key, ""), value).ratio() for key, value in wanted.items())


def _listed(numbers: Sequence[Quantity], wanted: Mapping[str, str] | None = None) -> Iterator[str]:
    for item in numbers[:_SHOWN]:
        yield f"  {series_text(item.name, item.labels)} {item.value}{_unlike(item.labels, wanted or {})}"
    if len(numbers) > _SHOWN:
        yield f"  … and {len(numbers) - _SHOWN:,} more"


def _unlike(labels: Labels, wanted: Mapping[str, str]) -> str:
    own = dict(labels)
    unlike = [
        f"{key} is {own[key]!r}, not {value!r}" if key in own else f"no label {key}"
        for key, value in wanted.items()
        if own.get(key, "") != value
    ]
    return f"   ({'; '.join(unlike)})" if unlike else ""
