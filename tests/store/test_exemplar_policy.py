"""Which exemplars a series keeps: by time, by value, by outcome; how many; with which labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from exported import Application, in_span
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import state_of
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.metrics.view import (
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from oracles import OPENMETRICS, parse
from properties import examples
from setups import Setup

from otel_prom_bridge import ConfigurationError, Exemplars, ExportView
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    HistogramPoint,
    Kind,
    MetricFamily,
    NativeHistogramPoint,
)
from otel_prom_bridge.points import Meaning, Shape, Source, Stream
from otel_prom_bridge.rules import Forbid, Truncate
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.translate import Translation, TranslationStrategy
from otel_prom_bridge.views.policy import Policy

SECOND = 1_000_000_000
START = 1_700_000_000
BOUNDS = (1.0, 10.0)
SCOPE = InstrumentationScope("test")
COUNTER = Stream(SCOPE, "c", "", "", Meaning(Kind.COUNTER, accumulates=True, additive=True))
HISTOGRAM = Stream(SCOPE, "h", "", "", Meaning(Kind.HISTOGRAM, True, True, Shape.BUCKETS))

Recorded = tuple[float, float]  # seconds since START, value


class Played:
    """A store to which points with exemplars of any time can be given."""

    def __init__(self, exemplars: Exemplars | bool = True, **options: Any) -> None:
        self.store = Store(
            translation=Translation(strategy=TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES),
            policy=Policy(exemplars=exemplars, **options),
            findings=Findings(),
        )
        self.source = Source()
        self.collections = count()

    def histogram(
        self,
        *recorded: Recorded,
        attributes: Mapping[str, Any] | None = None,
        filtered: Mapping[str, Any] | None = None,
    ) -> tuple[float | None, ...]:
        """Apply one point with these exemplars; the values of the exemplars by bucket then."""
        counts = [0, 0, 0]
        for _, value in recorded:
            counts[sum(bound < value for bound in BOUNDS)] += 1
        point = HistogramDataPoint(
            attributes=dict(attributes or {}),
            start_time_unix_nano=START * SECOND,
            time_unix_nano=START * SECOND + next(self.collections),
            count=len(recorded),
            sum=sum(value for _, value in recorded),
            bucket_counts=counts,
            explicit_bounds=BOUNDS,
            min=0,
            max=0,
            exemplars=_exemplars(recorded, filtered),
        )
        self.store.take(self.source, [(HISTOGRAM, [point])])
        (family,) = self.store.families()
        (shown,) = family.points
        assert isinstance(shown, HistogramPoint)
        return tuple(item and item.value for item in shown.exemplars)

    def counter(self, *recorded: Recorded, attributes: Mapping[str, Any] | None = None) -> float | None:
        """Apply one point with these exemplars; the value of the exemplar then."""
        point = NumberDataPoint(
            attributes=dict(attributes or {}),
            start_time_unix_nano=START * SECOND,
            time_unix_nano=START * SECOND + next(self.collections),
            value=1,
            exemplars=_exemplars(recorded, None),
        )
        self.store.take(self.source, [(COUNTER, [point])])
        (family,) = self.store.families()
        (shown,) = family.points
        assert isinstance(shown, CounterPoint)
        return shown.exemplar and shown.exemplar.value


def _exemplars(recorded: Sequence[Recorded], filtered: Mapping[str, Any] | None) -> list[SdkExemplar]:
    return [
        SdkExemplar(dict(filtered or {}), value, int((START + seconds) * SECOND), 2, 1)
        for seconds, value in recorded
    ]


# --- which one ----------------------------------------------------------------------------------------


def test_the_newest_of_each_bucket() -> None:
    """By default a bucket shows what came last, also if it comes late."""
    played = Played()
    assert played.histogram((1, 0.5), (2, 5), (3, 50)) == (0.5, 5, 50)
    assert played.histogram((4, 0.25)) == (0.25, 5, 50)
    assert played.histogram((2.5, 0.75), (5, 60)) == (0.25, 5, 60)
    assert Played().counter((2, 1), (1, 7)) == 1


def test_the_slowest_of_each_bucket_for_a_while() -> None:
    """The largest value stands until it is older than `hold`; of equal ones the newest."""
    played = Played(Exemplars(keep="slowest", hold=60))
    assert played.histogram((0, 0.5), (0, 5), (0, 50)) == (0.5, 5, 50)
    assert played.histogram((30, 0.25), (30, 7), (30, 40)) == (0.5, 7, 50)
    assert played.histogram((60, 0.25)) == (0.5, 7, 50)
    assert played.histogram((61, 0.25), (61, 2), (61, 20)) == (0.25, 7, 20)
    assert played.histogram((91, 3)) == (0.25, 3, 20)


def test_errors_first() -> None:
    """A failed measurement stands against later ones until it is older than `hold`, or another one fails."""
    played = Played(Exemplars(keep="error", hold=60), views=[ExportView(keep=[])])
    failed = {"error.type": "Timeout"}
    assert played.histogram((0, 0.5), (0, 50)) == (0.5, None, 50)
    assert played.histogram((10, 0.6), attributes=failed) == (0.6, None, 50)
    assert played.histogram((20, 0.7), (20, 70)) == (0.6, None, 70)
    assert played.histogram((30, 0.8), attributes={"http.response.status_code": 503}) == (0.8, None, 70)
    assert played.histogram((40, 0.9), attributes={"http.response.status_code": 404}) == (0.8, None, 70)
    assert played.histogram((91, 0.4)) == (0.4, None, 70)


@pytest.mark.parametrize(
    ("attributes", "is_failed"),
    [
        ({"error.type": "x"}, True),
        ({"error.type": ""}, False),
        ({"http.response.status_code": 500}, True),
        ({"http.response.status_code": "599"}, True),
        ({"http.response.status_code": 499}, False),
        ({"http.response.status_code": "abc"}, False),
        ({"http.response.status_code": "²²²"}, False),
        ({"http.response.status_code": 5000}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("where", ["point", "exemplar"])
def test_what_failed(attributes: dict[str, Any], is_failed: bool, where: str) -> None:
    """An error type or a status of a server error, as a label or as what an SDK View left out."""
    played = Played(Exemplars(keep="error"), views=[ExportView(keep=[])])
    given = {"attributes": attributes} if where == "point" else {"filtered": attributes}
    played.histogram((0, 0.5), **given)  # type: ignore[arg-type]
    assert played.histogram((1, 0.6))[0] == (0.5 if is_failed else 0.6)


def test_errors_first_with_the_sdks_views() -> None:
    """What our SDK Views leave out of points is known from exemplars all the same."""
    application = Application(
        ExportView(instrument_name="c", drop=["error.type"], exemplars=Exemplars(keep="error")),
        sdk=True,
        exemplars=True,
    )
    counter = application.meter.create_counter("c")
    with in_span(1, 1):
        counter.add(5, {"error.type": "Timeout"})
    application.text()
    with in_span(2, 2):
        counter.add(1, {})
    (sample,) = [s for s in application.parsed(OPENMETRICS) if s.exemplar]
    assert sample.exemplar.value == 5


@settings(max_examples=examples(200))
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 5), st.sampled_from([0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 11.0, 99.0])),
            min_size=1,
            max_size=5,
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["newest", "slowest"]),
)
def test_policies_by_definition(batches: list[list[tuple[int, float]]], keep: Any) -> None:
    """Without anything older than `hold`, a bucket has the newest or the largest of all it was given."""
    played = Played(Exemplars(keep=keep, hold=10_000))
    seen: list[Recorded] = []
    for number, batch in enumerate(batches):
        recorded = [(number * 5 + seconds, value) for seconds, value in batch]
        found = played.histogram(*recorded)
        seen += recorded
        for index, (low, high) in enumerate(((-1.0, 1.0), (1.0, 10.0), (10.0, 1e9))):
            here = [(seconds, value) for seconds, value in seen if low < value <= high]
            if not here:
                assert found[index] is None
            elif keep == "slowest":
                assert found[index] == max(value for _, value in here)
            else:
                last = max(seconds for seconds, _ in here)
                assert found[index] in {value for seconds, value in here if seconds == last}


# --- how many -----------------------------------------------------------------------------------------


def test_a_rate_limit_per_series() -> None:
    """A series takes its share of a minute's exemplars, evenly; another series has a share of its own."""
    played = Played(Exemplars(per_minute=6))
    taken = [played.counter((seconds, seconds)) for seconds in range(0, 31, 4)]
    assert taken == [0, 0, 0, 12, 12, 12, 24, 24]


