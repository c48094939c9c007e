"""The accumulated series of all sources, and the only lock of the pipeline.

Two steps are kept apart on purpose:

1. ``take`` takes what one collection of a source brought and adds it to the state of the series
   (``applying.py``). It finds a series by the raw attributes of a point. What a view makes of those is
   decided the first time that they are seen, and no label is translated, so the deltas are safe before
   anything can go wrong. Then it lets go of what is not there any more (``leaving.py``).
2. ``families`` gives every series that changed a place in a family (``placing.py``) and freezes it. The
   labels of a series are translated the first time that it is seen.

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
from typing import TypeAlias

from otel_prom_bridge.clocks import monotonic
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import Kind, Labels, MetricFamily
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.interrupts import postponed
from otel_prom_bridge.native import RLock
from otel_prom_bridge.points import Source, SourcePoint, Stream
from otel_prom_bridge.report.facts import BudgetUse, StreamOrigin
from otel_prom_bridge.report.self_metrics import State
from otel_prom_bridge.store import tally
from otel_prom_bridge.store.applying import Applying
from otel_prom_bridge.store.intake import Shift
from otel_prom_bridge.store.leaving import Leaving
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.origins import Origin, Origins
from otel_prom_bridge.store.placing import Placing
from otel_prom_bridge.store.projections import Projection, Shared
from otel_prom_bridge.store.provenance import origin_of, series_of
from otel_prom_bridge.store.series_budgets import SeriesBudgets
from otel_prom_bridge.store.sources import Failing, Speaker
from otel_prom_bridge.store.trouble import stream_failed
from otel_prom_bridge.translate import Translation
from otel_prom_bridge.values.checks import LONGEST_WAIT
from otel_prom_bridge.views.buckets import report_explicit
from otel_prom_bridge.views.policy import Policy

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
        self._findings = findings
        self._origins = Origins(translation, findings, info=target_info, most=max_services)
        self._speakers: dict[Source, Speaker] = {}  # the sources that are there
        self._placing = placing = Placing(findings, taken={"target_info": Kind.INFO} if target_info else {})
        self._shared = Shared(policy, translation, self._budgets, findings, self._shift, placing.unplaced)
        self._leaving = Leaving(
            policy=policy,
            findings=findings,
            origins=self._origins,
            placing=placing,
            speakers=self._speakers,
            clock=clock,
        )
        self._applying = Applying(findings, placing, self._leaving)
        # Re-entrant: a signal or log handler that asks us for families or flushes finds its thread here.
        self._lock = RLock()
        self._entered = False  # the thread that has the lock is at work here
        self._collection = 0
        self._has_prices = policy.has_prices  # not at every scrape: it asks all views
        self._deferred: list[Callable[[], None]] = []
        self._version = 0  # another one when a change has ended
        self._shown: tuple[MetricFamily, ...] = ()
        self._shown_version = -1  # of which these are the families
        self._counted = -1, State()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: what a thread of the parent left half done here is done anew.

        A fork waits for that thread, but only for a second. Each series keeps what was added to it.
        """
        if not renew_lock(self):
            return
        self._entered = False
        self._version += 1
        self._placing.begin_anew(self._origins.records())

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
            if not self._entering(0):
                return False
            try:
                speaker = self._speakers.get(source)
                if self._entered or speaker is None or speaker.said or self._leaving.is_due:
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
                    self._applying.add(record, points, self._collection)
                elif not straggles:
                    self._applying.replace(speaker, record, points, self._collection)
            except BaseException as error:  # the other streams must not suffer from it
                stream_failed(self._findings, key, error)
        if not straggles:
            self._leaving.forget_unsaid(speaker, self._collection)
        self._leaving.forget_expired(self._collection)

    def _found(self, origin: Origin, batch: _Batch) -> Iterator[_Taken]:
        """The batch with the record of each stream."""
        for key, points in batch:
            try:
                record = origin.streams.get(key) or self._open(origin, key)
            except BaseException as error:
                stream_failed(self._findings, key, error)
            else:
                yield record, points

    def _open(self, origin: Origin, key: Stream) -> StreamRecord:
        """The record of a stream that is new."""
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
            self._placing.begin_anew(self._origins.records())
        return record

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

    def _end(self, source: Source) -> None:
        speaker = self._speakers.pop(source, None)
        if speaker is None:
            return
        self._collection += 1
        self._leaving.end(speaker, self._collection)

    def families(self, *, seconds: float = LONGEST_WAIT) -> tuple[MetricFamily, ...]:
        """Everything as it is now, or as it was if ``take`` takes longer than ``seconds``.

        Families and points that did not change are the same objects as before. The target's info comes first
        (OpenMetrics 1.0, "Supporting Target Metadata").
        """
        with postponed():
            if not self._entering(seconds):
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
            self._place()
            if self._shown_version != self._version:
                self._shown = self._origins.families() + self._placing.families()
                self._shown_version = self._version
        finally:
            self._entered = False

    def _place(self) -> None:
        """Give series their places. That is a change, also if it is interrupted."""
        is_change = self._placing.has_waiting
        try:
            self._placing.place()
        finally:
            self._version += is_change

    def _entering(self, seconds: float) -> bool:
        """Take the lock, which the caller has to release; False if others have it for so many seconds.

        A signal handler that raises (a time limit, Ctrl-C) does so when it was taken and nobody has come to
        release it, more often than anywhere else. All scrapes after that would wait for it.
        """
        try:
            return self._lock.acquire(timeout=seconds)
        except BaseException:
            if self.is_entered:
                self._lock.release()
            raise

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
            counted = tally.counted(self._origins.records())
            self._counted = version, counted
        return counted._replace(
            conflicting=len(self._findings.conflicts),
            prices=self._policy.pricing.in_use,
            limit=self._policy.max_series,
            collected=collected,
            stuck=stuck,
            rest=self._origins.rest,
        )

    def maxima(self) -> dict[str, int]:
        """The largest number of series that the rules and the limit of each metric allow."""
        return tally.maxima(self._origins.records(), self._budgets)

    def feeding(self, name: str) -> list[tuple[StreamRecord, Projection]]:
        """What makes the series of a family."""
        records = self._origins.records()
        return [(record, item) for record in records for item in record.projections if item.name == name]

    def origin(self, name: str, labels: Labels | None, *, seconds: float) -> tuple[StreamOrigin, ...]:
        """Where a family comes from, and the series with these labels; nothing if there is no time for it."""
        with postponed():
            if not self._entering(seconds):
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


def _tokens_or_other(item: _Taken) -> bool:
    return not item[0].reports_cost
