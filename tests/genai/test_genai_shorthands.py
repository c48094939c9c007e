"""Timers, batches, and instruments by name."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from genai_points import Recorded
from opentelemetry.metrics import Counter
from opentelemetry.sdk.trace import TracerProvider

from otel_prom_bridge.genai import Batch, LLMRecorder, Metrics, timer, vocabulary
from otel_prom_bridge.profiles import load_profile


def test_a_timer(recorded: Recorded) -> None:
    """A timer records in any histogram when its block is left, also by an exception, and that passes."""
    histogram = recorded.provider.get_meter("m").create_histogram("work", unit="s")
    with timer(histogram, {"kind": "test"}):
        pass
    with pytest.raises(ValueError, match=r"^$"), timer(histogram, {"kind": "test"}):
        raise ValueError
    point = recorded.point("work", kind="test")
    assert point.count == 2
    assert 0 < point.sum < 10


def test_a_timer_as_a_decorator_and_by_hand(recorded: Recorded) -> None:
    """It decorates functions, sync and async, and is started and ended by hand, once."""
    histogram = recorded.provider.get_meter("m").create_histogram("work", unit="s")
    timed = timer(histogram)

    @timed
    def work() -> int:
        return 1

    @timed
    async def later() -> int:
        return 2

    assert (work(), work(), asyncio.run(later())) == (1, 1, 2)
    timed.start()
    timed.end()
    timed.end()
    assert recorded.count("work") == 4


def test_a_dropped_timer(recorded: Recorded) -> None:
    """A timer that nobody ends has recorded once it is gone."""
    histogram = recorded.provider.get_meter("m").create_histogram("work", unit="s")
    LLMRecorder(recorded.provider)  # what is dropped is recorded when any recorder is collected
    timer(histogram).start()
    gc.collect()
    assert recorded.count("work") == 1


def test_a_batch(recorded: Recorded) -> None:
    """A batch records its measurements in one go, at the end of its block, whatever kind they are of."""
    meter = recorded.provider.get_meter("m")
    counter, gauge = meter.create_counter("jobs"), meter.create_gauge("depth")
    with Batch() as batch:
        batch.add(counter, 2, {"kind": "a"}).add(counter, 3, {"kind": "a"})
        batch.add(gauge, 7).add(meter.create_histogram("sizes"), 1.5)
        batch.add(meter.create_up_down_counter("open"), -1)
        assert recorded.metrics() == {}
    assert (recorded.total("jobs"), recorded.total("depth"), recorded.total("open")) == (5, 7, -1)
    assert recorded.point("sizes").sum == 1.5
    batch.record()
    assert recorded.total("jobs") == 5


def test_a_batch_of_a_profile(recorded: Recorded) -> None:
    """The instruments of a profile, of every type, are recorded as they are."""
    profile = load_profile("llmdevops")
    instruments = profile.instruments(recorded.provider.get_meter("m"))
    batch = Batch()
    for instrument in instruments.values():
        batch.add(instrument, 2)
    batch.record()
    kinds = {instrument.spec.type for instrument in instruments.values()}
    assert kinds >= {"gauge", "histogram", "up_down_counter"}
    assert set(recorded.metrics()) == set(instruments)


def test_a_batch_whose_block_raises(recorded: Recorded) -> None:
    """What was measured before an exception is recorded."""
    counter = recorded.provider.get_meter("m").create_counter("jobs")

    def block() -> None:
        with Batch() as batch:
            batch.add(counter, 1)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        block()
    assert recorded.total("jobs") == 1


def test_exemplars_of_a_batch(recorded: Recorded) -> None:
    """A measurement's exemplar has the span in which it was collected."""
    counter = recorded.provider.get_meter("m").create_counter("jobs")
    batch = Batch()
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s") as span:
        batch.add(counter, 1)
    batch.record()
    (exemplar,) = recorded.points("jobs")[0].exemplars
    assert exemplar.span_id == span.get_span_context().span_id


def test_instruments_by_name(recorded: Recorded) -> None:
    """Counters, gauges and histograms are made when they are first used; durations have buckets for them."""
    named = Metrics(recorded.provider.get_meter("m"))
    for _ in range(2):
        named.increment_counter("events", attributes={"status": "success"})
        named.set_gauge("queue_size", 4, unit="{item}")
        named.observe_histogram("sizes", 8, unit="By")
        named.observe_duration("work", 0.5)
    assert {name: metric.unit for name, metric in recorded.metrics().items()} == {
        "events": "",
        "queue_size": "{item}",
        "sizes": "By",
        "work": "s",
    }
    assert (recorded.total("events"), recorded.total("queue_size")) == (2, 4)
    assert recorded.points("work")[0].explicit_bounds == vocabulary.SECONDS


def test_a_batch_by_name(recorded: Recorded) -> None:
    """The batch of the seed document: three measurements of three kinds, in a chain."""
    (
        Metrics(recorded.provider.get_meter("m"))
        .batch()
        .increment_counter("operations", attributes={"type": "batch"})
        .observe_histogram("operation_duration", 1.5)
        .set_gauge("queue_size", 10)
        .record()
    )
    assert (recorded.total("operations"), recorded.total("queue_size")) == (1, 10)
    assert recorded.point("operation_duration").sum == 1.5


def test_nonsense_never_raises(recorded: Recorded) -> None:
    """Names that no instrument can have, and things that are none, are logged."""
    nonsense: Any = object()
    named = Metrics(recorded.provider.get_meter("m"))
    named.increment_counter("no name: this")
    named.set_gauge("depth", nonsense, nonsense)
    Batch().add(nonsense, 1).record()
    with timer(nonsense):
        pass
    assert recorded.metrics() == {}


def test_what_comes_in_between_the_making_of_an_instrument(recorded: Recorded) -> None:
    """A signal handler, or a finalizer, that records by name waits for nothing that its own thread holds."""
    meter = recorded.provider.get_meter("m")
    create = meter.create_counter

    def interrupted(*args: Any, **kwargs: Any) -> Counter:
        if kwargs.get("name", args[:1]) in ("first", ("first",)):
            metrics.increment_counter("second")
        return create(*args, **kwargs)

    meter.create_counter = interrupted  # type: ignore[method-assign]
    metrics = Metrics(meter)
    recording = threading.Thread(target=lambda: metrics.increment_counter("first"), daemon=True)
    recording.start()
    recording.join(10)
    assert (recorded.total("first"), recorded.total("second")) == (1, 1)
