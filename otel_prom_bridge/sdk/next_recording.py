"""Hearing of the next recording, at no cost for those after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import Asynchronous


def at_next_recording(consumer: object, reader: object, call: Callable[[], object]) -> bool:
    """Call ``call`` once, in the thread that next records something for the reader, before it is recorded.

    What a callback observes is not a recording. ``consumer`` is what the SDK hands measurements to. False if
    it is not made as we know it; then nothing will be called.
    """
    storage: Any = getattr(consumer, "_reader_storages", {}).get(reader)
    consume: Any = getattr(type(storage), "consume_measurement", None)
    if consume is None or not hasattr(storage, "__dict__"):
        return False

    def consume_first(measurement: Any, *others: Any) -> None:
        # Of several threads one takes this function away, and that one calls.
        if not isinstance(measurement.instrument, Asynchronous):
            taken = storage.__dict__.pop("consume_measurement", None)
            if taken is not None:
                call()
        consume(storage, measurement, *others)

    storage.consume_measurement = consume_first
    return True
