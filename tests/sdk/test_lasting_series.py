"""Series that the SDK keeps from one collection to the next, as recorders of ours find them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from setups import RECORDERS_ARE_QUICK

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.sdk import inherited, series_keys, versions
from otel_prom_bridge.sdk.locks import _Lasting
from otel_prom_bridge.sdk.series_keys import LastingMatch

PLAIN = Metric("plain", "counter", "", "")
KEPT = Metric("kept", "counter", "", "")
TIMES = Metric("times", "histogram", "", "", (1.0, 2.0))


class Recorded:
    """What a recorder has recorded for a reader of ours."""

    def __init__(self) -> None:
        self.reader = PrometheusMetricReader(registry=None, self_metrics=False, disable_target_info=True)
        views = [View(instrument_name="kept", attribute_keys={"a"})]
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, views=views)
        self.measurements = Measurements(self.provider, scope="a", schema_url="")

    def record(self, metric: Metric, value: float, **attributes: object) -> None:
        """Record a value."""
        self.measurements.record(metric, value, clean(attributes))

    def matches(self) -> list[Any]:
        """What the SDK records in."""
        consumer: Any = self.provider._measurement_consumer
        tables = consumer._reader_storages[self.reader]._instrument_view_instrument_matches
        return [match for matches in tables.values() for match in matches]

    def shown(self, family: str) -> dict[str, str]:
        """The samples of a family without their labels of a scope."""
        lines = [line for line in self.reader.expose().body.decode().splitlines() if line.startswith(family)]
        pairs = (line.rpartition(" ") for line in lines)
        return {name.partition(",otel_scope")[0].partition("{otel")[0]: value for name, _, value in pairs}


@pytest.fixture
def it() -> Iterator[Recorded]:
    """A recorder, and a reader of ours."""
    recorded = Recorded()
    yield recorded
    recorded.provider.shutdown()


def test_values_are_added_up_across_collections(it: Recorded) -> None:
    """Whoever finds the series, and whatever a View of the SDK leaves out."""
    for turn in (1, 2, 3):
        for number in (1, 2):
            it.record(PLAIN, 1, a="x", b=number)
            it.record(KEPT, 1, a="x", b=number)
            it.record(TIMES, 1.5, a="x")
        assert it.shown("plain_total") == {f'plain_total{{a="x",b="{number}"': str(turn) for number in (1, 2)}
        assert it.shown("kept_total") == {'kept_total{a="x"': str(2 * turn)}
        assert it.shown("times_count") == {'times_count{a="x"': str(2 * turn)}


def test_what_is_found_is_bounded(it: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a View leaves out may be another thing each time."""
    monkeypatch.setattr(series_keys, "_MOST_FOUND", 3)
    for number in range(10):
        it.record(KEPT, 1, a="x", b=number)
    assert it.shown("kept_total") == {'kept_total{a="x"': "10"}
    matches = it.matches()
    if not versions.asks_table(matches[0]):
        pytest.skip("this SDK empties its tables")
    for match in matches:
        assert RECORDERS_ARE_QUICK <= len(match._attributes_aggregation.found) <= 3


class Series:
    """What was recorded in a series."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def aggregate(self, measurement: Any, _should_sample: bool) -> None:
        """Keep a value."""
        self.values.append(measurement.value)


class Alone:
    """A match as in SDKs that keep series, with any SDK. ``slow`` has what was recorded in the SDK's way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow: list[float] = []
        self.match: Any = LastingMatch.__new__(LastingMatch)
        self.table: Any = _Lasting({})
        self.match._attributes_aggregation = self.table
        self.match._view = SimpleNamespace(_attribute_keys={"a", "b"})

        def consume_measurement(match: Any, measurement: Any, should_sample: bool) -> None:
            self.slow.append(measurement.value)
            self.table.setdefault(self.own(measurement.attributes), Series()).aggregate(measurement, False)

        monkeypatch.setattr(LastingMatch.__base__, "consume_measurement", consume_measurement)

    @staticmethod
    def own(attributes: dict[str, Any]) -> frozenset[tuple[str, Any]]:
        """The SDK's key."""
        return frozenset(item for item in attributes.items() if item[0] in "ab")

    def record(self, value: float, **attributes: Any) -> None:
        """Record a value."""
        key = clean(attributes).key
        self.match.consume_measurement(SimpleNamespace(value=value, attributes=attributes, key=key))

    def values(self, **attributes: Any) -> list[float]:
        """What there is of a series."""
        found: list[float] = self.table[self.own(attributes)].values
        return found


def test_a_series_is_found_by_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by what the View keeps, the second time without the SDK."""
    alone = Alone(monkeypatch)
    for turn in (10, 20):
        alone.record(turn + 1, a="x")
        alone.record(turn + 2, a="y", b="z")
        alone.record(turn + 3, a="y", b="z", c="left out")
    assert (alone.values(a="x"), alone.values(a="y", b="z")) == ([11, 21], [12, 13, 22, 23])
    assert alone.slow == [11, 12, 13]


def test_no_more_is_found_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is forgotten then, and found anew."""
    monkeypatch.setattr(series_keys, "_MOST_FOUND", 3)
    alone = Alone(monkeypatch)
    for number in range(10):
        alone.record(number, a="x", c=number)
        assert 0 < len(alone.table.found) <= 3
    assert alone.values(a="x") == list(range(10))


@pytest.mark.parametrize("is_all", [True, False])
def test_a_series_that_is_gone_is_found_no_more(is_all: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is recorded after that is in the series that is there."""
    alone = Alone(monkeypatch)
    for value in (1, 2):
        alone.record(value, a="x")
    if is_all:
        alone.table.clear()
    else:
        alone.table.pop(alone.own({"a": "x"}))
    alone.record(4, a="x")
    assert (alone.values(a="x"), alone.slow) == ([4], [1, 4])


def test_a_forked_child_begins_with_nothing(it: Recorded) -> None:
    """A series of the parent is found no more."""
    for _ in range(2):
        it.record(PLAIN, 5, a="x")
    inherited.forget(it.provider._measurement_consumer, it.reader)
    it.record(PLAIN, 1, a="x")
    assert it.shown("plain_total") == {'plain_total{a="x"': "1"}
