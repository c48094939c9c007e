"""The time of everything that goes by it and for which nobody waits: expiry, rates of requests, kept answers.

Who waits goes by the interpreter's own clock. Tests can make this one stand still (``testing/clock.py``), for
what was made before, too. It does not go back by that: when it goes on, it does so from where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
