"""Limits: sums stay exact, known series keep their identity, and places that are free can be had again."""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from exported import Application
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import check_places, forget_remembered, places, remembered, state_of, store_of
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import CardinalityLimits, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation as Explicit
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from properties import examples
from setups import Setup, maxima, values

from otel_prom_bridge import ExportView, PrometheusMetricReader, Tenants
from otel_prom_bridge.families import CounterPoint, GaugePoint, HistogramPoint, NativeHistogramPoint
from otel_prom_bridge.rules import Allow, Chain, First, Forbid, Truncate
from otel_prom_bridge.sdk.meanings import INSTRUMENTS
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.views.tenants import sdk_limit, sdk_limits

Make = Callable[..., Setup]
HUGE = 10**9
BOUNDS = (0.0, 1.0, 8.0)


# --- the property: whatever limits and rules are in force, the sum is what was recorded ---------------

KEYS = ("k", "t", "user.id")
SYNC = ("counter", "updown", "explicit", "exponential")
ASYNC = ("ocounter", "oupdown")
# Sums of such numbers are exact in any order.
numbers = st.integers(-64, 64).map(lambda value: value / 4) | st.integers(-64, 64)
texts = st.sampled_from([*"abcdefgh", "aaaaaaaa", "", "other"])
mixed = texts | st.sampled_from([1, True, 1.5, float("nan"), (1, 2), 1.0])
attribute_sets = st.dictionaries(st.sampled_from(KEYS), mixed, max_size=3)

steps = st.one_of(
    st.tuples(st.just("record"), st.sampled_from(SYNC), numbers, attribute_sets),
    st.tuples(st.just("record"), st.sampled_from(SYNC), numbers, attribute_sets),
    st.tuples(
        st.just("observe"), st.sampled_from(ASYNC), st.lists(st.tuples(numbers, attribute_sets), max_size=8)
    ),
    st.tuples(st.sampled_from(["scrape", "flush", "forget"])),
)
rules: st.SearchStrategy[Any] = st.sampled_from(
    [
        lambda: Allow(["a", "b"]),
        lambda: First(2),
        lambda: Truncate(1),
        lambda: Forbid(),
        lambda: Chain(Truncate(3), First(3)),
        lambda: lambda value: value or None,
        lambda: lambda value: 1 // 0,  # pragma: no branch
    ]
).map(lambda make: make())
small = st.integers(1, 6)


