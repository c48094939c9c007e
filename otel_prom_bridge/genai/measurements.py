"""Instruments of the conventions' metrics, and attributes that they can have; nothing here raises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai.active import Active
from otel_prom_bridge.genai.conventions import SCHEMA_URL
from otel_prom_bridge.genai.operations import settle
from otel_prom_bridge.genai.reports import report
from otel_prom_bridge.genai.vocabulary import Metric
from otel_prom_bridge.instruments import Attributes, Record, recording

SCOPE = "otel_prom_bridge.genai"

_SCALARS = (str, bool, int, float)


def mapping(attributes: object) -> dict[str, object]:
    """A copy of an application's attributes, which are none if they are no mapping; that is logged once."""
    if isinstance(attributes, Mapping):
        return dict(attributes)
    if attributes is not None:
        report(("attributes", type(attributes)), "attributes have to be a mapping, not %r", type(attributes))
    return {}


def clean(*parts: Mapping[str, object] | None) -> dict[str, AttributeValue]:
    """One set of attributes, without those that have no value or none that a metric can have.

    Values are strings, booleans, numbers, sequences of these, or enumerations of them. What is something else
    is left out and logged once per key.
    """
    found: dict[str, AttributeValue] = {}
    for part in parts:
        for key, value in mapping(part).items():
            accepted = _accepted(value)
            if accepted is not None:
                found[str(key)] = accepted
            elif value is not None:
                report(("attribute", str(key)), "attribute %r is left out: %r is no value", key, type(value))
    return found


def _accepted(value: object) -> AttributeValue | None:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, _SCALARS) for item in value):
        return tuple(value)
    return None


@cache
def _release() -> str:
    try:
        return version("otel-prom-bridge")
    except PackageNotFoundError:  # used from a checkout
        return ""


class Measurements:
    """Records values of metrics, through instruments that are made when they are first needed.

    ``provider`` is the global one if it is None, also if that is set later.

    Raises ConfigurationError if it is no meter provider.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        if provider is not None and not callable(getattr(provider, "get_meter", None)):
            raise ConfigurationError("meter_provider", provider, "a MeterProvider or None")
        if provider is metrics.get_meter_provider():
            provider = None  # before there is an SDK it only stands for the one that comes
        get_meter = metrics.get_meter if provider is None else provider.get_meter
        self._provider = provider
        self._meter: Meter = get_meter(SCOPE, _release(), schema_url=SCHEMA_URL)
        self._records: dict[str, Record] = {}
        # It never has a value, and so is in no export. It is there for its callback: whoever looks at the
        # metrics has to find the operations ended that the garbage collector has found. As the function is
        # the same for all, it does not matter that the SDK ignores the callbacks of a second recorder.
        self._meter.create_observable_gauge(f"{SCOPE}.collected", callbacks=[settle])

    @property
    def provider(self) -> MeterProvider:
        """Whose meter it is, as far as that is known so far."""
        return metrics.get_meter_provider() if self._provider is None else self._provider

    def active(self, metric: Metric) -> Active:
        """What counts the operations that go on; ``metric`` shows them."""
        active = Active(metric, self._provider)
        self._meter.create_observable_up_down_counter(
            metric.name, [active.observe], metric.unit, metric.description
        )
        return active

    def record(
        self, metric: Metric, value: float | None, attributes: Attributes, context: Context | None = None
    ) -> None:
        """Record a value, or add it, as the metric has it; nothing if it is None. Never raises."""
        if value is None:
            return
        try:
            if not math.isfinite(value) or (value < 0 and metric.instrument != "up_down_counter"):
                report(("value", metric.name), "%s: %r is not recorded", metric.name, value)
                return
            record = self._records.get(metric.name)
            if record is None:
                record = self._records[metric.name] = self._recording(metric)
            record(value, attributes, context)
        except Exception as error:
            report((metric.name, type(error)), "%s: %r is not recorded: %r", metric.name, value, error)

    def _recording(self, metric: Metric) -> Record:
        return recording(
            self._meter,
            metric.instrument,
            metric.name,
            unit=metric.unit,
            description=metric.description,
            buckets=metric.buckets or None,
        )
