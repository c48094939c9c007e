"""All families in one answer: what each is, how large it is, and by what it grows; and what is wrong.

It is asked for every few seconds while somebody looks. Families are immutable, so a row is counted again only
if the family is another object than before. Bytes are those of Prometheus text: of a large family they are
estimated by some of its series.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.explorer.as_json import Json, exemplars_of, main_value, number, text
from otel_prom_bridge.explorer.looking import Look
from otel_prom_bridge.exposition import Exposer
from otel_prom_bridge.families import Kind, MetricFamily
from otel_prom_bridge.report.cardinality import samples_of
from otel_prom_bridge.report.facts import BudgetUse, Facts

_SAMPLE = 50  # series of a family that are written, to know its bytes
_GROWING = (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
# From here on a budget is said to be nearly used up.
_NEARLY = 0.8


class Rows:
    """The rows of families, each counted once for each state of its family."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[MetricFamily, Json]] = {}
        self._exposer = Exposer(findings=Findings(most=0))

    def one(self, family: MetricFamily) -> Json:
        """The row of one family."""
        known = self._known.get(family.name)
        row = known[1] if known is not None and known[0] is family else self._row(family)
        return {**row, "order": 0}

    def of(self, families: Sequence[MetricFamily]) -> list[Json]:
        """A row for each family, in their order."""
        known, now = self._known, {}
        for family in families:
            before = known.get(family.name)
            is_same = before is not None and before[0] is family
            now[family.name] = before if before and is_same else (family, self._row(family))
        self._known = now
        return [{**row, "order": order} for order, (_, row) in enumerate(now.values())]

    def _row(self, family: MetricFamily) -> Json:
        points = family.points
        created = [made for point in points if (made := getattr(point, "created", None)) is not None]
        return {
            "name": text(family.name),
            "type": family.kind.value,
            "unit": text(family.unit),
            "help": text(family.help),
            "series": len(points),
            "samples": samples_of(family),
            "bytes": self._bytes(family),
            "total": number(_total(family)),
            "grows": family.kind in _GROWING,
            "since": min(created, default=None),
            "exemplars": sum(bool(exemplars_of(point)) for point in points),
        }

    def _bytes(self, family: MetricFamily) -> int:
        points = family.points
        step = max(1, len(points) // _SAMPLE)
        some = replace(family, points=points[::step][:_SAMPLE])
        size = self._exposer.expose((some,), accept=None).pieces.size
        return round(size * len(points) / len(some.points)) if some.points else size


def _total(family: MetricFamily) -> float:
    values = map(main_value, family.points)
    return math.fsum(value for value in values if math.isfinite(value))


def overview(look: Look, rows: Rows, facts: Facts | None) -> Json:
    """What is here, how much of it, and what is wrong."""
    found = rows.of(look.families)
    if facts is not None:
        _mark(found, facts)
    return {
        "time": look.time,
        "complete": look.complete,
        "series": sum(row["series"] for row in found),
        "samples": sum(row["samples"] for row in found),
        "bytes": sum(row["bytes"] for row in found),
        "families": found,
        "target": _target(look),
        "problems": list(problems(look, facts)),
    }


def _target(look: Look) -> dict[str, str]:
    info = look.find("target_info") or look.find("target")
    pairs = dict(info.points[0].labels) if info is not None and info.points else {}
    return {text(name): text(value) for name, value in pairs.items()}


def _mark(rows: list[Json], facts: Facts) -> None:
    """Say of each family how much of it was folded, and how near it is to its limits."""
    folded: dict[str, int] = {}
    for (metric, _, _), points in facts.state.folded.items():
        folded[metric] = folded.get(metric, 0) + points
    used: dict[str, float] = {}
    for budget in facts.budgets:
        used[budget.family] = max(used.get(budget.family, 0.0), budget.used / budget.limit)
    for row in rows:
        name = row["name"]
        row["folded"] = folded.get(name, 0)
        row["overflowed"] = facts.state.overflowed.get(name, 0)
        row["used"] = used.get(name)


def problems(look: Look, facts: Facts | None) -> Iterator[Json]:
    """What is wrong, the worst first."""
    if not look.complete:
        yield _problem("error", "", "the answer is not complete: what failed shows what it said last")
    for finding in look.findings:
        yield _problem(finding.severity, finding.metric, finding.message, finding.hint)
    if facts is None:
        return
    yield from _failures(facts)
    for name, points in sorted(facts.state.overflowed.items(), key=lambda item: -item[1]):
        message = f"at its limit: {points:,} points are in the series otel_metric_overflow"
        yield _problem("warning", name, message, "drop or bound a label, or allow more series")
    yield from _nearly(facts.budgets, frozenset(facts.state.overflowed))
    for conflict in facts.conflicts:
        yield _problem("warning", conflict.metric, f"does not show {conflict.dropped}", conflict.reason)


def _failures(facts: Facts) -> Iterator[Json]:
    if facts.collections and facts.collections[-1].error:
        yield _problem("error", "", f"the last collection failed: {facts.collections[-1].error}")
    for failure in facts.failures:
        often = "once" if failure.times == 1 else f"{failure.times:,} times"
        error = f": {failure.error}" if failure.error else "; the log says why"
        message = f"a callback of {failure.instrument} failed {often}{error}"
        yield {**_problem("error", "", message), "time": failure.time}
    if facts.state.stuck:
        yield _problem("error", "", f"{facts.state.stuck} collectors of the registry do not answer")


def _nearly(budgets: Sequence[BudgetUse], over: frozenset[str]) -> Iterator[Json]:
    for budget in budgets:
        if budget.used >= _NEARLY * budget.limit and budget.family not in over:
            whose = "" if budget.family else f" of {budget.whose}"
            message = f"{budget.used:,} of the {budget.limit:,} {budget.unit}{whose} are in use"
            yield _problem("warning", budget.family, message, f"{budget.option} allows more")


def _problem(severity: str, family: str, message: str, hint: str = "") -> Json:
    return {"severity": severity, "family": text(family), "text": text(message), "hint": text(hint)}