@settings(max_examples=examples(150))
@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.lists(st.sampled_from([0.5, 5.0, 50.0]), min_size=1, max_size=3)),
        max_size=30,
    ),
    st.sampled_from([0.5, 1, 2, 5, 30]),
)
def test_no_more_than_the_rate(batches: list[tuple[float, list[float]]], per_minute: float) -> None:
    """However points come, a series takes no more in all minutes together than `per_minute` for each."""
    played = Played(Exemplars(per_minute=per_minute))
    now, taken = 0.0, 0
    before: dict[int, float] = {}
    for gap, values in batches:
        now += gap + 0.001
        played.histogram(*((now, value) for value in values))
        ((point,),) = (family.points for family in played.store.families())
        assert isinstance(point, HistogramPoint)
        times = {index: item.timestamp or 0 for index, item in enumerate(point.exemplars) if item}
        taken += sum(times[index] != before.get(index) for index in times)
        before = times
    assert taken <= per_minute * now / 60 + max(1, per_minute)


def test_a_histogram_waits_for_all_that_it_took() -> None:
    """Two at once are two shares of the minute."""
    played = Played(Exemplars(per_minute=2))
    assert played.histogram((0, 0.1), (0, 2), (0, 20)) == (None, 2, 20)
    assert played.histogram((59, 0.2), (59, 3), (59, 30)) == (None, 2, 20)
    assert played.histogram((60, 4)) == (None, 4, 20)
    assert played.histogram((89, 5)) == (None, 4, 20)
    assert played.histogram((90, 6)) == (None, 6, 20)


