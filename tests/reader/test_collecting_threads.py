"""Collections of the SDK call callbacks in their own thread: which of them have the same one."""

from __future__ import annotations

import contextvars
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from servers import wait_for

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.reader import collection
from otel_prom_bridge.testing.probe import ALONE

NAME = "otel-prom-bridge-collection"
SDK_LOGGER = "opentelemetry.sdk.metrics._internal.instrument"


class Asked:
    """A reader with one callback, which keeps in which threads it was called."""

    def __init__(self, **options: Any) -> None:
        self.before = set(threading.enumerate())  # of other tests, whose readers nobody has shut down
        self.threads: list[threading.Thread] = []  # themselves, as their numbers are given again
        self.error: BaseException | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.reader = PrometheusMetricReader(**{**ALONE, **options})
        self.provider = MeterProvider([self.reader], resource=Resource({}), shutdown_on_exit=False)
        self.provider.get_meter("test").create_observable_gauge("asked", [self.observe])

    def observe(self, _: CallbackOptions) -> Iterable[Observation]:
        """The callback."""
        self.threads.append(threading.current_thread())
        self.goes_on.wait(10)
        if self.error is not None:
            raise self.error
        return [Observation(len(self.threads))]

    def scrape(self) -> str:
        """The line of the gauge."""
        found = [line for line in self.reader.expose().body.decode().splitlines() if line[:5] == "asked"]
        return found[0] if found else ""

    @property
    def different(self) -> int:
        """How many threads these were."""
        return len(set(map(id, self.threads)))

    @property
    def left(self) -> list[threading.Thread]:
        """Those that are there now."""
        return [each for each in threading.enumerate() if each.name == NAME and each not in self.before]


@pytest.fixture
def asked() -> Iterator[Asked]:
    """A callback, whose thread does not outlive the test."""
    made = Asked()
    yield made
    made.provider.shutdown()
    wait_for(lambda: not made.left, seconds=5, what="the end of all threads")


def test_the_thread_stays(asked: Asked) -> None:
    """It is the same for one scrape after the other, and there is one only."""
    assert [asked.scrape() for _ in range(5)] == [f"asked {number}" for number in range(1, 6)]
    assert asked.different == 1
    assert asked.left == asked.threads[:1]


@pytest.mark.parametrize("is_logged", [True, False])
def test_a_callback_that_raises_gets_a_new_thread(asked: Asked, is_logged: bool) -> None:
    """A connection that broke may be kept in the thread, which ends; also where the SDK does not say so."""
    logger = logging.getLogger(SDK_LOGGER)
    was_disabled, logger.disabled = logger.disabled, not is_logged
    try:
        asked.scrape()
        asked.error = OSError()
        asked.scrape()
        assert asked.different == 1
        asked.error = None
        asked.scrape()
        asked.scrape()
    finally:
        logger.disabled = was_disabled
    assert (asked.different, len(asked.threads)) == (2, 4)
    wait_for(lambda: asked.left == asked.threads[-1:], seconds=5, what="the end of the first thread")


def test_a_callback_that_takes_too_long_gets_a_new_thread() -> None:
    """Its thread ends when it has returned."""
    asked = Asked(scrape_timeout=1.0)
    asked.scrape()
    asked.goes_on.clear()
    assert asked.scrape() == "asked 1"
    asked.goes_on.set()
    wait_for(lambda: asked.scrape() > "asked 1", seconds=5, what="what it said in the end")
    asked.scrape()
    assert asked.threads[1] is asked.threads[0]
    assert asked.threads[-1] is not asked.threads[0]
    wait_for(lambda: asked.left == asked.threads[-1:], seconds=5, what="the end of the first thread")
    asked.provider.shutdown()


def test_it_stays_for_a_time(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What callbacks have in their thread gets no older than that, and outlives no scraper that has gone."""
    monkeypatch.setattr(collection, "CALLBACKS_SECONDS", 0.05)
    asked.scrape()
    time.sleep(0.06)
    asked.scrape()
    assert asked.different == 2
    wait_for(lambda: not asked.left, seconds=5, what="the end of both")


def test_each_collection_has_a_context_of_its_own() -> None:
    """What a callback sets in it is not there in the next one, as in a new thread."""
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []

    class Setting(Asked):
        def observe(self, options: CallbackOptions) -> Iterable[Observation]:
            seen.append(variable.get())
            variable.set(1)
            return super().observe(options)

    asked = Setting()
    variable.set(2)
    for _ in range(3):
        asked.scrape()
    asked.provider.shutdown()
    assert (seen, asked.different) == ([0, 0, 0], 1)


def test_without_a_shutdown() -> None:
    """Nothing keeps the reader in memory."""
    asked = Asked()
    asked.scrape()
    known = weakref.ref(asked.reader)
    del asked
    wait_for(lambda: gc.collect() >= 0 and known() is None, seconds=5, what="the end of the reader")


def observing(door: str, callback: Any) -> tuple[Any, Any]:
    """A reader, and its provider with a gauge that has this callback."""
    reader: Any = PrometheusMetricReader(**ALONE) if door == "sdk" else DirectReader(**ALONE)
    options: Any = {"resource": Resource({}), "shutdown_on_exit": False}
    provider = MeterProvider([reader], **options) if door == "sdk" else DirectMeterProvider(reader, **options)
    provider.get_meter("test").create_observable_gauge("g", [callback])
    return reader, provider


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("door", ["sdk", "direct"])
def test_the_child_of_a_callback_scrapes(door: str) -> None:
    """It is in the callback still, which is not called again and does not fork again."""
    calls: list[int] = []
    codes: list[int] = []

    def forking(_: CallbackOptions) -> Iterable[Observation]:
        calls.append(os.getpid())
        child = os.fork()
        if child == 0:
            begun, _ = time.monotonic(), reader.expose()
            os._exit(0 if len(calls) == 1 and time.monotonic() - begun < 3 else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return [Observation(1)]

    reader, provider = observing(door, forking)
    assert b"g 1\n" in reader.expose().body
    provider.shutdown()
    assert codes == [0]


# In a process of its own: what other tests left behind may start threads in each forked child.
FORKING = """
import os, sys
from test_collecting_threads import observing
from opentelemetry.metrics import Observation

children = []

def forking(_):
    if not children:
        children.append(os.fork())
    return [Observation(1)]

reader, provider = observing(sys.argv[1], forking)
for _ in range(2):
    assert b"g 1\\n" in reader.expose().body
print(children[0], flush=True)
os.waitpid(children[0], 0)
print("ended", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("door", ["sdk", "direct"])
def test_the_child_of_a_callback_that_forks_ends(door: str) -> None:
    """The thread of the callback is the only one that it has, and waits for no scrape."""
    paths = os.pathsep.join(sys.path)
    program = subprocess.Popen(
        [sys.executable, "-c", FORKING, door],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{os.path.dirname(__file__)}{os.pathsep}{paths}"},
    )
    assert program.stdout is not None
    with program:
        child = int(program.stdout.readline())
        try:
            wait_for(lambda: program.poll() is not None, seconds=10, what="the end of the child")
        finally:
            if program.poll() is None:
                os.kill(child, signal.SIGKILL)
        assert program.stdout.read() == "ended\n"
