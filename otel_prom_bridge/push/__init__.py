"""A process among several: it pushes what it records to the hub that shows the sum of all.

The reader is imported when it is used: most processes are scraped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_prom_bridge.lazy import names_of

if TYPE_CHECKING:
    from otel_prom_bridge.push.reader import PushReader

__all__ = ["PushReader"]

if not TYPE_CHECKING:  # so that checkers refuse a name that is not there
    __getattr__ = names_of(__name__, {"otel_prom_bridge.push.reader": ("PushReader",)})
