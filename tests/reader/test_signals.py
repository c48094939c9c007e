"""What a signal handler may do: shut down whatever it interrupts, wherever that happens to be.

In processes of their own, where no coverage is measured: its lock is none that a handler may come upon.
"""

from __future__ import annotations

import os
import sys

import programs
import pytest

from otel_prom_bridge.once import Shutdown

# `again` runs over and over in the main thread, and in a handler every 0.2 ms of that thread's time.
INTERRUPTED = """
import signal, time
from otel_prom_bridge.pipeline.background import Background
from otel_prom_bridge.once import Shutdown

class Item:
    due = time.monotonic() + 3600

times = 0
def handle(*_):
    global times
    times += 1
    again()

{again}
signal.signal(signal.SIGVTALRM, handle)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002, 0.0002)
while times < 200:
    again()
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
print({left})
"""


def left_by(again: str, left: str) -> str:
    """What is left when that was interrupted again and again."""
    return printed(INTERRUPTED.format(again=again, left=left))


def printed(code: str) -> str:
    """What the process prints in the end; one that waits for itself would never end."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = programs.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_hooks_come_and_go_within_hooks() -> None:
    """A handler that adds a hook and takes it back does not wait for what it interrupted."""
    again = """
shutdown = Shutdown()
def again():
    shutdown.add(list)()
"""
    assert left_by(again, "shutdown._hooks") == "[]"


def test_readers_come_and_go_in_the_background() -> None:
    """The same for what is collected in the background."""
    again = """
background, kept = Background(), Item()
background.add(kept)
def again():
    other = Item()
    background.add(other)
    background.discard(other)
"""
    assert left_by(again, "list(background._everyone) == [kept]") == "True"


def test_a_hook_that_is_added_too_late_is_called() -> None:
    """Also if the shutdown begins, in a handler, just when the hook is added."""
    calls: list[str] = []
    shutdown = Shutdown()
    shutdown.add(lambda: calls.append("first"))
    shutdown.begin()
    shutdown.add(lambda: calls.append("late"))
    shutdown.begin()
    assert calls == ["first", "late"]


# A scrape, and another one within it at each line of ours that the main thread comes to.
SCRAPED = """
import sys, time
import otel_prom_bridge
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

{made}
counter = provider.get_meter("m").create_counter("c")
met, slow = set(), []

def interrupt(frame, event, argument):
    place = (frame.f_code.co_filename, frame.f_lineno)
    if "otel_prom_bridge" not in place[0]:
        return None
    if event == "line" and place not in met:
        met.add(place)
        began = time.monotonic()
        counter.add(1)
        reader.expose()
        if time.monotonic() - began > 2:
            slow.append(place)
    return interrupt

reader.expose()
for turn in range(3):
    counter.add(1)
    sys.settrace(interrupt)
    {traced}
    reader.expose()
    sys.settrace(None)
print(len(met) > 100, slow)
"""
MADE = {
    "direct": "reader = DirectReader(); provider = DirectMeterProvider(reader)",
    "sdk": "reader = PrometheusMetricReader(); provider = MeterProvider([reader])",
}


@pytest.mark.parametrize("door", MADE)
def test_a_handler_that_scrapes_waits_for_nothing(door: str) -> None:
    """It may come upon a scrape that has asked for a collection, has a lock, or is about to have one."""
    assert printed(SCRAPED.format(made=MADE[door], traced="")) == "True []"


def test_a_handler_that_scrapes_interrupts_a_recording() -> None:
    """There, too, it waits for nothing, though the cell of a new attribute set is made under a lock."""
    made = """
from otel_prom_bridge import ExportView
reader = DirectReader(views=[ExportView(instrument_name="h", buckets="exponential")])
provider = DirectMeterProvider(reader)
histogram = provider.get_meter("m").create_histogram("h")
"""
    traced = 'counter.add(1, {"k": turn}); histogram.record(1, {"k": str(turn)})'
    assert printed(SCRAPED.format(made=made, traced=traced)) == "True []"
