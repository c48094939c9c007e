"""Arithmetic on histograms: against tables of other implementations, and conserving whatever was recorded."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Buckets,
    ExponentialHistogramDataPoint,
    InMemoryMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.arithmetic.histograms import (
    MAX_CLASSIC_BUCKETS,
    at_schema,
    layout,
    lowered,
    native_sum,
    rebucket,
    to_classic,
    upper_bound,
)
from otel_prom_bridge.families import Exemplar, HistogramPoint, Kind, NativeHistogramPoint
from otel_prom_bridge.store.series import ExponentialSeries

Found = tuple[tuple[int, int], ...]


def sparse(offset: int, counts: Sequence[int]) -> Found:
    """OTel's buckets as ours: by the index of the upper bound, without empty ones."""
    return tuple((index, count) for index, count in enumerate(counts, offset + 1) if count)


# --- tables -------------------------------------------------------------------------------------------

# prometheus/prometheus@d15adb9ad7e5, storage/remote/otlptranslator/prometheusremotewrite/histograms_test.go,
# TestConvertBucketsLayout: OTel offset and counts, how far to scale down, spans and deltas.
LONG_GAP = [4, 2, 0, 2, *[0] * 12, 1]
SHORTER_GAP = [4, 2, 0, 2, *[0] * 8, 1]
LAYOUTS = [
    (0, [4, 3, 2, 1], 1, [(1, 2)], [7, -4]),
    (0, [4, 3, 2, 1], 2, [(1, 1)], [10]),
    (1, [4, 3, 2, 1], 0, [(2, 4)], [4, -1, -1, -1]),
    (1, [4, 3, 2, 1], 1, [(1, 3)], [4, 1, -4]),
    (1, [4, 3, 2, 1], 2, [(1, 2)], [9, -8]),
    (4, LONG_GAP, 0, [(5, 4), (12, 1)], [4, -2, -2, 2, -1]),
    (4, LONG_GAP, 1, [(3, 2), (6, 1)], [6, -4, -1]),
    (4, SHORTER_GAP, 0, [(5, 4), (8, 1)], [4, -2, -2, 2, -1]),
    (4, SHORTER_GAP, 1, [(3, 2), (4, 1)], [6, -4, -1]),
    (4, SHORTER_GAP, 2, [(2, 4)], [8, -8, 0, 1]),
    (-2, [3, 1, 0, 0, 0, 1], 2, [(0, 2)], [4, -3]),
    (-2, [3, 1, 0, 1, 0, 1], 0, [(-1, 6)], [3, -2, -1, 1, -1, 1]),
    (-2, [3, 1, 0, 1, 0, 1], 2, [(0, 2)], [4, -2]),
    (-2, [3, 0, 0, 1, 0, 0, 1], 1, [(0, 4)], [3, -2, -1, 1]),
    (0, [], 1, [], []),
    (0, [], 2, [], []),
]

# open-telemetry/opentelemetry-go@736a14fcdca2, exporters/prometheus/exporter_test.go,
# TestDownscaleExponentialBucket*: OTel offset and counts, how far, and the new offset and counts.
DOWNSCALES = [
    (0, [], 3, 0, []),
    (50, [7], 4, 3, [7]),
    (50, [7, 5], 0, 50, [7, 5]),
    (5, [1, 2, 3, 4, 5, 6], 1, 2, [1, 5, 9, 6]),
    (-1, [1, 0, 3], 1, -1, [1, 3]),
    (-4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1, -2, [3, 7, 11, 15, 19]),
    (2147483642, [1, 1, 1, 1, 1], 1, 1073741821, [2, 2, 1]),
]


@pytest.mark.parametrize(("offset", "counts", "by", "spans", "deltas"), LAYOUTS)
def test_layouts_are_those_of_prometheus(
    offset: int, counts: list[int], by: int, spans: list[tuple[int, int]], deltas: list[int]
) -> None:
    """Spans and deltas are what Prometheus itself makes of the same OTel buckets."""
    assert layout(lowered(sparse(offset, counts), by)) == (spans, deltas)


