"""What a forked child has of its parent: a copy of everything that was recorded and not collected yet.

The parent will hand that over. If the child did so, too, it would be counted twice. A level that the parent
set, such as an up-down counter of 3, is the parent's as well. So a child begins with empty tables. What
callbacks say is left alone: it is about the process in which they run.
"""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.metrics import Asynchronous


def forget(consumer: object, reader: object) -> None:
    """In a forked child: begin with nothing, in all that this reader reads. ``Locks`` is renewed by now.

    The names are private to the SDK, and are among those of ``locks.PRIVATE``.
    """
    storage = getattr(consumer, "_reader_storages", {}).get(reader)
    tables: dict[Any, list[Any]] = getattr(storage, "_instrument_view_instrument_matches", {})
    for instrument, matches in list(tables.items()):
        if isinstance(instrument, Asynchronous):
            continue
        for match in matches:
            # In its place, since a collection may read it from another object.
            getattr(match, "_attributes_aggregation", {}).clear()
            if hasattr(match, "_previous_collection_start_nanos"):
                match._previous_collection_start_nanos = time.time_ns()


def has_callbacks(consumer: object) -> bool:
    """Whether anything is observed, and not only recorded."""
    return bool(getattr(consumer, "_async_instruments", True))
