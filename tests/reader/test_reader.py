"""The reader's life: before, with, between and after providers; what fails alone; what is bounded."""

from __future__ import annotations

import dataclasses
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples
from setups import Setup, values

from otel_prom_bridge import ConfigurationError, PrometheusMetricReader, TranslationStrategy
from otel_prom_bridge.exposition.openmetrics import OpenMetricsWriter
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.points import Stream
from otel_prom_bridge.sdk import versions
from otel_prom_bridge.store.series import NumberSeries
from otel_prom_bridge.store.series.current import CurrentNumber
from otel_prom_bridge.translate import Translation

Make = Callable[..., Setup]


# --- life ---------------------------------------------------------------------------------------------


def test_a_reader_without_a_provider_exposes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Before a provider uses the reader a scrape is empty, in every format, and logs nothing."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    assert not reader.is_ready
    assert reader.expose().body == b""
    assert reader.expose(OPENMETRICS).body == b"# EOF\n"
    assert caplog.records == []


def test_a_provider_without_instruments_exposes_nothing(bridge: Make) -> None:
    """A collection before any instrument exists is an empty exposition."""
    setup = bridge()
    assert setup.reader.is_ready
    assert setup.text() == ""
    assert setup.text(OPENMETRICS) == "# EOF\n"


def test_force_flush_without_a_scrape_queues_nothing(bridge: Make) -> None:
    """Any number of flushes between two scrapes shows each recording once, and keeps no batches."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for _ in range(50):
        counter.add(1)
        assert setup.provider.force_flush()
    assert setup.text() == "# TYPE c_total counter\nc_total 50\n"


def test_shutdown_twice_is_once(bridge: Make) -> None:
    """The reader can be shut down by hand and again by its provider; hooks run once."""
    setup = bridge()
    calls: list[str] = []
    setup.reader.on_shutdown(lambda: calls.append("before"))
    setup.reader.shutdown()
    setup.provider.shutdown()
    setup.reader.on_shutdown(lambda: calls.append("after"))
    assert calls == ["before", "after"]
    assert setup.reader.is_shut_down
    assert not setup.reader.is_ready


def test_a_scrape_after_shutdown_shows_the_last_state(bridge: Make) -> None:
    """After shutdown nothing is collected any more; what was known stays readable."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    counter.add(1)
    before = setup.text()
    setup.reader.shutdown()
    counter.add(1)
    assert setup.text() == before
    assert not setup.reader.force_flush()


