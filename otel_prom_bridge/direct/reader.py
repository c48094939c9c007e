"""What exposes the metrics of a :class:`DirectMeterProvider`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from otel_prom_bridge.direct.collection import DirectCollections
from otel_prom_bridge.pipeline.exposed import Exposed
from otel_prom_bridge.pipeline.options import PipelineOptions, takes
from otel_prom_bridge.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from otel_prom_bridge.direct.provider import DirectMeterProvider


class DirectReader(Exposed):
    """Exposes what a :class:`DirectMeterProvider` records in Prometheus' formats.

    It has the options of ``PrometheusMetricReader``. ``sdk_max_series`` is the number of attribute sets that
    an instrument may hold between two collections.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    @takes(PipelineOptions)
    def __init__(self, options: PipelineOptions) -> None:
        self._provider: DirectMeterProvider | None = None
        self._pipeline = Pipeline(options)
        self._collections = DirectCollections(
            self._pipeline, provider=lambda: self._provider, interval=options.collect_interval or None
        )
        self._pipeline.shutdown.add(self._collections.close)
        self._pipeline.join(options.registry, self.families)

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
