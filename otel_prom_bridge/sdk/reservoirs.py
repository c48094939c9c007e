"""Reservoirs of exemplars that are made when there is a first exemplar.

After each collection of deltas the SDK makes every series anew with the first recording, and a reservoir with
it: several objects and a lock, of which most never hold anything, as most measurements are in no sampled
span. So the Views of ours give a series a placeholder, and the reservoir of the SDK takes its place when
something is offered to it. ``exemplar_reservoir_factory`` of a View is public for such things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    AlignedHistogramBucketExemplarReservoir,
    Exemplar,
    ExemplarReservoir,
    SimpleFixedSizeExemplarReservoir,
)
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.util.types import Attributes

from otel_prom_bridge.native import RLock


def reentrant(reservoir: ExemplarReservoir) -> ExemplarReservoir:
    """This new reservoir with a lock as `locks.py` makes them, since a signal handler may record, too."""
    if hasattr(reservoir, "_lock"):
        reservoir._lock = RLock()
    return reservoir


class LazyReservoir(ExemplarReservoir):
    """Stands for a reservoir of the kind ``KIND``, which is ``made`` once something is offered."""

    __slots__ = ("_options", "made")
    KIND: ClassVar[Callable[..., ExemplarReservoir]] = SimpleFixedSizeExemplarReservoir

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.made: ExemplarReservoir | None = None

    def offer(self, value: float, time_unix_nano: int, attributes: Attributes, context: Context) -> None:
        """Offer a measurement to the reservoir."""
        made = self.made
        if made is None:
            # Of two threads that come first at once, one loses its exemplar.
            made = self.made = reentrant(type(self).KIND(**self._options))
        made.offer(value, time_unix_nano, attributes, context)

    def collect(self, point_attributes: Attributes) -> list[Exemplar]:
        """What the reservoir has; nothing if there is none."""
        return [] if self.made is None else self.made.collect(point_attributes)


class LazyAlignedReservoir(LazyReservoir):
    """The same for the buckets of a histogram."""

    __slots__ = ()
    KIND = AlignedHistogramBucketExemplarReservoir


def lazy_reservoirs(kind: type) -> type[LazyReservoir]:
    """What makes reservoirs for series of this class, each of the kind that the SDK has by default."""
    is_aligned = issubclass(kind, _ExplicitBucketHistogramAggregation)
    return LazyAlignedReservoir if is_aligned else LazyReservoir
