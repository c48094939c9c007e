"""Our series of deltas say what the SDK's own say of the same measurements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.sdk.batches import TEMPORALITY
from otel_prom_bridge.sdk.deltas import HistogramDelta, SumDelta
from otel_prom_bridge.sdk.versions import HAS_LIMITS
from otel_prom_bridge.testing.probe import ALONE

pytestmark = pytest.mark.skipif(not HAS_LIMITS, reason="here the SDK keeps the series of deltas")

NAMES = ("counter", "up_down", "histogram", "bounded", "few", "kept")
VALUES = st.one_of(
    st.integers(-3, 10_000), st.floats(0, 1e6), st.sampled_from([float("inf"), float("nan"), 0.0, 5.0, 2**70])
)
SETS = st.sampled_from(
    [
        {},
        {"a": "x"},
        {"a": "x", "b": 1},
        {"a": "x", "b": True},
        {"a": 1.0},
        {"a": 1},
        {"a": ["x", "y"]},
        {"b": "x"},
    ]
)
RECORDINGS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES, SETS, st.booleans()), max_size=30)
DELTA = AggregationTemporality.DELTA


class Caught(PrometheusMetricReader):
    """Ours, with what the SDK hands over."""

    data: list[MetricsData]

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self.data = [metrics_data]
        super()._receive_metrics(metrics_data, timeout_millis)


def points_of(data: MetricsData | None) -> dict[tuple[str, Any], Any]:
    """What each point says, by its metric and attributes."""
    return dict(_points_of(data)) if data is not None else {}


def _points_of(data: MetricsData) -> Iterator[tuple[tuple[str, Any], Any]]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield (metric.name, repr(sorted(point.attributes.items()))), said(point)


def said(point: Any) -> Mapping[str, Any]:
    """All of it; exemplars without the choice that a reservoir makes by chance."""
    names = ("value", "count", "sum", "bucket_counts", "explicit_bounds", "min", "max")
    result = {name: repr(getattr(point, name)) for name in names if hasattr(point, name)}
    if "bucket_counts" in result:
        result["bucket_counts"] = repr(tuple(point.bucket_counts))
        result["exemplars"] = sorted(
            (repr(item.value), repr(item.filtered_attributes), item.span_id is not None)
            for item in point.exemplars
        )
    else:
        result["exemplars"] = bool(point.exemplars)
    return result


@given(st.lists(RECORDINGS, min_size=1, max_size=3))
@example(
    [
        [("counter", 1, {"a": "x"}, False), ("counter", 1, {"a": "x", "b": 1}, False)],
        [("counter", 1, {"a": "x", "b": 1}, False), ("counter", 1, {"a": "x"}, False)],
        [(name, 1, {"a": "x", **more}, False) for more in ({}, {"b": 1}, {}) for name in NAMES],
    ]
)
def test_they_say_what_the_sdk_says(rounds: list[Any]) -> None:
    """Values, buckets, extremes, attributes and exemplars, over several collections."""
    ours = Caught(registry=None)
    theirs = InMemoryMetricReader(
        preferred_temporality=dict.fromkeys((Counter, UpDownCounter, Histogram), DELTA)
    )
    views = [
        View(
            instrument_name="few",
            aggregation=ExplicitBucketHistogramAggregation((5.0,), record_min_max=False),
        ),
        View(instrument_name="kept", attribute_keys={"a"}),
        View(instrument_name="*", aggregation_cardinality_limit=4),
    ]
    provider = MeterProvider([ours, theirs], views=views, shutdown_on_exit=False)
    meter, tracer = provider.get_meter("t"), TracerProvider(shutdown_on_exit=False).get_tracer("t")
    record = {
        "counter": meter.create_counter("counter").add,
        "up_down": meter.create_up_down_counter("up_down").add,
        "histogram": meter.create_histogram("histogram").record,
        "bounded": meter.create_histogram("bounded", explicit_bucket_boundaries_advisory=[0, 10.0]).record,
        "few": meter.create_histogram("few").record,
        "kept": meter.create_counter("kept").add,
    }
    for recordings in rounds:
        for name, value, attributes, sampled in recordings:
            if sampled:
                with tracer.start_as_current_span("s"):
                    record[name](value, attributes)
            else:
                record[name](value, attributes)
        ours.data = []
        ours.collect()
        mine = points_of(ours.data[0] if ours.data else None)
        assert mine == points_of(theirs.get_metrics_data())
    provider.shutdown()


def test_which_series_are_ours() -> None:
    """Those of counters, up-down counters and histograms of our readers; other readers have the SDK's."""
    ours, theirs = (
        PrometheusMetricReader(registry=None),
        InMemoryMetricReader(preferred_temporality=TEMPORALITY),
    )
    provider = MeterProvider([ours, theirs], shutdown_on_exit=False)
    meter = provider.get_meter("t")
    meter.create_counter("c").add(1)
    meter.create_up_down_counter("u").add(1)
    meter.create_histogram("h").record(1)
    consumer: Any = provider._measurement_consumer
    kinds = {
        reader: [type(match._attributes_aggregation.popitem()[1]) for [match] in matches.values()]
        for reader, storage in consumer._reader_storages.items()
        for matches in [storage._instrument_view_instrument_matches]
    }
    assert kinds[ours] == [SumDelta, SumDelta, HistogramDelta]
    assert not {SumDelta, HistogramDelta} & set(kinds[theirs])
    provider.shutdown()


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_a_collection_in_the_middle_of_a_recording(kind: str) -> None:
    """What comes between finding a series and adding to it takes nothing away: it is counted later."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False, disable_target_info=True)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instrument = getattr(provider.get_meter("t"), f"create_{kind}")("i")
    record = instrument.add if kind == "counter" else instrument.record
    record(1, {"k": "a"})
    consumer: Any = provider._measurement_consumer
    [[match]] = consumer._reader_storages[reader]._instrument_view_instrument_matches.values()
    found = match.series_of

    def interrupted(*arguments: Any) -> Any:
        series = found(*arguments)
        if not done:
            done.append(True)
            reader.collect()
        return series

    done: list[bool] = []
    match.series_of = interrupted
    record(2, {"k": "a"})
    assert done
    text = reader.expose().body.decode()
    assert 'i_total{k="a"' in text or 'i_count{k="a"' in text
    values = {line.partition("{")[0]: line.split()[-1] for line in text.splitlines() if line[0] != "#"}
    assert values["i_total" if kind == "counter" else "i_sum"] == "3"
    provider.shutdown()


class Byte:
    """A number as NumPy has them, which has so many bits and no more."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __add__(self, other: object) -> Byte:
        return Byte((self.value + int(float(other))) % 256)  # type: ignore[arg-type]

    __radd__ = __add__

    def __float__(self) -> float:
        return float(self.value)

    def __lt__(self, other: float) -> bool:
        return self.value < other

    def __gt__(self, other: float) -> bool:
        return self.value > other


