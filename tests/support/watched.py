"""A stand-in between a reader and real scrapers that sees what they ask for and judges the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from metrics_messages import decode
from oracles import parse

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.exposition import Exposition

PROTOBUF = "application/vnd.google.protobuf"


class Watched:
    """A reader that counts what it was asked for and answered, and judges its answers.

    With ``accept`` it answers as if it had been asked for that.
    """

    def __init__(self, reader: PrometheusMetricReader, *, accept: str | None = None) -> None:
        self._reader = reader
        self._accept = accept
        self.is_ready, self.is_healthy, self.is_shut_down = True, True, False
        self.observer = reader.observer
        self.answers: Counter[tuple[str, str]] = Counter()

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """As the reader; what cannot be parsed is an exception, and so a failed scrape."""
        result = self._reader.expose(self._accept or accept, names=names, timeout=timeout)
        if result.content_type.startswith(PROTOBUF):
            decode(result.body)
        else:
            parse(result.content_type, result.body)
        self.answers[accept or "", result.content_type] += 1
        return result

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """As the reader."""
        return self._reader.on_shutdown(hook)
