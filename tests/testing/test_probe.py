"""What a probe says of what was recorded, and what it says when it is asked for something else."""

from __future__ import annotations

import pytest
from exported import in_span
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_prom_bridge.testing import MetricsProbe, NoMetricError


def test_counters_add_up(metrics: MetricsProbe) -> None:
    """The value of a counter is that of all series with these labels."""
    orders = metrics.meter().create_counter("orders")
    orders.add(2, {"payment.method": "card", "zone": "eu"})
    orders.add(3, {"payment.method": "card", "zone": "us"})
    orders.add(5, {"payment.method": "cash", "zone": "us"})
    assert metrics.value("orders_total", payment_method="card") == 5
    assert metrics.value("orders_total") == 10
    assert metrics.value("orders_total", zone="eu") == 2
    assert metrics.get_metric("orders_total", zone="mars") is None
    metrics.assert_counter("orders_total", 8, zone="us")
    metrics.assert_counter("orders_total", 0, zone="mars")


def test_the_name_of_a_label_may_be_anything(metrics: MetricsProbe) -> None:
    """Labels do not collide with the arguments of the probe."""
    metrics.meter().create_counter("c").add(1, {"name": "x", "self": "y", "expected": "z"})
    assert metrics.value("c_total", name="x", self="y", expected="z") == 1
    metrics.assert_counter("c_total", 1, name="x", expected="z")


def test_deltas(metrics: MetricsProbe) -> None:
    """A delta is what came since the mark; a series that was not there before began at zero."""
    counter = metrics.meter().create_counter("c")
    histogram = metrics.meter().create_histogram("h", unit="s")
    counter.add(1)
    histogram.record(0.3)
    assert metrics.delta("c_total") == 1
    metrics.mark()
    assert metrics.delta("c_total") == 0
    counter.add(4, {"k": "new"})
    histogram.record(0.3)
    assert metrics.delta("c_total") == 4
    assert metrics.delta("c_total", k="new") == 4
    assert metrics.delta("h_seconds_count") == 1


@pytest.mark.parametrize("is_native", [False, True])
def test_histograms(is_native: bool) -> None:
    """Count, sum, buckets and quantiles, of all series with these labels together."""
    views = (View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation()),)
    with MetricsProbe(sdk_views=views if is_native else ()) as probe:
        recorded = probe.meter().create_histogram(
            "h", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1]
        )
        for number in range(100):
            recorded.record(number / 100, {"half": str(number < 50)})
        found = probe.histogram("h_seconds", half="True")
        assert found.count == 50
        assert found.sum == pytest.approx(12.25)
        assert probe.histogram("h_seconds").quantile(0.5) == pytest.approx(0.5, abs=0.05)
        if not is_native:
            assert found.buckets == {0.1: 11, 0.5: 50, 1.0: 50, float("inf"): 50}
        assert probe.value("h_seconds_count") == 100
        with pytest.raises(ValueError, match="expected a number from 0 to 1"):
            found.quantile(99)


def test_exemplars() -> None:
    """The exemplars of a series are what a scrape would send of them."""
    with MetricsProbe() as probe, in_span(trace_id=7):
        probe.meter().create_histogram("h").record(1, {"route": "/"})
        (item,) = probe.exemplars("h", route="/")
        assert dict(item.labels)["trace_id"].endswith("7")
        assert probe.exemplars("h", route="/other") == []


def test_a_name_that_is_not_there(metrics: MetricsProbe) -> None:
    """The message says what there is, the nearest names first."""
    with pytest.raises(NoMetricError, match="nothing was recorded at all"):
        metrics.value("orders_total")
    metrics.meter().create_counter("orders").add(1)
    metrics.meter().create_histogram("latency").record(1)
    with pytest.raises(NoMetricError) as caught:
        metrics.value("order_total")
    assert str(caught.value) == (
        "there is no metric 'order_total'; did you mean 'orders_total'?\nthere are: orders_total, latency"
    )
    with pytest.raises(
        NoMetricError, match="'latency' is a histogram; ask for latency_bucket, latency_count"
    ):
        metrics.value("latency")


def test_labels_that_are_not_there(metrics: MetricsProbe) -> None:
    """The message lists the series, the nearest first, and says in what they differ."""
    orders = metrics.meter().create_counter("orders")
    orders.add(1, {"model": "claude"})
    orders.add(2, {"model": "gpt-4o"})
    with pytest.raises(NoMetricError) as caught:
        metrics.value("orders_total", model="gpt-4", zone="eu")
    assert str(caught.value).splitlines() == [
        "no series is orders_total{model='gpt-4', zone='eu'}; those of orders_total, most alike first:",
        "  orders_total{model='gpt-4o'} 2   (model is 'gpt-4o', not 'gpt-4'; no label zone)",
        "  orders_total{model='claude'} 1   (model is 'claude', not 'gpt-4'; no label zone)",
    ]
    with pytest.raises(AssertionError, match=r"orders_total{} is 3, not 4; it is the sum of"):
        metrics.assert_counter("orders_total", 4)


def test_current_values_do_not_add_up(metrics: MetricsProbe) -> None:
    """Two series of a gauge are not one value."""
    gauge = metrics.meter().create_gauge("temperature")
    gauge.set(1, {"room": "a"})
    gauge.set(2, {"room": "b"})
    assert metrics.value("temperature", room="a") == 1
    with pytest.raises(NoMetricError, match="2 series of temperature have these labels"):
        metrics.value("temperature")


def test_after_a_reset_everything_begins_anew(metrics: MetricsProbe) -> None:
    """What was before does not count and is not shown; instruments go on as they are."""
    meter = metrics.meter()
    counter, gauge, histogram = (
        meter.create_counter("c"),
        meter.create_gauge("g"),
        meter.create_histogram("h"),
    )
    meter.create_observable_counter("o", [lambda _: [Observation(7)]])
    for instrument in (counter.add, gauge.set, histogram.record):
        instrument(3, {"k": "v"})
    metrics.reset()
    assert metrics.get_all_metrics() == {("g", (("k", "v"),)): 3}
    counter.add(1, {"k": "v"})
    histogram.record(3, {"k": "v"})
    assert metrics.value("c_total") == 1
    found = metrics.histogram("h")
    assert (found.count, found.sum, sum(found.counts)) == (1, 3, 1)
    gauge.set(3, {"k": "v"})
    assert metrics.value("g") == 3
    assert {name for name, _ in metrics.get_all_metrics()} >= {"c_total", "g", "h_count"}
    assert "o_total" not in {name for name, _ in metrics.get_all_metrics()}
