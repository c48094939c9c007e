"""What differs between the releases of the SDK that we support. Everything else asks here.

The oldest is 1.39, of December 2025.

| since | what is new | what we do before |
|---|---|---|
| 1.41 | a reader says which type of component it is | its ``otel.sdk.metric_reader`` metrics name its class |
| 1.42 | a series has a copy of the attributes of the application | we make it, in ``locks.py`` |
| 1.43 | a provider takes a reader in, or lets one go, at any time | ``start()`` has the global one once |
| 1.45 | values of attributes need not be hashable | nothing: the SDK raises where they are recorded |
| 1.45 | a gauge that is set is there until it is set again | we keep it, in ``locks.py`` |
| 1.45.2 | limits of attribute sets, of a reader and of a View | only our own limits hold |
| 1.45.2 | a delta collection empties the table of an instrument | the SDK keeps all that it ever saw |
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from opentelemetry.metrics import Asynchronous
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import _Gauge as Gauge
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.version import __version__

from otel_prom_bridge.sdk.private import private, private_class
from otel_prom_bridge.sdk.reservoirs import newest

RELEASE = __version__
_LAST_VALUE = private_class(".aggregation", "_LastValueAggregation")
_READER = inspect.signature(MetricReader.__init__).parameters
_VIEW = inspect.signature(View.__init__).parameters

TAKES_READERS_LATER = hasattr(MeterProvider, "add_metric_reader")
# A reader hears which provider uses it; not in 1.39, and in 1.44.
TELLS_PROVIDER = hasattr(MetricReader, "_set_meter_provider")
HAS_LIMITS = "cardinality_limits" in _READER and "aggregation_cardinality_limit" in _VIEW


# What a reader is called in the SDK's metrics of itself.
_TYPES = private("opentelemetry.semconv._incubating.attributes.otel_attributes", "OtelComponentTypeValues")
PULLS: object = getattr(_TYPES, "PROMETHEUS_HTTP_TEXT_METRIC_EXPORTER", None)
PUSHES: object = getattr(_TYPES, "PERIODIC_METRIC_READER", None)


def reader_options(limits: Mapping[type, int], kind: object) -> dict[str, Any]:
    """What a ``MetricReader`` is told; ``limits``: of attribute sets, by the class of the instrument."""
    options = {"cardinality_limits": limits, "otel_component_type": kind}
    return {name: value for name, value in options.items() if name in _READER and value is not None}


def view_options(limit: int | None) -> dict[str, Any]:
    """What a ``View`` is told: of the number of attribute sets that it may keep, and of reservoirs."""
    options = {"aggregation_cardinality_limit": limit, "exemplar_reservoir_factory": newest}
    return {name: value for name, value in options.items() if name in _VIEW}


def empties(match: object) -> bool:
    """Whether a collection empties the table of this ``_ViewInstrumentMatch``."""
    return getattr(match, "_reset_on_collect", False)


def asks_table(match: object) -> bool:
    """Whether this ``_ViewInstrumentMatch`` asks its table for a series that it has just made."""
    return not hasattr(match, "_reset_on_collect")


def sets(series: object, instrument: object) -> bool:
    """Whether a series shows what an application set last: that of a gauge, or what a View made like one."""
    return type(series) is _LAST_VALUE and not isinstance(instrument, Asynchronous)


def forgets(series: object, instrument: object) -> bool:
    """Whether a series that shows what was set last would be gone after a collection."""
    stays = isinstance(instrument, Gauge) and hasattr(series, "_instrument_is_synchronous")
    return sets(series, instrument) and not stays