@pytest.mark.parametrize(("number", "total"), [(Byte(250), 751.5), (Decimal("0.5"), 3.0)])
@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "histogram"])
def test_a_number_of_another_type_adds_up_with_others(kind: str, number: Any, total: float) -> None:
    """It counts as what it is worth, however often it comes, and nothing is raised where it is recorded."""
    reader = PrometheusMetricReader(**ALONE)
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("m")
    instrument = getattr(meter, f"create_{kind}")("i")
    record = instrument.record if kind == "histogram" else instrument.add
    for value in (number, number, 1.5, number):
        record(value)
    lines = reader.expose().body.decode().splitlines()
    said = [float(line.split()[1]) for line in lines if line.startswith(("i ", "i_total ", "i_sum "))]
    assert said == [total]
    reader.shutdown()


@pytest.mark.parametrize(("value", "shown"), [(True, "1.0"), (1, "1"), (1.0, "1.0")])
def test_an_exemplar_has_the_value_as_it_was_recorded(value: float, shown: str) -> None:
    """A boolean adds up as the integer that it is, and as an exemplar it is written as a float."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False, disable_target_info=True)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("t")
    with TracerProvider().get_tracer("t").start_as_current_span("s"):
        meter.create_counter("c").add(value)
        meter.create_histogram("h").record(value)
    text = reader.expose("application/openmetrics-text").body.decode()
    exemplars = [
        line.partition(" # ")[2].partition("} ")[2].split()[0] for line in text.splitlines() if " # {" in line
    ]
    assert exemplars == [shown, shown]
    provider.shutdown()