@st.composite
def views(draw: st.DrawFn) -> ExportView:
    """A view of one instrument, or of all, that makes one family with the stream's own name."""
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["drop"] = draw(st.lists(st.sampled_from(KEYS), max_size=2))
    if draw(st.booleans()):
        options["keep"] = draw(st.lists(st.sampled_from([*KEYS, "*"]), max_size=3))
    if draw(st.booleans()) and "t" not in options.get("drop", ()):
        options["rename"] = {"t": draw(st.sampled_from(["tenant", "k", "z"]))}
    return ExportView(
        instrument_name=draw(st.sampled_from(["*", "counter", "o*", "exp*", "updown"])),
        rules=draw(st.dictionaries(st.sampled_from(KEYS), rules, max_size=2)),
        max_series=draw(st.none() | small),
        **options,
    )


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Limits, tenants and views of a reader."""
    tenants = st.builds(
        Tenants,
        st.sampled_from(KEYS),
        st.dictionaries(st.sampled_from("abc"), small, min_size=1),
        other_limit=small,
    )
    return {
        "max_series_per_metric": draw(small | st.just(2000)),
        "max_series": draw(st.none() | st.integers(1, 12)),
        "cardinality_limits": draw(st.none() | st.builds(lambda n: {Counter: n, Histogram: n + 1}, small)),
        "tenant": draw(st.none() | tenants),
        "id_labels": draw(st.booleans()),
        "views": draw(st.lists(views(), max_size=3)),
    }


class Recorded:
    """A provider with our reader and a cumulative one of the SDK without limits, as the oracle."""

    def __init__(self, **options: Any) -> None:
        self.ours = PrometheusMetricReader(
            registry=None, scope_info_enabled=False, self_metrics=False, disable_target_info=True, **options
        )
        huge: CardinalityLimits = dict.fromkeys(INSTRUMENTS, HUGE)
        self.reference = InMemoryMetricReader(cardinality_limits=huge)
        self.provider = MeterProvider(
            [self.ours, self.reference],
            views=[
                View(instrument_name="explicit", aggregation=Explicit(BOUNDS)),
                View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
            ],
            resource=Resource({}),
            shutdown_on_exit=False,
        )
        meter = self.provider.get_meter("test")
        self.instruments: dict[str, Any] = {
            "counter": meter.create_counter("counter").add,
            "updown": meter.create_up_down_counter("updown").add,
            "explicit": meter.create_histogram("explicit").record,
            "exponential": meter.create_histogram("exponential").record,
        }
        self.observed: dict[str, list[tuple[float, Any]]] = {name: [] for name in ASYNC}
        for name, create in zip(
            ASYNC, (meter.create_observable_counter, meter.create_observable_up_down_counter), strict=True
        ):
            create(name, [self._callback(name)])

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value, attributes) for value, attributes in self.observed[name]]

    def play(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("record", name, value, attributes):
                self.instruments[name](value if name == "updown" else abs(value), attributes)
            case ("observe", name, found):
                # The SDK adds up or overwrites what has equal attributes; here each set comes once.
                unique = {repr(sorted(attributes.items())): (v, attributes) for v, attributes in found}
                self.observed[name] = [
                    (abs(value) if name == "ocounter" else value, attributes)
                    for value, attributes in unique.values()
                ]
            case ("scrape",):
                self.ours.expose()
            case ("flush",):
                self.provider.force_flush()
            case ("forget",):
                forget_remembered(store_of(self.ours))

    def shown(self) -> dict[str, Any]:
        """The sum over all series of every metric of ours: values, or counts by bucket, zeros and sums."""
        sums: dict[str, Any] = {}
        for family in self.ours.families():
            name = family.name.removesuffix("_total")
            for point in family.points:
                match point:
                    case CounterPoint() | GaugePoint():
                        sums[name] = sums.get(name, 0) + point.value
                    case HistogramPoint():
                        assert point.bounds == BOUNDS
                        sums.setdefault(name, Tally()).update(
                            {**dict(enumerate(point.counts)), "sum": point.sum or 0}
                        )
                    case NativeHistogramPoint():
                        sums.setdefault(name, Tally()).update(
                            {
                                "positive": sum(count for _, count in point.positive),
                                "negative": sum(count for _, count in point.negative),
                                "zero": point.zero_count,
                                "sum": point.sum,
                            }
                        )
        return {name: value if isinstance(value, (int, float)) else +value for name, value in sums.items()}

    def expected(self) -> dict[str, Any]:
        """The same, of what the SDK's reader has."""
        self.reference.get_metrics_data()  # else the first answer may be what a flush left
        data = self.reference.get_metrics_data()
        sums: dict[str, Any] = {}
        for metric in (
            m for r in (data.resource_metrics if data else ()) for m in r.scope_metrics[0].metrics
        ):
            for point in metric.data.data_points:
                if metric.name == "explicit":
                    sums.setdefault(metric.name, Tally()).update(
                        {**dict(enumerate(point.bucket_counts)), "sum": point.sum}
                    )
                elif metric.name == "exponential":
                    sums.setdefault(metric.name, Tally()).update(
                        {
                            "positive": sum(point.positive.bucket_counts),
                            "negative": sum(point.negative.bucket_counts),
                            "zero": point.zero_count,
                            "sum": point.sum,
                        }
                    )
                else:
                    sums[metric.name] = sums.get(metric.name, 0) + point.value
        return {name: value if isinstance(value, (int, float)) else +value for name, value in sums.items()}

    def check_places(self) -> None:
        """Every budget counts the series that are charged to it, and none holds more than its limit."""
        check_places(store_of(self.ours))
        most = maxima(self.ours)
        for family in self.ours.families():
            assert len(family.points) <= (most[family.name] or 0)


