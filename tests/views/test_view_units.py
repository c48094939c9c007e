"""Views that show a stream in another unit: every value of the family is multiplied, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from exported import PROTOBUF, Application, in_span, selecting
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import series, store_of
from metrics_messages import decode
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from oracles import OPENMETRICS
from properties import examples

from otel_prom_bridge import ConfigurationError, ExportView
from otel_prom_bridge.arithmetic.histograms import upper_bound
from otel_prom_bridge.arithmetic.scaling import Scale
from otel_prom_bridge.families import HistogramPoint, NativeHistogramPoint
from otel_prom_bridge.profiles import load_profile

MILLISECONDS: dict[str, Any] = {"scale": 0.001, "unit": "s"}
EXPONENTIAL = View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())


def _numbers(application: Application) -> None:
    meter = application.meter
    meter.create_counter("c", unit="ms").add(1500)
    meter.create_up_down_counter("u", unit="ms").add(-9)
    meter.create_gauge("g", unit="ms").set(2.5)
    meter.create_observable_counter("o", [lambda _: [Observation(7), Observation(9, {"k": "a"})]], unit="ms")


def test_numbers_and_names_have_the_new_unit() -> None:
    """Counters and gauges of all kinds are multiplied, and the name's suffix and UNIT say in what."""
    application = Application(selecting("*", **MILLISECONDS))
    _numbers(application)
    assert {(name, *labels): value for (name, labels), value in application.samples().items()} == {
        ("c_seconds_total",): 1.5,
        ("u_seconds",): -0.009,
        ("g_seconds",): 0.0025,
        ("o_seconds_total",): 0.007,
        ("o_seconds_total", ("k", "a")): 0.009,
    }
    assert "# UNIT c_seconds seconds\n" in application.text(OPENMETRICS)


@pytest.mark.parametrize("sdk", [False, True])
def test_a_histogram_has_its_sum_bounds_and_exemplars_in_the_new_unit(sdk: bool) -> None:
    """Counts stay what they are, and each exemplar stays in its bucket."""
    application = Application(selecting("h", name="lat_seconds", **MILLISECONDS), exemplars=True, sdk=sdk)
    histogram = application.meter.create_histogram(
        "h", unit="ms", explicit_bucket_boundaries_advisory=[9.0, 75.0]
    )
    for value in (9, 20, 75, 76):
        with in_span():
            histogram.record(value)
    assert application.values("lat_seconds_bucket", "le") == {"0.009": 1, "0.075": 3, "+Inf": 4}
    assert application.values("lat_seconds_sum") == {None: 0.18}
    assert application.values("lat_seconds_count") == {None: 4}
    shown = [item.exemplar for item in application.parsed(OPENMETRICS) if item.exemplar]
    assert [item.value for item in shown] == [0.009, 0.075, 0.076]
    assert "# UNIT lat_seconds seconds\n" in application.text(OPENMETRICS)


def test_the_sum_of_a_histogram_as_a_counter_in_the_new_unit() -> None:
    """take="sum" has the histogram's unit, so it is multiplied, with its exemplar."""
    application = Application(
        selecting("h", take="sum", name="busy_seconds_total", **MILLISECONDS), exemplars=True
    )
    histogram = application.meter.create_histogram("h", unit="ms")
    with in_span():
        histogram.record(1250)
    (sample,) = (item for item in application.parsed(OPENMETRICS) if item.exemplar)
    assert (sample.name, sample.value, sample.exemplar.value) == ("busy_seconds_total", 1.25, 1.25)


