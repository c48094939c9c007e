"""The SDK's instruments, and what their points mean."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics import _Gauge as Gauge  # the SDK's public name for it

from otel_prom_bridge.families import Kind
from otel_prom_bridge.points import Meaning, Shape

INSTRUMENTS: tuple[type, ...] = (
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
)

HISTOGRAM: tuple[type, ...] = (Histogram,)

_INSTRUMENTS_OF: Mapping[Meaning, tuple[type, ...]] = {
    Meaning(Kind.COUNTER, accumulates=True, additive=True): (Counter,),
    Meaning(Kind.COUNTER, accumulates=False, additive=True): (ObservableCounter,),
    Meaning(Kind.GAUGE, accumulates=True, additive=True): (UpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=True): (ObservableUpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=False): (Gauge, ObservableGauge),
    # Of those who say what was set since the last time. A view for one kind of gauges is for the other, too,
    # as it is where nobody can tell them apart.
    Meaning(Kind.GAUGE, accumulates=True, additive=False): (Gauge, ObservableGauge),
    Meaning(Kind.HISTOGRAM, True, True, Shape.BUCKETS): (Histogram,),
    Meaning(Kind.HISTOGRAM, True, True, Shape.EXPONENTIAL): (Histogram,),
}

# The type of the family that an instrument's points become, by its class.
KINDS: Mapping[type, Kind] = {
    instrument: meaning.kind for meaning, classes in _INSTRUMENTS_OF.items() for instrument in classes
}


def instruments_of(meaning: Meaning) -> tuple[type, ...]:
    """The instruments that make points of this meaning by default; none for what only SDK Views make."""
    return _INSTRUMENTS_OF.get(meaning, ())
