"""What exposes the metrics of a :class:`DirectMeterProvider`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry

from otel_prom_bridge.direct.collection import DirectCollections
from otel_prom_bridge.pipeline.collection import DEFAULT_COLLECT_INTERVAL
from otel_prom_bridge.pipeline.exposed import Exposed
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.values.checks import INTERVAL

if TYPE_CHECKING:
    from otel_prom_bridge.direct.provider import DirectMeterProvider


class DirectReader(Exposed):
    """Exposes what a :class:`DirectMeterProvider` records in Prometheus' formats.

    Args:
        registry: the ``prometheus_client`` registry to register with, as a collector. Its other collectors
            are part of what :meth:`expose` returns. None for none.
        collect_interval: seconds after which a collection runs on its own if nobody scrapes; 0 for never.
        options: all other options of ``PrometheusMetricReader``, with the same meaning. ``sdk_max_series`` is
            the number of attribute sets that an instrument may hold between two collections.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = REGISTRY,
        collect_interval: float = DEFAULT_COLLECT_INTERVAL,
        **options: Any,
    ) -> None:
        self._provider: DirectMeterProvider | None = None
        self._pipeline = Pipeline(**options)
        interval = INTERVAL.value("collect_interval", collect_interval)
        self._collections = DirectCollections(
            self._pipeline, provider=lambda: self._provider, interval=interval or None
        )
        self._pipeline.shutdown.add(self._collections.close)
        self._pipeline.join(registry, self.families)

    def is_free_for(self, provider: DirectMeterProvider) -> bool:
        """Whether no other provider records for it."""
        return self._provider in (None, provider)

    def attached(self, provider: DirectMeterProvider) -> None:
        """This is the provider that records for it."""
        self._provider = provider

    @property
    def is_ready(self) -> bool:
        """A provider records for this reader, and it was not shut down."""
        provider = self._provider
        return provider is not None and provider.reader is self and not self.is_shut_down

    @property
    def is_shut_down(self) -> bool:
        """:meth:`shutdown` was called."""
        return self._pipeline.shutdown.has_begun

    def shutdown(self) -> None:
        """End everything that there is for this reader. A second call does nothing."""
        self._pipeline.shutdown.begin()

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call ``hook`` when this reader shuts down, at once if it has; the result takes that back."""
        return self._pipeline.shutdown.add(hook)

    def at_next_recording(self, call: Callable[[], object]) -> bool:
        """Call ``call`` once, when something is recorded next. False if nothing records for this reader."""
        provider = self._provider
        if provider is None:
            return False
        provider.at_next_recording(call)
        return True
