"""Anybody's exposition as something to serve and to look at: a URL, a file, or a recording.

A URL is fetched when somebody asks, and not otherwise. What is served at ``/metrics`` is what was fetched,
read and written again, in the format that the scraper asks for.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.exposition.unobserved import Unobserved
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.recordings import Recording

_KEPT_SECONDS = 1.0


class ForeignTarget(ABC):
    """What an endpoint serves of somebody else's exposition."""

    def __init__(self) -> None:
        self.observer = Unobserved()
        self.is_ready = True
        self.is_healthy = True
        self.is_shut_down = False

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """What there is now.

        Raises:
            ExpositionError: it cannot be had.
        """

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """The exposition of now."""
        return self.snapshot().expose(accept, names=names)

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when there is nothing to serve any more, which is never."""
        return lambda: None


class UrlTarget(ForeignTarget):
    """A URL. Within a second it is fetched once, for all who ask."""

    def __init__(self, url: str, *, timeout: float, headers: Mapping[str, str]) -> None:
        super().__init__()
        self._url = url
        self._timeout = timeout
        self._headers = headers
        self._last: tuple[float, Snapshot] | None = None

    def snapshot(self) -> Snapshot:
        """What the URL exposes now."""
        last = self._last
        if last is not None and time.monotonic() - last[0] < _KEPT_SECONDS:
            return last[1]
        asked = time.monotonic()
        self.is_healthy = False
        found = Snapshot.lenient(self._url, timeout=self._timeout, headers=self._headers)
        self.is_healthy = True
        self._last = (asked, found)
        return found


class FileTarget(ForeignTarget):
    """An exposition that does not change."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        """The exposition."""
        return self._snapshot


class RecordingTarget(ForeignTarget):
    """A recording, which goes on at its own speed, and stays at its end."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording
        self._began = time.monotonic()

    def snapshot(self) -> Snapshot:
        """What there was at this moment of the recording."""
        return self._recording.at(time.monotonic() - self._began)
