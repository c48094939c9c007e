"""Exponential buckets: each value in the one that the SDK gives it, whatever the scale and the spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import (
    LogarithmMapping,
)
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from otel_prom_bridge.direct.exponential import ExponentialBuckets, index_of

POWERS = (-1022, -100, -3, -1, 0, 1, 3, 10, 52, 1023)
VALUES = (5e-324, 1e-300, 0.001, 0.7, 1.5, math.pi, 1e6, 1e300, *(2.0**power for power in POWERS))


@pytest.mark.parametrize("scale", [-10, -4, -1, 0, 1, 2, 7, 20])
def test_a_bucket_has_the_index_of_the_sdk(scale: int) -> None:
    """Also of powers of two, which are upper bounds, and of subnormal numbers."""
    mapping = LogarithmMapping(scale) if scale > 0 else ExponentMapping(scale)
    found = {value: index_of(value, scale) for value in VALUES}
    assert found == {value: mapping.map_to_index(value) for value in VALUES}


@pytest.mark.parametrize("power", POWERS[1:])
@pytest.mark.parametrize("scale", [0, 1, 7, 20])
def test_neighbours_of_a_power_of_two_are_on_its_two_sides(scale: int, power: int) -> None:
    """However near they are. The logarithm alone, which the SDK trusts, puts some on the wrong side."""
    bound = 2.0**power
    assert index_of(math.nextafter(bound, 0), scale) == index_of(bound, scale) == (power << scale) - 1
    assert index_of(math.nextafter(bound, math.inf), scale) == power << scale


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0, 3.0],
        [1.0, 1.0001, 1.0002],
        [1e-9, 1.0, 1e9],
        [2.0**power for power in range(-50, 200)],
        [1e300, 1e-300, 1.0],
        [1.0, 1e-300, 1e300, 7.0],
    ],
)
def test_a_spread_has_the_scale_of_the_sdk(values: Sequence[float]) -> None:
    """The highest scale at which there are at most 160 buckets, and the same counts in them."""
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    provider = MeterProvider([reader], shutdown_on_exit=False)
    histogram, buckets = provider.get_meter("test").create_histogram("h"), ExponentialBuckets()
    for value in values:
        histogram.record(value)
        buckets.add(value)
    data = reader.get_metrics_data()
    assert data is not None
    (point,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    provider.shutdown()
    offset, counts = buckets.consecutive()
    theirs = [*point.positive.bucket_counts]
    while theirs and not theirs[-1]:  # the SDK may keep empty ones at the end
        theirs.pop()
    assert (buckets.scale, buckets.zeros, sum(counts)) == (point.scale, point.zero_count, sum(theirs))
    assert (offset, counts) == (point.positive.offset, theirs)
