"""What a reader shows, for the programs beside this file."""

from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.reader.reader import PrometheusMetricReader


def everything(reader: PrometheusMetricReader) -> Exposition:
    """All that was recorded before this call. A scrape may share a collection that began earlier."""
    assert reader.force_flush(60_000)
    return reader.expose()


def total(exposition: Exposition, name: str) -> float:
    """The sum of the samples of this name."""
    lines = exposition.body.decode().splitlines()
    samples = [line for line in lines if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in samples)
