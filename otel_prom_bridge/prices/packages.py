"""Prices from a package that is kept up to date: genai-prices.

Its prices depend on more than the model: on the provider, the day, and how long the prompt is. A view knows
provider and day. How long a prompt is, recorders and spans know.

https://github.com/pydantic/genai-prices
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.prices.price import Price
from otel_prom_bridge.prices.table import PriceTable

# What the package calls the providers of the semantic conventions.
_PROVIDERS = {
    "aws.bedrock": "aws",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
}
_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}


@dataclass(frozen=True)
class _PackageTable(PriceTable):
    """A table that asks a function; each answer is remembered."""

    ask: Callable[[str, str | None], Price | None] = field(default=lambda *_: None, repr=False, compare=False)

    def price(self, model: str | None, provider: str | None = None) -> Price | None:
        """The price of a model of this provider or, if that has none of this name, of any."""
        if not isinstance(model, str):
            return None
        known = _PROVIDERS.get(provider, provider) if isinstance(provider, str) else None
        return (self.ask(model, known) if known else None) or self.ask(model, None)


def genai_prices() -> PriceTable:
    """The table of the package ``genai-prices``, as its data are today."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:
        expected = "a table, as the package genai-prices is not installed"
        raise ConfigurationError("prices", "genai-prices", expected) from error
    snapshot, now = get_snapshot(), datetime.datetime.now(datetime.UTC)

    @lru_cache(maxsize=4096)
    def ask(model: str, provider: str | None) -> Price | None:
        try:
            _, info = snapshot.find_provider_model(model, None, provider, None)
            return _price(info.get_prices(now))
        except LookupError:
            return None

    return _PackageTable(
        f"genai-prices {version('genai-prices')}", {}, date=_date(snapshot, now.date()).isoformat(), ask=ask
    )


def _date(snapshot: Any, today: datetime.date) -> datetime.date:
    """The last day on which a price changed. The data are of that day or later; they have no date."""
    if snapshot.from_auto_update:
        found: datetime.date = snapshot.timestamp.date()
        return found
    prices = (model.prices for provider in snapshot.providers for model in provider.models)
    changes = (change for each in prices if isinstance(each, list) for change in each)
    days = (getattr(change.constraint, "start_date", None) for change in changes)
    return max((day for day in days if day is not None and day <= today), default=today)


def _price(found: Any) -> Price | None:
    values = {kind: getattr(found, name, None) for kind, name in _FIELDS.items()}
    tiers = {tier.start for value in values.values() for tier in getattr(value, "tiers", ())}
    lowest = _at(values, 0)
    if lowest is None:
        return None  # of images, audio or searches
    above = [(start, price) for start in sorted(tiers) if (price := _at(values, start + 1)) is not None]
    return replace(lowest, above=above)


def _at(values: Mapping[str, Any], tokens: int) -> Price | None:
    """The price of a call with so many tokens of input. All of it costs what the last tier says."""
    found: dict[str, Any] = {}
    for kind, value in values.items():
        price = getattr(value, "base", value)
        for tier in sorted(getattr(value, "tiers", ()), key=lambda tier: tier.start):
            if tokens > tier.start:
                price = tier.price
        if price is not None:
            found[kind] = float(price)
    return Price(**found) if "input" in found else None
