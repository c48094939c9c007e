"""Several points with equal labels become one: which exemplar stands for them."""

from __future__ import annotations

from itertools import permutations

import pytest

from otel_prom_bridge.arithmetic.merging import merged, newest
from otel_prom_bridge.families import CounterPoint, Exemplar


def exemplar(trace: str, timestamp: float | None) -> Exemplar:
    """An exemplar of this trace, recorded at this time."""
    return Exemplar((("trace_id", trace),), 1.0, timestamp)


def test_of_exemplars_of_one_time_the_last_one_stands() -> None:
    """The order is that of the series, so the exemplar of a counter does not change with every scrape."""
    group = [exemplar(trace, 5.0) for trace in "abc"]
    for order in permutations(group):
        assert newest(order) is order[-1]
        points = [CounterPoint((), 1, item) for item in order]
        point = merged(points)
        assert isinstance(point, CounterPoint)
        assert point.exemplar is order[-1]


@pytest.mark.parametrize(
    ("times", "expected"), [((1.0, 3.0, 2.0), 1), ((None, 1.0), 1), ((1.0, None), 0), ((None, None), 1)]
)
def test_the_newest_exemplar_stands(times: tuple[float | None, ...], expected: int) -> None:
    """One without a time is older than every other one."""
    group = [exemplar(str(number), time) for number, time in enumerate(times)]
    assert newest(group) is group[expected]


def test_no_exemplar_is_none() -> None:
    """Points without an exemplar are passed over."""
    only = exemplar("a", 1.0)
    assert newest([None, only, None]) is only
    assert newest([None, None]) is None
