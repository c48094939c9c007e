"""What is no Exception costs one point at most, and reaches whom it is meant for."""

from __future__ import annotations

import logging
import signal
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from setups import Setup, values

from otel_prom_bridge import ExportView, PrometheusMetricReader
from otel_prom_bridge.hands import Hands
from otel_prom_bridge.interrupts import RaisedAgainError, keep, postponed, sheltered
from otel_prom_bridge.native import Event
from otel_prom_bridge.report.self_metrics.tables import Gauges
from otel_prom_bridge.store.projections import Projection
from otel_prom_bridge.store.series import NumberSeries, Series

Make = Callable[..., Setup]
ERRORS = [CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit]
POINTS = 300


@pytest.fixture(params=ERRORS)
def error(request: pytest.FixtureRequest) -> type[BaseException]:
    """Something that no `except Exception` catches."""
    found = request.param
    assert not issubclass(found, Exception)
    return found


def with_view(view: ExportView) -> Setup:
    """A reader with one export view, and its provider."""
    reader = PrometheusMetricReader(
        views=[view], registry=None, scope_info_enabled=False, self_metrics=False, collect_interval=0
    )
    return Setup(reader, MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False))


def record(setup: Setup, count: int = POINTS) -> None:
    """One point each of so many attribute sets, and one of another counter."""
    counter, other = setup.meter.create_counter("c"), setup.meter.create_counter("other")
    for number in range(count):
        counter.add(1, {"k": str(number)})
    other.add(1)


def total(setup: Setup, name: str = "c_total") -> float:
    """The sum of all series of a metric."""
    lines = (line for line in setup.text().splitlines() if line.startswith((f"{name} ", f"{name}{{")))
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


# --- the application's code, in a thread of ours ---------------------------------------------------------


def test_a_rule_that_raises_anything_loses_no_point(error: type[BaseException]) -> None:
    """As with an Exception, its label is left out and every point counts."""

    def fail(value: str) -> str:
        if value == "5":
            raise error
        return value

    setup = with_view(ExportView(instrument_name="c", rules={"k": fail}))
    record(setup)
    assert total(setup) == POINTS
    assert total(setup, "other_total") == 1
    found = values(setup, "c_total")
    assert len(found) == POINTS
    assert found["-"] == found["6"] == 1
    assert setup.reader.is_healthy


def test_a_computation_that_raises_anything_loses_no_point(error: type[BaseException]) -> None:
    """The same for labels that are computed."""

    def fail(attributes: Mapping[str, object]) -> str:
        if attributes["k"] == "5":
            raise error
        return "made"

    setup = with_view(ExportView(instrument_name="c", compute={"m": fail}))
    record(setup)
    assert (total(setup), total(setup, "other_total")) == (POINTS, 1)
    assert setup.text().count('m="made"') == POINTS - 1


@pytest.mark.parametrize("method", ["__repr__", "__str__"])
def test_a_value_that_raises_anything_loses_no_point(
    bridge: Make, error: type[BaseException], method: str
) -> None:
    """An attribute of a type of the application's, which cannot say what it is.

    A kind of string, since the SDK itself asks other types for their text when they are recorded.
    """

    def fail(self: object) -> str:
        raise error

    odd = type("Odd", (str,), {method: fail})("5")
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(POINTS):
        counter.add(1, {"k": odd if number == 5 else str(number)})
    assert total(setup) == POINTS


def test_a_log_handler_that_raises_anything_loses_no_point(bridge: Make, error: type[BaseException]) -> None:
    """Every finding is logged while points are taken in; here every new one has something to say."""

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    handler, logger = Failing(), logging.getLogger("otel_prom_bridge")
    logger.addHandler(handler)
    try:
        setup = bridge(max_series_per_metric=200)
        record(setup)
        assert (total(setup), total(setup, "other_total")) == (POINTS, 1)
    finally:
        logger.removeHandler(handler)


