"""A clock that stands still until it is moved, for everything of the bridge that goes by time.

Stores (series that expire), exemplars, guards (rates of requests), files that are read again, kept answers,
the timers of recorders, and the times that the SDK and direct recording give to measurements and spans go by
it as long as it stands, whenever they were made. Sockets and deadlines go by the real time, because whoever
waits for them is real.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from otel_prom_bridge import clocks, points
from otel_prom_bridge.direct import cells, collection, observed
from otel_prom_bridge.genai import calls
from otel_prom_bridge.recording import operations

_TIMERS = (calls, operations)
# What looks at the time of day when something is measured: modules of ours, and packages of the SDK.
_MEASURING = (points, cells, collection, observed)
_SDK_MEASURING = ("opentelemetry.sdk.metrics", "opentelemetry.sdk.trace")
EPOCH = 1_700_000_000.0


class Clock:
    """A clock that stands still: ``clock()`` is its time in seconds, ``advance()`` and ``set()`` move it.

    >>> clock = Clock(10)
    >>> clock.advance(2.5)
    >>> clock()
    12.5

    ``epoch`` is what the time of day is at the clock's zero, in seconds since 1970.
    """

    def __init__(self, now: float = 1000.0, *, epoch: float = EPOCH) -> None:
        self.now = now
        self.epoch = epoch

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if not seconds >= 0:
            raise ValueError(f"time passes forwards, not by {seconds} seconds; set() can set it back")
        self.now += seconds

    def set(self, now: float) -> None:
        """Set the clock, forwards or back."""
        self.now = now

    def time_ns(self) -> int:
        """The time of day, as ``time.time_ns`` has it."""
        return round((self.epoch + self.now) * 1e9)

    @contextmanager
    def standing(self) -> Iterator[Clock]:
        """In this block time passes only when this clock is moved. It is for the whole process."""
        with ExitStack() as stack:
            stack.enter_context(clocks.standing(self))
            for module in _TIMERS:
                stack.enter_context(patch.object(module, "perf_counter", self))
            sdk = [module for name, module in list(sys.modules.items()) if name.startswith(_SDK_MEASURING)]
            for module in (*_MEASURING, *(module for module in sdk if hasattr(module, "time_ns"))):
                stack.enter_context(patch.object(module, "time_ns", self.time_ns))
            yield self
