"""Measurements whose attributes are completed before a reader of ours gets them, and no other reader does."""

from __future__ import annotations

import copy
from typing import Any

from opentelemetry.metrics import Asynchronous

from otel_prom_bridge.attribution import FromContext


def complete_measurements(consumer: object, reader: object, labels: FromContext) -> bool:
    """Have what is recorded for the reader completed by what its context says.

    What a callback observes has no context. ``consumer`` is what the SDK hands measurements to. False if it
    is not made as we know it; then nothing is completed.
    """
    storage: Any = getattr(consumer, "_reader_storages", {}).get(reader)
    kind: Any = type(storage)
    consume: Any = getattr(kind, "consume_measurement", None)
    if consume is None or not hasattr(storage, "__dict__"):
        return False
    selects, complete = labels.selects, labels.complete

    def consume_measurement(self: Any, measurement: Any, *others: Any) -> None:
        instrument = measurement.instrument
        if selects(instrument.name) and not isinstance(instrument, Asynchronous):
            attributes = complete(measurement.attributes, measurement.context)
            if attributes is not measurement.attributes:
                measurement = copy.copy(measurement)  # other readers get it, too
                object.__setattr__(measurement, "attributes", attributes)  # it is frozen
        consume(self, measurement, *others)

    # A class and no attribute of the storage, as that is where the next recording is noticed.
    completing = {"consume_measurement": consume_measurement}
    storage.__class__ = type(f"Completing{kind.__name__}", (kind,), completing)
    return True