def test_a_rate_of_one_takes_the_best() -> None:
    """Of several that come at once, the policy says which is taken."""
    assert Played(Exemplars(per_minute=1)).histogram((1, 0.5), (3, 5), (2, 50)) == (None, 5, None)
    slowest = Played(Exemplars(per_minute=1, keep="slowest"))
    assert slowest.histogram((1, 0.5), (3, 5), (2, 50)) == (None, None, 50)


@pytest.mark.parametrize(("keep", "expected"), [("error", 2.0), ("slowest", 9.0)])
@pytest.mark.parametrize("order", [1, -1])
def test_the_rate_does_not_hide_the_best_of_a_collection(
    bridge: Callable[..., Setup], keep: Any, expected: float, order: int
) -> None:
    """Of attribute sets that become one series, the first one does not use up what is for a better one."""
    view = ExportView(instrument_name="d", keep=[])
    setup = bridge(
        fallback_views=[view],
        exemplars=Exemplars(keep=keep, per_minute=1),
        exemplar_filter=AlwaysOnExemplarFilter(),
    )
    histogram = setup.meter.create_histogram("d", explicit_bucket_boundaries_advisory=[10])
    measured = [(1, {"k": "ok"}), (2, {"k": "bad", "error.type": "Timeout"}), (9, {"k": "slow"})]
    for value, attributes in measured[::order]:
        with in_span():
            histogram.record(value, attributes)
    families = parse(OPENMETRICS, setup.text(OPENMETRICS).encode())
    found = [sample.exemplar.value for family in families for sample in family.samples if sample.exemplar]
    assert found == [expected]


def test_an_error_does_not_wait_for_a_success() -> None:
    """With errors first, the first failed one of a minute is taken, whatever else was; the next one waits."""
    played = Played(Exemplars(keep="error", per_minute=1), views=[ExportView(keep=[])])
    failed = {"error.type": "Timeout"}
    assert played.histogram((0, 0.5)) == (0.5, None, None)
    assert played.histogram((10, 0.6)) == (0.5, None, None)
    assert played.histogram((20, 5), attributes=failed) == (0.5, 5, None)
    assert played.histogram((30, 6), attributes=failed) == (0.5, 5, None)
    assert played.histogram((61, 7), attributes=failed) == (0.5, 7, None)