@pytest.mark.parametrize("sdk", [False, True])
def test_buckets_are_given_as_they_are_shown(sdk: bool) -> None:
    """A view's bounds are in its own unit; the SDK is asked for them in the instrument's."""
    application = Application(selecting("h", buckets=[0.005, 0.0003, 0.1][::2], **MILLISECONDS), sdk=sdk)
    application.meter.create_histogram("h", unit="ms").record(60)
    assert application.values("h_seconds_bucket", "le") == {"0.005": 0, "0.1": 1, "+Inf": 1}
    other = Application(selecting("h", buckets=[0.0003, 0.007], **MILLISECONDS), sdk=True)
    other.meter.create_histogram("h", unit="ms").record(0.3)
    assert other.values("h_seconds_bucket", "le") == {"0.0003": 1, "0.007": 1, "+Inf": 1}


def test_an_exemplar_is_never_above_the_bound_of_its_bucket() -> None:
    """0.7 min are recorded as 0.7 / 60 h, and 60 times that is a little more than 0.7 in floats.

    OpenMetrics wants the value of an exemplar to be within its bucket, so it is cut off at what `le` says.
    """
    view = ExportView(instrument_name="h", scale=60, unit="min", buckets=[0.7])
    (bound,) = view.recorded_bounds("h") or ()
    assert bound * 60 > 0.7
    application = Application(view, sdk=True, exemplars=True)
    with in_span():
        application.meter.create_histogram("h", unit="h").record(bound)
    samples = [item for item in application.parsed(OPENMETRICS) if item.exemplar]
    assert [(item.labels["le"], item.exemplar.value) for item in samples] == [("0.7", 0.7)]


@pytest.mark.parametrize("factor", [60, 100, 86400, 0.7, 1 / 3, 1000, 0.001])
def test_buckets_have_the_numbers_that_were_given(factor: float) -> None:
    """`le` is a text that queries name: 0.7 stays 0.7, whatever it is in the unit of the instrument."""
    buckets = [0.1, 0.3, 0.7, 1.1, 2.3, 7, 11]
    view = ExportView(instrument_name="h", scale=factor, unit="s", buckets=buckets)
    application = Application(view, sdk=True, exemplars=True)
    histogram = application.meter.create_histogram("h")
    for bound in view.recorded_bounds("") or ():
        with in_span():
            histogram.record(bound)
    expected = {str(float(bound)): number for number, bound in enumerate(buckets, start=1)}
    assert application.values("h_seconds_bucket", "le") == {**expected, "+Inf": len(buckets)}


def test_an_exponential_histogram_gets_explicit_buckets() -> None:
    """Its bounds times a thousandth are no powers of two, so they are shown as they are; counts are exact."""
    application = Application(selecting("h", **MILLISECONDS), beside=[EXPONENTIAL], exemplars=True)
    histogram = application.meter.create_histogram("h", unit="ms")
    for value in (0, 3, 5, 1000):
        with in_span():
            histogram.record(value)
    (family,) = application.reader.families()
    (point,) = family.points
    assert isinstance(point, HistogramPoint)
    assert (point.sum, sum(point.counts)) == (1.008, 4)
    for value in (0, 0.003, 0.005, 1):
        below = sum(count for bound, count in zip(point.bounds, point.counts, strict=False) if bound >= value)
        assert below >= 1 or point.counts[-1]
    (message,) = decode(application.reader.expose(PROTOBUF).body)
    assert message.metric[0].histogram.sample_count == 4


@pytest.mark.parametrize("factor", [4, 0.25, 1024.0, 2.0**-20])
def test_an_exponential_histogram_times_a_power_of_two_is_one_still(factor: float) -> None:
    """Buckets move by whole places then: nothing is joined or approached."""
    plain = Application(selecting("h"), beside=[EXPONENTIAL])
    scaled = Application(selecting("h", scale=factor, unit="By"), beside=[EXPONENTIAL])
    for application in (plain, scaled):
        histogram = application.meter.create_histogram("h")
        for value in (0, 0.1, 3, 3, 5, 1000):
            histogram.record(value)
    (expected, point) = (application.reader.families()[0].points[0] for application in (plain, scaled))
    assert isinstance(expected, NativeHistogramPoint)
    assert isinstance(point, NativeHistogramPoint)
    assert point.sum == expected.sum * factor
    assert (point.schema, point.zero_count) == (expected.schema, expected.zero_count)
    bounds = [(upper_bound(index, point.schema), count) for index, count in point.positive]
    wanted = [(upper_bound(index, point.schema) * factor, count) for index, count in expected.positive]
    assert [count for _, count in bounds] == [count for _, count in wanted]
    assert [bound for bound, _ in bounds] == pytest.approx([bound for bound, _ in wanted])