def test_a_reader_serves_one_provider(bridge: Make) -> None:
    """The SDK refuses a reader that has a provider; the first provider keeps it."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    with pytest.raises(Exception, match="has been registered already"):
        MeterProvider([setup.reader], shutdown_on_exit=False)
    setup.provider.add_metric_reader(setup.reader)
    assert values(setup, "c_total") == {"-": 1}


def test_a_reader_can_be_added_to_a_running_provider() -> None:
    """A reader added later shows what is recorded from then on, also without a constructor's binding."""
    provider = MeterProvider(resource=Resource({}), shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")
    counter.add(1)
    reader = PrometheusMetricReader(registry=None, self_metrics=False, scope_info_enabled=False)
    provider.add_metric_reader(reader)
    counter.add(2)
    assert reader.expose().body == b"# TYPE c_total counter\nc_total 2\n"
    provider.remove_metric_reader(reader)
    assert reader.is_shut_down


def test_two_readers_of_one_provider_do_not_disturb_each_other() -> None:
    """Each reader adds up its own deltas."""
    readers = [
        PrometheusMetricReader(registry=None, self_metrics=False, scope_info_enabled=False) for _ in range(2)
    ]
    provider = MeterProvider(readers, resource=Resource({}), shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")
    for _ in range(3):
        counter.add(1)
        readers[0].expose()
    assert [reader.expose().body for reader in readers] == [b"# TYPE c_total counter\nc_total 3\n"] * 2


def test_a_reader_that_nobody_needs_is_freed() -> None:
    """Neither thread nor module holds on to a reader after its provider is gone."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("test").create_counter("c").add(1)
    reader.expose()
    provider.shutdown()
    gone = weakref.ref(reader)
    del reader, provider
    gc.collect()
    assert gone() is None


# --- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"translation_strategy": "CamelCase"},
            r"translation_strategy: 'CamelCase' is not allowed, expected one of 'Under",
        ),
        ({"max_series_per_metric": 0}, "max_series_per_metric: 0 is not allowed, expected a whole number"),
        ({"max_series_per_metric": True}, "max_series_per_metric: True is not allowed"),
        ({"max_series_per_metric": "many"}, "max_series_per_metric: 'many' is not allowed"),
        ({"prefix": None}, "prefix: None is not allowed"),
    ],
)
def test_a_wrong_option_fails_early(options: dict[str, object], message: str) -> None:
    """The error of a wrong option names the key, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        PrometheusMetricReader(registry=None, **options)  # type: ignore[arg-type]


def test_the_strategy_can_be_given_by_name() -> None:
    """The specification's spelling of a strategy is as good as the enum."""
    reader = PrometheusMetricReader(registry=None, translation_strategy="UnderscoreEscapingWithSuffixes")
    assert isinstance(reader, MetricReader)
    assert TranslationStrategy("UnderscoreEscapingWithSuffixes") in TranslationStrategy


def test_the_constructor_takes_what_the_peer_takes() -> None:
    """Every argument of opentelemetry-exporter-prometheus' reader is accepted, in its position."""
    reader = PrometheusMetricReader(
        True,
        "app",
        False,
        resource_attribute_filter=lambda key: key == "service.name",
        registry=None,
        cardinality_limits={Counter: 5},
        self_metrics=False,
    )
    provider = MeterProvider(
        [reader], resource=Resource({"service.name": "s", "x": 1}), shutdown_on_exit=False
    )
    provider.get_meter("test").create_counter("c").add(1)
    assert reader.expose().body == b'# TYPE app_c_total counter\napp_c_total{service_name="s"} 1\n'


# --- failures stay alone ------------------------------------------------------------------------------


def test_a_failing_translation_loses_no_delta(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While one metric cannot be translated the others are served, and its deltas are there afterwards."""
    setup = bridge()
    broken, whole = setup.meter.create_counter("broken"), setup.meter.create_counter("whole")
    original = Translation.name

    def fail(self: Translation, stream: Stream) -> str:
        if stream.name == "broken":
            raise RuntimeError("no name today")
        return original(self, stream)

    with monkeypatch.context() as patch:
        patch.setattr(Translation, "name", fail)
        for _ in range(3):
            broken.add(1)
            whole.add(1)
            assert values(setup, "broken_total") == {}
    assert values(setup, "whole_total") == {"-": 3}
    broken.add(1)
    assert values(setup, "broken_total") == {"-": 4}
    assert len([r for r in caplog.records if "broken" in r.getMessage()]) == 1


def test_a_failing_encoder_loses_no_delta(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A family that cannot be written is left out; the others are served and its deltas are kept."""
    setup = bridge()
    broken, whole = setup.meter.create_counter("broken"), setup.meter.create_counter("whole")
    original = OpenMetricsWriter.header

    def fail(self: OpenMetricsWriter, family: MetricFamily) -> bytes:
        if family.name == "broken_total":
            raise RuntimeError("no header today")
        return original(self, family)

    with monkeypatch.context() as patch:
        patch.setattr(OpenMetricsWriter, "header", fail)
        broken.add(1)
        whole.add(1)
        assert values(setup, "broken_total") == {}
        assert values(setup, "whole_total") == {"-": 1}
    broken.add(1)
    assert values(setup, "broken_total") == {"-": 2}
    assert "could not be written" in caplog.text


def test_a_failing_callback_loses_nothing_of_the_others(bridge: Make) -> None:
    """A callback that raises has no points; every other instrument is served."""
    setup = bridge()

    def fail(_: CallbackOptions) -> Iterable[Observation]:
        raise RuntimeError("secret")

    setup.meter.create_observable_gauge("bad", [fail])
    setup.meter.create_observable_gauge("good", [lambda _: [Observation(2)]])
    setup.meter.create_counter("c").add(1)
    assert setup.text() == "# TYPE c_total counter\nc_total 1\n# TYPE good gauge\ngood 2\n"


def test_a_collection_that_times_out_keeps_every_delta(bridge: Make) -> None:
    """Who does not wait for slow callbacks sees known values; the deltas come with the next scrape."""
    setup = bridge()
    slow = threading.Event()

    def wait(_: CallbackOptions) -> Iterable[Observation]:
        if slow.is_set():
            time.sleep(0.05)
        return [Observation(1)]

    for name in ("a", "b"):
        setup.meter.create_observable_gauge(name, [wait])
    counter = setup.meter.create_counter("c")
    counter.add(1)
    assert values(setup, "c_total") == {"-": 1}
    slow.set()
    counter.add(1)
    assert not setup.reader.force_flush(timeout_millis=10)
    slow.clear()
    assert values(setup, "c_total") == {"-": 2}


def test_a_callback_that_scrapes_its_own_process_does_not_hang(bridge: Make) -> None:
    """A scrape from within a collection shows what is known instead of waiting for itself."""
    setup = bridge()
    seen: list[bytes] = []

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        seen.append(setup.reader.expose().body)
        return [Observation(1)]

    setup.meter.create_observable_gauge("g", [observe])
    setup.text()
    assert setup.text() == "# TYPE g gauge\ng 1\n"
    assert seen == [b"", b"# TYPE g gauge\ng 1\n"]


def test_a_metric_without_a_translation_is_reported_once(
    bridge: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of data that the bridge does not know leaves the scrape whole and is named in one warning."""
    setup = bridge()
    original = setup.reader._collect

    def collect(*args: object, **options: object) -> MetricsData:
        data = original(*args, **options)  # type: ignore[misc]
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        metrics.insert(0, dataclasses.replace(metrics[0], name="future", data="a sketch"))
        return data

    monkeypatch.setattr(setup.reader, "_collect", collect)
    for count in (1, 2, 3):
        setup.meter.create_counter("c").add(1)
        assert setup.text() == f"# TYPE c_total counter\nc_total {count}\n"
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert "'future'" in warnings[0]
    assert "SDK View" in warnings[0]


def test_a_failing_resource_filter_loses_nothing(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A filter of the application that raises costs its labels, not the deltas."""

    def fail(key: str) -> bool:
        raise KeyError(key)

    setup = bridge(resource=Resource({"a": "b"}), resource_attribute_filter=fail, disable_target_info=True)
    setup.meter.create_counter("c").add(1)
    assert setup.text() == "# TYPE c_total counter\nc_total 1\n"
    assert "resource_attribute_filter failed" in caplog.text


def test_a_recording_that_the_bridge_cannot_take_never_raises(bridge: Make) -> None:
    """Hostile attributes and values do not raise into the application or break a scrape."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for attributes in (
        {"k": "\ud800"},
        {"k": b"\xff"},
        {"k": {"deep": [1, None]}},
        {"": 1},
        {1: 2},
        {"k": None},
    ):
        counter.add(1, attributes)  # type: ignore[arg-type]
    exposition = setup.reader.expose(OPENMETRICS)
    assert sum(samples(exposition.content_type, exposition.body).values()) == 6


def test_a_scrape_without_changes_takes_nothing_from_the_sdk(
    bridge: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing was recorded, the SDK is not even asked: it would have no point to build."""
    setup = bridge()
    counter, histogram = setup.meter.create_counter("c"), setup.meter.create_histogram("h")
    taken: list[object] = []
    original = setup.reader._collect
    monkeypatch.setattr(
        setup.reader, "_collect", lambda *args, **kwargs: taken.append(original(*args, **kwargs)) or taken[-1]
    )
    for number in range(100):
        counter.add(1, {"k": str(number)})
        histogram.record(1, {"k": str(number)})
    body = setup.text()
    assert setup.text() == body
    counter.add(1, {"k": "7"})
    setup.text()
    points = [
        sum(
            len(m.data.data_points) for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
        )
        if data
        else 0
        for data in taken
    ]
    # Before 1.45.2 the SDK keeps the series that it once had, so it has to be asked.
    assert points == ([200, 1] if versions.HAS_LIMITS else [200, 0, 1])


# --- what a scrape shows ------------------------------------------------------------------------------


def test_an_asynchronous_series_that_is_not_reported_is_gone(bridge: Make) -> None:
    """A series that a callback stops reporting disappears, and comes back when it reports again."""
    setup = bridge()
    reported = {"a": 1.0, "b": 2.0, "c": 3.0}
    setup.meter.create_observable_gauge(
        "g", [lambda _: [Observation(value, {"k": key}) for key, value in reported.items()]]
    )
    assert values(setup, "g") == {"a": 1, "b": 2, "c": 3}
    del reported["a"]
    assert values(setup, "g") == {"b": 2, "c": 3}
    reported.clear()
    assert setup.text() == ""
    reported["a"] = 5
    assert values(setup, "g") == {"a": 5}


def test_series_that_appear_and_vanish_between_scrapes_leave_nothing(bridge: Make) -> None:
    """A series that was only there during a flush does not reach a scrape."""
    setup = bridge()
    reported = {"a": 1.0}
    setup.meter.create_observable_gauge(
        "g", [lambda _: [Observation(value, {"k": key}) for key, value in reported.items()]]
    )
    setup.provider.force_flush()
    reported.clear()
    assert setup.text() == ""


def test_sdk_views_decide_the_kind(bridge: Make) -> None:
    """What a view makes of an instrument is what the family becomes."""
    setup = bridge(
        views=(
            View(instrument_name="summed", aggregation=SumAggregation()),
            View(instrument_name="c", name="renamed", attribute_keys={"k"}),
        )
    )
    summed = setup.meter.create_histogram("summed")
    for value in (1, 2):
        summed.record(value)
        setup.meter.create_counter("c").add(value, {"k": "a", "dropped": value})
        setup.provider.force_flush()
    assert setup.text() == (
        '# TYPE summed gauge\nsummed 3\n# TYPE renamed_total counter\nrenamed_total{k="a"} 3\n'
    )


def test_a_histogram_of_a_gauge_is_cumulative_already(bridge: Make) -> None:
    """A histogram view on a gauge comes as a current value: it is replaced, not added up."""
    buckets = ExplicitBucketHistogramAggregation([1, 2])
    setup = bridge(views=(View(instrument_name="g", aggregation=buckets),))
    gauge = setup.meter.create_gauge("g")
    for total in (1, 2, 3):
        gauge.set(1.5)
        for _ in range(2):
            assert values(setup, "g_count") == {"-": total}


def test_two_views_with_one_name_and_different_buckets_add_up(bridge: Make) -> None:
    """Streams that cannot be told apart are one; of different bounds the common ones stay."""
    views = [
        View(instrument_name="h", name="h", aggregation=ExplicitBucketHistogramAggregation(bounds))
        for bounds in ([1, 2, 3], [1, 3])
    ]
    setup = bridge(views=tuple(views), exemplar_filter=AlwaysOnExemplarFilter())
    histogram = setup.meter.create_histogram("h")
    for count in (2, 4):
        histogram.record(1.5)
        assert setup.text() == (
            f'# TYPE h histogram\nh_bucket{{le="1.0"}} 0\nh_bucket{{le="3.0"}} {count}\n'
            f'h_bucket{{le="+Inf"}} {count}\nh_count {count}\nh_sum {1.5 * count}\n'
        )
    assert 'h_bucket{le="3.0"} 4 # {} 1.5 ' in setup.text(OPENMETRICS)


def test_numbers_of_other_types_add_up(bridge: Make) -> None:
    """Decimals and booleans that an application records are numbers like the others."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    gauge = setup.meter.create_gauge("g")
    for value in (Decimal("1.5"), 2.25, 1, True):
        counter.add(value)  # type: ignore[arg-type]
        gauge.set(value)  # type: ignore[arg-type]
        setup.text()
    assert setup.text() == "# TYPE c_total counter\nc_total 5.75\n# TYPE g gauge\ng 1\n"


def test_a_point_that_cannot_be_taken_in_is_alone(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault in one point is reported once; the other points of the metric are taken in."""
    setup = bridge()
    counter, gauge = setup.meter.create_counter("c"), setup.meter.create_gauge("g")

    def unlucky(original: Callable[..., Any]) -> Callable[..., Any]:
        def take_in(series: NumberSeries, *given: Any) -> Any:
            points = given[-1] if isinstance(given[-1], list) else given
            if any(point.value == 13 for point in points):
                raise RuntimeError("unlucky")
            return original(series, *given)

        return take_in

    for kind, name in ((NumberSeries, "add"), (CurrentNumber, "replace")):
        monkeypatch.setattr(kind, name, unlucky(getattr(kind, name)))
    for _ in range(2):
        for value in (1, 13):
            counter.add(value, {"k": str(value)})
            gauge.set(value, {"k": str(value)})
        setup.text()
    assert values(setup, "c_total") == {"1": 2, "13": 0}
    assert values(setup, "g") == {"1": 1}
    ours = [r.getMessage() for r in caplog.records if r.name == "otel_prom_bridge"]
    assert len(ours) == 2


def test_the_limit_folds_and_keeps_sums_exact(bridge: Make) -> None:
    """Past the limit points go to the overflow series; known series keep theirs, and nothing is lost."""
    setup = bridge(max_series_per_metric=3)
    counter = setup.meter.create_counter("c")
    for _ in range(2):
        for number in range(10):
            counter.add(1, {"k": str(number)})
        setup.provider.force_flush()
    assert setup.text() == (
        '# TYPE c_total counter\nc_total{k="0"} 2\nc_total{k="1"} 2\nc_total{k="2"} 2\n'
        'c_total{otel_metric_overflow="true"} 14\n'
    )


def test_the_limit_of_an_asynchronous_counter_adds_what_it_folds(bridge: Make) -> None:
    """Totals that share the overflow series in one collection are added, not overwritten."""
    setup = bridge(cardinality_limits={ObservableCounter: 100}, max_series_per_metric=5)
    setup.meter.create_observable_counter(
        "c", [lambda _: [Observation(1, {"k": str(number)}) for number in range(150)]]
    )
    for _ in range(2):
        found = values(setup, "c_total")
        assert len(found) == 101
        assert found["-"] == 50


def test_logging_goes_to_our_logger_only(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """What the bridge has to say comes from the logger `otel_prom_bridge`, at WARNING."""
    setup = bridge()
    setup.meter.create_counter("x").add(1)
    setup.provider.get_meter("other").create_gauge("x.total").set(1)
    assert setup.text() == "# TYPE x_total counter\nx_total 1\n"
    assert [(r.name, r.levelno) for r in caplog.records] == [("otel_prom_bridge", logging.WARNING)]
