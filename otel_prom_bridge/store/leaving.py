"""What leaves: what a source does not say any more, what nobody touched for long, and whom there is no more.

Totals stay when their source ends. They leave when they expire, or when they were silent for long and others
need their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import Source
from otel_prom_bridge.store.expiry import Expiry
from otel_prom_bridge.store.lookup import StreamRecord
from otel_prom_bridge.store.origins import Origins
from otel_prom_bridge.store.placing import Placing
from otel_prom_bridge.store.series import Series
from otel_prom_bridge.store.sources import Speaker
from otel_prom_bridge.store.trouble import point_failed
from otel_prom_bridge.views.policy import Policy

# For so long Prometheus shows a series that it cannot get any more, and we show what failing callbacks said.
_KEPT_SECONDS = 300.0
# Who has said nothing for so long gives its place to a new series, if there is none left.
_SILENT_SECONDS = 900.0


class Leaving:
    """Lets go of series. ``collection`` is the number of the collection in which that happens.

    ``speakers`` are the sources that are there. By the seconds of ``clock`` series expire.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        findings: Findings,
        origins: Origins,
        placing: Placing,
        speakers: Mapping[Source, Speaker],
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._findings = findings
        self._origins = origins
        self._placing = placing
        self._speakers = speakers
        self._expiry = None if policy.expire_after is None else Expiry(policy.expire_after, clock)
        self._keeping = Expiry(_KEPT_SECONDS, clock)
        self._silence = Expiry(_SILENT_SECONDS, clock)

    @property
    def is_due(self) -> bool:
        """Whether it is time to look for series that expired."""
        expiry = self._expiry
        return self._silence.is_due or self._keeping.is_due or (expiry is not None and expiry.is_due)

    def forget_expired(self, collection: int) -> None:
        """What nobody touched for long is gone, if it is time to look for that."""
        expired = self._expiry.expired(collection) if self._expiry is not None else 0
        silent = self._silence.expired(collection)
        kept = self._keeping.expired(collection)
        if kept:
            self._forget_kept(kept, collection)
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

    def _forget_kept(self, last_seen: int, collection: int) -> None:
        """What failing callbacks said so long ago is gone, too."""
        for speaker in self._speakers.values():
            for record, said in speaker.said.items():
                if not speaker.is_whole(record):
                    self.leave(speaker, record, said.last_seen(last_seen), collection)
        for record in self._origins.records():
            self._forget(record, 0)  # an interrupt may have come between a series and its first point

    def _forget(self, record: StreamRecord, last_seen: int, *, overflow: bool = True) -> None:
        self._placing.forget(record.forget(last_seen, overflow=overflow))

    def forget_unsaid(self, speaker: Speaker, collection: int) -> None:
        """What a whole collection did not mention is gone."""
        for record, said in speaker.said.items():
            if speaker.is_whole(record):
                self.leave(speaker, record, said.last_seen(collection - 1), collection)

    def leave(
        self,
        speaker: Speaker,
        record: StreamRecord,
        unsaid: Iterable[Series],
        collection: int,
        *,
        ended: bool = False,
    ) -> None:
        """A source says nothing of these series any more."""
        gone: list[Series] = []
        for series in speaker.said[record].taken_back(unsaid):
            try:
                stays = series.leave(speaker.source, collection=collection, ended=ended)
            except BaseException as error:  # the others leave nevertheless
                point_failed(self._findings, record.key, error)
                stays = bool(series.parts)
            if stays:
                series.updated = collection
                self._placing.touch(series)
            else:
                gone.append(series)
        if gone:
            record.drop(gone)
            self._placing.forget(gone)

    def end(self, speaker: Speaker, collection: int) -> None:
        """A source is no more, and leaves everything."""
        for record, said in speaker.said.items():
            self.leave(speaker, record, list(said.seen), collection, ended=True)
        if speaker.origin is not None:
            self._origins.leave(speaker.source, speaker.origin)
        for record in self._origins.records():
            record.take_back()
