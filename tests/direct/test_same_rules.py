"""One table of rules, asked of the SDK's provider and of ours: the answers are equal.

The cases are those of the SDK's own tests (test_metrics.py, test_instrument.py and the integration tests)
that are about behaviour: names, units, duplicates, advice, values, callbacks, scopes and shutdown.
"""

from __future__ import annotations

import logging
import threading
from collections import ChainMap, UserDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, NoOpMeter, Observation
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkProvider
from opentelemetry.sdk.resources import Resource
from oracles import samples

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge import callbacks as asking
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.testing.probe import ALONE

KINDS = ("counter", "up_down_counter", "gauge", "histogram")
OBSERVED = ("observable_counter", "observable_up_down_counter", "observable_gauge")
METHODS = {"counter": "add", "up_down_counter": "add", "gauge": "set", "histogram": "record"}


class Door:
    """A provider, its reader, and what a case said of it."""

    def __init__(self, provider: MeterProvider, reader: Any) -> None:
        self.provider: Any = provider
        self.reader = reader
        self.said: list[object] = []

    def tried(self, call: Callable[[], object]) -> Any:
        """What a call returns; what it raises is said."""
        try:
            result = call()
        except Exception as error:
            self.said.append("TypeError" if isinstance(error, TypeError) else "refused")
            return None
        self.said.append("fine")
        return result

    def shown(self) -> dict[Any, float]:
        """The samples of a scrape."""
        exposition = self.reader.expose()
        return samples(exposition.content_type, exposition.body)


def sdk(resource: Mapping[str, str] | None = None) -> Door:
    """The SDK's provider, with a reader of ours."""
    reader = PrometheusMetricReader(**{**ALONE, "scope_info_enabled": True})
    views = reader.policy.sdk_views()
    given = Resource(resource or {})
    return Door(SdkProvider([reader], given, shutdown_on_exit=False, views=views), reader)


def direct(resource: Mapping[str, str] | None = None) -> Door:
    """Ours."""
    reader = DirectReader(**{**ALONE, "scope_info_enabled": True})
    given = Resource(resource or {})
    return Door(DirectMeterProvider(reader, resource=given, shutdown_on_exit=False), reader)


def of_every_kind(meter: Any, name: str, **given: Any) -> list[Any]:
    """An instrument of each kind."""
    made = [getattr(meter, f"create_{kind}")(f"{name}_{kind}", **given) for kind in KINDS]
    return made + [getattr(meter, f"create_{kind}")(f"{name}_{kind}", [], **given) for kind in OBSERVED]


def names(door: Door) -> None:
    """Which names are names."""
    meter = door.provider.get_meter("m")
    valid = ["a", "A.b-c/d_e", "x" * 255, " padded "]
    invalid = ["", " ", "1a", "_a", "a b", "a*", "é", "x" * 256, "a:b"]
    for name in [*valid, *invalid]:
        for kind in (*KINDS, *OBSERVED):
            made = door.tried(lambda kind=kind, name=name: getattr(meter, f"create_{kind}")(name))
            door.said.append(made is not None and made.name)


def units(door: Door) -> None:
    """Which units are units."""
    meter = door.provider.get_meter("m")
    for number, unit in enumerate(["", "s", "{request}", "x" * 63, "x" * 64, "µs", "1", "%"]):
        counter = door.tried(lambda n=number, unit=unit: meter.create_counter(f"c{n}", unit))
        door.said.append(counter is not None and counter.unit)
        if counter is not None:
            counter.add(1)


def descriptions(door: Door) -> None:
    """Any text."""
    meter = door.provider.get_meter("m")
    for number, description in enumerate(["", "What is counted", "two\nlines", "é\ud83d", "x" * 5000]):
        made = door.tried(lambda n=number, text=description: meter.create_counter(f"c{n}", "", text))
        door.said.append(made is not None and made.description)


def duplicates(door: Door) -> None:
    """What is equal in name, kind, unit and description is one instrument; what is not is another."""
    meter, other = door.provider.get_meter("m"), door.provider.get_meter("m", "2")
    first, again = of_every_kind(meter, "x"), of_every_kind(meter, "x")
    door.said.append([one is two for one, two in zip(first, again, strict=True)])
    for given in ({"unit": "s"}, {"description": "d"}):
        changed = of_every_kind(meter, "x", **given)
        door.said.append([one is two for one, two in zip(first, changed, strict=True)])
    door.said.append([one is two for one, two in zip(first, of_every_kind(other, "x"), strict=True)])
    door.said.append([one is two for one, two in zip(first, of_every_kind(meter, "X"), strict=True)])
    meter.create_counter("same").add(1)
    meter.create_counter("Same").add(2)
    meter.create_counter("same", description="d").add(4)
    other.create_counter("same").add(8)


