"""Floods of attribute sets: old series stay, totals are exact, memory is bounded.

Memory is counted in blocks (``sys.getallocatedblocks``): every object of Python's is at least one. That is
exact, which resident memory is not, and counting costs nothing. A remembered attribute set is some ten
blocks, a series with its labels and its point some thirty.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
from inside import remembered, state_of, waiting
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from setups import Setup

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import Exposer, WriterOptions
from otel_prom_bridge.families import CounterPoint, Kind
from otel_prom_bridge.points import Meaning, Source, Stream
from otel_prom_bridge.store.store import Store
from otel_prom_bridge.testing import Clock
from otel_prom_bridge.translate import Translation, TranslationStrategy
from otel_prom_bridge.views.policy import Policy

Make = Callable[..., Setup]
pytestmark = pytest.mark.slow


def allocated() -> int:
    """The number of blocks that Python's objects take now."""
    gc.collect()
    return sys.getallocatedblocks()


def points(setup: Setup) -> dict[str, float]:
    """The values of counter c by the label k ("-" for the overflow), without parsing an exposition."""
    (family,) = (family for family in setup.reader.families() if family.name == "c_total")
    found = {}
    for point in family.points:
        assert isinstance(point, CounterPoint)
        found[dict(point.labels).get("k", "-")] = point.value
    return found


REMEMBERED = 40_000  # attribute sets: twice what the SDK hands over in one collection


def test_15000_between_two_scrapes(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Old series go on, however late in the flood they come; what is new fills up the limit."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(1000):
        counter.add(1, {"k": f"old{number}"})
    assert points(setup) == {f"old{number}": 1 for number in range(1000)}
    for number in range(15_000):
        counter.add(1, {"k": f"new{number}"})
    for number in range(1000):
        counter.add(1, {"k": f"old{number}"})
    found = points(setup)
    assert {key: found[key] for key in found if key.startswith("old")} == {f"old{n}": 2 for n in range(1000)}
    assert {key for key in found if key.startswith("new")} == {f"new{number}" for number in range(1000)}
    assert found["-"] == 14_000
    assert sum(found.values()) == 17_000
    assert state_of(setup.reader).overflowed == {"c_total": 14_000}
    for number in range(15_000):
        counter.add(1, {"k": f"new{number}"})
    assert sum(points(setup).values()) == 32_000
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_what_a_cumulative_sdk_reader_does() -> None:
    """Once full it stays full: later sets are overflow for ever. `docs/design.md` says so."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
    counter = provider.get_meter("test").create_counter("c")

    def collected() -> dict[str, float]:
        data = reader.get_metrics_data()
        assert data is not None
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        return {dict(point.attributes).get("k", "-"): point.value for point in metric.data.data_points}

    for number in range(1000):
        counter.add(1, {"k": f"old{number}"})
    collected()
    for number in range(15_000):
        counter.add(1, {"k": f"new{number}"})
    counter.add(1, {"k": "old0"})
    found = collected()
    assert len(found) == 2001
    assert found["old0"] == 2
    assert found["-"] == 14_000
    for _ in range(3):  # whatever comes later, also when the flood is long over
        counter.add(1, {"k": "later"})
        found = collected()
    assert "later" not in found
    assert found["-"] == 14_003
    for number in range(200_000 - 15_000):
        counter.add(1, {"k": f"more{number}"})
    found = collected()
    assert len(found) == 2001
    assert sum(found.values()) == 1000 + 1 + 200_000 + 3
    provider.shutdown()


def test_a_delta_reader_with_the_sdks_limit_alone_forgets_old_series(bridge: Make) -> None:
    """Why its limit is above ours: first come, first served in every cycle, whoever was there before."""
    setup = bridge(sdk_max_series=10)
    counter = setup.meter.create_counter("c")
    counter.add(1, {"k": "old"})
    setup.text()
    for number in range(10):
        counter.add(1, {"k": str(number)})
    counter.add(1, {"k": "old"})
    found = points(setup)
    assert (found["old"], found["-"]) == (1, 1)


@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.usefixtures("untraced")
def test_200000_between_two_scrapes(bridge: Make) -> None:
    """The SDK's limit takes what is above it, ours the rest: totals are exact, and memory is bounded."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(1000):
        counter.add(1, {"k": f"old{number}"})
    setup.text()
    before = allocated()
    levels = []
    for flood in range(3):
        for number in range(200_000):
            counter.add(1, {"k": f"{flood}.{number}"})
        if flood == 0:
            # What the SDK holds meanwhile is bounded by its limit, a tenth of what came.
            assert allocated() - before < 20_001 * 30
        found = points(setup)
        assert len(found) == 2001
        assert sum(found.values()) == 1000 + 200_000 * (flood + 1)
        assert {found[f"old{number}"] for number in range(1000)} == {1}
        levels.append(allocated())
    # 1000 more series, and what is remembered of attribute sets; the SDK forgets its table.
    assert levels[0] - before < 1000 * 30 + REMEMBERED * 10
    # A second and a third flood find everything full; only how much is remembered varies.
    assert max(levels) - levels[0] < REMEMBERED * 10


# --- label churn --------------------------------------------------------------------------------------

MILLION = 1_000_000
BATCH = 10_000


def _store(policy: Policy, clock: Callable[[], float]) -> Store:
    translation = Translation(strategy=TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES)
    return Store(translation=translation, policy=policy, findings=Findings(), clock=clock)


def _batch(start: int, size: int) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(
            attributes={"user": f"u{number}", "route": "/"},
            start_time_unix_nano=start,
            time_unix_nano=start + number,
            value=1,
        )
        for number in range(start, start + size)
    ]


