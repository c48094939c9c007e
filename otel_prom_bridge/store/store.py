"""The accumulated series of all sources, and the only lock of the pipeline.

Two steps are kept apart on purpose:

1. ``take`` takes what one collection of a source brought and adds it to the state of the series. It finds a
   series by the raw attributes of a point. What a view makes of those is decided the first time that they are
   seen, and no label is translated, so the deltas are safe before anything can go wrong.
2. ``families`` gives every series that changed a place in a family and freezes it. The labels of a series are
   translated the first time that it is seen.

A source is whoever hands points over: the reader in the process, or each of many workers. Deltas add up,
whoever brings them. Of current values a series has a part for each source, which goes when the source does.

So both steps cost what *changed* since the last time. The recording path does not know the lock. Code of the
application runs under it: computed labels, rules of its own, the resource filter, log and signal handlers.
If that takes long, a scrape gets the last state in time. If that comes back to the store, it gets the last
state at once instead of waiting for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import Kind, Labels, MetricFamily
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.interrupts import keep, postponed
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import AttributeSet, Source, SourcePoint, Stream
from otel_prom_bridge.report.facts import BudgetUse, StreamOrigin
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store.expiry import Expiry
from otel_prom_bridge.store.growing import GrowingFamilies
from otel_prom_bridge.store.intake import Shift
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.origins import Origin, Origins
from otel_prom_bridge.store.projections import OVERFLOW, Projection, Shared
from otel_prom_bridge.store.provenance import origin_of, series_of
from otel_prom_bridge.store.series import Folded, Series, Target, each
from otel_prom_bridge.store.series_budgets import SeriesBudgets
from otel_prom_bridge.store.sources import Failing, Said, Speaker
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.values.checks import LONGEST_WAIT
from otel_prom_bridge.views.buckets import report_explicit
from otel_prom_bridge.views.policy import Policy

# For so long Prometheus shows a series that it cannot get any more, and we show what failing callbacks said.
_KEPT_SECONDS = 300.0
# Who has said nothing for so long gives its place to a new series, if there is none left.
_SILENT_SECONDS = 900.0
_Batch: TypeAlias = Iterable[tuple[Stream, Sequence[SourcePoint]]]
_Taken: TypeAlias = tuple[StreamRecord, Sequence[SourcePoint]]
_Resource: TypeAlias = Mapping[str, object] | None


class Store:
    """Accumulates points and shows them as families. It is safe to use from any thread.

    ``policy`` says what becomes of a stream. Past ``max_services``, services are shown together. By the
    seconds of ``clock`` series expire.
    """

    def __init__(
        self,
        *,
        translation: Translation,
        policy: Policy,
        findings: Findings,
        target_info: bool = True,
        max_services: float = math.inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._policy = policy
        self._budgets = SeriesBudgets(
            max_series=policy.max_series, max_lines=policy.max_lines, tenants=policy.tenant
        )
        self._shift = Shift()
        self._unplaced: dict[Series, Projection] = {}  # series that no family shows yet, with what made them
        self._shared = Shared(policy, translation, self._budgets, findings, self._shift, self._unplaced)
        self._expiry = None if policy.expire_after is None else Expiry(policy.expire_after, clock)
        self._findings = findings
        self._origins = Origins(translation, findings, info=target_info, most=max_services)
        self._speakers: dict[Source, Speaker] = {}  # the sources that are there
        # Code that runs under the lock may be interrupted by a signal handler, or call a log handler, that
        # asks us for families or flushes. Re-entrant, the lock lets it in, and it finds that its thread is
        # here.
        self._lock = RLock()
        self._entered = False  # the thread that has the lock is at work here
        self._families = GrowingFamilies(findings, taken={"target_info": Kind.INFO} if target_info else {})
        self._collection = 0
        self._keeping = Expiry(_KEPT_SECONDS, clock)
        self._silence = Expiry(_SILENT_SECONDS, clock)
        self._has_prices = policy.has_prices  # not at every scrape: it asks all views
        self._waiting: list[Series] = []  # series that wait for a place in a family
        self._deferred: list[Callable[[], None]] = []
        self._version = 0  # another one when a change has ended
        self._shown: tuple[MetricFamily, ...] = ()
        self._shown_version = -1
        self._counted = -1, State()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: what a thread of the parent left half done here is done anew.

        A fork waits for that thread, but only for a second. Each series keeps what was added to it.
        """
        if not renew_lock(self):
            return
        self._entered = False
        self._place_anew()

    def _place_anew(self) -> None:
        """Give every series a place in a family once more."""
        self._version += 1
        self._waiting.clear()
        self._unplaced.clear()
        self._families.clear()
        for record in self._origins.records():
            for series, projection in record.withdrawn():
                self._unplaced[series] = projection
                self._waiting.append(series)

    def take(
        self,
        source: Source,
        batch: _Batch,
        *,
        number: int | None = None,
        resource: _Resource = None,
        failing: Failing = (),
    ) -> None:
        """Take in one whole collection of a source.

        Each delta must be taken once; the order does not matter. A stream of current values (an asynchronous
        instrument) that is missing in the batch has no series of this source any more. Where an instrument
        is ``failing`` (or, with None, where any of them may be) the batch does not have everything: what the
        source says of a series of which something is missing stays as it was, for five minutes at most.

        ``number`` says where the collection stands in the order in which the source made them; without it,
        this is the latest one. Of a batch that was collected before the last one that came, current values
        are passed over. ``resource`` says what the source is a part of; without it, what it said before.
        """
        with postponed(), self._lock:
            points = list(batch) if self._entered else batch
            self._in_turn(partial(self._take, source, points, number, resource, failing))

    def take_nothing(self, source: Source, *, resource: _Resource) -> bool:
        """Take in that a collection of this source brought nothing, with the resource that it has now.

        That waits for nobody, and no code of the application runs for it. False if it cannot be done so, or
        if it is time to look for series that expired: that takes long, and must not stay half done because
        something interrupts whoever scrapes.
        """
        with postponed():
            if not self._lock.acquire(blocking=False):
                return False
            try:
                speaker = self._speakers.get(source)
                if self._entered or speaker is None or speaker.said or self._may_expire:
                    return False
                if resource is not None and resource is not speaker.resource:
                    return False
                self._in_turn(partial(self._take_none, speaker), is_change=False)
                return True
            finally:
                self._lock.release()

    def end(self, source: Source) -> None:
        """A source is no more: its current values leave, and what it added to totals stays.

        Levels stay where a view has ``ended="keep"``. What is taken from it later makes it a new source.
        """
        with postponed(), self._lock:
            self._in_turn(partial(self._end, source))

    def _in_turn(self, work: Callable[[], None], *, is_change: bool = True) -> None:
        """Do this now or, if this thread is at work here already, when that is done."""
        if self._entered:
            self._deferred.append(work)
            return
        try:
            self._entered = True
            work()
            while self._deferred:
                is_change = True
                self._deferred.pop(0)()
        finally:
            self._version += is_change
            self._entered = False

    def _take_none(self, speaker: Speaker) -> None:
        self._collection += 1
        speaker.failing = ()

    def _take(
        self, source: Source, batch: _Batch, number: int | None, resource: _Resource, failing: Failing
    ) -> None:
        speaker = self._speakers.get(source)
        if speaker is None:
            speaker = self._speakers[source] = Speaker(source, shift=self._shift.seconds)
        straggles = number is not None and number < speaker.number
        self._collection += 1
        if not straggles:
            speaker.number = speaker.number if number is None else number
            speaker.failing = failing
        origin = self._origin(speaker, resource)
        is_first = not straggles
        for record, points in self._costs_first(self._found(origin, batch)):
            key = record.key
            if is_first and points:
                is_first = False
                speaker.clock.look(points[0].time_unix_nano)
            self._shift.seconds = speaker.clock.shift
            try:
                record.follow(self._policy.pricing.version)
                if key.meaning.accumulates:
                    self._accumulate(record, points)
                elif not straggles:
                    self._replace(speaker, record, points)
            except BaseException as error:  # the other streams must not suffer from it
                self._report_stream(key, error)
        if not straggles:
            self._forget_unsaid(speaker)
        self._forget_expired()

    def _found(self, origin: Origin, batch: _Batch) -> Iterator[_Taken]:
        """The batch with the record of each stream."""
        for key, points in batch:
            try:
                record = origin.streams.get(key) or self._open(origin, key)
            except BaseException as error:
                self._report_stream(key, error)
            else:
                yield record, points

    def _costs_first(self, found: Iterable[_Taken]) -> Iterable[_Taken]:
        """The same with the costs that producers report before the tokens, which cost nothing then."""
        return sorted(found, key=_tokens_or_other) if self._has_prices else found

    def _origin(self, speaker: Speaker, resource: _Resource) -> Origin:
        """The origin of the points of a source that has this resource."""
        known = speaker.origin
        if known is not None and (resource is None or resource is speaker.resource):
            return known
        try:
            if known is None or resource != speaker.resource:
                known = speaker.origin = self._origins.of(speaker.source, resource, known)
            speaker.resource = resource
        except Exception as error:
            self._findings.report("target", "the resource could not be taken in: %r", error)
        return known or self._origin(speaker, None)

    def _forget_unsaid(self, speaker: Speaker) -> None:
        """What a whole collection did not mention is gone."""
        for record, said in speaker.said.items():
            if speaker.is_whole(record):
                self._leave(speaker, record, said.last_seen(self._collection - 1))

    @property
    def _may_expire(self) -> bool:
        """Whether it is time to look for series that expired."""
        expiry = self._expiry
        return self._silence.is_due or self._keeping.is_due or (expiry is not None and expiry.is_due)

    def _forget_expired(self) -> None:
        expired = self._expiry.expired(self._collection) if self._expiry is not None else 0
        silent = self._silence.expired(self._collection)
        kept = self._keeping.expired(self._collection)
        if kept:
            self._forget_kept(kept)
        for record in self._origins.records():
            if expired:
                self._forget(record, expired)
            if silent and record.key.meaning.accumulates and record.is_pressed:
                self._forget(record, silent, overflow=False)
                record.relieve()
        if (expired or silent) and self._policy.context.is_pressed:
            self._relieve_context()
        for record in self._origins.records():
            record.take_back()

    def _relieve_context(self) -> None:
        """Let others take the places of teams, say, of which no family has a series any more."""
        records = list(self._origins.records())
        if self._policy.context.make_room(found for record in records for found in record.attributes()):
            for record in records:
                record.relieve()

    def _forget_kept(self, last_seen: int) -> None:
        """What failing callbacks said so long ago is gone, too."""
        for speaker in self._speakers.values():
            for record, said in speaker.said.items():
                if not speaker.is_whole(record):
                    self._leave(speaker, record, said.last_seen(last_seen))
        for record in self._origins.records():
            self._forget(record, 0)  # an interrupt may have come between a series and its first point

    def _leave(
        self, speaker: Speaker, record: StreamRecord, unsaid: Iterable[Series], *, ended: bool = False
    ) -> None:
        """A source says nothing of these series any more."""
        gone: list[Series] = []
        for series in speaker.said[record].taken_back(unsaid):
            try:
                stays = series.leave(speaker.source, collection=self._collection, ended=ended)
            except BaseException as error:  # the others leave nevertheless
                self._report_point(record.key, error)
                stays = bool(series.parts)
            if stays:
                series.updated = self._collection
                self._touch(series)
            else:
                gone.append(series)
        if gone:
            record.drop(gone)
            self._forget_waiting(gone)

    def _end(self, source: Source) -> None:
        speaker = self._speakers.pop(source, None)
        if speaker is None:
            return
        self._collection += 1
        for record, said in speaker.said.items():
            self._leave(speaker, record, list(said.seen), ended=True)
        if speaker.origin is not None:
            self._origins.leave(source, speaker.origin)
        for record in self._origins.records():
            record.take_back()

    def families(self, *, seconds: float = LONGEST_WAIT) -> tuple[MetricFamily, ...]:
        """Everything as it is now, or as it was if ``take`` takes longer than ``seconds``.

        Families and points that did not change are the same objects as before. The target's info comes first
        (OpenMetrics 1.0, "Supporting Target Metadata").
        """
        with postponed():
            if not self._lock.acquire(timeout=seconds):
                return self._shown
            try:
                if not self._entered:
                    self._show()
                return self._shown
            finally:
                self._lock.release()

    def _show(self) -> None:
        try:
            self._entered = True
            self._place_waiting()
            if self._shown_version != self._version:
                self._shown = self._origins.families() + self._families.freeze()
                self._shown_version = self._version
        finally:
            self._entered = False

    @property
    def is_entered(self) -> bool:
        """Whether this very thread has the store's lock already, so that others may wait for it."""
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        return owned

    def state(self, *, collected: bool | None = None, stuck: int | None = None) -> State:
        """How many series each metric shows, and how many points were folded so far, beside what is given."""
        version, counted = self._counted
        if version != self._version:
            version = self._version  # before: what changes meanwhile is counted the next time
            counted = self._count()
            self._counted = version, counted
        return counted._replace(
            conflicting=len(self._findings.conflicts),
            prices=self._policy.pricing.in_use,
            limit=self._policy.max_series,
            collected=collected,
            stuck=stuck,
            rest=self._origins.rest,
        )

    def _count(self) -> State:
        """What may be different when something was taken in, or has got its place since."""
        series: dict[str, int] = {}
        overflowed: dict[str, int] = {}
        folded: dict[tuple[str, str, str], int] = {}
        dropped = exemplars = 0
        for record in self._origins.records():
            for projection in record.projections:
                if projection.family is not None and projection.family.by_labels:
                    series[projection.name] = len(projection.family.by_labels)
                dropped += projection.rejected
                exemplars += projection.exemplars_held
                if projection.folds:
                    _count_folds(projection, overflowed, folded)
        return State(
            series=series, overflowed=overflowed, folded=folded, dropped=dropped, exemplars=exemplars
        )

    def maxima(self) -> dict[str, int]:
        """The largest number of series that the rules and the limit of each metric allow."""
        feeding: dict[str, list[Projection]] = {}
        for record in self._origins.records():
            for item in record.projections:
                if not item.rejected:
                    feeding.setdefault(item.name, []).append(item)
        result = {}
        for name, projections in feeding.items():
            wanted = sum(item.wanted for item in projections)
            overflows = sum({item.overflow_key: item.overflow_values for item in projections}.values())
            result[name] = self._budgets.most(name, wanted=wanted, overflows=overflows)
        return result

    def feeding(self, name: str) -> list[tuple[StreamRecord, Projection]]:
        """What makes the series of a family."""
        records = self._origins.records()
        return [(record, item) for record in records for item in record.projections if item.name == name]

    def origin(self, name: str, labels: Labels | None, *, seconds: float) -> tuple[StreamOrigin, ...]:
        """Where a family comes from, and the series with these labels; nothing if there is no time for it."""
        with postponed():
            if not self._lock.acquire(timeout=seconds):
                return ()
            try:
                feeding = self.feeding(name)
                series = [] if labels is None else series_of((item for _, item in feeding), labels)
                return tuple(
                    origin_of(record, item, tier=self._policy.tier_of(record.key)[0], series=series)
                    for record, item in feeding
                )
            finally:
                self._lock.release()

    def budgets(self) -> tuple[BudgetUse, ...]:
        """How much of each budget is used."""
        return tuple(
            BudgetUse(name, item.whose, item.unit, item.used, item.limit, item.option)
            for name, item in self._budgets.use()
        )

    def _place_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        done = 0
        try:
            for series in waiting:
                series.waits = False
                if not series.gone:
                    self._place(series)
                done += 1
        except BaseException as error:
            keep(error)
        finally:  # an interrupt (Ctrl-C in the application's thread) leaves the rest for the next time
            self._waiting += waiting[done:]
            self._version += bool(waiting)  # they have their places in families now
            if not self._unplaced:  # a dictionary keeps the room of all that were in it
                self._unplaced.clear()

    def _open(self, origin: Origin, key: Stream) -> StreamRecord:
        views = [view for view in self._policy.views_of(key) if view.name is not None]
        report_explicit(key, views, self._findings)
        scope = self._shared.translation.scope_attributes(key.scope)
        projections = [
            Projection(key, view, shared=self._shared, scope=scope, origin=origin) for view in views
        ]
        limit = max((self._policy.limit(key, view) for view in views), default=0)
        reports = any(map(self._policy.reports_cost, views))
        record = origin.streams[key] = StreamRecord(key, projections, limit, reports_cost=reports)
        for conflict in record.conflicts():
            self._findings.conflict(conflict)
        if self._origins.tell_services_apart():
            self._place_anew()
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
        by_texts, by_items, has_types = record.by_texts, record.by_items, record.has_types
        by_key, collection = by_items.get, self._collection
        for point in points:
            attributes: Any = point.attributes
            targets: Any  # mypy does not see that what is no tuple is a target
            if type(attributes) is AttributeSet:
                targets = by_key(attributes.key)
                if targets is None:
                    targets = record.resolve(point)
            else:
                try:
                    values = attributes.values()
                    if has_types:
                        targets = by_items[(*attributes, *values, *map(type, values))]
                    else:
                        targets = by_texts[(*attributes, *values)]
                except Exception:  # it is new, or some value of it cannot be hashed
                    targets = record.find(point)
            if type(targets) is tuple:
                self._add_to_each(record, targets, point)
                continue
            try:
                targets.add(point)
            except BaseException as error:
                self._report_point(record.key, error)
            targets.seen = collection
            slot = targets.slot
            if slot is None:
                self._touch(targets)
            elif not slot.stale:  # as `touch` does it, which takes as long as all of this
                slot.queue.append(slot)
                slot.stale = True

    def _add_to_each(self, record: StreamRecord, targets: Iterable[Target], point: SourcePoint) -> None:
        for target in targets:
            try:
                target.add(point)
            except BaseException as error:
                self._report_point(record.key, error)
            target.seen = self._collection
            self._touch(target)

    def _replace(self, speaker: Speaker, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        is_whole = speaker.is_whole(record)
        said = speaker.said.get(record)
        if said is None:
            said = speaker.said[record] = Said()
        if record.may_be_full:
            self._make_room(speaker, record, points, is_whole=is_whole)
        groups, found_all = self._grouped(record, points)
        seen, source, collection = said.seen, speaker.source, self._collection
        for series, group in groups.items():
            if not said.has_all(series, group, is_whole=is_whole and found_all):
                continue
            number = collection
            try:
                changed = series.replace(source, group) or series.slot is None
            except BaseException as error:
                self._report_point(record.key, error)
                number, changed = seen.get(series, 0), False  # type: ignore[call-overload]
            if type(series) is not Folded:  # isinstance() takes as long as all the rest
                seen[series] = number  # type: ignore[index]
            if changed:
                series.updated = collection
                self._touch(series)

    def _touch(self, series: Target) -> None:
        """Have this series shown anew."""
        if series.slot is not None:
            series.slot.touch()
        elif not series.waits:
            series.waits = True
            self._waiting.append(cast("Series", series))

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
                for series in each(record.find(point)):
                    groups.setdefault(series, []).append(point)
            except BaseException as error:
                self._report_point(record.key, error)
                found_all = False
        if len(groups) < len(points) and not record.key.meaning.additive:
            record.report_left_out_ids(self._findings)
        return groups, found_all

    def _make_room(
        self, speaker: Speaker, record: StreamRecord, points: Sequence[SourcePoint], *, is_whole: bool
    ) -> None:
        # What is gone, or is only kept, gives its place to what is new in the same collection.
        is_new = False
        mentioned: set[Series] = set()
        for point in points:
            known = record.known(point)
            is_new = is_new or not known
            mentioned.update(known)
        if is_whole or is_new:
            before = speaker.said[record].last_seen(self._collection - 1)
            unsaid = [item for item in before if item not in mentioned and not item.room.overflowed]
            self._leave(speaker, record, unsaid)
            record.take_back()

    def _forget(self, record: StreamRecord, last_seen: int, *, overflow: bool = True) -> None:
        self._forget_waiting(record.forget(last_seen, overflow=overflow))

    def _forget_waiting(self, gone: Iterable[Series]) -> None:
        if any(series.waits for series in gone):  # nobody may ever scrape
            self._waiting = [series for series in self._waiting if not series.gone]

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
            projection.origin.streams[projection.key].reject(projection)
            self._report_rejected(projection, error)
        except BaseException as error:  # a fault of ours, or an interrupt: the series waits
            self._report_point(projection.key, error)
            series.waits = True
            self._waiting.append(series)
        else:
            del self._unplaced[series]

    def _report_rejected(self, projection: Projection, error: ConflictError) -> None:
        key = projection.key
        what = f"{projection.kind.value} {key.name!r} of scope {key.scope.name!r}"
        reason = f"{error}; rename one of them with an ExportView"
        self._findings.conflict(Conflict(projection.name, what, reason))

    def _report_stream(self, key: Stream, error: BaseException) -> None:
        self._findings.report(
            ("stream", key.name, type(error)), "metric %r could not be taken in: %r", key.name, error
        )
        keep(error)

    def _report_point(self, key: Stream, error: BaseException) -> None:
        self._findings.report(
            ("point", key.name, type(error)),
            "a point of metric %r of scope %r could not be taken in: %r",
            *(key.name, key.scope.name, error),
        )
        keep(error)


def _tokens_or_other(item: _Taken) -> bool:
    return not item[0].reports_cost


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
