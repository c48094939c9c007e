"""What may be asked about a pipeline beyond an exposition: its families, how it is doing, and why.

This is the explorer's door. It collects as a scrape does, and reads the store for as long as that takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_prom_bridge.families import Labels, MetricFamily
from otel_prom_bridge.pipeline.collection import Collections
from otel_prom_bridge.pipeline.pipeline import Collected, Pipeline
from otel_prom_bridge.report.facts import Facts, FamilyOrigin, WorkerState
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.provenance import keys_of
from otel_prom_bridge.store.steps import label_of
from otel_prom_bridge.views.view import ExportView
from otel_prom_bridge.views.writing import Written, without_attributes, written

_SECONDS = 1.0  # that a question about the store may wait for a collection


class Without(NamedTuple):
    """The views that leave labels out, and what they cannot leave out, in words."""

    views: tuple[Written, ...]
    problem: str


class Inside:
    """Answers for one pipeline, whose points come by ``collect``.

    ``collections`` is where they are collected, if they are collected here. ``workers`` are those that push.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        collect: Callable[[float], Collected],
        *,
        collections: Collections | None = None,
        state: Callable[[State], State] = lambda state: state,
        workers: Callable[[], Iterable[WorkerState]] | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._collect = collect
        self._collections = collections
        self._state = state
        self._workers = workers

    def families(self) -> tuple[Sequence[MetricFamily], bool]:
        """Collect, and return what a scrape would get, and whether it would be complete."""
        return self._pipeline.gathered(timeout=None, collect=self._collect, state=self._state)

    def facts(self) -> Facts:
        """How it is doing. Collects nothing."""
        pipeline, collections = self._pipeline, self._collections
        recent = pipeline.self_metrics.recent
        interval = None if collections is None else collections.interval
        return Facts(
            state=self._state(pipeline.store.state()),
            maxima=pipeline.store.maxima(),
            budgets=pipeline.store.budgets(),
            conflicts=tuple(pipeline.findings.conflicts),
            said=tuple(pipeline.findings.said),
            collections=tuple(recent.collections),
            phases=dict(recent.phases),
            failures=tuple(recent.failures),
            interval=interval,
            due=collections.due - time.monotonic() if collections is not None and interval else None,
            workers=None if self._workers is None else tuple(self._workers()),
        )

    def origin(self, name: str, labels: Labels | None = None) -> FamilyOrigin:
        """Where a family comes from, and its series with these labels, step by step."""
        streams = self._pipeline.store.origin(name, labels, seconds=_SECONDS)
        return FamilyOrigin(name=name, streams=streams, labels=labels)

    def attributes(self, name: str) -> Mapping[str, list[str]]:
        """The attributes that become each label of a family."""
        found: dict[str, list[str]] = {}
        for record, projection in self._pipeline.store.feeding(name):
            for key in keys_of(record):
                if not projection.attribute_map.why_left_out(key):
                    known = found.setdefault(label_of(projection, key), [])
                    known += [key] if key not in known else []
        return found

    def without(self, name: str, labels: frozenset[str]) -> Without:
        """The views that show a family without these labels."""
        found: dict[Written, None] = {}
        problem = ""
        for record, projection in self._pipeline.store.feeding(name):
            keys = frozenset(key for key in keys_of(record) if label_of(projection, key) in labels)
            computed = labels & projection.view.compute.keys()
            if not keys and not computed:
                problem = "its scope, resource or worker gives the label, and no attribute"
                continue
            for view in self._views(record, projection, keys, computed):
                form = written(view)
                if not form.toml:
                    problem = f"{view.title} has a function that no file can hold: write drop there"
                found |= {form: None} if form.toml else {}
        return Without(tuple(found), "" if found else problem)

    def _views(
        self, record: StreamRecord, projection: Projection, keys: frozenset[str], computed: frozenset[str]
    ) -> list[ExportView]:
        """The views that a stream needs then: a view of the application's replaces all of the profile's."""
        tier, views = self._pipeline.policy.tier_of(record.key)
        changed = without_attributes(projection.view, keys, computed)
        if tier == "none":
            return [without_attributes(ExportView(instrument_name=record.key.name), keys, computed)]
        if tier == "own":
            return [changed]
        return [changed if view is projection.view else view for view in views]
