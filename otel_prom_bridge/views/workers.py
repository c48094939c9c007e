"""What is shown of gauges that several workers have, and of what workers left behind."""

from __future__ import annotations

from typing import Literal, TypeAlias

from otel_prom_bridge.values.checks import one_of

Workers: TypeAlias = Literal["each", "sum", "max", "min", "newest"]
Ended: TypeAlias = Literal["drop", "keep"]

WORKERS = one_of("each", "sum", "max", "min", "newest")
ENDED = one_of("drop", "keep")
