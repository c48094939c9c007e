"""A recording, served again: for dashboards, alert rules and scrapers without the application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.exposition.unobserved import Unobserved
from otel_prom_bridge.snapshots.recordings import Recording
from otel_prom_bridge.values.checks import FACTOR


class Replay:
    """What an endpoint serves of a recording: at each moment what the application exposed at that moment.

    ``speed`` is how many seconds of the recording pass in a second. With ``loop`` it begins anew at its end:
    counters go back then, as they do when a process begins anew. Without it the last snapshot stays.

    >>> from otel_prom_bridge import start_http_server
    >>> server = start_http_server(Replay(Recording.of("demo.jsonl.gz"), speed=10), port=9464)
    """

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording = recording
        self._speed: float = FACTOR.value("speed", speed)
        self._loop = loop
        self._clock = clock
        self._began = clock()
        self._hooks: list[Callable[[], None]] = []
        self.observer = Unobserved()
        self.is_shut_down = False
        self.is_ready = True
        self.is_healthy = True

    @property
    def position(self) -> float:
        """How many seconds of the recording have passed."""
        passed = (self._clock() - self._began) * self._speed
        length = self._recording.seconds
        return passed % length if self._loop and length else min(passed, length)

    @property
    def has_ended(self) -> bool:
        """Whether the last snapshot is shown."""
        return not self._loop and self.position >= self._recording.seconds

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """The exposition of this moment."""
        return self._recording.at(self.position).expose(accept, names=names)

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when there is nothing to serve any more; the result takes that back."""
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook) if hook in self._hooks else None

    def shutdown(self) -> None:
        """Serve no more."""
        self.is_shut_down, self.is_ready = True, False
        for hook in self._hooks[:]:
            hook()
