"""Which labels make the series, what limits folded away, and what would be without a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

from otel_prom_bridge.explorer.as_json import Json, text
from otel_prom_bridge.explorer.looking import Look
from otel_prom_bridge.families import Labels, MetricFamily, identity
from otel_prom_bridge.report.cardinality import MetricCardinality, of_family
from otel_prom_bridge.report.facts import BudgetUse, Facts

if TYPE_CHECKING:
    from otel_prom_bridge.pipeline.inside import Inside

_VALUES = 20
_FAMILIES, _LARGEST = 20, 12
# Of so many labels of series it is counted what there would be without each label: a second, at worst.
_COUNTED = 1_000_000


class Counted:
    """The labels of families, counted once for each state of a family."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[MetricFamily, MetricCardinality]] = {}

    def of(self, family: MetricFamily) -> MetricCardinality:
        """The labels of a family."""
        known = self._known.get(family.name)
        if known is None or known[0] is not family:
            if len(self._known) > 2 * _FAMILIES:
                self._known.clear()
            known = self._known[family.name] = (family, of_family(family, values=_VALUES))
        return known[1]


def largest(look: Look, counted: Counted, facts: Facts | None) -> Json:
    """The labels that make the most series, of the largest families, and all budgets."""
    families = nlargest(_FAMILIES, look.families, key=lambda family: len(family.points))
    found: list[Json] = []
    for family in families:
        count = counted.of(family)
        for label in count.labels[:3]:
            row = {"family": text(family.name), "label": text(label.name), "values": label.values}
            found.append({**row, "series": count.series})
    found.sort(key=lambda row: (-row["values"], -row["series"]))
    return {
        "labels": found[:_LARGEST],
        "budgets": [_budget(item) for item in facts.budgets] if facts is not None else [],
    }


def of_one(
    family: MetricFamily, counted: Counted, inside: Inside | None, facts: Facts | None, without: Sequence[str]
) -> Json:
    """The labels of one family, and what there would be without some of them."""
    count = counted.of(family)
    attributes = inside.attributes(family.name) if inside is not None else {}
    most = _COUNTED // max(1, len(family.points))
    result: Json = {
        "family": text(family.name),
        "series": count.series,
        "samples": count.samples,
        "overflow_series": count.overflow_series,
        "labels": [
            {
                "name": text(label.name),
                "values": label.values,
                "biggest": [{"value": text(value), "series": series} for value, series in label.biggest],
                "without": _remaining(family, {label.name}) if number < most else None,
                "attributes": [text(key) for key in attributes.get(label.name, [])],
            }
            for number, label in enumerate(count.labels)
        ],
        "maximum": None,
        "budgets": [],
        "folded": [],
        "overflowed": 0,
    }
    if facts is not None:
        result |= _limits(family.name, facts)
    if without:
        result["what_if"] = _what_if(family, count.series, inside, frozenset(without))
    return result


def _limits(name: str, facts: Facts) -> Json:
    return {
        "maximum": facts.maxima.get(name),
        "budgets": [_budget(item) for item in facts.budgets if item.family in (name, "")],
        "folded": [
            {"label": text(label), "rule": text(rule), "points": points}
            for (metric, label, rule), points in facts.state.folded.items()
            if metric == name
        ],
        "overflowed": facts.state.overflowed.get(name, 0),
    }


def _budget(item: BudgetUse) -> Json:
    return {**item._asdict(), "family": text(item.family)}


def _remaining(family: MetricFamily, without: Iterable[str]) -> int:
    """How many series there would be without these labels."""
    left = frozenset(without)

    def kept(pairs: Labels) -> Labels:
        return tuple([pair for pair in pairs if pair[0] not in left])

    return len({kept(identity(point.labels)) for point in family.points})


def _what_if(family: MetricFamily, before: int, inside: Inside | None, without: frozenset[str]) -> Json:
    result: Json = {
        "labels": [text(label) for label in sorted(without)],
        "before": before,
        "series": _remaining(family, without),
        "python": "",
        "toml": "",
        "problem": "",
    }
    found = inside.without(family.name, without) if inside is not None else None
    if found is None or not found.views:
        other = "it comes from no instrument of OpenTelemetry, so no view can do it; a query can"
        return {**result, "problem": other if found is None else found.problem or other}
    shown = ",\n".join(view.python for view in found.views)
    indented = shown.replace("\n", "\n    ")
    python = f"from otel_prom_bridge import ExportView\n\nviews = [\n    {indented},\n]\n"
    return {**result, "python": python, "toml": "\n".join(view.toml for view in found.views)}
