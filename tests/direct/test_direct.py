"""A provider of ours: what it takes, what it costs whoever records, and what callbacks may do to it."""

from __future__ import annotations

import gc
import inspect
import logging
import threading
import time
from collections import ChainMap, UserList, UserString, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.resources import Resource
from oracles import OPENMETRICS, samples

from otel_prom_bridge import ConfigurationError, ExportView
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.direct.cells import GaugeCell
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.testing.probe import ALONE

SPAN = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))


class Direct:
    """A provider, its reader and a meter."""

    def __init__(self, *views: ExportView, exemplar_filter: Any = None, **options: Any) -> None:
        self.reader = DirectReader(**{**ALONE, "views": views, **options})
        self.provider = DirectMeterProvider(
            self.reader,
            resource=Resource({}),
            exemplar_filter=exemplar_filter,
            shutdown_on_exit=False,
        )
        self.meter = self.provider.get_meter("test")

    def created(self) -> dict[str, float]:
        """When each series began."""
        lines = self.reader.expose(OPENMETRICS).body.decode().splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if "_created" in line)
        return {name: float(value) for name, value in found.items()}

    def shown(self) -> dict[str, float]:
        """The samples by name and labels."""
        exposition = self.reader.expose()
        found = samples(exposition.content_type, exposition.body)
        return {
            name + "".join(f",{key}={value}" for key, value in sorted(labels)): number
            for (name, labels), number in found.items()
        }


class _Broken(Mapping[str, Any]):
    """Attributes that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys today")

    def __len__(self) -> int:
        return 1


def test_attributes_that_cannot_be_read_lose_no_value(caplog: pytest.LogCaptureFixture) -> None:
    """What was recorded is in the overflow series, and the log says it once."""
    direct = Direct()
    counter = direct.meter.create_counter("c")
    for _ in range(3):
        counter.add(2, _Broken())
    counter.add(1, {"a": "b"})
    assert direct.shown() == {"c_total,a=b": 1, "c_total,otel_metric_overflow=true": 6}
    (said,) = (record.message for record in caplog.records if "left out" in record.message)
    assert said == "instrument 'c': attributes that are none are left out: RuntimeError('no keys today')"


class _WithoutHash(str):
    __hash__ = None  # type: ignore[assignment]


class _WithoutTruth:
    def __bool__(self) -> bool:
        raise RuntimeError("neither")


@pytest.mark.parametrize("given", [5, b"x", ["x"], _WithoutTruth()], ids=["int", "bytes", "list", "object"])
@pytest.mark.parametrize("what", ["unit", "description"])
def test_an_instrument_with_a_unit_or_description_that_is_no_text_records(
    what: str, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As if there were none, and the log says it once. So does one that is observed."""
    direct = Direct()
    for _ in range(2):
        direct.meter.create_counter("c", **{what: given}).add(1)
        callbacks: Any = [lambda options: [Observation(3)]]
        direct.meter.create_observable_gauge("g", callbacks, **{what: given})
    assert direct.shown() == {"c_total": 2, "g": 3}
    said = [record.message for record in caplog.records if "is no text" in record.message]
    start = f"instrument {{!r}} of scope 'test': its {what} is no text and is left out: {type(given)}"
    assert said == [start.format("c"), start.format("g")]


def test_texts_of_a_class_without_a_hash_name_an_instrument() -> None:
    """What they say is a text like any other."""
    direct = Direct()
    counter = direct.meter.create_counter(_WithoutHash("c"), _WithoutHash("s"), _WithoutHash("d"))
    counter.add(1)
    assert direct.shown() == {"c_seconds_total": 1}
    assert direct.meter.create_counter("c", "s", "d") is counter


class _BrokenSpan(trace.NonRecordingSpan):
    def get_span_context(self) -> Any:
        raise RuntimeError("no span today")