def callbacks_of_duplicates(door: Door) -> None:
    """Those of the first one count."""
    meter = door.provider.get_meter("m")
    meter.create_observable_gauge("g", [lambda options: [Observation(1)]])
    meter.create_observable_gauge("g", [lambda options: [Observation(2, {"k": "v"})]])


def advice(door: Door) -> None:
    """Buckets that are none are told apart from buckets; of two histograms the first one's count."""
    meter = door.provider.get_meter("m")
    lists = [None, [], [1], [1.0, 2, 3.5], (5, 10), "hello", ["1"], 7, [None], [1, "2"], {1, 2}, range(3)]
    for number, bounds in enumerate(lists):
        made = door.tried(
            lambda n=number, bounds=bounds: meter.create_histogram(
                f"h{n}", explicit_bucket_boundaries_advisory=bounds
            )
        )
        if made is not None:
            made.record(3)
    meter.create_histogram("h", explicit_bucket_boundaries_advisory=[1]).record(3)
    meter.create_histogram("h", explicit_bucket_boundaries_advisory=[5]).record(3)
    meter.create_histogram("h").record(7)


def values(door: Door) -> None:
    """What is no measurement is passed over, and nothing is raised."""
    meter = door.provider.get_meter("m")
    for kind in KINDS:
        record = getattr(getattr(meter, f"create_{kind}")(kind), METHODS[kind])
        for value in (0, 1, 2.5, True, -3, -0.0, float("nan"), float("inf"), -float("inf"), 10**40, 1e308):
            for attributes in (None, {}, {"k": "v"}):
                door.tried(lambda r=record, value=value, attributes=attributes: r(value, attributes))


def observed_values(door: Door) -> None:
    """The same for what callbacks say. An observed counter may fall."""
    meter = door.provider.get_meter("m")
    numbers = [1, -2, float("nan"), float("inf"), 0.5, True, 10**40]
    for kind in OBSERVED:
        for number, value in enumerate(numbers):
            create = getattr(meter, f"create_{kind}")
            create(f"{kind}{number}", [lambda options, value=value: [Observation(value, {"k": "v"})]])


def attributes(door: Door) -> None:
    """Values of all kinds; 1, True, 1.0 and "1" are not one value."""
    meter = door.provider.get_meter("m")
    counter, gauge = meter.create_counter("c"), meter.create_gauge("g")
    odd: list[Any] = ["1", 1, True, 1.0, None, b"1", ["1"], ("1",), [1, True], {"a": 1}, [], "", 10**30, -0.0]
    for number, value in enumerate(odd):
        counter.add(1, {"k": value})
        gauge.set(number, {"k": value})
    counter.add(1, {"a": 1, "b": 2})
    counter.add(1, {"b": 2, "a": 1})


def odd_attributes(door: Door) -> None:
    """Keys that are no texts are what they say, and what is no mapping is none."""
    meter = door.provider.get_meter("m")
    counter = meter.create_counter("c")
    keys: list[Any] = [1, True, 1.0, b"x", ("t",), None, "", 0, "a b", "é"]
    for key in keys:
        door.tried(lambda key=key: counter.add(1, {key: "v"}))
    door.tried(lambda: counter.add(1, {1: "v", "k": "w", "": "x"}))
    sets: list[Any] = [MappingProxyType({"a": 1}), ChainMap({"a": "1"}, {"b": "2"}), UserDict(z=1)]
    sets += [[("a", "b")], (), "", 0, "text", 7, [1], iter([("q", "r")]), dict]
    for attributes in sets:
        door.tried(lambda attributes=attributes: counter.add(1, attributes))
    said = [*({key: "v"} for key in keys), [("a", "b")], "text", 7, iter([]), {"k": {1}}]
    for number, attributes in enumerate(said):
        answer = [Observation(1, attributes), Observation(2, {"k": "v"})]
        meter.create_observable_gauge(f"g{number}", [lambda options, answer=answer: answer])


class Text(str):
    """A text that the application made a class of."""

    def __str__(self) -> str:
        return "another one"