# --- which not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "view", "shown"),
    [
        (True, True, 1),
        (True, False, 0),
        (False, True, 0),
        (False, Exemplars(), 1),
        (Exemplars(keep="error"), False, 0),
    ],
)
def test_off_and_on_by_view(reader: Any, view: Any, shown: int) -> None:
    """A view says whether its family has exemplars, else the reader does."""
    application = Application(ExportView(exemplars=view), exemplars=True, hold=reader)
    with in_span():
        application.meter.create_counter("c").add(1)
    assert len(application.exemplars("c_total")) == shown
    assert state_of(application.reader).exemplars == shown


def test_gauges_keep_none() -> None:
    """Gauges and up-down counters show no exemplars, so none are held for them."""
    application = Application(exemplars=True)
    with in_span():
        application.meter.create_up_down_counter("u").add(1)
        application.meter.create_gauge("g").set(1)
    assert "trace_id" not in application.text(OPENMETRICS)
    assert state_of(application.reader).exemplars == 0


# --- their labels -------------------------------------------------------------------------------------


def test_labels_from_what_is_no_label() -> None:
    """Attributes that a view leaves out come along, those of its patterns only; rules hold for them, too."""
    view = ExportView(
        instrument_name="c",
        keep=["route"],
        rules={"secret": Forbid()},
        exemplars=Exemplars(labels=["request.*", "secret"]),
    )
    application = Application(view, exemplars=True)
    with in_span():
        application.meter.create_counter("c").add(
            1, {"route": "/", "request.id": "r1", "request.size": 7, "secret": "s", "x": "y"}
        )
    assert application.exemplars("c_total") == [{"request_id": "r1", "request_size": "7"}]


@pytest.mark.parametrize("sdk", [False, True])
def test_what_is_forbidden_by_a_pattern_is_seen_nowhere(sdk: bool) -> None:
    """Neither as a label nor with an exemplar, not past the limit either, with SDK Views as without."""
    rules = {"metadata.*": Forbid(), "user": Forbid()}
    application = Application(
        ExportView(instrument_name="c", rules=rules, max_series=1), sdk=sdk, exemplars=True
    )
    counter = application.meter.create_counter("c")
    for number in (1, 2):
        given = {"a": str(number), "user": "ada", "metadata.ip": "10.0.0.1", "metadata.key.hash": "h"}
        with in_span():
            counter.add(1, given)
    assert application.labelled("c_total") == [{"a": "1"}, {"otel_metric_overflow": "true"}]
    assert sorted(map(str, application.exemplars("c_total"))) == ["{'a': '2'}", "{}"]


def test_only_forbid_takes_patterns() -> None:
    """What a rule does to values of several attributes nobody could tell."""
    with pytest.raises(ConfigurationError, match=r"'keep', 'drop' and Forbid\(\) have them"):
        ExportView(rules={"metadata.*": Truncate(3)})
    with pytest.raises(ConfigurationError, match="keys without"):
        ExportView(rules={"metadata.*": Forbid()}, where={"metadata.*": "x"})