def test_a_resolution_too_low_for_the_factor() -> None:
    """Where a bucket is wider than the factor, a native histogram cannot be moved, a classic one can."""
    point = NativeHistogramPoint((), -2, 1e-128, 1, ((1, 3),), (), 20.0)
    assert Scale(16).point(point) == point._replace(zero_threshold=16e-128, positive=((2, 3),), sum=320.0)
    shown = Scale(2).point(point)
    assert isinstance(shown, HistogramPoint)
    assert (shown.bounds, shown.counts, shown.sum) == ((0.0, 2.0, 32.0), (1, 0, 3, 0), 40.0)


positive = st.floats(1e-6, 1e6)
factors = st.sampled_from([0.001, 1000, 0.5, 1024, 60, 1 / 3, 0.3, 1e-9, 2.0**-30]) | positive
recordings = st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e6)), min_size=1, max_size=20)


@pytest.mark.parametrize("exponential", [False, True])
@settings(max_examples=examples(60))
@given(factor=factors, recorded=st.lists(recordings, min_size=1, max_size=3))
def test_everything_is_multiplied_and_nothing_is_lost(
    factor: float, recorded: list[list[float]], exponential: bool
) -> None:
    """Sums are those of the plain family times the factor; counts are equal, below each bound, too."""
    application = Application(
        selecting("*", name="plain"),
        selecting("*", name="scaled", scale=factor, unit="x"),
        beside=[EXPONENTIAL] if exponential else (),
        disable_target_info=True,
    )
    histogram = application.meter.create_histogram("h")
    for values in recorded:
        for number, value in enumerate(values):
            histogram.record(value, {"k": str(number % 3)})
        application.text()
    plain, scaled = (family.points for family in application.reader.families())
    for one, other in zip(plain, scaled, strict=True):
        assert one.labels == other.labels
        assert math.isclose(other.sum, one.sum * factor, rel_tol=1e-12)
        if isinstance(one, HistogramPoint):
            assert isinstance(other, HistogramPoint)
            assert other.counts == one.counts
            assert other.bounds == pytest.approx([bound * factor for bound in one.bounds])
        else:
            total = other.observations if isinstance(other, NativeHistogramPoint) else sum(other.counts)
            assert total == one.observations


@settings(max_examples=examples(60))
@given(factors, st.lists(st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6), min_size=1))
def test_an_up_down_counter_is_multiplied(factor: float, recorded: list[float]) -> None:
    """What is added up is what was recorded; it is multiplied once, at the end."""
    application = Application(selecting("u", name="u"), selecting("u", name="x", scale=factor, unit="x"))
    counter = application.meter.create_up_down_counter("u")
    for value in recorded:
        counter.add(value)
        application.text()
    (plain,), (scaled,) = (family.points for family in application.reader.families())
    assert math.isclose(scaled.value, plain.value * factor, rel_tol=1e-12, abs_tol=0)


@pytest.mark.parametrize(
    ("factor", "value", "expected"),
    [
        (0.001, 9, 0.009),
        (0.1, 3, 0.3),
        (1000, 3, 3000),
        (0.001, math.inf, math.inf),
        (0.001, 10**400, math.inf),
        (0.5, -(10**400), -math.inf),
        (1.5, 10**400, math.inf),
        (math.pi, 2, 2 * math.pi),
        (1e-300, 5, 5e-300),
    ],
)
def test_a_product_is_rounded_once(factor: float, value: float, expected: float) -> None:
    """9 ms are 0.009 s and not 0.009000000000000001; what no float can hold is infinite."""
    assert Scale(factor).value(value) == expected