def subclasses(door: Door) -> None:
    """A subclass is what it was made of."""
    import enum

    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    counter = door.provider.get_meter("m").create_counter("c")
    for value in (Text("text"), Colour.RED, "red", Level.HIGH):
        counter.add(1, {"k": value})
    counter.add(Level.HIGH, {"k": "amount"})


def callbacks(door: Door) -> None:
    """Functions, generator functions, generators, several, none; and what they say twice."""

    def generator() -> Iterator[Any]:
        options = yield
        while True:
            options = yield [Observation(options.timeout_millis > 0, {"from": "generator"})]

    def function(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(2, {"from": "function"})
        yield Observation(3, {"from": "function"})

    def ended() -> Iterator[Any]:
        yield from ()

    meter = door.provider.get_meter("m")
    door.tried(lambda: meter.create_observable_gauge("ended", [ended()]))
    for kind in OBSERVED:
        create = getattr(meter, f"create_{kind}")
        create(f"{kind}_all", [generator(), function, lambda options: [Observation(4), Observation(5)]])
        create(f"{kind}_none")
        create(f"{kind}_nothing", [lambda options: []])
        create(f"{kind}_tuple", [lambda options: (Observation(6), Observation(7, {"k": "v"}))])


def callbacks_that_fail(door: Door) -> None:
    """Each costs itself: what comes after it is asked, and what it said before counts."""

    def halfway(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"k": "before"})
        raise ValueError

    def answering(value: Any) -> Callable[[CallbackOptions], Any]:
        return lambda options: value

    meter = door.provider.get_meter("m")
    wrong = [None, 7, "text", [7], [None], Observation(1), [Observation("1")], [Observation(None)]]  # type: ignore[arg-type]
    for kind in OBSERVED:
        for number, value in enumerate(wrong):
            getattr(meter, f"create_{kind}")(f"{kind}{number}", [answering(value)])
        getattr(meter, f"create_{kind}")(f"{kind}_raises", [lambda options: 1 / 0])
        getattr(meter, f"create_{kind}")(f"{kind}_takes", [lambda: []])
        getattr(meter, f"create_{kind}")(f"{kind}_works", [lambda options: [Observation(8)]])
    meter.create_observable_gauge("halfway", [lambda options: [Observation(9)], halfway])


def scopes(door: Door) -> None:
    """Equal arguments give one meter, and different ones another one."""
    get = door.provider.get_meter
    given: list[tuple[Any, ...]] = [
        ("m",),
        ("m", None),
        ("m", ""),
        ("m", "1"),
        ("m", "1", "https://example.com"),
        ("m", "1", None, {"k": "v"}),
        ("m", "1", None, {"k": ["v"]}),
        ("m", "1", None, {}),
        ("M",),
        (" m",),
    ]
    meters = [get(*arguments) for arguments in given]
    door.said.append([get(*arguments) is meter for arguments, meter in zip(given, meters, strict=True)])
    door.said.append([[one is other for one in meters] for other in meters])
    for number, meter in enumerate(meters):
        meter.create_counter("c").add(number)
        door.said.append((meter.name, meter.version, meter.schema_url))


def meters_without_a_name(door: Door) -> None:
    """They record nothing, and the log says so."""
    for name in (None, ""):
        meter = door.provider.get_meter(name, version="1", schema_url="u")
        door.said.append((isinstance(meter, NoOpMeter), meter.name, meter.version, meter.schema_url))
        meter.create_counter("c").add(1)


def shut_down_twice(door: Door) -> None:
    """Nothing is raised. Whoever asks for a meter afterwards gets one without effect."""
    counter = door.provider.get_meter("m").create_counter("c")
    counter.add(1)
    door.said.append(door.provider.force_flush())
    for _ in range(2):
        door.said.append(door.tried(door.provider.shutdown))
    door.tried(lambda: counter.add(1))
    late = door.provider.get_meter("late")
    door.said.append(isinstance(late, NoOpMeter))
    door.tried(lambda: late.create_counter("c").add(1))
    door.tried(lambda: late.create_observable_gauge("g", [lambda options: [Observation(1)]]))