@pytest.mark.parametrize(("offset", "counts", "by", "new_offset", "new_counts"), DOWNSCALES)
def test_downscaling_is_that_of_the_go_exporter(
    offset: int, counts: list[int], by: int, new_offset: int, new_counts: list[int]
) -> None:
    """Neighbours join by arithmetic shift, below zero and near the largest index, too."""
    assert lowered(sparse(offset, counts), by) == sparse(new_offset, new_counts)


def test_the_example_of_the_compatibility_document() -> None:
    """Its index shift by one holds; its two spans are one of ours, because zero buckets "MAY be kept".

    Source: opentelemetry-specification@1377f53b2bc0, compatibility/prometheus_and_openmetrics.md:675-680:
    spans (4, 1), (2, 3) and deltas 10, 10, -15, -3.
    """
    found = sparse(3, [10, 0, 0, 20, 5, 2])
    assert [index for index, _ in found] == [4, 7, 8, 9]
    assert layout(found) == ([(4, 6)], [10, -10, 0, 20, -15, -3])


def exponential(scale: int, **changes: Any) -> ExponentialHistogramDataPoint:
    """A point as the SDK makes it."""
    settings: dict[str, Any] = {
        "attributes": {},
        "start_time_unix_nano": 1,
        "time_unix_nano": 2,
        "count": 6,
        "sum": 10.1,
        "scale": scale,
        "zero_count": 1,
        "positive": Buckets(1, [1, 1, 1]),
        "negative": Buckets(2, [1, 1, 1]),
        "flags": 0,
        "min": 0,
        "max": 0,
        **changes,
    }
    return ExponentialHistogramDataPoint(**settings)


def test_a_point_converts_as_in_prometheus() -> None:
    """Schema, zero threshold, both sides, sum and count of Prometheus' TestExponentialToNativeHistogram."""
    series = ExponentialSeries(SimpleNamespace(bounds=None), {})
    series.add(exponential(8))
    point = series.freeze((), Kind.HISTOGRAM)
    assert isinstance(point, NativeHistogramPoint)
    assert (point.schema, point.zero_threshold, point.zero_count, point.sum) == (8, 1e-128, 1, 10.1)
    assert layout(point.positive) == ([(2, 3)], [1, 0, 0])
    assert layout(point.negative) == ([(3, 3)], [1, 0, 0])


@pytest.mark.parametrize("scale", [-5, -10])
def test_scales_below_prometheus_lowest_are_written_with_explicit_buckets(scale: int) -> None:
    """Such a series is no native histogram any more, but count and sum stay exact."""
    series = ExponentialSeries(SimpleNamespace(bounds=None), {})
    series.add(exponential(3))
    before = series.freeze((), Kind.HISTOGRAM)
    series.add(exponential(scale))
    after = series.freeze((), Kind.HISTOGRAM)
    assert isinstance(before, NativeHistogramPoint)
    assert isinstance(after, HistogramPoint)
    assert sum(after.counts) == 2 * before.observations
    assert after.sum == 2 * before.sum


# --- properties ---------------------------------------------------------------------------------------

schemas = st.integers(-4, 8)
values = st.floats(1e-100, 1e100)
signed = st.lists(values | values.map(lambda value: -value) | st.just(0.0), max_size=40)
bounds = st.sets(st.floats(-1e6, 1e6), max_size=6).map(sorted)


def index_of(value: float, schema: int) -> int:
    """The bucket of a value above zero, by the bounds alone: `(upper_bound(i - 1), upper_bound(i)]`."""
    index = math.ceil(math.log2(value) * 2.0**schema)
    while upper_bound(index - 1, schema) >= value:
        index -= 1
    while upper_bound(index, schema) < value:
        index += 1
    return index


def recorded(items: Iterable[float], schema: int) -> NativeHistogramPoint:
    """A histogram of these values."""
    items = list(items)
    positive = Counter(index_of(item, schema) for item in items if item > 0)
    negative = Counter(index_of(-item, schema) for item in items if item < 0)
    sides = (tuple(sorted(side.items())) for side in (positive, negative))
    return NativeHistogramPoint((), schema, 1e-128, items.count(0), *sides, sum=math.fsum(items))


