"""The counters of costs: what requests cost by a table of prices, and those whose cost is not known."""

from __future__ import annotations

import threading
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider, Observation

from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.emission import Usage
from otel_prom_bridge.genai.requests import Labels, LLMRequest
from otel_prom_bridge.prices import Price, PriceTable, Shown
from otel_prom_bridge.recording.measurements import Measurements, clean

# The tokens that these operations report are those of the calls inside of them, which are counted already.
_CONTAINERS = vocabulary.AGENT | vocabulary.TOOL | vocabulary.WORKFLOW
_PRICED = vocabulary.INFERENCE | vocabulary.EMBEDDINGS
_MOST_PRICES = 2000

_Found: TypeAlias = dict[tuple[str | None, str | None, str | None], Price | None]
"""The prices that a table has, by the model that was asked, the one that answered, and the provider."""
_Tables: TypeAlias = dict[tuple[str, str], int]
"""Versions and currencies of the tables of a provider, and whether somebody still uses them: 1 or 0."""

_of_global: _Tables = {}
_of_others: WeakKeyDictionary[MeterProvider, _Tables] = WeakKeyDictionary()
_in_use: WeakSet[Costs] = WeakSet()
_lock = threading.RLock()  # reentrant, because a signal handler may make a recorder, too


class Costs:
    """Counts what requests cost, and those whose cost is not known.

    By default that is by the table of whoever shows what is recorded.
    """

    def __init__(
        self, measurements: Measurements, prices: PriceTable | Literal["default"] | None = "default"
    ) -> None:
        self._measurements = measurements
        self._record = measurements.record
        self._shown = Shown(lambda: measurements.provider)
        self._follows = prices == "default"  # the table is theirs
        if prices == "default":
            prices = self._shown.table
        # The table, and which prices were found in it: read and replaced together, whatever threads do.
        self._current: tuple[PriceTable | None, _Found] = (None, {})
        self._tables = _tables_of(measurements)
        # Observed, since what is said before there is an SDK is lost, and saying it each time is dear.
        measurements.observe(conventions.PRICE_TABLE_INFO, lambda: _observed(measurements))
        with _lock:
            _in_use.add(self)
        self._use(prices)

    @property
    def table(self) -> PriceTable | None:
        """The table of now; None is for no costs here."""
        if self._follows:
            table = self._shown.table
            if table is not self._current[0]:
                self._use(table)
        return self._current[0]

    def replace(self, table: PriceTable | None) -> None:
        """Use another table from now on. What was counted so far stays, so the counter never goes down."""
        self._follows = False
        self._use(table)

    @property
    def are_shown(self) -> bool:
        """Whether somebody shows what tokens cost that others have counted."""
        return self._shown.are_costs

    def _use(self, table: PriceTable | None) -> None:
        before, self._current = self._current[0], (table, {})
        with _lock:
            others = list(_in_use)
        if before is not None and not any(other._uses(before, self._measurements) for other in others):
            self._tables[before.version, before.currency] = 0
        if table is not None:
            self._tables[table.version, table.currency] = 1

    def _uses(self, table: PriceTable, measurements: Measurements) -> bool:
        """Whether this recorder uses that version of a table, and records for the same provider."""
        own = self._current[0]
        same = own is not None and own.version == table.version
        return same and self._measurements.provider is measurements.provider

    def leaves(self, request: LLMRequest, usage: Usage) -> bool:
        """Whether the cost of a request is left to whoever shows its tokens, as there is no table here."""
        return usage.cost is None and request.operation not in _CONTAINERS and self.table is None

    def add(self, labels: Labels, usage: Usage, error: str | None, context: Context | None) -> None:
        """Count a request that has ended."""
        request = labels.request
        if usage.cost is not None:
            self._record(conventions.COST, usage.cost, labels.common, context)
            return
        table, found = self._current  # that of now: whoever calls this has asked whether there is one
        if table is None or not _charged(request.operation, usage, error):
            return
        price = _price(request, table, found)
        if price is not None and usage.reported:
            cost = sum(map(price.cost, usage.attempts or (usage,)))
            self._record(conventions.COST, cost, labels.common, context)
        if price is None or not usage.reported or usage.unreadable:
            self.add_unpriced(request, context)

    def add_unpriced(self, request: LLMRequest, context: Context | None) -> None:
        """Count a request whose cost is not known, or not all of it."""
        unpriced = clean({vocabulary.REQUEST_MODEL: request.model})
        self._record(conventions.UNPRICED_REQUESTS, 1, unpriced, context)

    def add_surcharge(self, labels: Labels, usage: Usage, context: Context | None) -> None:
        """Count what a long call costs more than whoever shows its tokens can know from their sum."""
        table, found = self._current
        price = None if table is None else _price(labels.request, table, found)
        if price is not None and price.at(usage.input) is not price:  # most calls are short
            more = sum(price.cost(each) - price.lowest(each) for each in usage.attempts or (usage,))
            if more > 0:
                self._record(conventions.REPRICED_COST, more, labels.common, context)


def _price(request: LLMRequest, table: PriceTable, found: _Found) -> Price | None:
    """The price of the model that was asked or, if it has none, of the one that answered."""
    key = (request.model, request.response_model, request.provider)
    try:
        if key in found:
            return found[key]
    except TypeError:  # what an application gives as a model may have no hash
        return None
    price = table.price(request.model, request.provider)
    if price is None:
        price = table.price(request.response_model, request.provider)
    if len(found) < _MOST_PRICES:
        found[key] = price
    return price


def _charged(operation: str, usage: Usage, error: str | None) -> bool:
    """Whether an operation costs something, whether or not the price is known."""
    if operation in _CONTAINERS:
        return False
    if usage.reported or usage.unreadable:
        return True
    # A request that failed without reporting tokens is not charged. Memory operations and the like have none.
    return error is None and operation in _PRICED


def _tables_of(measurements: Measurements) -> _Tables:
    provider = measurements.own_provider
    return _of_global if provider is None else _of_others.setdefault(provider, {})


def _observed(measurements: Measurements) -> list[Observation]:
    """The tables of all recorders of this provider: the SDK calls only the callback that came first."""
    found = dict(_tables_of(measurements))
    current = metrics.get_meter_provider()
    # One provider may be named by one recorder, and be the global one for another.
    if measurements.provider is current:
        for tables in (_of_global, _of_others.get(current, {})):
            found |= {key: max(value, found.get(key, 0)) for key, value in tables.items()}
    return [
        Observation(value, {vocabulary.PRICE_TABLE_VERSION: version, vocabulary.CURRENCY: currency})
        for (version, currency), value in found.items()
    ]
