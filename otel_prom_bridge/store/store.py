"""The accumulated series of one reader, and the only lock of the pipeline.

Two steps are kept apart on purpose:

1. ``apply`` takes what one collection of the SDK brought and adds it to the state of the series. It finds a
   series by the raw attributes of a point. What a view makes of those is decided the first time that they are
   seen, and no label is translated, so the deltas are safe before anything can go wrong.
2. ``families`` gives every series that changed a place in a family and freezes it. The labels of a series are
   translated the first time that it is seen.

So both steps cost what *changed* since the last time. The recording path does not know the lock. Code of the
application runs under it: computed labels, rules of its own, the resource filter, log and signal handlers.
If that takes long, a scrape gets the last state in time. If that comes back to the store, it gets the last
state at once instead of waiting for itself.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import InfoPoint, Kind, Labels, MetricFamily
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.interrupts import keep, postponed, sheltered
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import SourcePoint, Stream
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.budgets import Budgets
from otel_prom_bridge.store.growing import GrowingFamilies
from otel_prom_bridge.store.intake import SetClock
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import OVERFLOW, Projection, Shared
from otel_prom_bridge.store.series import Series, Target
from otel_prom_bridge.translate import Attributes, Translation
from otel_prom_bridge.values.checks import LONGEST_WAIT
from otel_prom_bridge.views.buckets import report_explicit
from otel_prom_bridge.views.policy import Policy

# For so long Prometheus shows a series that it cannot get any more, and we show what failing callbacks said.
_KEPT_SECONDS = 300.0
# Who has said nothing for so long gives its place to a new series, if there is none left.
_SILENT_SECONDS = 900.0
_Batch: TypeAlias = Iterable[tuple[Stream, Sequence[SourcePoint]]]
_Resource: TypeAlias = Mapping[str, object] | None
# The names of the instruments of which a callback failed; None where nobody knows.
_Failing: TypeAlias = Collection[str] | None


class Store:
    """Accumulates points and shows them as families. It is safe to use from any thread.

    ``policy`` says what becomes of a stream. By the seconds of ``clock`` series expire.
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
        self._policy = policy
        self._budgets = Budgets(
            max_series=policy.max_series, max_lines=policy.max_lines, tenants=policy.tenant
        )
        self._clock = SetClock()
        self._unplaced: dict[Series, Projection] = {}  # series that no family shows yet, with what made them
        self._shared = Shared(policy, translation, self._budgets, findings, self._clock, self._unplaced)
        self._expiry = None if policy.expire_after is None else Expiry(policy.expire_after, clock)
        self._findings = findings
        self._target = TargetInfo(translation, findings, info=target_info)
        # Code that runs under the lock may be interrupted by a signal handler, or call a log handler, that
        # asks us for families or flushes. Re-entrant, the lock lets it in, and it finds that its thread is
        # here.
        self._lock = RLock()
        self._entered = False  # the thread that has the lock is at work here
        self._families = GrowingFamilies(findings, taken={"target_info": Kind.INFO} if target_info else {})
        self._streams: dict[Stream, StreamRecord] = {}
        self._collection = 0
        self._failing: _Failing = ()
        self._keeping = Expiry(_KEPT_SECONDS, clock)
        self._silence = Expiry(_SILENT_SECONDS, clock)
        self._reporting: dict[Stream, bool] = {}  # streams, and whether they are costs that producers report
        self._changed: list[Target] = []  # series that wait to be shown anew
        self._number = 0  # of the latest collection, in the order in which they were made
        self._deferred: list[tuple[_Batch, int | None, _Resource, _Failing]] = []
        self._shown: tuple[MetricFamily, ...] = ()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: what a thread of the parent left half done here is done anew.

        A fork waits for that thread, but only for a second. Each series keeps what was added to it.
        """
        if not renew_lock(self):
            return
        self._entered = False
        self._changed.clear()
        self._unplaced.clear()
        self._families.clear()
        for record in self._streams.values():
            for series, projection in record.withdrawn():
                self._unplaced[series] = projection
                self._changed.append(series)

    def apply(
        self,
        batch: _Batch,
        *,
        number: int | None = None,
        resource: _Resource = None,
        failing: _Failing = (),
    ) -> None:
        """Take in one whole collection.

        Each delta must be applied once; the order does not matter. A stream of current values (an
        asynchronous instrument) that is missing in the batch has no series any more. Where an instrument is
        ``failing`` (or, with None, where any of them may be) the batch does not have everything: a series of
        which something is missing stays as it was, for five minutes at most.

        ``number`` says where the collection stands in the order in which they were made; without it, this is
        the latest one. Of a batch that was collected before the last one that came, current values are
        passed over.
        """
        with postponed(), self._lock:
            if self._entered:
                self._deferred.append((list(batch), number, resource, failing))
                return
            try:
                self._entered = True
                self._apply(batch, number, resource, failing)
                while self._deferred:
                    self._apply(*self._deferred.pop(0))
            finally:
                self._entered = False

    def _apply(self, batch: _Batch, number: int | None, resource: _Resource, failing: _Failing) -> None:
        straggles = number is not None and number < self._number
        self._number = self._number if number is None else max(self._number, number)
        self._collection += 1
        self._failing = failing
        if resource is not None:
            try:
                sheltered(self._target.take, resource)
            except Exception as error:
                self._findings.report("target", "the resource could not be taken in: %r", error)
        is_first = not straggles
        for key, points in self._costs_first(batch):
            if is_first and points:
                is_first = False
                self._clock.look(points[0].time_unix_nano)
            try:
                record = self._streams.get(key) or self._open(key)
                record.follow(self._policy.pricing.version)
                if key.meaning.accumulates:
                    self._accumulate(record, points)
                elif not straggles:
                    self._replace(record, points)
            except BaseException as error:  # the other streams must not suffer from it
                self._findings.report(
                    ("stream", key.name, type(error)), "metric %r could not be taken in: %r", key.name, error
                )
                keep(error)
        self._forget_gone(straggles)

    def _costs_first(self, batch: _Batch) -> _Batch:
        """The batch with the costs that producers report before the tokens, which cost nothing then."""
        if not self._policy.has_prices:
            return batch
        return sorted(batch, key=self._tokens_or_other)

    def _tokens_or_other(self, item: tuple[Stream, Sequence[SourcePoint]]) -> bool:
        found = self._reporting.get(item[0])
        if found is None:
            views = self._policy.views_of(item[0])
            found = self._reporting[item[0]] = any(map(self._policy.reports_cost, views))
        return not found

    def _forget_gone(self, straggles: bool) -> None:
        expired = self._expiry.expired(self._collection) if self._expiry is not None else 0
        unseen = 0 if straggles else self._collection - 1
        kept = self._keeping.expired(self._collection)
        silent = self._silence.expired(self._collection)
        for record in self._streams.values():
            accumulates = record.key.meaning.accumulates
            last_seen = expired if accumulates else unseen if self._is_whole(record) else kept
            if last_seen:
                self._forget(record, last_seen)
            if silent and accumulates and record.is_pressed:
                self._forget(record, silent, overflow=False)
                record.relieve()
        for record in self._streams.values():
            record.take_back()

    def _is_whole(self, record: StreamRecord) -> bool:
        """Whether no callback of the stream failed, so that what was not said is gone."""
        return self._failing is not None and record.key.name not in self._failing

    def families(self, *, seconds: float = LONGEST_WAIT) -> tuple[MetricFamily, ...]:
        """Everything as it is now, or as it was if ``apply`` takes longer than ``seconds``.

        Families and points that did not change are the same objects as before. The target's info comes first
        (OpenMetrics 1.0, "Supporting Target Metadata").
        """
        with postponed():
            if not self._lock.acquire(timeout=seconds):
                return self._shown
            try:
                if not self._entered:
                    self._shown = self._show()
                return self._shown
            finally:
                self._lock.release()

    def _show(self) -> tuple[MetricFamily, ...]:
        try:
            self._entered = True
            self._show_changed()
            return self._target.families + self._families.freeze()
        finally:
            self._entered = False

    @property
    def is_entered(self) -> bool:
        """Whether this very thread is at work in the store already, and must not wait for itself."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._entered
        finally:
            self._lock.release()

    def state(self) -> State:
        """How many series each metric shows, and how many points were folded so far."""
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
            prices=self._policy.pricing.in_use,
            limit=self._policy.max_series,
        )

    def maxima(self) -> dict[str, int]:
        """The largest number of series that the rules and the limit of each metric allow."""
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
                series.changed = False
                if series.slot is not None:
                    series.slot.touch()
                elif isinstance(series, Series) and not series.gone:
                    self._place(series)
                done += 1
        except BaseException as error:
            keep(error)
        finally:  # an interrupt (Ctrl-C in the application's thread) leaves the rest for the next time
            self._changed += changed[done:]

    def _open(self, key: Stream) -> StreamRecord:
        views = [view for view in self._policy.views_of(key) if view.name is not None]
        report_explicit(key, views, self._findings)
        scope, target = self._shared.translation.scope_attributes(key.scope), self._target
        projections = [
            Projection(
                key, view, shared=self._shared, scope=scope, resource=target.promoted, defaults=target.common
            )
            for view in views
        ]
        limit = max((self._policy.limit(key, view) for view in views), default=0)
        record = self._streams[key] = StreamRecord(key, projections, limit)
        for conflict in record.conflicts():
            self._findings.conflict(conflict)
        return record

    def _accumulate(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        rest = iter(points)
        while True:
            try:
                self._add(record, rest)
                return
            except BaseException as error:  # it costs the point that it came out of, and no other
                self._report_point(record.key, error)

    def _add(self, record: StreamRecord, points: Iterator[SourcePoint]) -> None:
        # This loop runs for each changed series at each scrape.
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
                except BaseException as error:
                    self._report_point(record.key, error)
                series.seen = collection
                if not series.changed:
                    series.changed = True
                    changed.append(series)

    def _replace(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        is_whole = self._is_whole(record)
        if record.may_be_full:
            self._make_room(record, points, is_whole=is_whole)
        groups, found_all = self._grouped(record, points)
        for series, group in groups.items():
            if not record.has_all(series, group, is_whole=is_whole and found_all):
                continue
            try:
                changed = series.replace(group) or series.slot is None
            except BaseException as error:
                self._report_point(record.key, error)
                continue
            series.seen = self._collection
            if changed:
                series.updated = self._collection
                if not series.changed:
                    series.changed = True
                    self._changed.append(series)

    def _grouped(
        self, record: StreamRecord, points: Sequence[SourcePoint]
    ) -> tuple[Mapping[Target, Sequence[SourcePoint]], bool]:
        """What takes the points, each with its points, and whether that is known of all of them.

        Several attribute sets may have become one series, which shows all of them together.
        """
        groups: dict[Target, list[SourcePoint]] = {}
        found_all = True
        for point in points:
            try:
                for series in record.find(point):
                    groups.setdefault(series, []).append(point)
            except BaseException as error:
                self._report_point(record.key, error)
                found_all = False
        if len(groups) < len(points) and not record.key.meaning.additive:
            record.report_left_out_ids(self._findings)
        return groups, found_all

    def _make_room(self, record: StreamRecord, points: Sequence[SourcePoint], *, is_whole: bool) -> None:
        # What is gone, or is only kept, gives its place to what is new in the same collection.
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
            self._changed = [series for series in self._changed if not series.gone]

    def _place(self, series: Series) -> None:
        projection = self._unplaced[series]
        if projection.rejected:
            return
        try:
            if projection.family is None:
                empty = projection.empty_family()
                projection.family = self._families.family(empty, take=projection.view.take)
            projection.show(series)
        except ConflictError as error:
            self._streams[projection.key].reject(projection)
            self._report_rejected(projection, error)
        except BaseException as error:  # a fault of ours, or an interrupt: the series waits
            self._report_point(projection.key, error)
            series.changed = True
            self._changed.append(series)
        else:
            del self._unplaced[series]

    def _report_rejected(self, projection: Projection, error: ConflictError) -> None:
        key = projection.key
        what = f"{projection.kind.value} {key.name!r} of scope {key.scope.name!r}"
        reason = f"{error}; rename one of them with an ExportView"
        self._findings.conflict(Conflict(projection.name, what, reason))

    def _report_point(self, key: Stream, error: BaseException) -> None:
        self._findings.report(
            ("point", key.name, type(error)),
            "a point of metric %r of scope %r could not be taken in: %r",
            *(key.name, key.scope.name, error),
        )
        keep(error)


class TargetInfo:
    """What the latest resource says of the target that is scraped.

    ``promoted`` are the resource attributes that become labels of every series. ``common`` are the labels of
    every series that has no value of its own for them. ``families`` holds ``target_info``, if it is wanted.
    """

    def __init__(self, translation: Translation, findings: Findings, *, info: bool) -> None:
        self._translation = translation
        self._findings = findings
        self._info = info
        self._resource: Mapping[str, object] = {}
        self.promoted: Attributes = ()
        self.common: Mapping[str, object] = {}
        self.families: tuple[MetricFamily, ...] = ()

    def take(self, resource: Mapping[str, object]) -> None:
        """Describe this resource, unless it is the same object as before."""
        if resource is self._resource:
            return
        self.common = self._translation.common(resource)
        try:
            self.promoted = sheltered(self._translation.resource_attributes, resource)
        except Exception as error:
            self._findings.report(
                "resource", "resource_attribute_filter failed, no label is added: %r", error
            )
        labels = self._translation.target_labels(resource)
        self._report_cut(labels)
        # "resource attributes SHOULD be converted to a target info metric if the resource is not empty"
        if self._info and labels:
            foreign = not self._translation.strategy.escapes
            point = InfoPoint(labels)
            self.families = (
                MetricFamily("target_info", Kind.INFO, "Target metadata", "", (point,), foreign=foreign),
            )
        self._resource = resource

    def _report_cut(self, labels: Labels) -> None:
        longest = self._translation.value_length
        cut = [name for name, value in labels if longest and len(value) >= longest and value.endswith("…")]
        if cut:
            self._findings.report(
                "cut target",
                "target_info: values of %s are longer than %d characters and are cut; max_label_value_length"
                " allows more, and 0 any length",
                *(", ".join(cut), longest),
            )


class Expiry:
    """Knows which collections were so long ago that a series which had its last point then has expired.

    A series remembers the number of the collection that last had a point for it, and not a time: that is one
    assignment in the loop over all changed points. To look through all series costs what exists, so it is
    done four times within ``after`` seconds and not at every scrape.
    """

    def __init__(self, after: float, clock: Callable[[], float]) -> None:
        self._after = after
        self._clock = clock
        self._next = clock() + after / 4
        # When a collection was, and its number: the last one, and one in every sixteenth of the time before
        # it.
        self._times: deque[tuple[float, int]] = deque()

    def expired(self, collection: int) -> int:
        """The last collection that is too long ago, when it is time to look, and 0 otherwise.

        It is called with the number of the collection that has just been applied.
        """
        now = self._clock()
        times = self._times
        if len(times) > 1 and now - times[-2][0] < self._after / 16:
            times.pop()
        times.append((now, collection))
        if now < self._next:
            return 0
        self._next = now + self._after / 4
        last = 0
        while now - times[0][0] >= self._after:  # ends at the latest with the last one, which is from now
            last = times.popleft()[1]
        return last
