"""Several instruments, one Prometheus name: who owns it, what adds up, what is reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from metrics_messages import decode
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from setups import Setup

from otel_prom_bridge.translate import Translation
from otel_prom_bridge.translate.labels import Layout

Make = Callable[..., Setup]


def test_two_scopes_with_different_attribute_keys_keep_their_labels(bridge: Make) -> None:
    """Series of one metric from two scopes each carry their own labels: the peer mixes them up."""
    setup = bridge(scope_info_enabled=True)
    a, b = (setup.provider.get_meter(name, "1").create_counter("requests") for name in "ab")
    a.add(1, {"method": "GET"})
    b.add(2, {"priority": "high", "zone": "z"})
    assert setup.text() == (
        "# TYPE requests_total counter\n"
        'requests_total{method="GET",otel_scope_name="a",otel_scope_schema_url="",otel_scope_version="1"} 1\n'
        'requests_total{otel_scope_name="b",otel_scope_schema_url="",otel_scope_version="1",'
        'priority="high",zone="z"} 2\n'
    )


def test_the_first_keys_of_many_are_translated_once(bridge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys past those that are kept do not take the places of others, and their labels are the same."""
    translated: list[object] = []
    layout = Translation.layout

    def heard(*arguments: Any, **options: Any) -> Layout:
        translated.append(arguments)
        return layout(*arguments, **options)

    monkeypatch.setattr("otel_prom_bridge.store.projections._LAYOUTS_REMEMBERED", 10)
    monkeypatch.setattr(Translation, "layout", heard)
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for value in "ab":
        translated.clear()
        for number in range(30):
            counter.add(1, {f"key{number}": value})
        text = setup.text()
    lines = {f'c_total{{key{number}="{value}"}} 1' for number in range(30) for value in "ab"}
    assert lines == set(text.splitlines()[1:])
    assert len(translated) == 20


def test_equal_series_of_two_scopes_add_up(bridge: Make) -> None:
    """Without scope labels, sums and histograms of two scopes that look the same are one series."""
    setup = bridge()
    for name in "ab":
        meter = setup.provider.get_meter(name)
        meter.create_counter("c").add(2, {"k": "v"})
        meter.create_up_down_counter("u").add(-1)
        histogram = meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1, 2])
        histogram.record(1.5)
    assert setup.text() == (
        '# TYPE c_total counter\nc_total{k="v"} 4\n# TYPE u gauge\nu -2\n# TYPE h histogram\n'
        'h_bucket{le="1.0"} 0\nh_bucket{le="2.0"} 2\nh_bucket{le="+Inf"} 2\nh_count 2\nh_sum 3.0\n'
    )


def test_of_equal_gauges_the_newest_stands(bridge: Make) -> None:
    """Two gauges that look the same show the one that changed last, not a sum."""
    setup = bridge()
    a, b = (setup.provider.get_meter(name).create_gauge("g") for name in "ab")
    a.set(1)
    setup.text()
    b.set(2)
    assert setup.text() == "# TYPE g gauge\ng 2\n"
    a.set(3)
    assert setup.text() == "# TYPE g gauge\ng 3\n"


def test_histograms_with_different_buckets_add_up_in_the_buckets_they_share(bridge: Make) -> None:
    """Where bounds differ the common ones stay, with exact counts; count and sum lose nothing."""
    setup = bridge()
    for name, bounds in (("a", [1, 2, 3]), ("b", [1, 3, 5])):
        histogram = setup.provider.get_meter(name).create_histogram(
            "h", explicit_bucket_boundaries_advisory=bounds
        )
        for value in (0.5, 1.5, 2.5, 4, 6):
            histogram.record(value)
    for _ in range(2):
        assert setup.text() == (
            '# TYPE h histogram\nh_bucket{le="1.0"} 2\nh_bucket{le="3.0"} 6\nh_bucket{le="+Inf"} 10\n'
            "h_count 10\nh_sum 29.0\n"
        )


def test_classic_and_native_histograms_of_one_name_add_up(bridge: Make) -> None:
    """Exponential and explicit histograms of one name are one family, and one series if equal."""
    exponential = ExponentialBucketHistogramAggregation()
    setup = bridge(views=(View(instrument_name="h", meter_name="b", aggregation=exponential),))
    for scope in "ab":
        histogram = setup.provider.get_meter(scope).create_histogram(
            "h", explicit_bucket_boundaries_advisory=[1, 4]
        )
        for value in (0, 1, 3, 5):
            histogram.record(value)
            histogram.record(value, {"scope": scope})
    found = setup.text()
    buckets = 'h_bucket{le="1.0"} 4\nh_bucket{le="4.0"} 6\nh_bucket{le="+Inf"} 8\n'
    assert f"{buckets}h_count 8\nh_sum 18\n" in found
    for scope in "ab":
        assert f'h_count{{scope="{scope}"}} 4\nh_sum{{scope="{scope}"}} 9\n' in found