def test_not_a_number_stays_so() -> None:
    """NaN has no unit."""
    assert math.isnan(Scale(0.001).value(math.nan))


def test_bounds_that_meet_or_leave_the_floats_are_joined() -> None:
    """A histogram's bounds are finite and ascending whatever the factor."""
    point = HistogramPoint((), (1e-20, 1.0, 1e300), (1, 2, 4, 8), 5.0)
    shown = Scale(1e300).point(point)
    assert isinstance(shown, HistogramPoint)
    assert (shown.bounds, shown.counts) == (pytest.approx((1e280, 1e300)), (1, 2, 12))
    shown = Scale(1e-320).point(point)
    assert isinstance(shown, HistogramPoint)
    assert shown.bounds == pytest.approx((0, 1e-320, 1e-20), rel=1e-4, abs=1e-319)
    assert shown.counts == (1, 2, 4, 8)


def test_a_unit_alone_corrects_a_wrong_one() -> None:
    """Of another kind, or none at all: only the name's suffix and UNIT change; with a factor of 1 always."""
    application = Application(
        selecting("c", unit="By"), selecting("d", unit=""), selecting("e", unit="s", scale=1)
    )
    for name in ("c", "d", "e"):
        application.meter.create_counter(name, unit="ms").add(3)
    assert application.values("c_bytes_total") == {None: 3}
    assert application.values("d_total") == {None: 3}
    assert application.values("e_seconds_total") == {None: 3}


@pytest.mark.parametrize(
    ("recorded", "shown", "value", "expected"),
    [
        ("ms", "s", 2500, 2.5),
        ("us", "s", 7, 0.000007),
        ("ns", "ms", 3, 0.000003),
        ("min", "s", 1.5, 90),
        ("d", "h", 2, 48),
        ("KiBy", "By", 3, 3072),
        ("MBy", "kBy", 2, 2000),
        ("ms", "h", 3_600_000, 1),
        ("s", "s", 2, 2),
        ("", "s", 2, 2),
    ],
)
def test_another_unit_of_its_kind_is_converted(
    recorded: str, shown: str, value: float, expected: float
) -> None:
    """A view that says its unit shows what was recorded in it, whatever the instrument's is."""
    application = Application(selecting("x", name="shown_total", unit=shown))
    application.meter.create_counter("x", unit=recorded).add(value)
    assert application.values("shown_total") == {None: expected}


@pytest.mark.parametrize(
    ("profile", "instrument", "family"),
    [
        ("semconv", "gen_ai.client.operation.duration", "gen_ai_client_operation_duration_seconds"),
        ("llmdevops", "gen_ai.client.operation.duration", "llmdevops_llm_request_duration_seconds"),
        ("llmdevops", "http.server.duration", "llmdevops_http_request_duration_seconds"),
    ],
)
def test_profiles_show_seconds_whoever_recorded_milliseconds(
    profile: str, instrument: str, family: str
) -> None:
    """A library that measures in milliseconds is in the same buckets as the others."""
    application = Application(*load_profile(profile).views(), sdk=True)
    for meter, unit, value in (("a", "ms", 2500), ("b", "s", 0.7)):
        histogram = application.provider.get_meter(meter).create_histogram(instrument, unit)
        histogram.record(value, {"gen_ai.operation.name": "chat", "http.request.method": "GET"})
    assert sum(application.values(f"{family}_sum").values()) == pytest.approx(3.2)
    below = {float(le): count for le, count in application.values(f"{family}_bucket", "le").items()}
    assert max(below) == math.inf
    assert sorted(set(below.values()) - {0}) == [1, 2]
    assert min(le for le, count in below.items() if count == 2) < 10