def test_ids_come_first_and_the_rest_as_it_fits() -> None:
    """The ids are always there; of other labels those that fit into 128 characters, whatever comes."""
    view = ExportView(instrument_name="c", keep=[], exemplars=Exemplars(labels=None))
    application = Application(view, exemplars=True)
    attributes = {"a": "x" * 100, "b": "y" * 30, "request.id": "z" * 24, "trace_id": "mine"}
    with in_span(0xABC, 0xDEF):
        application.meter.create_counter("c").add(1, attributes)
    (sample,) = [s for s in application.parsed(OPENMETRICS) if s.exemplar]
    labels = sample.exemplar.labels
    assert (labels["trace_id"], labels["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    # 65 characters are left: `a` does not fit, `b` takes 31 of them, `request_id` the other 34.
    assert {key: labels[key] for key in labels if key not in ("trace_id", "span_id")} == {
        "b": "y" * 30,
        "request_id": "z" * 24,
    }
    assert sum(len(name) + len(value) for name, value in labels.items()) == 128


def test_exemplars_of_the_overflow_say_what_its_labels_do_not() -> None:
    """Past a limit nothing is a label, so an exemplar says whose measurement it was."""
    application = Application(max_series_per_metric=1, exemplars=True)
    counter = application.meter.create_counter("c")
    counter.add(1, {"k": "first"})
    with in_span():
        counter.add(1, {"k": "second", "n": 5})
    assert application.exemplars("c_total") == [{}, {"k": "second", "n": "5"}]


# --- how many there are -------------------------------------------------------------------------------

operations = st.one_of(
    st.tuples(
        st.sampled_from(["counter", "histogram", "exponential", "updown"]),
        st.sampled_from([0.1, 3.0, 80.0, 20_000.0]),
        st.sampled_from("abcdef"),
    ),
    st.tuples(st.just("observe"), st.sets(st.sampled_from("abcdef")), st.none()),
    st.tuples(st.just("scrape"), st.none(), st.none()),
    st.tuples(st.just("pause"), st.none(), st.none()),
)


def shown_exemplars(families: Sequence[MetricFamily]) -> int:
    """The number of exemplars in families, one by one."""
    found: list[Exemplar | None] = []
    for family in families:
        for point in family.points:
            if isinstance(point, CounterPoint):
                found.append(point.exemplar)
            elif isinstance(point, (HistogramPoint, NativeHistogramPoint)):
                found += point.exemplars
    return len(found) - found.count(None)


@settings(max_examples=examples(100))
@given(
    st.lists(operations, max_size=40),
    st.sampled_from([Exemplars(), Exemplars(keep="slowest"), Exemplars(per_minute=1), False]),
    st.sampled_from([None, (5.0, 75.0)]),
)
def test_the_number_held_is_the_number_shown(
    script: list[tuple[str, Any, Any]], exemplars: Any, buckets: tuple[float, ...] | None
) -> None:
    """However series come, go and change, the counter of exemplars is what a scrape would show."""
    view = ExportView(instrument_name="histogram", buckets=buckets)
    with Clock().standing() as clock:
        application = Application(
            view,
            beside=[View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())],
            exemplars=True,
            hold=exemplars,
            max_series_per_metric=4,
            expire_after=10,
        )
        meter = application.meter
        observed: set[str] = set()
        meter.create_observable_counter("o", [lambda _: [Observation(1, {"k": key}) for key in observed]])
        up_down = meter.create_up_down_counter("updown")  # that of a level would stay until it is zero
        record: dict[str, Callable[..., object]] = {
            "counter": meter.create_counter("counter").add,
            "updown": lambda _, attributes: (up_down.add(1, attributes), up_down.add(-1, attributes)),
            "histogram": meter.create_histogram("histogram").record,
            "exponential": meter.create_histogram("exponential").record,
        }
        for what, value, key in script:
            if what in record:
                with in_span():
                    record[what](value, {"k": key, "id": "x"})
            elif what == "observe":
                observed = value
            elif what == "pause":
                clock.now += 7
            else:
                assert (
                    shown_exemplars(application.reader.families()) == state_of(application.reader).exemplars
                )
        assert shown_exemplars(application.reader.families()) == state_of(application.reader).exemplars
        clock.now += 100
        observed = set()
        for _ in range(2):
            clock.now += 20
            assert application.reader.families() == ()
        assert state_of(application.reader).exemplars == 0
        application.provider.shutdown()


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "oldest"}, r"^exemplars\.keep: 'oldest' .*'newest', 'slowest', 'error'"),
        ({"hold": 0}, r"^exemplars\.hold: 0 .*a number above zero"),
        ({"hold": None}, r"^exemplars\.hold: None .*a number above zero"),
        ({"hold": float("nan")}, r"^exemplars\.hold: nan .*a number above zero"),
        ({"per_minute": -1}, r"^exemplars\.per_minute: -1 .*a number above zero"),
        ({"per_minute": True}, r"^exemplars\.per_minute: True .*a number above zero"),
        ({"labels": "request.id"}, r"^exemplars\.labels: 'request.id' .*a list of attribute keys"),
        ({"labels": [1]}, r"^exemplars\.labels: \[1\] .*a list of attribute keys"),
    ],
)
def test_wrong_policies_are_refused(options: dict[str, Any], message: str) -> None:
    """What cannot work is refused with its key, its value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        Exemplars(**options)