def shut_down_by_many(door: Door) -> None:
    """Of seventy threads one does it, and the others are told."""
    threads = [threading.Thread(target=door.provider.shutdown) for _ in range(70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def made_before_there_was_a_provider(door: Door) -> None:
    """Instruments of the API that wait for a provider go on with it."""
    proxy = _ProxyMeterProvider()
    meter = proxy.get_meter("early", "1", "https://example.com", {"k": "v"})
    made = [getattr(meter, f"create_{kind}")(kind, "s", "text") for kind in KINDS]
    for kind in OBSERVED:
        getattr(meter, f"create_{kind}")(kind, [lambda options: [Observation(5)]], "s", "text")
    advised = meter.create_histogram("advised", explicit_bucket_boundaries_advisory=[1])
    getattr(made[0], METHODS["counter"])(100)
    proxy.on_set_meter_provider(door.provider)
    for kind, instrument in zip(KINDS, made, strict=True):
        getattr(instrument, METHODS[kind])(3, {"k": "v"})
    advised.record(2)
    meter.create_counter("late").add(1)


def is_enabled(door: Door) -> None:
    """With OTEL_SDK_DISABLED nothing is recorded, whoever asks."""
    meter = door.provider.get_meter("m")
    door.said.append(isinstance(meter, NoOpMeter))
    meter.create_counter("c").add(1)


CASES = (
    names,
    units,
    descriptions,
    duplicates,
    callbacks_of_duplicates,
    advice,
    values,
    observed_values,
    attributes,
    odd_attributes,
    subclasses,
    callbacks,
    callbacks_that_fail,
    scopes,
    meters_without_a_name,
    shut_down_twice,
    shut_down_by_many,
    made_before_there_was_a_provider,
    is_enabled,
)
# Of these the SDK says as much in its log as we do; of the others we say each thing once.
AS_OFTEN = {shut_down_by_many, shut_down_twice, meters_without_a_name}


@pytest.mark.parametrize("case", CASES)
def test_both_providers_answer_alike(case: Callable[[Door], None], caplog: pytest.LogCaptureFixture) -> None:
    """What is raised, what is the same object, what is shown, and whether the log says something."""
    found = []
    for open_door in (sdk, direct):
        caplog.clear()
        door = open_door()
        case(door)
        shown = {} if door.reader.is_shut_down else door.shown()
        warned = sum(record.levelno >= logging.WARNING for record in caplog.records)
        found.append((door.said, shown, warned if case in AS_OFTEN else warned > 0))
        if not door.reader.is_shut_down:
            door.provider.shutdown()
    assert found[0][0] == found[1][0]
    assert found[0][1] == found[1][1]
    assert found[0][2] == found[1][2]


def test_disabled_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with OTEL_SDK_DISABLED, which is read when a provider is made. No target is shown either."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    for open_door in (sdk, direct):
        door = open_door({"service.name": "checkout"})
        is_enabled(door)
        assert (door.said, door.shown()) == ([True], {})
        door.provider.shutdown()


def test_none_is_no_unit_and_no_description() -> None:
    """As the API has it. The SDK fails there."""
    door = direct()
    counter = door.provider.get_meter("m").create_counter("c", None, None)
    assert (counter.unit, counter.description) == ("", "")
    door.provider.shutdown()


def test_instruments_are_those_of_the_api() -> None:
    """Whoever asks for the class of an instrument gets the answer that the SDK's give."""
    for open_door in (sdk, direct):
        door = open_door()
        kinds = [metrics.Counter, metrics.UpDownCounter, metrics._Gauge, metrics.Histogram]
        kinds += [metrics.ObservableCounter, metrics.ObservableUpDownCounter, metrics.ObservableGauge]
        for instrument, kind in zip(of_every_kind(door.provider.get_meter("m"), "x"), kinds, strict=True):
            assert isinstance(instrument, kind)
        door.provider.shutdown()


@pytest.mark.parametrize("made", [sdk, direct])
def test_a_callback_without_an_end_costs_its_own_series(
    made: Callable[[], Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, and does not fill the memory. Its series show what it said before."""
    monkeypatch.setattr(asking, "MOST_OBSERVATIONS", 1000)
    ends = [True]

    def callback(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(3)
        while not ends:
            yield Observation(7)

    door = made()
    meter = door.provider.get_meter("m")
    meter.create_observable_gauge("endless", [callback])
    meter.create_observable_gauge("other", [lambda options: [Observation(len(ends))]])
    before = door.shown()
    ends.clear()
    exposition = door.reader.expose()
    after = samples(exposition.content_type, exposition.body)
    assert not exposition.complete
    assert sorted(before.values()) == [1, 3]
    assert sorted(after.values()) == [0, 3]
    door.reader.shutdown()