@given(schemas, st.integers(-3000, 3000))
def test_limits_are_powers_of_the_base(schema: int, index: int) -> None:
    """A bucket's limit is the base to the power of the index, and the same at every schema that has it."""
    exact = math.inf if index * 2.0**-schema >= 1024 else 2.0 ** (index * 2.0**-schema)
    assert upper_bound(index, schema) == exact
    assert upper_bound(2 * index, schema + 1) == upper_bound(index, schema)
    if 0 < upper_bound(index, schema) < math.inf:
        assert upper_bound(index, schema) < upper_bound(index + 1, schema)


@pytest.mark.parametrize(
    ("index", "schema", "expected"),
    [(1024, 0, math.inf), (1023, 0, 2.0**1023), (-1074, 0, 5e-324), (10**400, 3, math.inf), (-(10**9), 0, 0)],
)
def test_limits_end_where_floats_end(index: int, schema: int, expected: float) -> None:
    """Beyond the largest float is +Inf; beyond the smallest is zero."""
    assert upper_bound(index, schema) == expected


@given(signed, schemas, st.integers(0, 12))
def test_lowering_commutes_with_recording(items: list[float], schema: int, by: int) -> None:
    """Recording and then lowering gives what recording at the lower schema gives."""
    high = recorded(items, schema)
    low = max(-4, schema - by)
    assert at_schema(high, low) == recorded(items, low)
    assert at_schema(high, low).observations == len(items)


@given(signed, schemas)
def test_a_schema_is_never_raised(items: list[float], schema: int) -> None:
    """Asked for a higher schema than its own, a point stays the same object."""
    point = recorded(items, schema)
    assert at_schema(point, 8) is point or schema < 8
    assert at_schema(point, schema) is point


@given(signed, schemas)
def test_every_value_lies_in_a_populated_bucket(items: list[float], schema: int) -> None:
    """Each value is within the limits of its bucket, at its own schema and at each lower one."""
    point = recorded(items, schema)
    for low in range(schema, -5, -1):
        lower = at_schema(point, low)
        found = {True: dict(lower.positive), False: dict(lower.negative)}
        for item in filter(None, items):
            index = index_of(abs(item), low)
            assert upper_bound(index - 1, low) < abs(item) <= upper_bound(index, low)
            assert found[item > 0][index] > 0


@given(st.lists(st.tuples(signed, schemas), min_size=1, max_size=4))
def test_a_sum_of_histograms_is_one_of_all_their_values(parts: list[tuple[list[float], int]]) -> None:
    """Points of any schemas add up, at the lowest of them, to the histogram of all values."""
    total = native_sum([recorded(items, schema) for items, schema in parts])
    expected = recorded([item for items, _ in parts for item in items], min(schema for _, schema in parts))
    assert total._replace(sum=0) == expected._replace(sum=0)
    assert total.sum == sum(math.fsum(items) for items, _ in parts)


@given(signed, schemas)
def test_a_native_histogram_as_a_classic_one_is_exact_at_its_bounds(items: list[float], schema: int) -> None:
    """Each cumulative count is the number of values up to the bound, and there are not too many bounds."""
    point = recorded(items, schema)._replace(labels=(("k", "v"),), created=5.0)
    classic = to_classic(point)
    assert (classic.labels, classic.sum, classic.created) == (point.labels, point.sum, 5.0)
    assert sum(classic.counts) == len(items)
    assert len(classic.bounds) <= 2 * MAX_CLASSIC_BUCKETS + 1  # the bound of the zero bucket
    assert all(low < high for low, high in pairwise(classic.bounds))
    for bound, count in zip(classic.bounds, accumulate(classic.counts), strict=False):
        # A negative bucket includes the bound farther from zero, not the nearer one, so a value that is just
        # its upper bound is counted in the next one.
        upto = sum(item <= bound for item in items)
        assert upto - items.count(bound) <= count <= upto if bound < 0 else count == upto