@pytest.fixture
def untraced() -> Iterator[None]:
    """No coverage is measured: it would take most of the time."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(("sets", "scraped"), [(MILLION, True), (MILLION // 5, False)])
def test_a_million_attribute_sets(sets: int, scraped: bool) -> None:
    """With a limit and expiry memory stays flat under label churn, also if nobody ever scrapes."""
    seconds = 0.0
    store = _store(Policy(max_series_per_metric=2000, expire_after=60), lambda: seconds)
    source = Source()
    exposer = Exposer(findings=Findings(), options=WriterOptions())
    meaning = Meaning(Kind.COUNTER, accumulates=True, additive=True)
    stream = Stream(InstrumentationScope("test"), "c", "", "", meaning)
    shown: set[str] = set()
    levels: list[int] = []
    # The real SDK's data classes, without the SDK, which takes a minute for as many measurements.
    for start in range(0, sets, BATCH):
        seconds += 25
        store.take(source, [(stream, _batch(start, BATCH))])
        if scraped:
            (family,) = store.families()
            assert len(family.points) <= 2001
            shown.update(dict(point.labels).get("user", "-") for point in family.points)
            exposer.expose([family], accept=None)
        if start in (sets // 10, sets - BATCH):
            levels.append(allocated())
    state = store.state()
    total = state.overflowed["c_total"]
    assert sets * 0.75 < total < sets
    if scraped:
        # Places were given back: far more sets had a series for a time than fit in at once.
        assert len(shown) == sets - total + 1 > 20_000
        assert sum(point.value for point in store.families()[0].points) <= sets
    assert waiting(store) <= 4002
    assert remembered(store) <= REMEMBERED
    # Neither series nor points, slots or labels are left over; what is remembered varies.
    assert abs(levels[1] - levels[0]) < REMEMBERED * 10


def test_churn_through_the_sdk(bridge: Make, clock: Clock) -> None:
    """The same through instruments and scrapes: after the first tenth memory does not grow."""
    setup = bridge(max_series_per_metric=500, expire_after=60)
    counter = setup.meter.create_counter("c")
    levels = []
    for cycle in range(40):
        for number in range(1500):
            counter.add(1, {"k": f"{cycle}.{number}"})
        clock.now += 25
        found = points(setup)
        assert len(found) <= 501
        if cycle in (9, 39):
            levels.append(allocated())
    assert sum(found.values()) <= 40 * 1500
    assert levels[1] - levels[0] < 2000 * 10  # as many are remembered, more or less


def test_a_flood_of_a_known_class_only(bridge: Make) -> None:
    """A limit by instrument class bounds that class; others have the metric's limit."""
    setup = bridge(cardinality_limits={Counter: 10}, max_series_per_metric=50)
    counter, other = setup.meter.create_counter("c"), setup.meter.create_up_down_counter("u")
    for number in range(15_000):
        counter.add(1, {"k": str(number)})
        other.add(1, {"k": str(number)})
    sizes = {family.name: len(family.points) for family in setup.reader.families()}
    assert sizes["c_total"] == 11
    assert sizes["u"] == 51
