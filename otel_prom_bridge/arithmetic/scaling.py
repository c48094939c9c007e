"""Points in another unit: everything about them that has a unit is multiplied.

What accumulates stays as it was recorded. A point is multiplied once, when it is shown, so that no errors
add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from otel_prom_bridge.arithmetic.histograms import rebucket, to_classic
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    NativeHistogramPoint,
    Point,
)

_EXACT = 2**53  # whole numbers up to here are floats, too


class Scale:
    """Multiplies by a finite factor above zero.

    A factor stands for what was written: 0.001 is a thousandth, which no float is. The product is a division
    by 1000, which is rounded once, so 9 ms are 0.009 s.

    >>> Scale(0.001).value(9), 9 * 0.001
    (0.009, 0.009000000000000001)

    ``bounds`` are the bounds of histograms as they were asked for. What is recorded for one of them may be a
    rounded number, and the product of that another number again. But ``le`` is a text that queries name, so
    the bound is shown as it was asked for.
    """

    __slots__ = ("_bounds", "_divisor", "_exponent", "_factor", "_ratio")

    def __init__(self, factor: float | Fraction, *, bounds: Iterable[float] = ()) -> None:
        self._ratio = factor if isinstance(factor, Fraction) else Fraction(repr(float(factor)))
        self._factor: float = self._ratio.numerator
        self._divisor = self._ratio.denominator
        if max(self._factor, self._divisor) > _EXACT:  # as exact as floats are
            self._ratio = Fraction(factor)
            self._factor, self._divisor = float(factor), 1
        self._bounds = {self.recorded(bound): bound for bound in bounds}
        mantissa, exponent = math.frexp(float(factor))
        # The n of a factor 2 ** n; None for all others.
        self._exponent = exponent - 1 if mantissa == 0.5 else None

    def value(self, value: float) -> float:
        """The product. Products are ordered as the values are, so what is in a bucket stays there."""
        try:
            if self._divisor == 1:
                return value * self._factor
            return value * self._factor / self._divisor
        except OverflowError:  # an integer that no float can hold
            return math.inf if value > 0 else -math.inf

    def recorded(self, bound: float) -> float:
        """The number whose product is this bound, or infinity if no float has that product."""
        try:
            return float(Fraction(repr(bound)) / self._ratio)
        except OverflowError:
            return math.copysign(math.inf, bound)

    def point(self, point: Point) -> Point:
        """The point with everything multiplied that has a unit."""
        match point:
            case CounterPoint():
                return point._replace(value=self.value(point.value), exemplar=self._exemplar(point.exemplar))
            case GaugePoint():
                return point._replace(value=self.value(point.value))
            case HistogramPoint():
                return self._classic(point)
            case NativeHistogramPoint():
                return self._native(point)
            case _:
                return point

    def _exemplar(self, exemplar: Exemplar | None) -> Exemplar | None:
        return None if exemplar is None else exemplar._replace(value=self.value(exemplar.value))

    def _classic(self, point: HistogramPoint) -> HistogramPoint:
        bounds = tuple(self._bounds.get(bound) or self.value(bound) for bound in point.bounds)
        limits = (*bounds, math.inf)
        exemplars = tuple(
            item and item._replace(value=min(self.value(item.value), limit))
            for item, limit in zip(point.exemplars, limits, strict=False)
        )
        total = None if point.sum is None else self.value(point.sum)
        shown = tuple(sorted({bound for bound in bounds if math.isfinite(bound)}))
        if shown == bounds:
            return point._replace(bounds=bounds, sum=total, exemplars=exemplars)
        # The smallest floats become equal and the largest infinite, so their buckets become one.
        counts = tuple(rebucket(bounds, point.counts, shown))
        return point._replace(bounds=shown, counts=counts, sum=total, exemplars=())

    def _native(self, point: NativeHistogramPoint) -> Point:
        # A power of two moves observations by a whole number of buckets, unless those are wider than it. Any
        # other factor would divide buckets, and nobody knows where in a bucket its observations are.
        places = 0.5 if self._exponent is None else math.ldexp(self._exponent, point.schema)
        if not places.is_integer():
            return self._classic(to_classic(point))
        by = int(places)
        return point._replace(
            zero_threshold=self.value(point.zero_threshold),
            positive=tuple((index + by, count) for index, count in point.positive),
            negative=tuple((index + by, count) for index, count in point.negative),
            sum=self.value(point.sum),
            exemplars=tuple(item._replace(value=self.value(item.value)) for item in point.exemplars),
        )
