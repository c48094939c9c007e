"""Series that nobody touches disappear after a time, never before, and leave nothing behind."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from exported import in_span
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import places, projections, remembered, rendered, series, store_of, waiting
from opentelemetry.metrics import CallbackOptions, Observation
from oracles import OPENMETRICS, parse
from properties import examples
from setups import Setup, values

from otel_prom_bridge import ConfigurationError, ExportView, Tenants
from otel_prom_bridge.store.expiry import Expiry
from otel_prom_bridge.store.series import Series, Slot
from otel_prom_bridge.testing import Clock

Make = Callable[..., Setup]
AFTER = 100.0
# How late a series may go: what is looked through four times in that time, and remembered by sixteenths.
LATEST = AFTER * (1 + 1 / 4 + 1 / 16)


@pytest.fixture
def expiring(bridge: Make, clock: Clock) -> Make:
    """Make readers whose series expire after AFTER seconds of the clock that stands still."""

    def make(**options: Any) -> Setup:
        return bridge(expire_after=AFTER, disable_target_info=True, **options)

    return make


def shown(setup: Setup, name: str = "c_total") -> dict[str, float]:
    """The values of a metric's samples by the label k."""
    return values(setup, name)


# --- the arithmetic -----------------------------------------------------------------------------------


@settings(max_examples=examples(200))
@given(st.lists(st.floats(0.01, 250, allow_nan=False), min_size=1, max_size=60))
def test_never_before_and_not_much_later(gaps: list[float]) -> None:
    """Whenever collections come, a series is gone at the first look after its time, and never before it."""
    clock = Clock()
    expiry = Expiry(AFTER, clock)
    times: list[float] = []
    gone = 0
    for number, gap in enumerate(gaps, start=1):
        clock.now += gap
        times.append(clock.now)
        gone = max(gone, expiry.expired(number))
        for collection, then in enumerate(times, start=1):
            if collection <= gone:
                assert clock.now - then >= AFTER
            else:
                assert clock.now - then < LATEST


def test_a_long_pause_counts() -> None:
    """When nothing is collected for long, the next collection drops all that was touched before it."""
    clock = Clock()
    expiry = Expiry(AFTER, clock)
    for number in range(1, 4):
        clock.now += 1
        assert expiry.expired(number) == 0
    clock.now += 10 * AFTER
    assert expiry.expired(4) == 3


def test_what_is_remembered_is_bounded() -> None:
    """However often somebody collects, a few times are remembered."""
    clock = Clock()
    expiry = Expiry(AFTER, clock)
    for number in range(1, 20_000):
        clock.now += 0.01
        expiry.expired(number)
    assert len(expiry._times) <= 40


# --- through a reader ---------------------------------------------------------------------------------


def test_off_by_default(bridge: Make, clock: Clock) -> None:
    """Without the option series stay, however long nobody touches them."""
    setup = bridge()
    assert setup.reader.policy.expire_after is None
    setup.meter.create_counter("c").add(1)
    for _ in range(10):
        assert shown(setup) == {"-": 1}
        clock.now += 1e9


@pytest.mark.parametrize("value", [0, -1, math.nan, "5 min", True])
def test_a_time_that_cannot_be(bridge: Make, value: object) -> None:
    """A time that is no positive number is refused by name."""
    with pytest.raises(ConfigurationError, match=r"^expire_after: .*expected"):
        bridge(expire_after=value)


def test_a_series_goes_after_its_time_and_comes_back_anew(expiring: Make, clock: Clock) -> None:
    """It is shown until its time is up, then not, and comes back from zero; what is touched stays."""
    setup = expiring()
    counter = setup.meter.create_counter("c")
    counter.add(5, {"k": "old"})
    counter.add(1, {"k": "busy"})
    start = clock.now
    assert shown(setup) == {"old": 5, "busy": 1}
    expected = 1.0
    gone_at = None
    while clock.now < start + 3 * AFTER:
        clock.now += 7
        counter.add(1, {"k": "busy"})
        expected += 1
        found = shown(setup)
        assert found["busy"] == expected
        if clock.now < start + AFTER:
            assert found["old"] == 5
        if "old" not in found and gone_at is None:
            gone_at = clock.now
    assert gone_at is not None
    assert start + AFTER <= gone_at <= start + LATEST + 7
    counter.add(2, {"k": "old"})
    assert shown(setup) == {"old": 2, "busy": expected}


