"""From series to families: each series gets a place in one, and what has a place is shown there.

The labels of a series are translated when it gets its place. So a batch is taken in before any of that can go
wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.errors import ConflictError
from otel_prom_bridge.families import Kind, MetricFamily
from otel_prom_bridge.interrupts import keep
from otel_prom_bridge.store.growing import GrowingFamilies
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import Series, Target
from otel_prom_bridge.store.trouble import point_failed


class Placing:
    """The families of a store, and the series that wait for a place in one.

    The names ``taken`` belong to families that are made elsewhere. ``unplaced`` has all series that no family
    shows yet, with what made them.
    """

    def __init__(self, findings: Findings, *, taken: Mapping[str, Kind]) -> None:
        self.unplaced: dict[Series, Projection] = {}
        self._findings = findings
        self._families = GrowingFamilies(findings, taken=taken)
        self._waiting: list[Series] = []

    def touch(self, series: Target) -> None:
        """Have this series shown anew."""
        if series.slot is not None:
            series.slot.touch()
        elif not series.waits:
            series.waits = True
            self._waiting.append(cast("Series", series))

    def forget(self, gone: Iterable[Series]) -> None:
        """These series need no place any more."""
        if any(series.waits for series in gone):  # nobody may ever scrape
            self._waiting = [series for series in self._waiting if not series.gone]

    def begin_anew(self, records: Iterable[StreamRecord]) -> None:
        """Give every series of these streams, which are all, a place once more."""
        self._waiting.clear()
        self.unplaced.clear()
        self._families.clear()
        for record in records:
            for series, projection in record.withdrawn():
                self.unplaced[series] = projection
                self._waiting.append(series)

    @property
    def has_waiting(self) -> bool:
        """Whether series wait for a place."""
        return bool(self._waiting)

    def place(self) -> None:
        """Give those that wait their places."""
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
            if not self.unplaced:  # a dictionary keeps the room of all that were in it
                self.unplaced.clear()

    def _place(self, series: Series) -> None:
        projection = self.unplaced[series]
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
            point_failed(self._findings, projection.key, error)
            series.waits = True
            self._waiting.append(series)
        else:
            del self.unplaced[series]

    def _report_rejected(self, projection: Projection, error: ConflictError) -> None:
        key = projection.key
        what = f"{projection.kind.value} {key.name!r} of scope {key.scope.name!r}"
        reason = f"{error}; rename one of them with an ExportView"
        self._findings.conflict(Conflict(projection.name, what, reason))

    def families(self) -> tuple[MetricFamily, ...]:
        """All families that have a series, as they are now."""
        return self._families.freeze()
