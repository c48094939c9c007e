"""Counting in exponential buckets: at the highest scale at which the range of the values has room.

``base = 2 ** 2 ** -scale``, and the bucket with index i is ``(base ** i, base ** (i + 1)]``.
https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/data-model.md#exponentialhistogram
"""

from __future__ import annotations

import math
import sys

# "MaxScale", and "MaxSize: the maximum number of buckets in each of the positive or negative ranges".
# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#base2-exponential-bucket-histogram-aggregation
MAX_SCALE, MAX_SIZE = 20, 160
_PER_LOG = 1 / math.log(2)


class ExponentialBuckets:
    """Counts of values that are not negative."""

    __slots__ = ("_counts", "_highest", "_lowest", "scale", "zeros")

    def __init__(self) -> None:
        self.scale = MAX_SCALE
        self.zeros = 0
        self._counts: dict[int, int] = {}
        self._lowest = self._highest = 0

    def add(self, value: float) -> None:
        """Count a value."""
        if not value:
            self.zeros += 1
            return
        index = index_of(value, self.scale)
        if not self._counts:
            self._lowest = self._highest = index
        lowest, highest = min(self._lowest, index), max(self._highest, index)
        if highest - lowest >= MAX_SIZE:
            by = 1
            while (highest >> by) - (lowest >> by) >= MAX_SIZE:
                by += 1
            self._lower(by)
            # Again by its value, as all others at this scale will be.
            index = index_of(value, self.scale)
            lowest, highest = min(self._lowest, index), max(self._highest, index)
        self._lowest, self._highest = lowest, highest
        self._counts[index] = self._counts.get(index, 0) + 1

    def consecutive(self) -> tuple[int, list[int]]:
        """The index of the first bucket, and the counts of all from that to the last one."""
        if not self._counts:
            return 0, []
        indexes = range(self._lowest, self._highest + 1)
        return self._lowest, [self._counts.get(index, 0) for index in indexes]

    def _lower(self, by: int) -> None:
        counts: dict[int, int] = {}
        for index, count in self._counts.items():
            counts[index >> by] = counts.get(index >> by, 0) + count
        self._counts = counts
        self._lowest, self._highest, self.scale = self._lowest >> by, self._highest >> by, self.scale - by


def index_of(value: float, scale: int) -> int:
    """The index of the bucket of a positive value."""
    # "subnormal values MAY be mapped to the lowest normal bucket". An integer may be larger than any float.
    value = min(max(value, sys.float_info.min), sys.float_info.max)
    fraction, exponent = math.frexp(value)
    exponent -= 1  # so that value = fraction * 2 * 2 ** exponent, where fraction * 2 is in [1, 2)
    if fraction == 0.5:  # a power of two is the upper bound of its bucket
        return (exponent << scale) - 1 if scale > 0 else (exponent - 1) >> -scale
    if scale <= 0:
        return exponent >> -scale
    index = math.floor(math.log(value) * math.ldexp(_PER_LOG, scale))
    # The logarithm is rounded, and must not lead to another power of two.
    return min(max(index, exponent << scale), ((exponent + 1) << scale) - 1)
