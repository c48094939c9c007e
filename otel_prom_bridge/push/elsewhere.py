"""What there is where somebody asks a process for metrics that it pushes to a hub.

An application may serve its reader by itself, in an app that it has mounted or with ``expose()``. The same
code runs with a hub. Then it says where the metrics are, and a scrape of it fails, because one without series
would look like an application that does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from otel_prom_bridge.exposition import Exposition, Format
from otel_prom_bridge.exposition.unobserved import Unobserved


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
