"""What may come in between while a cell adds, or while a scrape takes what it has: nothing."""

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.direct.cells import HAS_GLOBAL_LOCK, ExponentialCell, GaugeCell, HistogramCell, SumCell
from otel_prom_bridge.testing.probe import ALONE
from otel_prom_bridge.views.view import ExportView

# Where CPython lets other threads and signal handlers in: it calls something, or goes back in a loop.
_LETS_IN = ("CALL", "JUMP_BACKWARD", "SEND", "RESUME", "FOR_ITER", "YIELD")
without_locks = pytest.mark.skipif(not HAS_GLOBAL_LOCK, reason="cells have locks here")


def between(method: Callable[..., Any], name: str) -> Iterator[list[str]]:
    """The instructions between each reading of an attribute of ``self`` and what is stored after it."""
    code = [step for step in dis.get_instructions(method) if step.opname not in ("CACHE", "EXTENDED_ARG")]
    reads = [i for i, step in enumerate(code) if step.opname == "LOAD_ATTR" and step.argval == name]
    for start in reads:
        for end in range(start, len(code)):
            if code[end].opname in ("STORE_ATTR", "STORE_SUBSCR"):
                yield [step.opname for step in code[start:end]]
                break


@without_locks
@pytest.mark.parametrize(
    ("method", "name"),
    [
        (SumCell.add, "value"),
        (SumCell.take, "value"),
        (HistogramCell.add, "counts"),
        (HistogramCell.add, "sampled"),
        (HistogramCell.take, "counts"),
        (HistogramCell.take, "sampled"),
    ],
)
def test_nobody_comes_in_between(method: Callable[..., Any], name: str) -> None:
    """Between reading something and storing what follows from it."""
    shortest = min(between(method, name), key=len)  # others read it for something else
    assert shortest
    assert [step for step in shortest if step.startswith(_LETS_IN)] == []


@without_locks
def test_the_mark_is_taken_away_first() -> None:
    """Before what it stands for, so that what is added afterwards is marked anew."""
    for kind in (SumCell, GaugeCell, HistogramCell):
        names = [step.argval for step in dis.get_instructions(kind.take) if "ATTR" in step.opname]
        assert names.index("changed") < names.index("sum" if kind is HistogramCell else "value")


def test_threads_that_change_all_the_time_lose_nothing() -> None:
    """The interpreter changes threads wherever it can, while they add to the same cells."""
    reader = DirectReader(**ALONE)
    meter = DirectMeterProvider(reader, shutdown_on_exit=False).get_meter("t")
    counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
    going, turns = threading.Event(), 4000

    def record() -> None:
        for turn in range(turns):
            counter.add(1, {"k": "v"})
            counter.add(0.5)
            histogram.record(turn % 7, {"k": "v"})

    def scrape() -> None:
        while not going.is_set():
            reader.force_flush()

    threads, scraper = [threading.Thread(target=record) for _ in range(6)], threading.Thread(target=scrape)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in (*threads, scraper):
            thread.start()
        for thread in threads:
            thread.join()
        going.set()
        scraper.join()
    finally:
        sys.setswitchinterval(before)
    lines = reader.expose().body.decode().splitlines()
    shown = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(shown['c_total{k="v"}']) == 6 * turns
    assert float(shown["c_total"]) == 3 * turns
    assert float(shown['h_count{k="v"}']) == 6 * turns
    reader.shutdown()


def test_what_a_handler_records_before_it_raises_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the recording of an exponential histogram that it interrupts, and that ends there."""
    reader = DirectReader(views=[ExportView(instrument_name="e", buckets="exponential")], **ALONE)
    histogram = DirectMeterProvider(reader, shutdown_on_exit=False).get_meter("t").create_histogram("e")
    add = ExponentialCell.add

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(ExponentialCell, "add", add)
        histogram.record(1, {"k": "handler"})
        raise TimeoutError

    monkeypatch.setattr(ExponentialCell, "add", interrupted)
    with pytest.raises(TimeoutError):
        histogram.record(1, {"k": "interrupted"})
    assert 'e_count{k="handler"} 1' in reader.expose().body.decode().splitlines()
    reader.shutdown()
