"""What there is where somebody asks a process for metrics that it pushes to a hub.

An application may serve its reader by itself, in an app that it has mounted or with ``expose()``. The same
code runs with a hub. Then it says where the metrics are, and a scrape of it fails, because one without series
would look like an application that does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from otel_prom_bridge.exposition import Exposition, Format


class Unobserved:
    """Hears of scrapes, and keeps nothing of them."""

    def scrape(self, status: int, seconds: float) -> None:
        """Forget it."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Measure nothing."""
        return nullcontext()

    def size(self, content_type: str, size: int, *, encoding: str) -> None:
        """Forget it."""

    def reloaded(self, successful: bool) -> None:
        """Forget it."""


class Elsewhere:
    """What an endpoint may ask of a reader."""

    hub: str
    observer = Unobserved()

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """A comment that says where the metrics are. An endpoint that serves this reader answers 503."""
        text = f"# Process {os.getpid()} pushes its metrics to the hub at {self.hub}. Scrape the hub.\n"
        return Exposition(Format.TEXT_0_0_4.value, text.encode(), complete=False)
