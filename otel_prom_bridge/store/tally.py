"""How much there is: series, folded points and places, counted over all streams when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable

from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import OVERFLOW, Projection
from otel_prom_bridge.store.series_budgets import SeriesBudgets


def counted(records: Iterable[StreamRecord]) -> State:
    """What may be different when something was taken in, or has got its place since."""
    series: dict[str, int] = {}
    overflowed: dict[str, int] = {}
    folded: dict[tuple[str, str, str], int] = {}
    dropped = exemplars = 0
    for record in records:
        for projection in record.projections:
            if projection.family is not None and projection.family.by_labels:
                series[projection.name] = len(projection.family.by_labels)
            dropped += projection.rejected
            exemplars += projection.exemplars_held
            if projection.folds:
                _count_folds(projection, overflowed, folded)
    return State(series=series, overflowed=overflowed, folded=folded, dropped=dropped, exemplars=exemplars)


def _count_folds(
    projection: Projection, overflowed: dict[str, int], folded: dict[tuple[str, str, str], int]
) -> None:
    """Add the points that it has folded to these."""
    for fold, counter in list(projection.folds.items()):
        if fold is OVERFLOW:
            overflowed[projection.name] = overflowed.get(projection.name, 0) + counter.points
        else:
            key = (projection.name, *fold)
            folded[key] = folded.get(key, 0) + counter.points


def maxima(records: Iterable[StreamRecord], budgets: SeriesBudgets) -> dict[str, int]:
    """The largest number of series that the rules and the limit of each metric allow."""
    feeding: dict[str, list[Projection]] = {}
    for record in records:
        for item in record.projections:
            if not item.rejected:
                feeding.setdefault(item.name, []).append(item)
    result = {}
    for name, projections in feeding.items():
        wanted = sum(item.wanted for item in projections)
        overflows = sum({item.overflow_key: item.overflow_values for item in projections}.values())
        result[name] = budgets.most(name, wanted=wanted, overflows=overflows)
    return result