@given(signed, schemas, bounds)
def test_chosen_bounds_never_show_too_much(items: list[float], schema: int, chosen: list[float]) -> None:
    """A cumulative count is at most the number of values up to the bound, and the total is exact."""
    classic = to_classic(recorded(items, schema), chosen)
    assert classic.bounds == tuple(chosen)
    counts = list(accumulate(classic.counts))
    assert counts[-1] == len(items)
    for bound, count in zip(chosen, counts, strict=False):
        assert count <= sum(item <= bound for item in items)
        # Nor is a value counted later than where its whole bucket is below the bound.
        safe = bound / 2**2**-schema if bound > 0 else bound * 2**2**-schema
        assert count >= sum(item < safe for item in items)


@given(st.lists(st.tuples(values, st.floats(0, 1e9)), max_size=20), schemas)
def test_exemplars_of_a_converted_histogram_are_the_newest_of_their_bucket(
    items: list[tuple[float, float]], schema: int
) -> None:
    """Every exemplar that is shown lies within its bucket, and none of that bucket is newer."""
    examples = tuple(Exemplar((), value, time) for value, time in items)
    point = recorded([value for value, _ in items], schema)._replace(exemplars=examples)
    classic = to_classic(point)
    assert len(classic.exemplars) == (len(classic.counts) if items else 0)
    edges = [-math.inf, *classic.bounds, math.inf]
    for (low, high), count, shown in zip(pairwise(edges), classic.counts, classic.exemplars, strict=False):
        inside = [item for item in examples if low < item.value <= high]
        assert count == len(inside)
        assert (shown is None) == (not inside)
        if shown is not None:
            assert shown in inside
            assert shown.timestamp == max(item.timestamp or 0 for item in inside)


@given(bounds, st.data())
def test_rebucketing_is_recording_into_fewer_buckets(every: list[float], data: st.DataObject) -> None:
    """Counts move to the next bound that is left; values recorded with fewer bounds give the same."""
    items = data.draw(st.lists(st.floats(-2e6, 2e6) | st.sampled_from(every or [0.0]), max_size=30))
    onto = sorted(data.draw(st.sets(st.sampled_from(every)))) if every else []

    def counted(edges: list[float]) -> list[int]:
        counts = Counter(bisect_left(edges, item) for item in items)
        return [counts[index] for index in range(len(edges) + 1)]

    assert rebucket(every, counted(every), onto) == counted(onto)


# --- accumulated deltas against the SDK's own cumulative state ---------------------------------------

# A small number of buckets makes the SDK change its scale often; below 8 of them it may go under -4.
few_buckets = st.integers(8, 40)
# Thousandths: no two values are so near to a bucket's limit that the SDK's logarithms at different scales,
# which are not exact to the last bit, may disagree about them.
steps = st.integers(0, 10**12).map(lambda number: number / 1000)
batches = st.lists(st.tuples(st.lists(steps, max_size=12), st.booleans()), max_size=6)


class Both:
    """Two readers of one histogram: ours, which takes deltas, and one with the SDK's cumulative state."""

    def __init__(self, max_size: int, max_scale: int = 20) -> None:
        self.ours = PrometheusMetricReader(registry=None, disable_target_info=True)
        self.theirs = InMemoryMetricReader()
        aggregation = ExponentialBucketHistogramAggregation(max_size=max_size, max_scale=max_scale)
        self.provider = MeterProvider(
            [self.ours, self.theirs],
            views=[View(instrument_name="h", aggregation=aggregation)],
            shutdown_on_exit=False,
        )
        self.histogram = self.provider.get_meter("test").create_histogram("h")

    def our_point(self) -> NativeHistogramPoint | None:
        """What our reader shows, after a collection."""
        points = [point for family in self.ours.families() for point in family.points]
        assert len(points) <= 1
        return points[0] if points else None  # type: ignore[return-value]

    def their_point(self) -> Any:
        """What the SDK has, after a collection."""
        data = self.theirs.get_metrics_data()
        if data is None:
            return None
        ((scope,),) = [resource.scope_metrics for resource in data.resource_metrics]
        (point,) = scope.metrics[0].data.data_points
        return point


