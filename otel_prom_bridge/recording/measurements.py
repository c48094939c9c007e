"""Recording values of metrics, and making attributes that a metric can have.

Nothing here raises, except for a meter provider that is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import TypeAlias

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
from opentelemetry.util.types import AttributeValue

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.installed import release_of
from otel_prom_bridge.instruments import Attributes, Metric, Record, recording
from otel_prom_bridge.recording.active import Active
from otel_prom_bridge.recording.operations import settle
from otel_prom_bridge.recording.quick import CleanAttributes, is_awaited, quick
from otel_prom_bridge.recording.reports import guarded, report

_SCALARS = (str, bool, int, float)

ReadValues: TypeAlias = Callable[[], Iterable[Observation] | None]
"""Reads values when metrics are collected; None says that there will never be any more."""


def mapping(attributes: object) -> dict[str, object]:
    """A copy of an application's attributes. If they are no mapping, it is empty, and that is logged once."""
    if attributes is None:
        return {}
    if isinstance(attributes, Mapping):
        return dict(attributes)
    report(("attributes", type(attributes)), "attributes have to be a mapping, not %r", type(attributes))
    return {}


def clean(*parts: Mapping[str, object] | None) -> CleanAttributes:
    """Put several parts together into one set of attributes that a metric can have.

    Values can be strings, booleans, numbers, sequences of these, and members of an enumeration of them. None
    is left out. Anything else is left out, too, and logged once per key.
    """
    found = CleanAttributes()
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


def said(value: object) -> str:
    """A word of the application's as a text. One that cannot be made a text is empty, and that is logged."""
    try:
        return str(value)
    except Exception as error:
        report(("text", type(value)), "%s is no text: %r", type(value), error)
        return ""


class Measurements:
    """Records values of metrics in one scope. The instrument of each metric is made when it is first needed.

    Without a ``provider`` the global one is used, also if that is set later. Raises ConfigurationError if
    ``provider`` is no meter provider.
    """

    def __init__(self, provider: MeterProvider | None, *, scope: str, schema_url: str) -> None:
        if provider is not None and not callable(getattr(provider, "get_meter", None)):
            raise ConfigurationError("meter_provider", provider, "a MeterProvider or None")
        if provider is metrics.get_meter_provider():
            provider = None  # before there is an SDK it is only a proxy of the one that comes
        get_meter = metrics.get_meter if provider is None else provider.get_meter
        self.own_provider = provider  # None stands for the global one
        release = release_of("otel-prom-bridge") or ""
        self._meter: Meter = get_meter(scope, release, schema_url=schema_url)
        self._records: dict[str, Record] = {}
        self._quick: dict[str, Record] = {}  # the same, of which :meth:`record` checks the values
        self._reads: dict[str, list[ReadValues]] = {}
        # This gauge never has a value, so it is in no export. It is there for its callback: when metrics are
        # collected, the operations that were dropped have to be recorded first. The SDK ignores the callback
        # of a second recorder, which does not matter because it would be the same function.
        self._meter.create_observable_gauge(f"{scope}.collected", callbacks=[settle])

    @property
    def provider(self) -> MeterProvider:
        """The provider of the meter. It may be a proxy, as long as no global provider was set."""
        return metrics.get_meter_provider() if self.own_provider is None else self.own_provider

    def active(self, metric: Metric) -> Active:
        """What counts the operations that go on. They are shown as ``metric``."""
        active = Active(metric, self.own_provider)
        with guarded(f"the metric {metric.name!r}"):  # its name may be the application's
            self._meter.create_observable_up_down_counter(
                metric.name, [active.observe], metric.unit, metric.description
            )
        return active

    def observe(self, metric: Metric, read: ReadValues) -> None:
        """Observe what ``read`` gives whenever metrics are collected. What it raises is logged once."""
        reads = self._reads.get(metric.name)
        if reads is not None:  # the SDK would not call the callback of a second instrument of that name
            reads.append(read)
            return
        self._reads[metric.name] = [read]
        create = getattr(self._meter, f"create_observable_{metric.instrument}")
        create(metric.name, [partial(self._observed, metric)], metric.unit, metric.description)

    def _observed(self, metric: Metric, _options: CallbackOptions) -> list[Observation]:
        found: list[Observation] = []
        for read in tuple(self._reads[metric.name]):
            with guarded(f"an observation of {metric.name}"):
                values = read()
                if values is None:
                    self._reads[metric.name].remove(read)
                else:
                    found.extend(values)
        return found

    def record(
        self, metric: Metric, value: float | None, attributes: Attributes, context: Context | None = None
    ) -> None:
        """Record a value, or add it, depending on the metric's instrument. Never raises.

        None is not recorded. A value that the metric cannot have is not either, and is logged once.
        """
        if value is None:
            return
        try:
            if not math.isfinite(value) or (value < 0 and metric.instrument != "up_down_counter"):
                report(("value", metric.name), "%s: %r is not recorded", metric.name, value)
                return
            record = self._quick.get(metric.name)
            if record is None:
                record = self.recorder(metric)
                if not is_awaited(record):
                    record = self._quick[metric.name] = quick(record)
            # Who patches instruments may change the attributes, which are not those of one recording only.
            is_quick = record is not self._records.get(metric.name)
            record(value, attributes if is_quick else dict(attributes), context)
        except Exception as error:
            report((metric.name, type(error)), "%s: %r is not recorded: %r", metric.name, value, error)

    def recorder(self, metric: Metric) -> Record:
        """What records values of this metric, for whoever knows that they are right."""
        record = self._records.get(metric.name)
        if record is None:
            record = self._records[metric.name] = recording(
                self._meter,
                metric.instrument,
                metric.name,
                unit=metric.unit,
                description=metric.description,
                buckets=metric.buckets or None,
            )
        return record
