"""The prices of whoever shows what a meter provider records: those of a bridge.

Recorders use them, unless they have a table of their own. So one table says what calls cost, whoever counts
them.
"""

from __future__ import annotations

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


def show(provider: object, prices: Prices) -> None:
    """From now on these prices are those of whoever shows what this provider records."""
    _shown[provider] = prices


def shown(provider: object) -> PriceTable | None:
    """The table of whoever shows what this provider records; if that is nobody we know, the default one."""
    prices = _shown.get(provider)
    return PriceTable.default() if prices is None else prices.table
