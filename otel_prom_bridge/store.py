"""The accumulated series of one reader. Owns the only lock of the pipeline.

Two steps, kept apart on purpose:

1. ``apply`` takes what one collection of the SDK brought and adds it to the series' state. It looks a
   series up by its raw attributes and translates nothing: the deltas are safe before anything can go wrong.
2. ``families`` gives every series that changed a place in a family (translating its labels the first time
   it is seen) and freezes it.

So both cost what *changed* since the last time. The recording path does not know the lock. Application
code can run under it in three ways only (a log handler, a signal handler, the resource filter); if it comes
back to the store, it sees the last state instead of waiting for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from otel_prom_bridge.accumulators import Series
from otel_prom_bridge.catalog import Catalog, Family, Slot
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import InfoPoint, Kind, MetricFamily
from otel_prom_bridge.streams import StreamRecord
from otel_prom_bridge.translate import Attributes, Translation
from otel_prom_bridge.translate.labels import valid_unicode
from otel_prom_bridge.translate.points import SourcePoint, Stream
from otel_prom_bridge.translate.units import unit_words

_MOMENT = 10_000_000_000  # nanoseconds

_Batch: TypeAlias = Iterable[tuple[Stream, Sequence[SourcePoint]]]


class Store:
    """Accumulates points and shows them as families. Safe to use from any thread.

    ``limit`` gives the number of series that a stream may have; the ones past it share the series
    ``otel_metric_overflow="true"``.
    """

    def __init__(
        self,
        *,
        translation: Translation,
        limit: Callable[[Stream], int],
        findings: Findings,
        target_info: bool = True,
    ) -> None:
        self._translation = translation
        self._limit = limit
        self._findings = findings
        self._target_info = target_info
        self._lock = threading.Lock()
        self._catalog = Catalog(findings)
        if target_info:
            self._catalog.claim("target_info", Kind.INFO)
        self._resource: Mapping[str, object] = {}
        self._promoted: Attributes = ()  # resource attributes that every series gets as labels
        self._target: tuple[MetricFamily, ...] = ()
        self._streams: dict[Stream, StreamRecord] = {}
        self._collection = 0
        self._changed: list[Series] = []
        self._time = 0  # of the latest collection, in nanoseconds since the epoch
        self._owner: int | None = None  # the thread that has the lock
        self._deferred: list[tuple[_Batch, Mapping[str, object] | None]] = []
        self._shown: tuple[MetricFamily, ...] = ()

    def apply(
        self,
        batch: _Batch,
        *,
        resource: Mapping[str, object] | None = None,
    ) -> None:
        """Take in one whole collection.

        A stream whose points are current values (asynchronous instruments) and that is missing in the batch
        has no series any more. Apply each delta once, in any order. Current values of a straggler, a batch
        that was collected before the last one that came, are passed over.
        """
        if self._owner == threading.get_ident():
            self._deferred.append((list(batch), resource))
            return
        with self._owned():
            self._apply(batch, resource)
            while self._deferred:
                self._apply(*self._deferred.pop(0))

    @contextmanager
    def _owned(self) -> Iterator[None]:
        # What runs under the lock may be interrupted by, or log into, code that asks us for families or
        # flushes: it must find that its own thread has the lock instead of waiting for it.
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    def _apply(
        self,
        batch: _Batch,
        resource: Mapping[str, object] | None,
    ) -> None:
        self._collection += 1
        if resource is not None and resource is not self._resource:
            self._set_resource(resource)
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
        if not straggles:
            for record in self._streams.values():
                if not record.key.meaning.accumulates:
                    self._forget_unseen(record)

    def _straggles(self, time: int) -> bool:
        # Collections that the application starts in threads of its own may reach us in another order than
        # they were made in. A clock that was set back by more than a moment is no straggler.
        late = self._time - _MOMENT < time < self._time
        self._time = self._time if late else time
        return late

    def families(self) -> tuple[MetricFamily, ...]:
        """Everything as it is now; families and points that did not change are the same objects as before.

        The target's info comes first (OpenMetrics 1.0, "Supporting Target Metadata").
        """
        if self._owner == threading.get_ident():
            return self._shown
        with self._owned():
            self._show_changed()
            self._shown = self._target + self._catalog.freeze()
            return self._shown

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
                elif not series.gone:
                    series.slot = self._place(series)
                done += 1
        finally:  # an interrupt (Ctrl-C in the application's thread) leaves the rest for the next time
            self._changed += changed[done:]

    def _open(self, key: Stream) -> StreamRecord:
        common = self._translation.scope_attributes(key.scope) + self._promoted
        record = self._streams[key] = StreamRecord(
            key, self._limit(key), common, self._translation.strategy.escapes
        )
        return record

    def _set_resource(self, resource: Mapping[str, object]) -> None:
        self._resource = resource
        try:
            self._promoted = self._translation.resource_attributes(resource)
        except Exception as error:
            self._findings.report(
                "resource", "resource_attribute_filter failed, no label is added: %r", error
            )
        labels = self._translation.target_labels(resource)
        # "resource attributes SHOULD be converted to a target info metric if the resource is not empty"
        if self._target_info and labels:
            point = InfoPoint(labels)
            foreign = not self._translation.strategy.escapes
            self._target = (
                MetricFamily("target_info", Kind.INFO, "Target metadata", "", (point,), foreign=foreign),
            )

    def _accumulate(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        # The loop that runs once per changed series and scrape.
        by_texts, changed = record.by_texts, self._changed
        for point in points:
            attributes = point.attributes
            try:
                series = by_texts[(*attributes, *attributes.values())]  # type: ignore[union-attr,misc]
            except (KeyError, TypeError, AttributeError):
                series = record.find(point)
            try:
                series.add(point)
            except Exception as error:
                self._report_point(record, error)
            if not series.changed:
                series.changed = True
                changed.append(series)

    def _replace(self, record: StreamRecord, points: Sequence[SourcePoint]) -> None:
        collection = self._collection
        for point in points:
            series = record.find(point)
            again = series.seen == collection
            try:
                if again and record.key.meaning.additive:
                    # Several attribute sets past the limit share the overflow series: they add up.
                    series.add(point)
                    changed = True
                else:
                    changed = series.replace(point) or series.slot is None
            except Exception as error:
                self._report_point(record, error)
                continue
            series.seen = collection
            if changed:
                series.updated = collection
            if changed and not series.changed:
                series.changed = True
                self._changed.append(series)

    def _forget_unseen(self, record: StreamRecord) -> None:
        for series in record.forget_unseen(self._collection):
            if series.slot is not None:
                series.slot.family.remove(series, series.slot)
                series.slot = None

    def _place(self, series: Series) -> Slot | None:
        record: StreamRecord = series.stream
        series.changed = False
        if record.rejected:
            return None
        try:
            if record.family is None:
                record.family = self._family(record.key)
            labels = self._translation.labels(record.key, series.attributes, record.common)
        except ConflictError as error:
            record.rejected = True
            self._report_rejected(record.key, error)
            return None
        except Exception as error:  # a fault of ours: this series waits
            self._report_point(record, error)
            series.changed = True
            self._changed.append(series)
            return None
        return record.family.place(series, labels)

    def _family(self, key: Stream) -> Family:
        return self._catalog.family(
            MetricFamily(
                name=self._translation.name(key),
                kind=key.meaning.kind,
                help=valid_unicode(key.description),
                unit=str(unit_words(key.unit)),
                points=(),
                foreign=not self._translation.strategy.escapes,
                additive=key.meaning.additive,
            )
        )

    def _report_rejected(self, key: Stream, error: ConflictError) -> None:
        what = f"{key.meaning.kind.value} {key.name!r} of scope {key.scope.name!r}"
        reason = f"{error}; rename one of them with an SDK View"
        self._findings.conflict(Conflict(self._translation.name(key), what, reason))

    def _report_point(self, record: StreamRecord, error: Exception) -> None:
        self._findings.report(
            ("point", record.key.name, type(error)),
            "a point of metric %r of scope %r could not be taken in: %r",
            *(record.key.name, record.key.scope.name, error),
        )