@pytest.mark.parametrize("sdk", [False, True])
def test_a_histogram_of_two_units_has_one_set_of_buckets(sdk: bool) -> None:
    """Bounds are those of the view, and each observation is in its bucket, with SDK Views for both units."""
    application = Application(selecting("x", unit="s", buckets=[0.5, 5]), sdk=sdk)
    others = application.provider.get_meter("other")
    application.meter.create_histogram("x", unit="s", explicit_bucket_boundaries_advisory=[0.5, 5]).record(1)
    milliseconds = {"unit": "ms", "explicit_bucket_boundaries_advisory": [500, 5000]}
    others.create_histogram("x", **milliseconds).record(100)  # type: ignore[arg-type]
    found = application.values("x_seconds_bucket", "le")
    assert found == {"0.5": 1, "5.0": 2, "+Inf": 2}
    assert application.values("x_seconds_sum") == {None: 1.1}
    assert application.reader.conflicts() == []


def test_instruments_of_two_units_become_one_family() -> None:
    """What one library records in milliseconds and another in seconds adds up."""
    application = Application(
        selecting("old", name="busy_seconds", **MILLISECONDS), selecting("new", name="busy_seconds")
    )
    application.meter.create_up_down_counter("old", unit="ms").add(250)
    application.meter.create_up_down_counter("new", unit="s").add(2)
    assert application.values("busy_seconds") == {None: 2.25}
    assert application.reader.conflicts() == []


def test_a_bound_that_is_no_number_in_the_instruments_unit_is_left_out() -> None:
    """What the SDK is given never raises where the application records."""
    application = Application(selecting("h", name="h_days", unit="d", buckets=[1, 1e300]), sdk=True)
    application.meter.create_histogram("h", unit="ns").record(1)
    assert application.values("h_days_bucket", "le") == {"1.0": 1, "+Inf": 1}


A_FACTOR = "a finite number above zero"


@pytest.mark.parametrize(
    ("fields", "key", "value", "allowed"),
    [
        *(
            ({"scale": bad, "unit": "s"}, "scale", bad, A_FACTOR)
            for bad in (0, -1, math.inf, True, "2", 10**400)
        ),
        ({"scale": math.nan, "unit": "s"}, "scale", math.nan, A_FACTOR),
        ({"scale": 2}, "unit", None, "the unit of what is shown, as the view has a 'scale'"),
        ({"unit": 5}, "unit", 5, "a string"),
        ({"unit": "\ud800"}, "unit", "\ud800", "a string"),
        (
            {"take": "count", "name": "n", "scale": 2, "unit": "s"},
            "scale",
            2,
            "none, as a count has no unit",
        ),
        ({"take": "count", "name": "n", "unit": "s"}, "unit", "s", "none, as a count has no unit"),
        (
            {"scale": 1e-300, "unit": "s", "buckets": [1.0, 1e300]},
            "buckets",
            (1.0, 1e300),
            "bounds that are numbers in the unit of the instrument, too",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_multiplied_is_refused(
    fields: dict[str, Any], key: str, value: object, allowed: str
) -> None:
    """The message names the view, the field and its value, and says what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        ExportView(instrument_name="c", **fields)
    assert caught.value.key == f"ExportView('c', name={fields.get('name', '')!r}).{key}"
    assert caught.value.value is value or caught.value.value == value
    assert caught.value.expected == allowed


@pytest.mark.parametrize("fields", [MILLISECONDS, {"unit": "s"}, {"labels": {"a": "b"}}], ids=str)
def test_what_is_not_exported_has_no_unit(fields: dict[str, Any]) -> None:
    """name=None with a unit, a factor or labels is a mistake."""
    with pytest.raises(ConfigurationError, match="exports nothing at all"):
        ExportView(instrument_name="c", name=None, **fields)


def test_without_a_factor_nothing_is_multiplied() -> None:
    """The classes of series are the plain ones, so others pay nothing for it."""
    application = Application(selecting("c", unit="s"))
    application.meter.create_counter("c").add(1)
    application.text()
    kinds = {type(each).__name__ for each in series(store_of(application.reader))}
    assert kinds == {"NumberSeries"}
