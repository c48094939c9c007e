"""What an endpoint serves, and who hears of its scrapes. The endpoint asks no more of a reader than this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.exposition import Exposition


class Observer(Protocol):
    """Who hears of scrapes: their status, how long they took, and the size of compressed bodies."""

    def scrape(self, status: int, seconds: float) -> None:
        """A request for metrics was answered. A server's loop calls this, too, so it must not wait."""
        ...

    def phase(self, name: Literal["compress"]) -> AbstractContextManager[None]:
        """Measure the time of the compression."""
        ...

    def size(self, content_type: str, size: int, *, encoding: str) -> None:
        """A body was compressed to so many bytes."""
        ...

    def reloaded(self, successful: bool) -> None:
        """Whether tokens and certificates are in use as they are in their files now."""
        ...

    def certificate(self, ends: float) -> None:
        """When the certificate that is served ends, in seconds since 1970."""
        ...


@runtime_checkable
class Served(Protocol):
    """What an endpoint serves; ``PrometheusMetricReader`` is one."""

    @property
    def is_ready(self) -> bool:
        """There is something to serve."""
        ...

    @property
    def is_shut_down(self) -> bool:
        """There will be nothing to serve any more."""
        ...

    @property
    def observer(self) -> Observer:
        """Who hears of the scrapes."""
        ...

    @property
    def is_healthy(self) -> bool:
        """The last collection succeeded, and none hangs."""
        ...

    def expose(
        self, accept: str | None = None, *, names: Iterable[str] = (), timeout: float | None = None
    ) -> Exposition:
        """The exposition for an Accept header, of all families or of those that names mention.

        ``timeout``: how many seconds to wait for what has to be collected, at most.
        """
        ...

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when there is nothing to serve any more; the result takes that back."""
        ...


def checked_source(source: object) -> Served:
    """The source, if it is one. In the call of prometheus_client's function the port stands in its place."""
    if isinstance(source, Served) and not isinstance(source, type):
        return source
    is_port = isinstance(source, int) and not isinstance(source, bool)
    hint = f"; the port is `port={source}`" if is_port else ""
    raise ConfigurationError("source", source, f"a PrometheusMetricReader{hint}")
