"""What a reader keeps in memory, which no exposition, report or self-metric shows.

Tests of leaks and of places that are given back have no other way to see it: what is left over is never shown
again, and costs nothing but memory. Everything else is tested by what users see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.exposition import Exposer
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series
from otel_prom_bridge.store.series_budgets import SeriesBudget
from otel_prom_bridge.store.store import Store


def store_of(reader: PrometheusMetricReader) -> Store:
    """The store of a reader."""
    return reader._pipeline.store


def lock_of_self_metrics(reader: PrometheusMetricReader) -> AbstractContextManager[object]:
    """What is held while something about the bridge itself is counted."""
    return reader.observer._lock


def state_of(reader: PrometheusMetricReader) -> State:
    """What self-metrics are made of; a reader without them has it, too, and asking collects nothing."""
    return store_of(reader).state()


def streams(store: Store) -> list[StreamRecord]:
    """What is known of each stream."""
    return list(store._origins.records())


def projections(store: Store) -> list[Projection]:
    """What streams are made into."""
    return [projection for record in streams(store) for projection in record.projections]


def series(store: Store) -> Iterator[Series]:
    """All series."""
    for projection in projections(store):
        yield from projection.series.values()


def remembered(store: Store) -> int:
    """How many attribute sets are remembered with what became of them."""
    return sum(len(record.by_texts) + len(record.by_items) for record in streams(store))


def forget_remembered(store: Store) -> None:
    """As if every attribute set came for the first time."""
    for record in streams(store):
        record.by_texts.clear()
        record.by_items.clear()


def waiting(store: Store) -> int:
    """How many series wait to be shown anew."""
    families = {projection.family for projection in projections(store)} - {None}
    return len(store._placing._waiting) + sum(len(family.stale) for family in families)


def budgets(store: Store) -> tuple[SeriesBudget, ...]:
    """The budgets of all families, all tenants and the bridge."""
    found = store._budgets
    return (*found._families.values(), *found._by_tenant.values(), *found._bridge)


def places(store: Store) -> list[int]:
    """How many places of each budget are taken."""
    return [budget.used for budget in budgets(store)]


def check_places(store: Store) -> None:
    """Every budget counts the series that are charged to it, and none holds more than its limit."""
    charged: Counter[int] = Counter()
    for each in series(store):
        for budget in each.room.budgets:
            charged[id(budget)] += each.room.lines if budget.unit == "lines" else 1
    for budget in (*budgets(store), *store._budgets._lines.values()):
        assert budget.used == charged[id(budget)] <= budget.limit


def rendered(reader: PrometheusMetricReader) -> list[str]:
    """What each writer of a reader keeps of what it has written."""
    return [str(encoder._memory.pages) for encoder in reader._pipeline._exposer._encoders.values()]


def most_pages(exposer: Exposer) -> int:
    """The largest number of families that a writer or an escaper of an exposer remembers."""
    both = (*exposer._encoders.values(), *exposer._escapers.values())
    return max(len(each._memory.pages) for each in both)