def test_a_fresh_start_timestamp(expiring: Make, clock: Clock) -> None:
    """A counter and a histogram that come back say a later `_created` than before they went."""
    setup = expiring(created_timestamps=True)
    counter, histogram = setup.meter.create_counter("c"), setup.meter.create_histogram("h")
    found = []
    for _ in range(2):
        counter.add(5)
        histogram.record(5)
        body = setup.text(OPENMETRICS)
        found.append({s.name: s.value for f in parse(OPENMETRICS, body.encode()) for s in f.samples})
        clock.now += 2 * AFTER
        assert setup.text() == ""
    first, second = found
    for name in ("c_created", "h_created"):
        assert second[name] > first[name]
    assert (second["c_total"], second["h_count"], second["h_sum"]) == (5, 1, 5)


def test_of_all_that_is_added_up_here(expiring: Make, clock: Clock) -> None:
    """Counters, up-down counters and histograms of both kinds expire; what is reported anew does not."""
    setup = expiring()
    meter = setup.meter
    meter.create_counter("c").add(1)
    meter.create_up_down_counter("u").add(0)
    meter.create_histogram("h").record(1)
    meter.create_gauge("g").set(1)
    meter.create_observable_gauge("og", [lambda _: [Observation(1)]])
    meter.create_observable_counter("oc", [lambda _: [Observation(1)]])
    meter.create_observable_up_down_counter("ou", [lambda _: [Observation(1)]])
    before = {family.name for family in setup.reader.families()}
    for _ in range(8):
        clock.now += AFTER / 2
        after = {family.name for family in setup.reader.families()}
    assert before - after == {"c_total", "u", "h"}
    assert {"g", "og", "oc_total", "ou"} <= after


def test_a_level_stays_until_it_is_zero(expiring: Make, clock: Clock) -> None:
    """What an up-down counter counts is there, however long nothing happens; it never goes below zero."""
    setup = expiring(fallback_views=(ExportView(instrument_name="u", keep=["k"]),))
    connections = setup.meter.create_up_down_counter("u")
    for client in "abc":
        connections.add(1, {"k": "open", "client": client})
    connections.add(2, {"k": "closed"})
    connections.add(-2, {"k": "closed"})
    assert shown(setup, "u") == {"open": 3, "closed": 0}
    clock.now += 3 * AFTER
    assert shown(setup, "u") == {"open": 3}
    connections.add(-1, {"k": "open", "client": "a"})
    assert shown(setup, "u") == {"open": 2}
    for client in "bc":
        connections.add(-1, {"k": "open", "client": client})
    assert shown(setup, "u") == {"open": 0}
    clock.now += 3 * AFTER
    shown(setup, "u")
    clock.now += AFTER
    assert shown(setup, "u") == {}


def test_flushes_count_as_looks(expiring: Make, clock: Clock) -> None:
    """A process that is flushed and never scraped forgets its series, too, and keeps none in a queue."""
    setup = expiring()
    counter = setup.meter.create_counter("c")
    for number in range(50):
        counter.add(1, {"k": str(number)})
        setup.provider.force_flush()
        clock.now += AFTER / 4
    store = store_of(setup.reader)
    assert waiting(store) < 10
    assert len(list(series(store))) < 10
    assert remembered(store) < 10
    assert set(shown(setup)) <= {str(number) for number in range(40, 50)}


