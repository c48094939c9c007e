"""The one scope that everything here records in, once per meter provider.

Trackers are made for each thing that they track, so the instruments are kept here and not in them.
"""

from __future__ import annotations

from functools import cache
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from otel_prom_bridge.instrument.conventions import SCHEMA_URL, SCOPE
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.active import Active
from otel_prom_bridge.recording.measurements import Measurements


class Scope:
    """Records values, and counts what goes on."""

    def __init__(self, provider: MeterProvider | None) -> None:
        self.measurements = Measurements(provider, scope=SCOPE, schema_url=SCHEMA_URL)
        self.record = self.measurements.record
        self.observe = self.measurements.observe
        self.observed: set[str] = set()  # what is observed once, by a name
        self._actives: dict[str, Active] = {}

    def active(self, metric: Metric) -> Active:
        """What counts the operations of ``metric`` that go on."""
        found = self._actives.get(metric.name)
        if found is None:
            found = self._actives.setdefault(metric.name, self.measurements.active(metric))
        return found


_others: WeakKeyDictionary[MeterProvider, Scope] = WeakKeyDictionary()


@cache
def _global() -> Scope:
    return Scope(None)


def scope_of(provider: MeterProvider | None) -> Scope:
    """The scope of a provider; of the global one for None.

    Raises ConfigurationError for what is no meter provider.
    """
    current = metrics.get_meter_provider()
    if provider is None or provider is current:
        return _others.get(current) or _global()
    try:
        found = _others.get(provider)
    except TypeError:  # it has no hash, or cannot be referred to weakly: it may still be a provider
        return Scope(provider)
    if found is None:
        found = _others.setdefault(provider, Scope(provider))
    return found