@settings(max_examples=examples(250))
@given(options(), st.lists(steps, max_size=40))
def test_sums_are_exact_whatever_limits_and_rules(chosen: dict[str, Any], script: list[Any]) -> None:
    """For every metric the sum over all series is what a cumulative reader without limits has."""
    recorded = Recorded(**chosen)
    try:
        for step in script:
            recorded.play(step)
            if step[0] == "scrape":
                assert recorded.shown() == recorded.expected()
                recorded.check_places()
        assert recorded.shown() == recorded.expected()
        recorded.check_places()
        recorded.observed = {name: [] for name in ASYNC}
        recorded.ours.expose()
        recorded.check_places()
    finally:
        recorded.provider.shutdown()


@settings(max_examples=examples(60))
@given(options(), st.lists(steps, max_size=30))
def test_after_everything_is_gone_no_place_is_taken(chosen: dict[str, Any], script: list[Any]) -> None:
    """Asynchronous series that vanish and series that expire leave every budget as it was at first."""
    with Clock().standing() as clock:
        recorded = Recorded(**chosen, expire_after=10)
        try:
            for step in script:
                clock.now += 2
                if step[:2] != ("record", "updown"):  # a level stays until it is zero
                    recorded.play(step)
            recorded.observed = {name: [] for name in ASYNC}
            for _ in range(3):
                clock.now += 20
                recorded.ours.expose()
            assert recorded.ours.families() == ()
            recorded.check_places()
            assert sum(places(store_of(recorded.ours))) == 0
        finally:
            recorded.provider.shutdown()


def sdk_limits_of(setup: Setup | Application) -> dict[str, int]:
    """The limits that the SDK goes by; its reader has private classes of the instruments."""
    limits = setup.reader._instrument_class_cardinality_limit
    return {kind.__name__.lstrip("_"): limit for kind, limit in limits.items()}


# --- identity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"max_series_per_metric": 5}, {"max_series": 5}])
@pytest.mark.parametrize("clear", [False, True])
def test_known_series_keep_their_identity(bridge: Make, limit: Mapping[str, int], clear: bool) -> None:
    """After a flood past the limit, and when nothing is remembered, the first five go on as before."""
    setup = bridge(**limit)
    counter = setup.meter.create_counter("c")
    known: list[dict[str, Any]] = [{"k": str(number), "n": number / 2} for number in range(5)]
    expected = {}
    for number, attributes in enumerate(known):
        counter.add(number, attributes)
        expected[str(number)] = float(number)
    assert values(setup, "c_total") == expected
    for flood in range(3):
        for number in range(3000):
            counter.add(1, {"k": f"{flood}.{number}"})
        for number, attributes in enumerate(known):
            counter.add(10, dict(reversed(attributes.items())))
            expected[str(number)] += 10
        if clear:
            forget_remembered(store_of(setup.reader))
        expected["-"] = 3000 * (flood + 1)
        assert values(setup, "c_total") == expected
    assert remembered(store_of(setup.reader)) <= 40_000


# --- budgets ------------------------------------------------------------------------------------------