def test_the_overflow_expires_and_known_sets_get_a_place(
    expiring: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """When places are free again, what went to the overflow gets a series; the totals stay exact."""
    setup = expiring(max_series_per_metric=2)
    counter = setup.meter.create_counter("c")
    for key in ("a", "b", "late"):
        counter.add(1, {"k": key})
    assert shown(setup) == {"a": 1, "b": 1, "-": 1}
    for _ in range(12):
        clock.now += AFTER / 8
        counter.add(1, {"k": "late"})
        found = shown(setup)
    assert set(found) == {"late", "-"}
    assert sum(found.values()) == 13
    for _ in range(12):
        clock.now += AFTER / 8
        counter.add(1, {"k": "late"})
        found = shown(setup)
    assert set(found) == {"late"}
    assert caplog.text.count("is at a limit of its series") == 1


def test_nothing_is_left(expiring: Make, clock: Clock) -> None:
    """Of series that expired neither object, place, exemplar nor rendered line remains."""
    setup = expiring(max_series=1000, tenant=Tenants("t", {"x": 1000}))
    counter, histogram = setup.meter.create_counter("c"), setup.meter.create_histogram("h")
    store = store_of(setup.reader)
    with in_span():
        for number in range(200):
            counter.add(1, {"k": f"k{number}", "t": "x"})
            histogram.record(number, {"k": f"k{number}", "f": 1.5, "t": "y"})
    for accept in (None, OPENMETRICS):
        assert "k199" in setup.text(accept)
    assert len(list(series(store))) == 400
    families = [projection.family for projection in projections(store)]
    assert store.state().exemplars == 400
    clock.now += 2 * AFTER
    for accept in (None, OPENMETRICS):
        assert "k199" not in setup.text(accept)
    gc.collect()
    queues = {id(family.stale) for family in families if family is not None}
    assert [item for item in gc.get_objects() if isinstance(item, Slot) and id(item.queue) in queues] == []
    traits = {id(projection.traits) for projection in projections(store)}
    left = [item for item in gc.get_objects() if isinstance(item, Series) and id(item.traits) in traits]
    assert left == []
    assert places(store) == [0] * 5
    assert store.state().exemplars == 0
    assert remembered(store) == 0
    counter.add(1, {"k": "next"})
    histogram.record(1, {"k": "next"})
    for accept in (None, OPENMETRICS):
        assert "next" in setup.text(accept)
    assert any("next" in text for text in rendered(setup.reader))
    assert not any("k199" in text for text in rendered(setup.reader))


# --- asynchronous series that vanish --------------------------------------------------------------------


def test_asynchronous_turnover_within_the_limit(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """When all attribute sets are other ones, the new ones have the places of the old ones at once."""
    setup = bridge(max_series_per_metric=10)
    generation = 0

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(1, {"k": f"{generation}.{number}", "f": 0.5}) for number in range(10)]

    setup.meter.create_observable_up_down_counter("c", [observe])
    for generation in range(5):
        assert shown(setup, "c") == {f"{generation}.{number}": 1 for number in range(10)}
    assert caplog.records == []
    assert places(store_of(setup.reader)) == [10]


def test_asynchronous_overflow_goes_with_what_filled_it(bridge: Make) -> None:
    """Current values past the limit get a series as soon as there is a place; those that have one keep it."""
    setup = bridge(max_series_per_metric=2)
    observed = {"a": 1, "b": 2, "c": 4, "d": 8}
    setup.meter.create_observable_counter(
        "c", [lambda _: [Observation(value, {"k": key}) for key, value in observed.items()]]
    )
    for _ in range(3):
        assert shown(setup) == {"a": 1, "b": 2, "-": 12}
    del observed["a"]
    for _ in range(3):
        assert shown(setup) == {"b": 2, "c": 4, "-": 8}
    del observed["d"]
    assert shown(setup) == {"b": 2, "c": 4}
    observed.clear()
    assert shown(setup) == {}
    assert places(store_of(setup.reader)) == [0]
