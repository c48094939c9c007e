"""Durations as applications have them, seconds or a timedelta, and as histograms have them."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = float | timedelta
# How many of a unit make a second.
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def seconds(duration: Duration) -> float:
    """How many seconds it is.

    >>> seconds(1.5), seconds(timedelta(milliseconds=250))
    (1.5, 0.25)
    """
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def unit_of(instrument: object) -> str:
    """The unit of an instrument, as far as it is one of durations and known; else it is seconds.

    The API has no way to ask. The SDK's instruments have a ``unit``, those that were made before there was an
    SDK a ``_unit``; one of a profile has it in its ``spec``.
    """
    given = getattr(instrument, "spec", instrument)
    unit = getattr(given, "unit", None) or getattr(given, "_unit", None)
    return unit if isinstance(unit, str) and unit in PER_SECOND else "s"