def test_the_whole_bridge_counts_every_metric(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Counters, histograms and observed values share `max_series`; each metric warns once."""
    setup = bridge(max_series=4)
    counter, histogram = setup.meter.create_counter("c"), setup.meter.create_histogram("h")
    observed = [Observation(1, {"k": "o1"}), Observation(1, {"k": "o2"})]
    setup.meter.create_observable_counter("o", [lambda _: observed])
    counter.add(1, {"k": "c1"})
    histogram.record(1, {"k": "h1"})
    setup.text()
    for _ in range(3):
        counter.add(1, {"k": "c2"})
        histogram.record(1, {"k": "h2"})
        setup.text()
    assert values(setup, "c_total") == {"c1": 1, "-": 3}
    assert values(setup, "h_count") == {"h1": 1, "-": 3}
    assert values(setup, "o_total") == {"o1": 1, "o2": 1}
    del observed[1]
    setup.text()
    counter.add(1, {"k": "c2"})
    assert values(setup, "c_total") == {"c1": 1, "-": 3, "c2": 1}
    messages = [record.getMessage() for record in caplog.records]
    assert len([text for text in messages if "'c_total' is at a limit" in text]) == 1
    assert len([text for text in messages if "'h' is at a limit" in text]) == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len(messages) == 2


def test_views_that_feed_one_family_share_its_limit() -> None:
    """Two views with one name, and two meters with one instrument, have one limit: the largest."""
    application = Application(
        ExportView(instrument_name="a", name="x_total", where={"k": "a*"}, max_series=3),
        ExportView(instrument_name="*", name="x_total", max_series=2),
    )
    for name in ("a", "b"):
        counter = application.meter.create_counter(name)
        for number in range(6):
            counter.add(1, {"k": f"{name}{number}"})
    found = application.values("x_total", "k")
    assert len(found) == 4
    assert sum(found.values()) == 12
    assert maxima(application.reader) == {"x_total": 4}


@pytest.mark.parametrize("order", [1, -1])
def test_a_limit_that_a_view_names_counts_before_the_default(order: int) -> None:
    """Another view that feeds the family and names none does not lift it, whichever comes first."""
    application = Application(
        ExportView(instrument_name="a", name="x_total", max_series=2),
        ExportView(instrument_name="b", name="x_total"),
    )
    for name in ["a", "b"][::order]:
        counter = application.meter.create_counter(name)
        for number in range(10):
            counter.add(1, {"k": f"{name}{number}"})
    found = application.values("x_total", "k")
    assert len(found) == 3
    assert sum(found.values()) == 20


def test_a_rejected_metric_takes_no_place(bridge: Make) -> None:
    """A metric that cannot be shown beside another one does not use up its limit, nor hides its size."""
    setup = bridge(max_series_per_metric=5, max_series=5, self_metrics=True)
    setup.meter.create_counter("x").add(1, {"k": "first"})
    setup.text()
    gauge = setup.provider.get_meter("other").create_up_down_counter("x.total")
    for number in range(3):
        gauge.add(1, {"k": str(number)})
    setup.text()
    for number in range(3, 100):
        gauge.add(1, {"k": str(number)})
    setup.text()
    counter = setup.meter.create_counter("x")
    for number in range(4):
        counter.add(1, {"k": str(number)})
    assert values(setup, "x_total") == {"first": 1, **{str(number): 1 for number in range(4)}}
    state = state_of(setup.reader)
    assert (state.dropped, dict(state.series)) == (1, {"x_total": 5})
    assert maxima(setup.reader)["x_total"] == 6


def test_the_largest_number_of_series(bridge: Make) -> None:
    """What `cardinality()` says is reached by a flood of every tenant, and not exceeded."""
    setup = bridge(max_series_per_metric=3, tenant=Tenants("t", {"a": 2, "b": 2}, other_limit=1))
    counter = setup.meter.create_counter("c")
    for tenant in ("a", "b", "x", None):
        for number in range(5):
            counter.add(1, {"k": str(number)} if tenant is None else {"k": str(number), "t": tenant})
    (family,) = setup.reader.families()
    assert len(family.points) == 11 == maxima(setup.reader)["c_total"]


def test_scopes_have_an_overflow_each(bridge: Make) -> None:
    """Where series say their scope, so does what is past the limit; the largest number counts that."""
    setup = bridge(max_series_per_metric=2, scope_info_enabled=True)
    for scope in ("a", "b"):
        counter = setup.provider.get_meter(scope).create_counter("c")
        for number in range(4):
            counter.add(1, {"k": str(number)})
    (family,) = setup.reader.families()
    assert len(family.points) == 4 == maxima(setup.reader)["c_total"]


# --- the SDK's own limit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 20_000),
        ({"max_series_per_metric": 5}, 20_000),
        ({"max_series_per_metric": 2001}, 20_010),
        ({"sdk_max_series": 70}, 70),
    ],
)
def test_the_limit_of_the_sdk(options: dict[str, Any], expected: int) -> None:
    """The larger of 20,000 and ten times our largest limit, or what was said."""
    assert sdk_limits_of(Application(**options)) == {
        kind.__name__.lstrip("_"): expected for kind in INSTRUMENTS
    }


def test_the_limit_of_a_view_counts() -> None:
    """A view that allows more than the reader asks for more in the SDK."""
    assert set(sdk_limits_of(Application(ExportView(max_series=5000))).values()) == {50_000}


def test_limits_by_instrument_are_ours(bridge: Make) -> None:
    """A limit by instrument does not become the SDK's, which floods would fill before known series come."""
    setup = bridge(cardinality_limits={Counter: 3, Histogram: 3000})
    limits = sdk_limits_of(setup)
    assert (limits["Counter"], limits["Histogram"]) == (20_000, 30_000)
    counter = setup.meter.create_counter("c")
    counter.add(1, {"k": "known"})
    setup.text()
    for number in range(100):
        counter.add(1, {"k": str(number)})
    counter.add(1, {"k": "known"})
    assert values(setup, "c_total") == {"known": 2, "0": 1, "1": 1, "-": 98}


def test_sdk_limits_by_number() -> None:
    """The default holds unless ten times ours is more."""
    assert sdk_limit(1) == 20_000
    assert sdk_limit(2000) == 20_000
    assert sdk_limit(2001) == 20_010
    found = sdk_limits({Counter: 10}, 70)
    assert (found[Counter], found[Histogram]) == (100, 70)


def test_what_the_sdk_could_not_hold_is_overflow(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK's overflow point takes no place of ours, is counted, and warned of once."""
    setup = bridge(sdk_max_series=3, max_series_per_metric=100)
    counter = setup.meter.create_counter("c")
    for _ in range(2):
        for number in range(10):
            counter.add(1, {"k": str(number)})
        found = values(setup, "c_total")
    assert found == {"0": 2, "1": 2, "2": 2, "-": 14}
    assert places(store_of(setup.reader)) == [3]
    assert state_of(setup.reader).overflowed == {"c_total": 2}  # one point of each collection
    (record,) = caplog.records
    assert "sdk_max_series" in record.getMessage()


# --- counters of what was folded ------------------------------------------------------------------------


@settings(max_examples=examples(80))
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("wxyz")), max_size=12), max_size=6
    ),
    st.integers(1, 8),
)
def test_every_fold_is_counted(collections: list[list[tuple[str, str]]], limit: int) -> None:
    """Points that overflowed, and that a rule changed, are as many as a naive count of them says."""
    application = Application(
        ExportView(instrument_name="c", rules={"k": Allow(["a", "b", "c", "d"])}, max_series=limit)
    )
    counter = application.meter.create_counter("c")
    known: set[tuple[str, str]] = set()
    overflowed = folded = 0
    for recordings in collections:
        for key, other in dict.fromkeys(recordings):  # one point of each attribute set and collection
            label = key if key in "abcd" else "other"
            folded += label != key
            if (label, other) not in known and len(known) >= limit:
                overflowed += 1
            else:
                known.add((label, other))
        for key, other in recordings:
            counter.add(1, {"k": key, "o": other})
        application.provider.force_flush()
    state = state_of(application.reader)
    assert state.overflowed.get("c_total", 0) == overflowed
    assert state.folded.get(("c_total", "k", "Allow"), 0) == folded
    application.provider.shutdown()