def test_a_span_that_cannot_be_asked_costs_its_exemplar_only(caplog: pytest.LogCaptureFixture) -> None:
    """The value counts all the same, and the log says it once."""
    direct = Direct()
    counter = direct.meter.create_counter("c")
    context = trace.set_span_in_context(_BrokenSpan(SPAN))
    for _ in range(3):
        counter.add(2, {"a": "b"}, context)
    assert direct.shown() == {"c_total,a=b": 6}
    assert [record.message for record in caplog.records] == [
        "instrument 'c': an exemplar could not be taken: RuntimeError('no span today')"
    ]


@pytest.mark.parametrize(
    "value", ["1", b"1", bytearray(b"1"), None, object(), float("nan"), float("inf"), -1, 1j, [1]]
)
def test_a_value_that_is_none_is_passed_over(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It never raises, and the log says it once. A text is no number, whatever it says."""
    direct = Direct()
    counter, histogram = direct.meter.create_counter("c"), direct.meter.create_histogram("h")
    for _ in range(3):
        counter.add(value)
        histogram.record(value)
    counter.add(1)
    assert direct.shown() == {"c_total": 1}
    assert len(caplog.records) == 2


def test_an_observation_whose_attributes_cannot_be_read_costs_the_others_nothing() -> None:
    """It goes where a measurement with such attributes goes."""
    direct = Direct()
    said = [Observation(1, _Broken()), Observation(2, {"k": "a"})]
    direct.meter.create_observable_counter("c", [lambda options: said])
    assert direct.shown() == {"c_total,otel_metric_overflow=true": 1, "c_total,k=a": 2}


@pytest.mark.parametrize(
    "value",
    ["1", None, Decimal("NaN"), Decimal("1e400"), 10**400, -(10**400), float("nan"), float("inf"), 1j],
)
def test_an_observation_that_is_none_is_passed_over(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The same, also of a finite number that no float can hold. What else the callback says is shown."""
    direct = Direct()
    direct.meter.create_observable_gauge(
        "g", [lambda options: [Observation(value, {"k": "a"}), Observation(Decimal("1.5"), {"k": "b"})]]
    )
    assert [direct.shown() for _ in range(2)] == [{"g,k=b": 1.5}] * 2
    assert len(caplog.records) == 1


@pytest.mark.parametrize("beside", [[], [2.5], [10**400]])
def test_a_number_that_no_float_can_hold_destroys_nothing(
    beside: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """What was recorded with it between two scrapes is left out, said once, and the series go on.

    A gauge has the value before.
    """
    direct = Direct(
        ExportView(instrument_name="e", buckets="exponential"), ExportView(instrument_name="[!e]")
    )
    meter = direct.meter
    record = [
        meter.create_counter("c").add,
        meter.create_up_down_counter("u").add,
        meter.create_gauge("g").set,
    ]
    record += [meter.create_histogram(name, explicit_bucket_boundaries_advisory=[]).record for name in "he"]

    def shown(*values: float) -> dict[str, float]:
        for value in values:
            for each in record:
                each(value)
        found = direct.shown()
        return {
            name.rpartition("_")[0] or name: found[name] for name in ("c_total", "u", "g", "h_sum", "e_sum")
        }

    assert shown(1) == {"c": 1, "u": 1, "g": 1, "h": 1, "e": 1}
    before = 2.5 if 2.5 in beside else 1
    assert shown(*beside, 10**400) == {"c": 1, "u": 1, "g": before, "h": 1, "e": 1}
    assert shown(10**400) == {"c": 1, "u": 1, "g": before, "h": 1, "e": 1}
    assert shown(2) == {"c": 3, "u": 3, "g": 2, "h": 3, "e": 3}
    assert direct.shown()["h_count"] == 4 + len(beside)
    assert len(caplog.records) == 5


@pytest.mark.parametrize("value", [10**400, -(10**400), 2 * 10**308])
def test_a_gauge_is_set_to_nothing_that_no_float_can_hold(
    value: int, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no series of it. The value before stays, also within one scrape, and the log says it once."""
    direct = Direct()
    gauge = direct.meter.create_gauge("g")
    gauge.set(value)
    gauge.set(value, {"k": "a"})
    assert direct.shown() == {}
    gauge.set(1)
    gauge.set(value)
    assert direct.shown() == {"g": 1}
    gauge.set(value)
    assert direct.shown() == {"g": 1}
    gauge.set(2)
    assert direct.shown() == {"g": 2}
    assert [record.message for record in caplog.records] == [
        f"instrument 'g': a value that is too large for a float is passed over, the first one is {value}"
    ]


@pytest.mark.parametrize("value", [Decimal("1.5"), 1.5, True, 10**20])
def test_numbers_of_other_types_count(value: Any) -> None:
    """As what they are worth."""
    direct = Direct()
    direct.meter.create_counter("c").add(value)
    direct.meter.create_gauge("g").set(value)
    assert direct.shown() == {"c_total": float(value), "g": float(value)}


class Eager(float):
    """A number whose arithmetic is Python, which records something itself."""

    def __add__(self, other: float) -> float:
        raise AssertionError("nobody adds with this")

    __radd__ = __ge__ = __le__ = __lt__ = __gt__ = __add__  # type: ignore[assignment]


class Small(int):
    """The same as an integer."""

    def __add__(self, other: int) -> int:
        raise AssertionError("nobody adds with this")

    __radd__ = __ge__ = __le__ = __lt__ = __gt__ = __add__  # type: ignore[assignment]


@pytest.mark.parametrize(("value", "plain"), [(Eager(2.0), 2.0), (Small(2), 2), (True, 1)])
@pytest.mark.parametrize("kind", ["counter", "up_down_counter", "gauge", "histogram"])
def test_only_plain_numbers_are_added(kind: str, value: float, plain: float) -> None:
    """What a subclass does when it is added or compared cannot come in between."""
    direct: Any = Direct()
    instrument = getattr(direct.meter, f"create_{kind}")("i")
    getattr(instrument, instrument.METHOD)(value)
    cell = getattr(instrument._bare, "_cell", instrument._bare)  # one that is guarded has another one
    held = cell.sum if kind == "histogram" else cell.value
    assert (type(held), held) == (type(plain), plain)
    assert direct.shown()


def test_a_series_that_comes_back_begins_anew() -> None:
    """Its value does, so the time of that beginning is another, too."""
    with Clock().standing() as clock:
        direct = Direct(expire_after=15, created_timestamps=True)
        recorders = [direct.meter.create_counter("c").add, direct.meter.create_histogram("h").record]
        first: dict[str, float] = {}
        for turn in range(2):
            for record in recorders:
                record(3)
            shown = direct.created()
            if turn:
                assert len(shown) == len(first) == 2
                assert all(shown[name] >= first[name] + 20 for name in first)
            first = first or shown
            for _ in range(4):
                clock.advance(10)
                left = direct.created()
            assert left == {}


class Odd:
    """Something that cannot be hashed, compared or shown."""

    def __hash__(self) -> int:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "attributes",
    [{"k": Odd()}, {1: "a", "b": 2}, [("k", "v")], "text", 7, {"k": {"l": Odd()}}, {"k": "x" * 5000}],
)
def test_no_attributes_raise(attributes: Any) -> None:
    """Whatever they are, the measurement counts."""
    direct = Direct()
    counter, gauge = direct.meter.create_counter("c"), direct.meter.create_gauge("g")
    for _ in range(2):
        counter.add(1, attributes)
        gauge.set(1, attributes)
    assert sum(value for name, value in direct.shown().items() if name.startswith("c_total")) == 2


def test_what_records_looks_like_what_the_api_says() -> None:
    """Its name, its arguments and their defaults, for help texts, tracebacks and whoever wraps it."""
    meter, codes = Direct().meter, set()
    for kind, method in (
        ("counter", "add"),
        ("up_down_counter", "add"),
        ("gauge", "set"),
        ("histogram", "record"),
    ):
        found = getattr(getattr(meter, f"create_{kind}")("i"), method)
        assert found.__name__ == found.__code__.co_name == method
        assert found.__doc__
        arguments = inspect.signature(found).parameters.values()
        assert [(each.name, each.default) for each in arguments] == [
            ("amount", inspect.Parameter.empty),
            ("attributes", None),
            ("context", None),
        ]
        codes.add(id(found.__code__))
    assert len(codes) == 4  # one that is shared would be slower


def test_equal_instruments_are_one() -> None:
    """Names are compared without case; another kind, unit or description is another instrument."""
    meter = Direct().meter
    assert meter.create_counter("c") is meter.create_counter("C")
    assert meter.create_counter("c") is not meter.create_counter("c", "s")
    assert meter.create_observable_gauge("g") is meter.create_observable_gauge("g")
    for name in ("", "1x", "ä", "x" * 256):
        with pytest.raises(ValueError, match="ASCII"):
            meter.create_counter(name)
    with pytest.raises(ValueError, match="63"):
        meter.create_counter("c", "x" * 64)


def test_attributes_are_copied() -> None:
    """What the application does to its mapping later is its own affair."""
    direct = Direct()
    attributes: dict[str, Any] = {"k": ["a"]}
    direct.meter.create_counter("c").add(1, attributes)
    attributes["k"].append("b")
    attributes["l"] = 1
    assert direct.shown() == {'c_total,k=["a"]': 1}


class Silent:
    """An object that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError


def test_an_object_without_a_text_of_its_own_is_no_value() -> None:
    """Its address would be a series for each object. One that has a text is that text, as with the SDK."""
    direct = Direct()
    counter: Any = direct.meter.create_counter("c")
    odd: Any = {"k": object()}
    for value in (object(), Silent(), Fraction(1, 2)):
        counter.add(1, {"k": value, "l": "x"})
    direct.meter.create_observable_gauge("g", [lambda _: [Observation(1, odd)]])
    assert direct.shown() == {"c_total,k=,l=x": 2, "c_total,k=1/2,l=x": 1, "g,k=": 1}


def test_a_gauge_stays_until_it_is_set_again() -> None:
    """A scrape does not need it to be set, and of several that are one the last that was set is shown."""
    direct = Direct(ExportView(instrument_name="g", keep=["k"]))
    gauge = direct.meter.create_gauge("g")
    gauge.set(1, {"k": "a", "l": "1"})
    gauge.set(2, {"k": "a", "l": "2"})
    assert direct.shown() == direct.shown() == {"g,k=a": 2}
    gauge.set(1, {"k": "a", "l": "1"})  # to what it was
    assert direct.shown() == {"g,k=a": 1}


def test_a_gauge_that_is_set_while_it_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next scrape shows it, although an older value of its series was collected behind it."""
    direct = Direct()
    gauge = direct.meter.create_gauge("g")
    gauge.set(1, {"k": "a", "l": "b"})
    gauge.set(2, {"l": "b", "k": "a"})
    take, sets = GaugeCell.take, iter([99])

    def late(cell: GaugeCell, *times: int) -> Any:
        for value in sets:
            gauge.set(value, {"k": "a", "l": "b"})
        return take(cell, *times)

    monkeypatch.setattr(GaugeCell, "take", late)
    direct.shown()
    assert direct.shown() == {"g,k=a,l=b": 99}


def test_what_is_in_an_attribute_may_change_later() -> None:
    """The series is that of what it was when it was recorded."""
    direct = Direct()
    counter = direct.meter.create_counter("c")
    table: Any = {"x": [1]}
    counter.add(1, {"k": table})
    table["x"][0] = 2
    counter.add(2, {"k": table})
    assert direct.shown() == {'c_total,k={"x": [1]}': 1, 'c_total,k={"x": [2]}': 2}


@pytest.mark.parametrize(("name", "count"), [("trace_based", 1), ("always_on", 2), ("always_off", 0)])
def test_the_filter_chooses_exemplars(name: str, count: int) -> None:
    """Only measurements in a sampled span, all, or none."""
    direct = Direct(exemplar_filter=name)
    histogram = direct.meter.create_histogram("h")
    with trace.use_span(trace.NonRecordingSpan(SPAN)):
        histogram.record(3)
    histogram.record(30)
    body = direct.reader.expose(OPENMETRICS).body.decode()
    assert body.count(" # {") == count
    assert ('trace_id="00000000000000000000000000000001"' in body) == bool(count)


def test_an_attribute_that_no_view_needs_comes_with_exemplars() -> None:
    """It makes no cell, so a flood of them costs nothing, and its value is still known."""
    direct = Direct(ExportView(instrument_name="c", keep=["k"]))
    counter: Any = direct.meter.create_counter("c")
    for number in range(5000):
        counter.add(1, {"k": "a", "request": str(number)})
    assert len(counter._cells) == 1
    with trace.use_span(trace.NonRecordingSpan(SPAN)):
        counter.add(1, {"k": "a", "request": "last"})
    body = direct.reader.expose(OPENMETRICS).body.decode()
    assert 'c_total{k="a"} 5001' in body
    assert 'request="last"' in body


def test_an_odd_attribute_of_an_exemplar_is_what_it_is_in_a_series() -> None:
    """A key that is no text is its text, none is nothing, and no value is an address in memory."""
    odd: Any = {"": "nameless", 5: "five", "object": object(), "k": "a"}
    found = []
    for keep in (["k"], ["*"]):
        direct = Direct(ExportView(instrument_name="c", keep=keep))
        counter = direct.meter.create_counter("c")
        counter.add(1, odd)
        with trace.use_span(trace.NonRecordingSpan(SPAN)):
            counter.add(1, odd)
        lines = direct.reader.expose(OPENMETRICS).body.decode().splitlines()
        found.append(next(line for line in lines if line.startswith("c_total")))
    exemplar = found[0].partition(" # {")[2]
    assert 'key_5="five",object=""}' in exemplar
    assert "nameless" not in exemplar
    assert found[1].startswith('c_total{k="a",key_5="five",object=""} 2')


def test_a_flood_is_bounded() -> None:
    """Past the limit there is one cell for everything; the next collection makes room; totals are exact."""
    direct = Direct(sdk_max_series=1000)
    counter: Any = direct.meter.create_counter("c")
    for _ in range(2):
        for number in range(3000):
            counter.add(1, {"number": str(number)})
        assert len(counter._cells) <= 1000
        counter.add(1, {"other": "known"})
        direct.reader.force_flush()
        assert len(counter._cells) == 0
    assert sum(direct.shown().values()) == 6002


@pytest.mark.parametrize(
    "make",
    [
        lambda number: {"k": f"{number}" + 2_000_000 * "x"},
        lambda number: {"k": [f"{number}" + 2_000_000 * "x"]},
        lambda number: {"k": {f"{number}": 2_000_000 * "x"}},
        lambda number: {f"k{number}" + 2_000_000 * "x": 1},
        lambda number: {"k": [number] * 40_000},
    ],
    ids=["text", "text in a list", "text in a mapping", "name", "numbers"],
)
def test_a_flood_of_long_sets_is_bounded(make: Callable[[int], Any]) -> None:
    """Of sets with more than some megabytes in them few are kept at a time; totals are exact."""
    direct = Direct()
    counter: Any = direct.meter.create_counter("c")
    for number in range(15):
        counter.add(1, make(number))
    assert len(counter._cells) + len(counter._long) < 10
    assert sum(direct.shown().values()) == 15


@pytest.mark.clocked
@pytest.mark.parametrize("method", ["add", "record"])
def test_a_flood_costs_the_recorder_little(method: str) -> None:
    """At most 20 us of the processor for each new attribute set, past the limit, too."""
    direct = Direct(sdk_max_series=2500)
    meter: Any = direct.meter
    record = getattr(meter.create_counter("c") if method == "add" else meter.create_histogram("h"), method)
    sets = [{"route": "/users", "user": f"user-{number}", "number": number} for number in range(5000)]
    took = []
    for _ in range(3):
        direct.reader.force_flush()
        began = time.thread_time()
        for attributes in sets:
            record(1, attributes)
        took.append(time.thread_time() - began)
    assert min(took) / len(sets) < 20e-6


@pytest.mark.parametrize("kind", ["counter", "gauge"])
def test_a_long_text_is_one_series_however_often_it_comes(kind: str) -> None:
    """It is no flood, and a gauge shows what it was set to last."""
    direct: Any = Direct()
    instrument = getattr(direct.meter, f"create_{kind}")("i")
    record = getattr(instrument, instrument.METHOD)
    for value in range(1, 4001):
        record(value, {"query": 5000 * "x"})
        record(value, {"query": 5000 * "y"})
    shown = direct.shown()
    expected = 4000 if kind == "gauge" else 4000 * 4001 / 2
    assert [*shown.values()] == [expected, expected]
    assert not any("overflow" in name for name in shown)
    assert instrument._long == {}


class _Endless(Sequence[Any]):
    """It has itself in it, and no text."""

    def __getitem__(self, index: Any) -> Any:
        return [self][index]

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: deque([1, "a"]), '[1, "a"]'),
        (lambda: UserList(["a"]), '["a"]'),
        (lambda: range(3), "[0, 1, 2]"),
        (lambda: memoryview(b"x"), "[120]"),
        (lambda: MappingProxyType({"a": 1}), '{"a": 1}'),
        (lambda: ChainMap({1: deque([2])}), '{"1": [2]}'),
        (lambda: [deque([1]), Decimal("1.50")], '[[1], "1.50"]'),
        (lambda: UserString("text"), "text"),
        (lambda: bytearray(b"x"), "eA=="),
        (_Endless, ""),
    ],
)
def test_a_value_of_any_type_is_one_series_however_often_it_comes(make: Any, shown: str) -> None:
    """Whether it is the same object or an equal one. It is no flood, and a gauge shows what came last."""
    direct = Direct(sdk_max_series=3)
    counter, gauge = direct.meter.create_counter("c"), direct.meter.create_gauge("g")
    same = make()
    for value in range(50):
        for attribute in (same, make()):
            counter.add(1, {"k": attribute})
            gauge.set(value, {"k": attribute})
    assert direct.shown() == {f"c_total,k={shown}": 100, f"g,k={shown}": 49}


def test_a_value_that_changes_is_what_it_was() -> None:
    """Another one of it is another series, also if it is in the place of the first."""
    direct = Direct()
    counter = direct.meter.create_counter("c")
    changing = UserList(["a"])
    counter.add(1, {"k": changing})
    changing.append("b")
    counter.add(2, {"k": changing})
    for number in range(3):
        counter.add(number, {"m": memoryview(bytes([number]))})
    expected = {'c_total,k=["a"]': 1, 'c_total,k=["a", "b"]': 2}
    assert direct.shown() == {**expected, "c_total,m=[0]": 0, "c_total,m=[1]": 1, "c_total,m=[2]": 2}


def test_an_odd_attribute_costs_the_others_nothing() -> None:
    """A collection leaves the cells where they are, so recording goes on as fast as before."""
    direct = Direct()
    counter: Any = direct.meter.create_counter("c")
    counter.add(1, {"k": "v"})
    cells = dict(counter._cells)
    for _ in range(2):
        counter.add(1, {"k": "x" * 5000})
        direct.reader.force_flush()
    assert counter._cells == cells
    assert counter._long == {}


def test_a_limit_of_a_kind_of_instruments_is_no_flood() -> None:
    """Whoever allows so many series of counters may record them between two collections."""
    direct = Direct(cardinality_limits={"counter": 30_000})
    counter: Any = direct.meter.create_counter("c")
    for number in range(25_000):
        counter.add(1, {"number": str(number)})
    assert len(counter._cells) == 25_000
    assert counter._overflow is None


def test_threads_lose_nothing() -> None:
    """Thirty-two of them record on the same series and on new ones, while others scrape."""
    direct = Direct(max_series_per_metric=100_000)
    counter, histogram = direct.meter.create_counter("c"), direct.meter.create_histogram("h")
    levels = direct.meter.create_up_down_counter("u")
    done = threading.Event()

    def record(number: int) -> None:
        for turn in range(500):
            counter.add(1, {"k": "v"})
            counter.add(1, {"thread": number, "turn": turn % 50})
            histogram.record(turn, {"k": "v"})
            levels.add(1 if turn % 2 else -1)

    def scrape() -> None:
        while not done.is_set():
            direct.reader.expose()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(32)]
    scraper = threading.Thread(target=scrape)
    for thread in (*threads, scraper):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    scraper.join()
    direct.reader.force_flush()
    shown = direct.shown()
    assert sum(value for name, value in shown.items() if name.startswith("c_total")) == 32 * 1000
    assert shown["h_count,k=v"] == 32 * 500
    assert shown["u"] == 0


def test_a_callback_that_raises_costs_its_own_series(caplog: pytest.LogCaptureFixture) -> None:
    """They keep what it said last; another scope's instrument of that name is not taken for it.

    Each time is counted, and the log says once which callback it was, what it raised, and where.
    """
    direct = Direct(scope_info_enabled=True, self_metrics=True)
    said = {"mine": True}

    def mine(options: CallbackOptions) -> Iterator[Observation]:
        if not said["mine"]:
            raise SystemExit(3)
        yield Observation(1)

    def other(options: CallbackOptions) -> list[Observation]:
        return [Observation(2)] if said["mine"] else []

    direct.meter.create_observable_gauge("g", [mine])
    direct.provider.get_meter("other").create_observable_gauge("g", [other])
    direct.reader.expose()
    said["mine"] = False
    shown = direct.shown()
    gauges = {name: value for name, value in shown.items() if name.startswith("g,")}
    assert list(gauges.values()) == [1]
    assert "otel_scope_name=test" in next(iter(gauges))
    failures = "otel_prom_bridge_callback_failures_total,error_type=SystemExit,instrument=g"
    assert shown[failures] == 1
    assert direct.shown()[failures] == 2
    (line,) = caplog.messages
    where = f"{__file__}, line {mine.__code__.co_firstlineno + 2}"
    assert line.startswith("a callback of instrument 'g' of scope 'test' failed")
    assert line.endswith(f"SystemExit(3) ({where})")


def test_a_callback_that_hangs_costs_time_once() -> None:
    """Its series show what it said last, others are fresh, and what it says in the end is shown then."""
    direct = Direct(scrape_timeout=0.6, self_metrics=True)
    gate, calls = threading.Event(), []
    failures = "otel_prom_bridge_callback_failures_total,error_type=timeout,instrument=hangs"

    def shown() -> dict[str, float]:
        return {
            name: value
            for name, value in direct.shown().items()
            if name in ("hangs", "works", "c_total", failures)
        }

    def hanging(options: CallbackOptions) -> list[Observation]:
        calls.append(1)
        if len(calls) == 2:
            gate.wait(20)
        return [Observation(len(calls))]

    direct.meter.create_observable_gauge("hangs", [hanging])
    direct.meter.create_observable_gauge("works", [lambda options: [Observation(len(calls))]])
    counter = direct.meter.create_counter("c")
    assert shown() == {"hangs": 1, "works": 1}
    counter.add(1)
    shown()
    counter.add(1)
    began = time.monotonic()
    assert shown() == {"hangs": 1, "works": 2, "c_total": 2, failures: 2}
    assert time.monotonic() - began < 0.3
    assert not direct.reader.expose().complete
    gate.set()
    deadline = time.monotonic() + 10
    while shown()["hangs"] == 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert shown()["hangs"] in (2, 3)
    assert direct.reader.expose().complete


def test_a_callback_may_scrape_its_own_process() -> None:
    """It gets the last state at once, instead of waiting for itself."""
    direct = Direct()
    took: list[float] = []

    def scraping(options: CallbackOptions) -> list[Observation]:
        began = time.monotonic()
        direct.reader.expose()
        took.append(time.monotonic() - began)
        return [Observation(1)]

    direct.meter.create_observable_gauge("g", [scraping])
    assert direct.shown() == {"g": 1}
    assert max(took) < 1


def test_a_generator_is_a_callback() -> None:
    """It gets the options by ``yield``."""

    def observing() -> Iterator[Any]:
        number = 0
        options = yield
        while True:
            assert options.timeout_millis > 0
            number += 1
            options = yield [Observation(number)]

    direct = Direct()
    direct.meter.create_observable_counter("c", [observing()])
    direct.shown()
    assert direct.shown() == {"c_total": 2}


def test_another_reader_begins_with_nothing() -> None:
    """The instruments go on, with the buckets that the new reader wants."""
    direct = Direct()
    histogram = direct.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1])
    histogram.record(5)
    direct.reader.shutdown()
    reader = DirectReader(**ALONE, views=[ExportView(instrument_name="h", buckets=[7])])
    direct.provider.attach(reader, Resource({}))
    histogram.record(5)
    direct.reader = reader
    assert direct.shown() == {"h_bucket,le=7.0": 1, "h_bucket,le=+Inf": 1, "h_count": 1, "h_sum": 5}


def test_after_shutdown_meters_record_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """As those of the SDK do not, and the log says so; also that it was shut down before."""
    direct = Direct()
    direct.provider.shutdown()
    direct.provider.shutdown()
    assert isinstance(direct.provider.get_meter("late"), metrics.NoOpMeter)
    assert isinstance(Direct().provider.get_meter(""), metrics.NoOpMeter)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3


def test_nothing_keeps_a_provider_alive() -> None:
    """Neither the background thread nor the hook at exit."""
    import weakref

    reader = DirectReader(registry=None)
    provider = DirectMeterProvider(reader)
    known = weakref.ref(provider)
    provider.get_meter("m").create_counter("c").add(1)
    del provider, reader
    gc.collect()
    assert known() is None


def test_what_makes_no_sense_is_refused() -> None:
    """With the key, the value, and what is allowed."""
    reader = DirectReader(**ALONE)
    with pytest.raises(ConfigurationError, match="exemplar_filter"):
        DirectMeterProvider(reader, exemplar_filter="on")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="shutdown_on_exit"):
        DirectMeterProvider(reader, shutdown_on_exit="no")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="a mapping of attributes"):
        DirectMeterProvider(reader, resource="shop")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="reader"):
        DirectMeterProvider(object())  # type: ignore[arg-type]
    direct, other = Direct(), Direct()
    with pytest.raises(ConfigurationError, match="no other provider"):
        DirectMeterProvider(direct.reader, shutdown_on_exit=False)
    with pytest.raises(ConfigurationError, match="no other provider"):
        other.provider.attach(direct.reader)
    direct.meter.create_counter("c").add(1)
    other.meter.create_counter("d").add(1)
    assert (direct.shown(), other.shown()) == ({"c_total": 1}, {"d_total": 1})


def test_the_next_recording_is_noticed_once() -> None:
    """Of instruments that have recorded already, too."""
    direct = Direct()
    counter = direct.meter.create_counter("c")
    counter.add(1)
    calls: list[int] = []
    assert direct.reader.at_next_recording(lambda: calls.append(1))
    assert calls == []
    counter.add(1)
    counter.add(1)
    assert calls == [1]
    assert direct.shown() == {"c_total": 3}


def test_who_asks_again_for_the_next_recording_is_told_once() -> None:
    """As a forked child does, which inherits what nobody has recorded in its parent."""
    direct, calls = Direct(), list[int]()

    class Asks:
        def heard(self) -> None:
            calls.append(1)

    asks = Asks()
    for _ in range(3):
        direct.reader.at_next_recording(asks.heard)
    direct.meter.create_counter("c").add(1)
    assert calls == [1]


def test_who_cannot_collect_does_not_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection in another thread may wait there for what a handler that scrapes has interrupted."""
    direct, held, over = Direct(), threading.Event(), threading.Event()
    monkeypatch.setattr(direct.reader._collections, "run", lambda *_, **__: False)

    def hold() -> None:
        with direct.reader._pipeline.store._lock:
            held.set()
            over.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    began = time.monotonic()
    assert not direct.reader.expose().complete
    assert time.monotonic() - began < 2
    over.set()
    thread.join()
