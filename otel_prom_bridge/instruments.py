"""Instruments of the OpenTelemetry API: how a meter makes each kind, and how its values are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.util.types import AttributeValue

InstrumentKind: TypeAlias = Literal["counter", "up_down_counter", "gauge", "histogram"]
Attributes: TypeAlias = Mapping[str, AttributeValue]
Record: TypeAlias = Callable[[float, Attributes | None, Context | None], None]


class Metric(NamedTuple):
    """One metric, as its instrument is created; ``buckets`` are those of a histogram."""

    name: str
    instrument: InstrumentKind
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


# For each kind, the meter's method that makes an instrument, and the instrument's method that records.
METHODS: Mapping[InstrumentKind, tuple[str, str]] = {
    "counter": ("create_counter", "add"),
    "up_down_counter": ("create_up_down_counter", "add"),
    "gauge": ("create_gauge", "set"),
    "histogram": ("create_histogram", "record"),
}


def recording(
    meter: Meter,
    kind: InstrumentKind,
    name: str,
    *,
    unit: str = "",
    description: str = "",
    buckets: Sequence[float] | None = None,
) -> Record:
    """The function that records a value. A meter gives the same instrument for the same arguments."""
    create, record = METHODS[kind]
    advisory = {"explicit_bucket_boundaries_advisory": buckets} if kind == "histogram" else {}
    found: Record = getattr(getattr(meter, create)(name, unit, description, **advisory), record)
    return found
