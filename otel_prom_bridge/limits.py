"""How many series a metric may have, here and in the SDK.

Two tables hold series: the SDK's, which in delta mode starts empty at every collection, and our store,
which remembers. Ours is the one that bounds a process, because a point that went to *its* overflow series
still counts there, and what was known before keeps its series. What lands in the SDK's overflow point can
no longer be told apart, so its limit stays well above ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from otel_prom_bridge.translate.points import Meaning, Shape, Stream

# The specification's default for a stream.
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#cardinality-limits
DEFAULT_MAX_SERIES = 2000

INSTRUMENTS: tuple[type, ...] = (
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
    ObservableCounter,
    ObservableUpDownCounter,
    ObservableGauge,
)

_INSTRUMENTS_OF: Mapping[Meaning, tuple[type, ...]] = {
    Meaning(Kind.COUNTER, accumulates=True, additive=True): (Counter,),
    Meaning(Kind.COUNTER, accumulates=False, additive=True): (ObservableCounter,),
    Meaning(Kind.GAUGE, accumulates=True, additive=True): (UpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=True): (ObservableUpDownCounter,),
    Meaning(Kind.GAUGE, accumulates=False, additive=False): (Gauge, ObservableGauge),
    Meaning(Kind.HISTOGRAM, True, True, Shape.BUCKETS): (Histogram,),
    Meaning(Kind.HISTOGRAM, True, True, Shape.EXPONENTIAL): (Histogram,),
}


def sdk_limits(given: Mapping[type, int] | None, max_series: int) -> dict[type, int]:
    """The SDK's limit per instrument class: the larger of 20,000 and ten times ours, or what was given."""
    return {**dict.fromkeys(INSTRUMENTS, max(20_000, 10 * max_series)), **(given or {})}


def stream_limit(given: Mapping[type, int] | None, max_series: int) -> Callable[[Stream], int]:
    """Our limit per stream: what was given for its instrument class, or ``max_series``."""
    chosen = given or {}

    def limit(stream: Stream) -> int:
        classes = _INSTRUMENTS_OF.get(stream.meaning, ())
        return max((chosen[kind] for kind in classes if kind in chosen), default=max_series)

    return limit