def test_an_exponential_histogram_of_any_range_loses_nothing(bridge: Make) -> None:
    """A scale that Prometheus does not have is written with explicit buckets, with exact count and sum."""
    tiny = ExponentialBucketHistogramAggregation(max_size=2)
    setup = bridge(views=(View(instrument_name="h", aggregation=tiny),))
    histogram = setup.meter.create_histogram("h")
    for values, count in (((1, 2), 2), ((1e-300, 1e300, 1, 5), 6)):
        for value in values:
            histogram.record(value)
        assert f"h_count {count}\n" in setup.text()
    assert "h_sum 1e+300\n" in setup.text()
    protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    ((metric,),) = (family.metric for family in decode(setup.reader.expose(protobuf).body))
    assert (metric.histogram.sample_count, len(metric.histogram.positive_span)) == (6, 0)


def test_a_counter_that_is_reset_falls_and_begins_anew(bridge: Make) -> None:
    """A total that an application resets is shown as it is; its start time says that it began again."""
    setup = bridge(created_timestamps=True)
    totals = iter((5.0, 7.0, 2.0, 3.0))
    setup.meter.create_observable_counter("c", [lambda _: [Observation(next(totals))]])
    found = []
    for _ in range(4):
        time.sleep(0.005)
        _, value, created, _ = setup.text("application/openmetrics-text;version=1.0.0").splitlines()
        found.append((value, float(created.removeprefix("c_created "))))
    values, starts = zip(*found, strict=True)
    assert values == ("c_total 5.0", "c_total 7.0", "c_total 2.0", "c_total 3.0")
    assert starts[0] == starts[1] < starts[2] == starts[3]


