"""The time of everything that goes by it and for which nobody waits: expiry, rates of requests, kept answers.

Who waits goes by the interpreter's own clock. Tests can make this one stand still (``testing/clock.py``), for
what was made before, too. It does not go back by that: when it goes on, it does so from where it stood.

Also the time at which this process began, which no clock says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_shift = 0.0
_standing: Callable[[], float] | None = None


def monotonic() -> float:
    """Seconds since some time or other."""
    standing = _standing
    return time.monotonic() + _shift if standing is None else standing()


@contextmanager
def standing(clock: Callable[[], float]) -> Iterator[None]:
    """In this block time passes as it does for ``clock``."""
    global _shift, _standing
    before, here, began = _standing, monotonic(), clock()
    _standing = lambda: here + clock() - began  # noqa: E731
    try:
        yield
    finally:
        stood = monotonic()
        _standing = before
        _shift += max(0.0, stood - monotonic())


def process_start() -> float | None:
    """When this process began, in seconds since 1970. None where the system does not say."""
    try:
        # proc(5): "starttime" is the 22nd field, in ticks since boot. The 2nd field may contain blanks.
        ticks = int((_PROC / "self" / "stat").read_bytes().rpartition(b")")[2].split()[19])
        lines = (_PROC / "stat").read_bytes().splitlines()
        booted = next(int(line.split()[1]) for line in lines if line.startswith(b"btime "))
        return booted + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration, AttributeError):
        return None