def test_a_callback_that_raises_anything_freezes_nothing(bridge: Make, error: type[BaseException]) -> None:
    """Its own values stay as they were, what it said before it raised is new, and all else goes on."""
    setup = bridge()
    depth, failing = iter(range(1, 9)), False

    def fail(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(next(depth), {"k": "first"})
        if failing:
            raise error
        yield Observation(7, {"k": "second"})

    setup.meter.create_observable_counter("before", [lambda _: [Observation(3)]])
    setup.meter.create_observable_gauge("g", [fail])
    setup.meter.create_observable_counter("after", [lambda _: [Observation(5)]])
    counter = setup.meter.create_counter("c")
    counter.add(1)
    assert values(setup, "g") == {"first": 1, "second": 7}
    failing = True
    for expected in (2, 3, 4):
        counter.add(1)
        exposition = setup.reader.expose()
        assert not exposition.complete
        lines = exposition.body.decode().splitlines()
        assert {f"c_total {expected}", "before_total 3", "after_total 5", 'g{k="second"} 7'} <= set(lines)
        assert f'g{{k="first"}} {expected}' in lines


def test_a_callback_that_always_raised_gets_an_answer(bridge: Make, error: type[BaseException]) -> None:
    """A process in which it never worked is no worse off; what an instrument says later is guarded, too."""
    setup = bridge()

    def fail(_: CallbackOptions) -> Iterable[Observation]:
        raise error

    for name in ("first", "second"):
        setup.meter.create_observable_gauge(name, [fail, lambda _: [Observation(1)]])
        assert f"{name} 1\n" in setup.text()


# --- in a thread of the application's --------------------------------------------------------------------


def test_an_interrupt_gets_out_when_the_batch_is_safe() -> None:
    """Ctrl-C while the application collects by hand: the program ends, and no point is lost."""
    calls = []

    def interrupted(value: str) -> str:
        calls.append(value)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return value

    setup = with_view(ExportView(instrument_name="c", rules={"k": interrupted}))
    record(setup)
    with pytest.raises(KeyboardInterrupt):
        setup.reader.collect()
    assert len(values(setup, "c_total")) == POINTS
    assert (total(setup), total(setup, "other_total")) == (POINTS, 1)


def test_a_signal_handler_that_exits_does(bridge: Make) -> None:
    """sys.exit() in a handler comes out of whatever line the thread is at, here while points are added."""
    before = signal.signal(signal.SIGUSR1, lambda *_: exit(3))
    setup = bridge()
    record(setup)
    original, calls = NumberSeries.add, []

    def add(self: NumberSeries, point: object) -> None:
        calls.append(point)
        original(self, point)  # type: ignore[arg-type]
        if len(calls) == 5:
            signal.raise_signal(signal.SIGUSR1)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NumberSeries, "add", add)
            with pytest.raises(SystemExit) as caught:
                setup.reader.collect()
        assert caught.value.code == 3
        assert (total(setup), total(setup, "other_total")) == (POINTS, 1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_of_a_scrape_gets_out_when_all_is_shown(bridge: Make) -> None:
    """Ctrl-C while labels are made for a scrape in the main thread costs no series its update."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(10):
        counter.add(1, {"k": str(number)})
    original, calls = Projection.show, []

    def show(self: Projection, series: Series) -> None:
        calls.append(series)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        original(self, series)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Projection, "show", show)
        with pytest.raises(KeyboardInterrupt):
            setup.reader.expose()
    assert len(calls) == 10
    assert values(setup, "c_total") == {str(number): 1 for number in range(10)}


class Raising:
    """A lock out of whose ``acquire`` a signal handler raises once, as soon as the lock is taken.

    CPython runs handlers when a function of C's has returned, before the caller can store what it returned.
    """

    def __init__(self, lock: Any, error: type[BaseException]) -> None:
        self._lock, self._errors = lock, [error]
        self.release, self._is_owned = lock.release, getattr(lock, "_is_owned", None)

    def acquire(self, *args: Any, **options: Any) -> bool:
        """Take it, and raise the first time."""
        taken: bool = self._lock.acquire(*args, **options)
        if self._errors:
            raise self._errors.pop()
        return taken

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)


def shown_elsewhere(setup: Setup, name: str) -> tuple[float, bool]:
    """What a scrape in another thread shows, and whether it is complete."""
    with ThreadPoolExecutor(1) as pool:
        exposition = pool.submit(setup.reader.expose).result(30)
    lines = [line for line in exposition.body.decode().splitlines() if line.startswith(f"{name} ")]
    return sum(float(line.split(" ")[1]) for line in lines), exposition.complete


@pytest.mark.parametrize("amount", [0, 1])
def test_an_interrupt_leaves_no_lock_taken(bridge: Make, error: type[BaseException], amount: int) -> None:
    """It comes out of a scrape that has just taken the lock of the store, with or without a collection."""
    setup = bridge(scrape_timeout=1)
    counter = setup.meter.create_counter("c")
    counter.add(1)
    assert total(setup) == 1
    if amount:
        counter.add(amount)
    store: Any = setup.reader._pipeline.store
    store._lock = Raising(store._lock, error)
    with pytest.raises(error):
        setup.reader.expose()
    counter.add(1)
    assert shown_elsewhere(setup, "c_total") == (2 + amount, True)


def test_an_interrupt_before_a_collection_begins_ends_none(
    bridge: Make, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes out of a scrape that was about to wake the thread that collects; others get theirs."""
    setup = bridge(scrape_timeout=1)
    setup.meter.create_counter("c").add(1)

    def interrupted(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Hands, "do", interrupted)
        with pytest.raises(error):
            setup.reader.expose()
    assert shown_elsewhere(setup, "c_total") == (1, True)


def test_an_interrupt_of_a_wait_keeps_no_other_one_waiting(error: type[BaseException]) -> None:
    """It comes out of a wait whose end has just come."""
    event = Event()
    event.set()
    event.is_set = False  # so that it looks at the gate
    gate: Any = Raising(event._gate, error)
    event._gate = gate

    def wait() -> None:
        with pytest.raises(error):
            event.wait(5)

    def set_meanwhile(*args: Any, **options: Any) -> bool:
        event.is_set = True
        return bool(Raising.acquire(gate, *args, **options))

    gate.acquire = set_meanwhile
    wait()
    assert event._gate.acquire(timeout=0)  # it is open


@pytest.mark.parametrize("call", ["force_flush", "families", "expose"])
def test_a_handler_that_interrupts_a_scrape_waits_for_nothing(
    bridge: Make, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It came in where the scrape has the lock of what the bridge says of itself."""
    setup = bridge(self_metrics=True)
    counter = setup.meter.create_counter("c")
    counter.add(1)
    took, original = list[float](), Gauges.set_all

    def interrupted(table: Gauges, values: Mapping[Any, int]) -> None:
        if not took:
            took.append(0)
            counter.add(1)
            start = time.monotonic()
            getattr(setup.reader, call)()
            took.append(time.monotonic() - start)
        original(table, values)

    monkeypatch.setattr(Gauges, "set_all", interrupted)
    setup.text()
    assert took[1] < 1
    assert total(setup) == 2


# --- the words themselves --------------------------------------------------------------------------------


def test_only_the_first_interrupt_is_raised_at_the_outermost_end(error: type[BaseException]) -> None:
    """Within something postponed, another one ends without raising."""
    steps = []

    def work() -> None:
        with postponed():
            with postponed():
                keep(error("first"))
                keep(ValueError("no interrupt"))
                steps.append("inner")
            keep(error("second"))
            steps.append("outer")

    with pytest.raises(error, match="first"):
        work()
    assert steps == ["inner", "outer"]
    with postponed():
        pass  # nothing is left of it
    with postponed(ours=True):
        keep(error("nobody's"))
    with pytest.raises(error):
        keep(error())


def test_what_is_raised_once_is_an_interrupt_and_what_is_raised_twice_a_fault(
    error: type[BaseException],
) -> None:
    """A function that was interrupted succeeds the second time."""
    outcomes = [error("once"), "result"]

    def function() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    with pytest.raises(error, match="once"), postponed():
        assert sheltered(function) == "result"
    outcomes += [error("once"), error("twice")]
    with postponed(ours=True), pytest.raises(RaisedAgainError) as caught:
        sheltered(function)
    assert str(caught.value.error) == "once"
    with pytest.raises(ZeroDivisionError):
        sheltered(lambda: 1 / 0)
