"""What most tests begin with."""

from __future__ import annotations

from exported import Application
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from oracles import OPENMETRICS, samples

from otel_prom_bridge import PrometheusMetricReader

# Before 1.44 instruments of the SDK have no switch, and recorders call them as anybody does.
RECORDERS_ARE_QUICK = hasattr(Counter, "_is_enabled")


class Setup:
    """A reader, its provider and a meter."""

    def __init__(self, reader: PrometheusMetricReader, provider: MeterProvider) -> None:
        self.reader = reader
        self.provider = provider
        self.meter: Meter = provider.get_meter("test")

    def text(self, accept: str | None = None) -> str:
        """What a scrape shows, without the target_info that comes first."""
        return self.reader.expose(accept).body.decode()


def maxima(reader: PrometheusMetricReader) -> dict[str, int | None]:
    """The largest number of series that the rules and limits of each metric allow, as the report says it."""
    return {item.metric: item.maximum for item in reader.cardinality()}


def values(setup: Setup | Application, name: str, *, label: str = "k", absent: str = "-") -> dict[str, float]:
    """The values of one metric's samples, by the value of a label (``absent`` where there is none)."""
    exposition = setup.reader.expose(OPENMETRICS)
    found = samples(exposition.content_type, exposition.body)
    return {dict(labels).get(label, absent): value for (n, labels), value in found.items() if n == name}
