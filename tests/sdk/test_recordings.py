"""Hearing of the next recording."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider

from otel_prom_bridge import PrometheusMetricReader


@pytest.fixture
def reader() -> PrometheusMetricReader:
    """A reader that nobody else knows."""
    return PrometheusMetricReader(registry=None, self_metrics=False)


def test_it_hears_of_the_next_one_only(reader: PrometheusMetricReader) -> None:
    """It is called once, before the value is recorded, and no value is lost."""
    heard: list[str] = []
    counter = MeterProvider([reader]).get_meter("app").create_counter("jobs")
    counter.add(1)
    assert reader.at_next_recording(lambda: heard.append(reader.expose().body.decode()))
    assert heard == []
    counter.add(2)
    counter.add(4)
    assert len(heard) == 1
    assert "} 1\n" in heard[0]
    assert "} 7\n" in reader.expose().body.decode()


def test_what_callbacks_observe_is_no_recording(reader: PrometheusMetricReader) -> None:
    """A collection is not what is waited for, and takes nothing away."""
    heard: list[int] = []
    meter = MeterProvider([reader]).get_meter("app")
    meter.create_observable_gauge("level", [lambda _: [Observation(7)]])
    assert reader.at_next_recording(lambda: heard.append(1))
    assert "level" in reader.expose().body.decode()
    assert heard == []
    meter.create_histogram("time").record(1)
    assert heard == [1]


def test_of_many_threads_one_is_heard(reader: PrometheusMetricReader) -> None:
    """Threads that record at the same time are heard once, and all of them are counted."""
    heard: list[int] = []
    counter = MeterProvider([reader]).get_meter("app").create_counter("jobs")
    assert reader.at_next_recording(lambda: heard.append(1))
    barrier = threading.Barrier(8)

    def record() -> None:
        barrier.wait()
        for _ in range(100):
            counter.add(1)

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [1]
    assert "} 800\n" in reader.expose().body.decode()


def test_where_it_cannot_hear(reader: PrometheusMetricReader) -> None:
    """Without a provider, or with an SDK that is made otherwise, it says so, and recording goes on."""
    assert not reader.at_next_recording(lambda: None)
    provider: Any = MeterProvider([reader])
    storages, provider._measurement_consumer._reader_storages = (
        provider._measurement_consumer._reader_storages,
        {},
    )
    assert not reader.at_next_recording(lambda: None)
    provider._measurement_consumer._reader_storages = storages
    provider.get_meter("app").create_counter("jobs").add(3)
    assert "} 3\n" in reader.expose().body.decode()