def test_attribute_values_that_look_the_same_are_one_series(bridge: Make) -> None:
    """1, "1" and two keys that become one label do not give a series twice."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    nan = float("nan")
    for attributes in ({"k": 1}, {"k": "1"}, {"a.b": "x"}, {"a-b": "x"}, {"a": nan}, {"a": "NaN"}):
        counter.add(1, attributes)
    setup.text()
    counter.add(1, {"a": float("nan")})
    assert (
        setup.text() == '# TYPE c_total counter\nc_total{k="1"} 2\nc_total{a_b="x"} 2\nc_total{a="NaN"} 3\n'
    )


def test_conflicting_help_and_unit_keep_the_first_comment_and_all_points(
    bridge: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """One HELP, TYPE and UNIT per metric; no point is dropped; the conflict is logged once."""
    setup = bridge()
    setup.meter.create_counter("c", description="first").add(1, {"k": "a"})
    setup.meter.create_counter("c", description="second").add(1, {"k": "b"})
    for _ in range(2):
        assert setup.text() == (
            '# HELP c_total first\n# TYPE c_total counter\nc_total{k="a"} 1\nc_total{k="b"} 1\n'
        )
    ours = [r for r in caplog.records if r.name == "otel_prom_bridge"]
    assert len(ours) == 1
    assert "'second'" in ours[0].getMessage()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (("counter", "x"), ("gauge", "x.total"), "x_total is a counter"),
        (("counter", "x"), ("gauge", "x"), "OpenMetrics calls both families x"),
        (("histogram", "h"), ("gauge", "h.count"), "h_count is a sample of the histogram"),
        (("gauge", "h.bucket"), ("histogram", "h"), "h_bucket is a gauge"),
        (("gauge", "x"), ("histogram", "x"), "two types"),
        (("counter", "x"), ("gauge", "x.created"), "x_created belongs to the counter"),
    ],
)
def test_a_type_conflict_drops_the_later_metric(
    bridge: Make,
    caplog: pytest.LogCaptureFixture,
    first: tuple[str, str],
    second: tuple[str, str],
    why: str,
) -> None:
    """A name that any sample of another type uses cannot be used again; the first metric stays whole."""
    setup = bridge()
    alone = bridge()
    record(alone, first)
    for item in (first, second):
        record(setup, item)
        setup.text()
    assert setup.text() == alone.text(), why
    assert [second[1] in r.getMessage() for r in caplog.records if r.name == "otel_prom_bridge"] == [True]


def record(setup: Setup, item: tuple[str, str]) -> None:
    """Record 1 with an instrument of this kind and name."""
    kind, name = item
    match kind:
        case "counter":
            setup.meter.create_counter(name).add(1)
        case "gauge":
            setup.meter.create_gauge(name).set(1)
        case "histogram":
            setup.meter.create_histogram(name).record(1)


@pytest.mark.parametrize("strategy", ["NoTranslation", "NoUTF8EscapingWithSuffixes"])
def test_a_counter_called_total_is_no_empty_family(bridge: Make, strategy: str) -> None:
    """The name _total has nothing before its suffix: OpenMetrics cannot call it a counter."""
    setup = bridge(translation_strategy=strategy, views=(View(instrument_name="c", name="_total"),))
    setup.meter.create_counter("c").add(1)
    accept = "application/openmetrics-text;version=1.0.0"
    assert setup.text(accept) == "# TYPE _total unknown\n_total 1\n# EOF\n"


def test_target_info_has_the_resource_and_comes_first(bridge: Make) -> None:
    """target_info carries the resource attributes, joined where they collide, and nothing else."""
    setup = bridge(resource=Resource({"service.name": "s", "a.b": 1, "a_b": 2}))
    setup.meter.create_counter("c").add(1)
    assert setup.text("application/openmetrics-text;version=1.0.0") == (
        '# TYPE target info\n# HELP target Target metadata\ntarget_info{a_b="1;2",service_name="s"} 1\n'
        "# TYPE c counter\nc_total 1\n# EOF\n"
    )


def test_target_info_can_be_left_out_and_its_name_belongs_to_it(bridge: Make) -> None:
    """disable_target_info leaves it out; otherwise no metric of the application can take its name."""
    resource = Resource({"service.name": "s"})
    off = bridge(resource=resource, disable_target_info=True)
    on = bridge(resource=resource)
    for setup in (off, on):
        setup.meter.create_gauge("target.info").set(5)
    assert off.text() == "# TYPE target_info gauge\ntarget_info 5\n"
    assert on.text() == (
        '# HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{service_name="s"} 1\n'
    )


def test_chosen_resource_attributes_become_labels_of_every_series(bridge: Make) -> None:
    """resource_attribute_filter copies attributes to every series; a collision is joined, not overwritten."""
    setup = bridge(
        resource=Resource({"service.name": "s", "host": "h"}),
        resource_attribute_filter=lambda key: key == "service.name",
        disable_target_info=True,
    )
    setup.meter.create_counter("c").add(1, {"service_name": "mine"})
    setup.meter.create_gauge("g").set(2)
    assert setup.text() == (
        '# TYPE c_total counter\nc_total{service_name="s;mine"} 1\n# TYPE g gauge\ng{service_name="s"} 2\n'
    )


def test_labels_of_ours_cannot_be_corrupted_by_attributes(bridge: Make) -> None:
    """An application's own le, otel_scope_name and __name__ stay visible and harm nothing."""
    setup = bridge(scope_info_enabled=True)
    hostile = {"le": "5", "otel_scope_name": "mine", "__name__": "other"}
    setup.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[]).record(1, hostile)
    setup.meter.create_observable_gauge("g", [lambda _: [Observation(1, {"le": "5"})]])
    scope = 'otel_scope_schema_url="",otel_scope_version=""'
    labels = f'_name_="other",exported_le="5",otel_scope_name="mine;test",{scope}'
    assert setup.text() == (
        f'# TYPE h histogram\nh_bucket{{{labels},le="+Inf"}} 1\nh_count{{{labels}}} 1\nh_sum{{{labels}}} 1\n'
        '# TYPE g gauge\ng{le="5",otel_scope_name="test",otel_scope_schema_url="",otel_scope_version=""} 1\n'
    )


def test_a_resource_attribute_gives_way_to_one_of_the_point(bridge: Make) -> None:
    """Of one key the point knows better; a series without it has the value of the resource."""
    setup = bridge(resource=Resource({"env": "prod"}), resource_attribute_filter=lambda key: True)
    counter = setup.meter.create_counter("c")
    counter.add(1, {"env": "stage"})
    counter.add(2)
    assert [line for line in setup.text().splitlines() if line.startswith("c_total")] == [
        'c_total{env="stage"} 1',
        'c_total{env="prod"} 2',
    ]


def test_the_target_stays_the_same_object(bridge: Make) -> None:
    """Identity means unchanged: a target that did not change is not rendered anew for every scrape."""
    setup = bridge(resource=Resource({"service.name": "s"}))
    counter = setup.meter.create_counter("c")
    counter.add(1)
    before = setup.reader.families()
    counter.add(1)
    after = setup.reader.families()
    assert before[0].name == "target_info"
    assert after[0] is before[0]
    assert after[1] is not before[1]
