"""Gauges that a View of the SDK makes histograms of: those come with all of their observations each time."""

from __future__ import annotations

from typing import Any

import pytest
from exported import Application
from metrics_messages import decode
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_prom_bridge import ExportView

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
# What is set before each scrape, with a label that a view may leave out.
SET = [[(1.0, "a"), (2.0, "b")], [], [(1.5, "a"), (1.25, "a")], [(7.0, "b")], [(1.0, "a")]]
Totals = dict[tuple[str, ...], tuple[int, float]]


@pytest.mark.parametrize("keep", [["k"], []], ids=["each", "all together"])
@pytest.mark.parametrize(
    "aggregation",
    [ExplicitBucketHistogramAggregation([0.5, 2]), ExponentialBucketHistogramAggregation()],
    ids=["explicit", "exponential"],
)
def test_they_are_what_a_cumulative_reader_has(aggregation: Aggregation, keep: list[str]) -> None:
    """Number and sum of each series, or of all together where a view leaves out what tells them apart."""
    beside = [View(instrument_name="waiting", aggregation=aggregation)]
    application = Application(ExportView(instrument_name="waiting", keep=keep), beside=beside)
    gauge = application.meter.create_gauge("waiting")
    for observed in SET:
        for value, key in observed:
            gauge.set(value, {"k": key})
        assert shown(application) == expected(application, keep)


def shown(application: Application) -> Totals:
    """What a scrape has, by the value of the label."""
    families = decode(application.reader.expose(PROTOBUF).body)
    (family,) = (family for family in families if family.name == "waiting")
    return {
        tuple(label.value for label in metric.label if label.name == "k"): (
            metric.histogram.sample_count,
            pytest.approx(metric.histogram.sample_sum),
        )
        for metric in family.metric
    }


def expected(application: Application, keep: list[str]) -> Totals:
    """What the cumulative reader of the SDK has."""
    found: Totals = {}
    for point in points(application):
        key = tuple(point.attributes[name] for name in keep)
        count, total = found.get(key, (0, 0.0))
        found[key] = (count + point.count, total + point.sum)
    return found


def points(application: Application) -> list[Any]:
    """Its points, one for each label value."""
    data = application.reference.get_metrics_data()
    assert data is not None
    metrics = [metric for r in data.resource_metrics for s in r.scope_metrics for metric in s.metrics]
    return list(next(metric for metric in metrics if metric.name == "waiting").data.data_points)
