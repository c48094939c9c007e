"""What tokens cost: prices of models, and the tables that they are in. Both recorders and views ask them."""

from otel_prom_bridge.prices.price import KINDS, Price
from otel_prom_bridge.prices.shown import Shown, show
from otel_prom_bridge.prices.table import PriceTable

__all__ = ["KINDS", "Price", "PriceTable", "Shown", "show"]
