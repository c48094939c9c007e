"""Who records and what is shown of it, for the programs beside this file.

Their last argument may be ``direct``: then a provider of ours records, without the SDK.
"""

import sys

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.reader.reader import PrometheusMetricReader
from otel_prom_bridge.views.view import ExportView

Reader = PrometheusMetricReader | DirectReader


def recording() -> tuple[Reader, Meter]:
    """A reader, and a meter that records for it. A histogram called ``e`` is exponential."""
    if sys.argv[-1] == "direct":
        direct = DirectReader(registry=None, views=[ExportView(instrument_name="e", buckets="exponential")])
        return direct, DirectMeterProvider(direct, shutdown_on_exit=False).get_meter("t")
    reader = PrometheusMetricReader(registry=None)
    views = [View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())]
    return reader, MeterProvider([reader], shutdown_on_exit=False, views=views).get_meter("t")


def everything(reader: Reader) -> Exposition:
    """All that was recorded before this call. A scrape may share a collection that began earlier."""
    assert reader.force_flush(60_000)
    return reader.expose()


def total(exposition: Exposition, name: str) -> float:
    """The sum of the samples of this name."""
    lines = exposition.body.decode().splitlines()
    samples = [line for line in lines if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in samples)
