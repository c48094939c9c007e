"""Series that the SDK keeps from one collection to the next, as recorders of ours find them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.instruments import Metric
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.sdk import inherited, series_keys
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
    for match in it.matches():
        if isinstance(match, LastingMatch):
            assert len(match._attributes_aggregation.found) <= 3


def test_a_forked_child_begins_with_nothing(it: Recorded) -> None:
    """A series of the parent is found no more."""
    for _ in range(2):
        it.record(PLAIN, 5, a="x")
    inherited.forget(it.provider._measurement_consumer, it.reader)
    it.record(PLAIN, 1, a="x")
    assert it.shown("plain_total") == {'plain_total{a="x"': "1"}
