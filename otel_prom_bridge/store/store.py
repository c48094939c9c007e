"""The accumulated series of one reader. Owns the only lock of the pipeline.

Two steps, kept apart on purpose:

1. ``apply`` takes what one collection of the SDK brought and adds it to the series' state. It looks a
   series up by its raw attributes; what a view makes of those is decided the first time they are seen, and
   no label of a series is translated: the deltas are safe before anything can go wrong.
2. ``families`` gives every series that changed a place in a family (translating its labels the first time
   it is seen) and freezes it.

So both cost what *changed* since the last time. The recording path does not know the lock. Under it runs
code of the application: computed labels and rules of its own, the resource filter, log and signal handlers.
Where that takes long, a scrape gets the last state in time; where it comes back to the store, it gets that
at once instead of waiting for itself.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, cast

from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import Kind, MetricFamily
from otel_prom_bridge.points import SourcePoint, Stream
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.budgets import Budgets
from otel_prom_bridge.store.expiry import Expiry
from otel_prom_bridge.store.growing import Catalog, Slot
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import OVERFLOW, Projection
from otel_prom_bridge.store.series import Series, Target
from otel_prom_bridge.store.target import TargetInfo
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.values.checks import LONGEST_WAIT
from otel_prom_bridge.views.policy import Policy

_MOMENT = 10_000_000_000  # nanoseconds
_KEPT_SECONDS = 300.0  # that Prometheus shows what it cannot get any more; we what failing callbacks said
_Batch: TypeAlias = Iterable[tuple[Stream, Sequence[SourcePoint]]]
_Resource: TypeAlias = Mapping[str, object] | None
_Failing: TypeAlias = Collection[str] | None  # names of instruments; None where nobody knows


class Store:
    """Accumulates points and shows them as families. Safe to use from any thread.

    ``policy`` says what becomes of a stream. ``clock`` gives seconds, by which series expire.
    """

    def __init__(
        self,
        *,
        translation: Translation,
        policy: Policy,
        findings: Findings,
        target_info: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translation = translation
        self._policy = policy
        self._budgets = Budgets(max_series=policy.max_series, tenants=policy.tenant)
        self._expiry = None if policy.expire_after is None else Expiry(policy.expire_after, clock)
        self._findings = findings
        self._target = TargetInfo(translation, findings, info=target_info)
        self._lock = threading.Lock()
        self._catalog = Catalog(findings)
        if target_info:
            self._catalog.claim("target_info", Kind.INFO)
        self._streams: dict[Stream, StreamRecord] = {}
        self._collection = 0
        self._failing: _Failing = ()
        self._keeping = Expiry(_KEPT_SECONDS, clock)
        self._changed: list[Target] = []
        self._time = 0  # of the latest collection, in nanoseconds since the epoch
        self._owner: int | None = None  # the thread that has the lock
        self._deferred: list[tuple[_Batch, _Resource, _Failing]] = []
        self._shown: tuple[MetricFamily, ...] = ()

    def apply(self, batch: _Batch, *, resource: _Resource = None, failing: _Failing = ()) -> None:
        """Take in one whole collection.

        A stream whose points are current values (asynchronous instruments) and that is missing in the batch
        has no series any more. Of instruments that are ``failing`` (None: any of them may be) the batch has
        not everything, and a series of which something is missing stays as it was, for five minutes at most.
        Apply each delta once, in any order. Current values of a straggler, a batch that was collected before
        the last one that came, are passed over.
        """
        if self.is_entered:
            self._deferred.append((list(batch), resource, failing))
            return
        with self._lock, self._owned():
            self._apply(batch, resource, failing)
            while self._deferred:
                self._apply(*self._deferred.pop(0))

    @contextmanager
    def _owned(self) -> Iterator[None]:
        # What runs under the lock may be interrupted by, or log into, code that asks us for families or
        # flushes: it must find that its own thread has the lock instead of waiting for it.
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None

    def _apply(self, batch: _Batch, resource: _Resource, failing: _Failing) -> None:
        self._collection += 1
        self._failing = failing
        if resource is not None:
            self._target.take(resource)
        straggles = False
        for key, points in batch:
            straggles = self._straggles(points[0].time_unix_nano) if points else straggles
            try:
                record = self._streams.get(key) or self._open(key)
                if key.meaning.accumulates:
                    self._accumulate(record, points)
                elif not straggles:
                    self._replace(record, points)
            except Exception as error:  # never at the cost of the other streams
                self._findings.report(
                    ("stream", key.name, type(error)), "metric %r could not be taken in: %r", key.name, error
                )
        self._forget_gone(straggles)

    def _forget_gone(self, straggles: bool) -> None:
        expired = self._expiry.expired(self._collection) if self._expiry is not None else 0
        unseen = 0 if straggles else self._collection - 1
        kept = self._keeping.expired(self._collection)
        for record in self._streams.values():
            accumulates = record.key.meaning.accumulates
            last_seen = expired if accumulates else unseen if self._is_whole(record) else kept
            if last_seen:
                self._forget(record, last_seen)
        for record in self._streams.values():
            record.take_back()

    def _is_whole(self, record: StreamRecord) -> bool:
        """Whether no callback of the stream failed, so that what was not said is gone."""
        return self._failing is not None and record.key.name not in self._failing

    def _straggles(self, time: int) -> bool:
        # Collections that the application starts in threads of its own may reach us in another order than
        # they were made in. A clock that was set back by more than a moment is no straggler.
        late = self._time - _MOMENT < time < self._time
        self._time = self._time if late else time
        return late

    def families(self, *, seconds: float = LONGEST_WAIT) -> tuple[MetricFamily, ...]:
        """Everything as it is now; families and points that did not change are the same objects as before.

        The target's info comes first (OpenMetrics 1.0, "Supporting Target Metadata"). Everything as it was
        if ``apply`` takes longer than ``seconds``.
        """
        if self.is_entered or not self._lock.acquire(timeout=seconds):
            return self._shown
        try:
            with self._owned():
                self._show_changed()
                self._shown = self._target.families + self._catalog.freeze()
                return self._shown
        finally:
            self._lock.release()

    @property
    def is_entered(self) -> bool:
        """This very thread is at work in the store, and has come back to us: it must not wait for itself."""
        return self._owner == threading.get_ident()

    def state(self) -> State:
        """How many series each metric shows, and what was folded so far."""
        series: Counter[str] = Counter()
        overflowed: Counter[str] = Counter()
        folded: Counter[tuple[str, str, str]] = Counter()
        projections = [item for record in list(self._streams.values()) for item in record.projections]
        for projection in projections:
            if projection.family is not None:
                series[projection.name] = len(projection.family.by_labels)
            for fold, counter in list(projection.folds.items()):
                if fold is OVERFLOW:
                    overflowed[projection.name] += counter.points
                else:
                    folded[(projection.name, *fold)] += counter.points
        return State(
            series=+series,
            overflowed=overflowed,
            folded=folded,
            dropped=sum(projection.rejected for projection in projections),
            conflicting=len(self._findings.conflicts),
            exemplars=sum(projection.exemplars_held for projection in projections),
            limit=self._policy.max_series,
        )

    def maxima(self) -> dict[str, int]:
        """The largest number of series that each metric can have, by its rules and its limit."""
        feeding: dict[str, list[Projection]] = {}
        for record in list(self._streams.values()):
            for item in record.projections:
                if not item.rejected:
                    feeding.setdefault(item.name, []).append(item)
        result = {}
        for name, projections in feeding.items():
            wanted = sum(item.wanted for item in projections)
            overflows = len({item.overflow_key for item in projections})
            result[name] = self._budgets.most(name, wanted=wanted, overflows=overflows)
        return result

    def _show_changed(self) -> None:
        changed, self._changed = self._changed, []
        done = 0
        try:
            for series in changed:
                slot: Slot | None = series.slot
                if slot is not None:
                    if not slot.stale:
                        slot.stale = True
                        slot.family.stale.append(slot)
                    series.changed = False
                elif isinstance(series, Series) and not series.gone:
                    series.slot = self._place(series)
                done += 1
        finally:  # an interrupt (Ctrl-C in the application's thread) leaves the rest for the next time
            self._changed += changed[done:]

    def _open(self, key: Stream) -> StreamRecord:
        common = self._translation.scope_attributes(key.scope) + self._target.promoted
        views = [view for view in self._policy.views_of(key) if view.name is not None]
        projections = [
            Projection(
                key,
                view,
                policy=self._policy,
                translation=self._translation,
                common=common,
                defaults=self._target.common,
                budgets=self._budgets,
                findings=self._findings,
            )
            for view in views
        ]
        limit = max((self._policy.limit(key, view) for view in views), default=0)
        record = self._streams[key] = StreamRecord(key, projections, limit)
        for conflict in record.conflicts():
            self._findings.conflict(conflict)
        return record

    def _accumulate(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        # The loop that runs once per changed series and scrape.
        by_texts, changed, collection = record.by_texts, self._changed, self._collection
        for point in points:
            attributes = point.attributes
            try:
                targets = by_texts[(*attributes, *attributes.values())]  # type: ignore[union-attr,misc]
            except (KeyError, TypeError, AttributeError):
                targets = record.find(point)
            for series in targets:
                try:
                    series.add(point)
                except Exception as error:
                    self._report_point(record.key, error)
                series.seen = collection
                if not series.changed:
                    series.changed = True
                    changed.append(series)

    def _replace(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        is_whole = self._is_whole(record)
        if record.may_be_full:
            self._make_room(record, points, is_whole=is_whole)
        # Several attribute sets may have become one series: what it shows is all of them together.
        groups: dict[Target, list[SourcePoint]] = {}
        for point in points:
            for series in record.find(point):
                groups.setdefault(series, []).append(point)
        for series, group in groups.items():
            if not record.has_all(series, group, is_whole=is_whole):
                continue
            try:
                changed = series.replace(group) or series.slot is None
            except Exception as error:
                self._report_point(record.key, error)
                continue
            series.seen = self._collection
            if changed:
                series.updated = self._collection
                if not series.changed:
                    series.changed = True
                    self._changed.append(series)

    def _make_room(self, record: StreamRecord, points: Sequence[SourcePoint], *, is_whole: bool) -> None:
        # What is gone gives its place to what is new in the same collection. So does what is only kept.
        is_new = False
        for point in points:
            known = record.known(point)
            is_new = is_new or not known
            for series in known:
                series.seen = self._collection
        if is_whole or is_new:
            self._forget(record, self._collection - 1, overflow=False)
            record.take_back()

    def _forget(self, record: StreamRecord, last_seen: int, *, overflow: bool = True) -> None:
        gone = record.forget(last_seen, overflow=overflow)
        if any(series.changed for series in gone):  # nobody may ever scrape
            self._changed = [item for item in self._changed if not (isinstance(item, Series) and item.gone)]
        for series in gone:
            if series.slot is not None:
                series.slot.family.remove(series, series.slot)
                series.slot = None

    def _place(self, series: Series) -> Slot | None:
        projection = cast("Projection", series.projection)  # a series knows less of it
        series.changed = False
        if projection.rejected:
            return None
        try:
            if projection.family is None:
                projection.family = self._catalog.family(projection.empty_family(), take=projection.view.take)
            labels = projection.labels(series.attributes)
        except ConflictError as error:
            self._streams[projection.key].reject(projection)
            self._report_rejected(projection, error)
            return None
        except Exception as error:  # a fault of ours: this series waits
            self._report_point(projection.key, error)
            series.changed = True
            self._changed.append(series)
            return None
        return projection.family.place(series, labels)

    def _report_rejected(self, projection: Projection, error: ConflictError) -> None:
        key = projection.key
        what = f"{projection.kind.value} {key.name!r} of scope {key.scope.name!r}"
        reason = f"{error}; rename one of them with an ExportView"
        self._findings.conflict(Conflict(projection.name, what, reason))

    def _report_point(self, key: Stream, error: Exception) -> None:
        self._findings.report(
            ("point", key.name, type(error)),
            "a point of metric %r of scope %r could not be taken in: %r",
            *(key.name, key.scope.name, error),
        )
