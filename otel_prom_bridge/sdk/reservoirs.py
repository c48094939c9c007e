"""Which measurements become exemplars of series of the SDK: the newest ones.

The SDK's own reservoirs are several objects and a lock for each series, and most never hold anything, as most
measurements are in no sampled span. Ours are a tuple, and are given to the Views of ours:
``exemplar_reservoir_factory`` of a View is public for such things. A View that has none gets those of the
SDK, which for sums choose by chance. Series of deltas (``deltas.py``) need no reservoir in either case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir, ExemplarReservoir
from opentelemetry.util.types import Attributes

from otel_prom_bridge.points import Sampled, sampled
from otel_prom_bridge.sdk.private import private, private_class

_BUCKETS = private_class(".aggregation", "_ExplicitBucketHistogramAggregation")


def shown(kept: Sequence[Sampled], attributes: Mapping[str, Any]) -> list[Sampled]:
    """These exemplars, with nothing left out but what a series with these attributes does not have."""
    result = []
    for each in kept:
        given = each.filtered_attributes
        left_out = {name: value for name, value in given.items() if name not in attributes} if given else None
        result.append(each._replace(filtered_attributes=left_out))
    return result


class NewestReservoir(ExemplarReservoir):
    """The newest measurements, as many as ``size``. Of two threads at a time, one may lose its own."""

    __slots__ = ("_kept", "_size")

    def __init__(self, size: int = 1, **_: Any) -> None:
        self._size = size
        self._kept: tuple[Sampled, ...] = ()

    def offer(self, value: float, time_unix_nano: int, attributes: Attributes, context: Context) -> None:
        """Keep a measurement."""
        found = sampled(value, context, always=True, left_out=attributes, when=time_unix_nano)
        if found is not None:
            self._kept = (*self._kept, found)[-self._size :]

    def collect(self, point_attributes: Attributes) -> list[Any]:
        """What is kept, which is nothing any more."""
        kept, self._kept = self._kept, ()
        return shown(kept, point_attributes or {})


def newest(kind: type) -> Callable[..., ExemplarReservoir]:
    """What makes reservoirs for series of this class. For each bucket it takes one of the SDK's."""
    return AlignedHistogramBucketExemplarReservoir if issubclass(kind, _BUCKETS) else NewestReservoir


_USUAL = (newest, private(".view", "_default_reservoir_factory"))


def are_usual(reservoirs: object) -> bool:
    """Whether a View has no reservoirs of its own; then what it says of them is not asked."""
    return reservoirs is None or reservoirs in _USUAL
