"""Whatever families may say: hypothesis makes them up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    InfoPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
    SummaryPoint,
    UnknownPoint,
)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
label_sets = st.dictionaries(texts.filter(bool), texts, max_size=3).map(lambda d: tuple(sorted(d.items())))
numbers = st.floats() | st.integers()
counts = st.integers(0, 5000) | st.integers(0, 2**40)
times = st.none() | st.integers(-(10**12), 4 * 10**12).map(lambda ms: ms / 1000)
exemplars = st.builds(Exemplar, label_sets, st.floats(), times)
native_buckets = st.dictionaries(
    st.integers(-12, 12) | st.integers(-(2**30), 2**30), counts.filter(bool), max_size=9
)
sides = native_buckets.map(lambda d: tuple(sorted(d.items())))


@st.composite
def classic_points(draw: st.DrawFn) -> HistogramPoint:
    """Any classic histogram."""
    bounds = tuple(sorted(draw(st.sets(st.floats(allow_nan=False, allow_infinity=False), max_size=5))))
    size = len(bounds) + 1
    found = tuple(draw(st.lists(counts, min_size=size, max_size=size)))
    few = draw(st.just(()) | st.lists(st.none() | exemplars, min_size=size, max_size=size).map(tuple))
    total, created, time = draw(st.none() | numbers), draw(times), draw(times)
    native = NativeHistogramPoint((), 3, 0.5, sum(found), (), (), 0.0) if draw(st.booleans()) else None
    return HistogramPoint(draw(label_sets), bounds, found, total, few, created, time, native)


native_points = st.builds(
    NativeHistogramPoint,
    label_sets,
    st.integers(-4, 8),
    st.floats(0, 1),
    counts,
    sides,
    sides,
    st.floats(),
    st.lists(exemplars, max_size=3).map(tuple),
    times,
    times,
)
quantiles = st.dictionaries(st.floats(0, 1), st.floats(), max_size=3).map(lambda d: tuple(sorted(d.items())))
POINTS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.COUNTER: st.builds(CounterPoint, label_sets, numbers, st.none() | exemplars, times, times),
    Kind.GAUGE: st.builds(GaugePoint, label_sets, numbers, timestamp=times),
    Kind.STATESET: st.builds(GaugePoint, label_sets, numbers, timestamp=times),
    Kind.UNKNOWN: st.builds(UnknownPoint, label_sets, numbers, times),
    Kind.INFO: st.builds(InfoPoint, label_sets, times),
    Kind.SUMMARY: st.builds(SummaryPoint, label_sets, quantiles, st.floats(), counts, times, times),
    Kind.HISTOGRAM: classic_points() | native_points,
    Kind.GAUGE_HISTOGRAM: classic_points() | native_points,
}


@st.composite
def any_families(draw: st.DrawFn) -> list[MetricFamily]:
    """Families of different names, whose points have different labels."""
    result = []
    for name in draw(st.lists(texts.filter(bool), unique=True, max_size=4)):
        kind = draw(st.sampled_from(list(Kind)))
        points = draw(st.lists(POINTS[kind], max_size=4, unique_by=lambda point: point.labels))
        result.append(MetricFamily(name, kind, draw(texts), draw(texts), tuple(points)))
    return result
