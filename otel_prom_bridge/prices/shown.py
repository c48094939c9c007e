"""The prices of whoever shows what a meter provider records: those of a bridge.

Recorders use them, unless they have a table of their own. So one table says what calls cost, whoever counts
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

from otel_prom_bridge.prices.table import PriceTable


class Prices(Protocol):
    """Something that has a table, which may be another one later."""

    @property
    def table(self) -> PriceTable | None:
        """The table of now; None is for no costs at all."""
        ...


_shown: WeakKeyDictionary[object, Prices] = WeakKeyDictionary()
_latest: object = None  # another one whenever somebody begins to show something


def show(provider: object, prices: Prices) -> None:
    """From now on these prices are those of whoever shows what this provider records."""
    global _latest
    _shown[provider] = prices
    _latest = object()


class Shown:
    """The table of whoever shows what a provider records; if that is nobody we know, the default one.

    ``provider`` gives the provider, which may be another one later. Each request asks for the table, so what
    was found is kept for as long as it can be right.
    """

    def __init__(self, provider: Callable[[], object]) -> None:
        self._provider = provider
        self._found: tuple[object, object, Prices | None] | None = None

    @property
    def table(self) -> PriceTable | None:
        """The table of now."""
        prices = self._prices()
        return PriceTable.default() if prices is None else prices.table

    @property
    def are_costs(self) -> bool:
        """Whether there is somebody who shows costs of tokens."""
        prices = self._prices()
        return prices is not None and prices.table is not None

    def _prices(self) -> Prices | None:
        provider, latest, found = self._provider(), _latest, self._found
        if found is None or found[0] is not provider or found[1] is not latest:
            found = self._found = (provider, latest, _prices_of(provider))
        return found[2]


def _prices_of(provider: object) -> Prices | None:
    try:
        return _shown.get(provider)
    except TypeError:  # a provider without a hash or weak references, which nobody can have shown
        return None
