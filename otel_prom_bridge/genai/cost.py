"""The counters of costs: what requests cost by a table of prices, and those whose cost is not known."""

from __future__ import annotations

import threading
from weakref import WeakSet

from opentelemetry.context import Context

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.emission import LLMRequest, Usage
from otel_prom_bridge.prices import PriceTable
from otel_prom_bridge.recording.measurements import Measurements, clean

# The tokens that these operations report are those of the calls inside of them, which are counted already.
_CONTAINERS = vocabulary.AGENT | vocabulary.TOOL | vocabulary.WORKFLOW
_in_use: WeakSet[Costs] = WeakSet()
_lock = threading.RLock()  # reentrant, because a signal handler may make a recorder, too


class Costs:
    """Counts what requests cost, and those whose cost is not known."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._record = measurements.record
        self.table: PriceTable | None = None
        with _lock:
            _in_use.add(self)

    def replace(self, table: PriceTable | None) -> None:
        """Use another table from now on. What was counted so far stays, so the counter never goes down."""
        before, self.table = self.table, table
        with _lock:
            others = list(_in_use)
        if before is not None and not any(other._uses(before, self._measurements) for other in others):
            self._inform(before, 0)
        self._inform(table, 1)

    def _uses(self, table: PriceTable, measurements: Measurements) -> bool:
        """Whether this recorder uses that version of a table, and records for the same provider."""
        same = self.table is not None and self.table.version == table.version
        return same and self._measurements.provider is measurements.provider

    def _inform(self, table: PriceTable | None, value: int) -> None:
        if table is not None:
            attributes = {
                vocabulary.PRICE_TABLE_VERSION: table.version,
                vocabulary.CURRENCY: table.currency,
            }
            self._record(conventions.PRICE_TABLE_INFO, value, attributes)

    def add(self, request: LLMRequest, usage: Usage, error: str | None, context: Context | None) -> None:
        """Count a request that has ended."""
        if usage.cost is not None:
            self._record(conventions.COST, usage.cost, request.common(), context)
            return
        table = self.table
        if table is None or not _charged(request.operation, usage, error):
            return
        # This is said with each request, because what is said before there is an SDK is lost.
        self._inform(table, 1)
        price = table.price(request.model, request.provider)
        if price is None:
            price = table.price(request.response_model, request.provider)
        if price is None or not usage.reported:
            attributes = clean({vocabulary.REQUEST_MODEL: request.model})
            self._record(conventions.UNPRICED_REQUESTS, 1, attributes, context)
        else:
            self._record(conventions.COST, price.cost(usage), request.common(), context)


def _charged(operation: str, usage: Usage, error: str | None) -> bool:
    """Whether an operation costs something, whether or not the price is known."""
    if operation in _CONTAINERS:
        return False
    if usage.reported:
        return True
    # A request that failed without reporting tokens is not charged. Memory operations and the like have none.
    return error is None and operation in vocabulary.INFERENCE | vocabulary.EMBEDDINGS