def check_agreement(ours: NativeHistogramPoint, theirs: Any) -> None:
    """At the lower of the two schemas, both are the same histogram."""
    schema = min(ours.schema, theirs.scale)
    assert ours.schema == max(-4, min(ours.schema, 8))
    expected = lowered(sparse(theirs.positive.offset, theirs.positive.bucket_counts), theirs.scale - schema)
    assert at_schema(ours, schema).positive == expected
    assert ours.negative == ()
    assert (ours.zero_count, ours.observations) == (theirs.zero_count, theirs.count)
    assert ours.sum == pytest.approx(theirs.sum, rel=1e-12)


@given(few_buckets, batches)
@example(8, [([0.001], True), ([1e9], True), ([1.0, 1.1], True)])
@example(160, [([1.0], True), ([1.0], True)])
def test_accumulated_deltas_are_the_sdks_cumulative_state(
    max_size: int, parts: list[tuple[list[float], bool]]
) -> None:
    """However collections fall between recordings, and whatever scales the SDK chose for each of them."""
    both = Both(max_size)
    for items, collect in parts:
        for item in items:
            both.histogram.record(item)
        if collect:
            both.our_point()
    ours, theirs = both.our_point(), both.their_point()
    both.provider.shutdown()
    if ours is None:
        assert theirs is None
    else:
        check_agreement(ours, theirs)


@given(batches)
def test_two_readers_that_collect_at_will_agree_every_time(parts: list[tuple[list[float], bool]]) -> None:
    """Neither reader disturbs the other, at any time in between."""
    assume(any(items for items, _ in parts))
    both = Both(max_size=20)
    for items, collect in parts:
        for item in items:
            both.histogram.record(item)
        ours = both.our_point()
        # Having collected nothing but zeros, the SDK's cumulative state cannot take other values any more
        # ("Incorrect merge scale" in SDK 1.45.2); deltas, which we ask for, do not have this fault.
        theirs = both.their_point() if collect and ours is not None and ours.positive else None
        if ours is not None and theirs is not None:
            check_agreement(ours, theirs)
    both.provider.shutdown()


def test_the_schema_only_ever_falls() -> None:
    """Once a wide range was recorded the series stays at its schema, and buckets stay within the bound."""
    both = Both(max_size=160)
    seen = []
    for items in ([1.0], [1e-9, 1e9], [1.0], [k * 1.01 for k in range(1, 400)]):
        for item in items:
            both.histogram.record(item)
        point = both.our_point()
        assert point is not None
        seen.append(point.schema)
        assert len(point.positive) <= ExponentialSeries.MAX_BUCKETS
    both.provider.shutdown()
    assert seen[0] == ExponentialSeries.MAX_SCHEMA
    assert seen == sorted(seen, reverse=True)
    assert seen[1] == seen[2] < seen[0]


def test_zeros_do_not_cost_resolution() -> None:
    """The SDK gives scale 0 to a collection of zeros only; the series keeps the schema that it has."""
    both = Both(max_size=160)
    for items in ([0.0], [1.0, 1.1], [0.0, 0.0]):
        for item in items:
            both.histogram.record(item)
        point = both.our_point()
        assert point is not None
        assert point.schema == ExponentialSeries.MAX_SCHEMA
    both.provider.shutdown()
    assert (point.zero_count, point.observations) == (3, 5)


def test_a_scale_below_prometheus_lowest_loses_nothing() -> None:
    """The range that needed it is covered, and what was recorded before still counts."""
    both = Both(max_size=2)
    both.histogram.record(1.0)
    both.our_point()
    both.histogram.record(1e-300)
    both.histogram.record(1e300)
    point = both.our_point()
    assert isinstance(point, HistogramPoint)
    assert (sum(point.counts), point.sum) == (3, 1e300)
    assert both.their_point().scale < ExponentialSeries.MIN_SCHEMA
    both.provider.shutdown()


def test_deltas_of_different_ranges_stay_within_the_bound_of_buckets() -> None:
    """Each delta has few buckets, but together they have many: the schema falls, and nothing is lost."""
    both = Both(max_size=160)
    for step in range(300):
        both.histogram.record(1.05**step)
        both.our_point()
    ours, theirs = both.our_point(), both.their_point()
    both.provider.shutdown()
    assert ours is not None
    assert len(ours.positive) <= ExponentialSeries.MAX_BUCKETS
    check_agreement(ours, theirs)
