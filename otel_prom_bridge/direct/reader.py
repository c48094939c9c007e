"""What exposes the metrics of a :class:`DirectMeterProvider`."""

from __future__ import annotations

from otel_prom_bridge.direct.attachable import Attachable
from otel_prom_bridge.direct.collection import DirectCollections
from otel_prom_bridge.pipeline.exposed import Exposed
from otel_prom_bridge.pipeline.options import PipelineOptions, takes
from otel_prom_bridge.pipeline.pipeline import Pipeline


class DirectReader(Exposed, Attachable):
    """Exposes what a :class:`DirectMeterProvider` records in Prometheus' formats.

    It has the options of ``PrometheusMetricReader``. ``sdk_max_series`` is the number of attribute sets that
    an instrument may hold between two collections.

    Raises:
        ConfigurationError: an option has a value that cannot work.
    """

    @takes(PipelineOptions)
    def __init__(self, options: PipelineOptions) -> None:
        self._pipeline = Pipeline(options)
        super().__init__(shutdown=self._pipeline.shutdown)
        self._collections = DirectCollections(
            self._pipeline, provider=lambda: self._provider, interval=options.collect_interval or None
        )
        self._pipeline.shutdown.add(self._collections.close)
        self._pipeline.join(options.registry, self.families)
