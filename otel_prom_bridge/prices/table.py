"""Tables of prices: the one that comes with the package, and those that users bring."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.model_names import spellings
from otel_prom_bridge.prices.price import KINDS, Price
from otel_prom_bridge.values.checks import TEXT, Check, check_fields
from otel_prom_bridge.values.notation import nearest, unknown

# OpenRouter's ending of models that cost nothing there, or another price than the table's.
_FREE = ":free"
_ABOVE = "above"
_QUOTES = 'quotes around a name with a full stop, as in "gpt-4.1"'


def _prices(value: object) -> Mapping[str, Price]:
    if not isinstance(value, Mapping):
        raise TypeError
    for model, price in value.items():
        if not isinstance(model, str) or not isinstance(price, Price):
            raise ConfigurationError(f"[{model!r}]", price, "a Price, of a name of a model")
    return value


_PRICES = Check(allowed="a mapping of names of models to Prices", check=_prices)


@dataclass(frozen=True)
class PriceTable:
    """Prices of models. ``version`` names the table, and ``date`` is the day (ISO) on which it was right.

    >>> table = PriceTable("mine", {"gpt-4o": Price(2.5, 10, 1.25)})
    >>> table.price("gpt-4o-2024-08-06")
    Price(input=2.5, output=10, cached=1.25, cache_write=None, reasoning=None, above=())
    """

    version: str
    models: Mapping[str, Price]
    date: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    currency: str = "USD"

    def __post_init__(self) -> None:
        check_fields(self, {"version": TEXT, "models": _PRICES}, title="PriceTable.")
        _aliases(self.aliases, self.models, "PriceTable")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table from a TOML file. `prices.toml` beside this module is an example of one.

        Raises :class:`~otel_prom_bridge.errors.ConfigurationError` if the file cannot be read, or if
        something in it is wrong. The error has the key, its value and what is allowed.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError("prices", str(path), f"a file that can be read ({reason})") from error
        return cls.parse(text, name=str(path))

    @classmethod
    def parse(cls, text: str, *, name: str = "prices") -> Self:
        """Read a table from TOML text. Errors call it ``name``. Raises as :meth:`load` does."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(name, str(error), f"TOML, with {_QUOTES}") from error
        _only(data, ("version", "date", "currency", "models", "aliases"), name, "")
        currency = data.get("currency", "USD")
        if currency != "USD":
            raise ConfigurationError(f"{name}: currency", currency, '"USD", which the metric has as its unit')
        date = _date(data.get("date"), name)
        models = _models(data.get("models"), name)
        version = TEXT.value(f"{name}: version", data.get("version", date))
        return cls(version, models, date, _aliases(data.get("aliases", {}), models, name))

    @classmethod
    def default(cls) -> PriceTable:
        """The table that comes with the package. It has well-known models, with their prices of its ``date``.

        Prices change, and yours may differ. Bring a table of your own if money depends on the numbers.
        """
        return _default()

    @classmethod
    def from_genai_prices(cls) -> PriceTable:
        """The prices that the package ``genai-prices`` has today.

        Raises :class:`~otel_prom_bridge.errors.ConfigurationError` if it is not installed.
        """
        from otel_prom_bridge.prices.packages import genai_prices

        return genai_prices()

    def price(self, model: str | None, provider: str | None = None) -> Price | None:
        """The price of a model, or None if the table does not have it.

        Tables that come from elsewhere may ask for the ``provider``, too. This one has one price for a name.

        The model is looked up by its name or alias, then by what is left of the name when provider, region
        and date are taken off one after the other. The last of these is what the label rule ``ModelName``
        shows. Capital letters make no difference, unless the table has both spellings.
        """
        if not isinstance(model, str):
            return None
        found = self.models.get(self.aliases.get(model, model))
        if found is not None:
            return found
        names = _spellings(model)
        free = names[0].endswith(_FREE)
        for name in names:
            if free and not name.endswith(_FREE):
                break
            if name in self._folded:
                return self._folded[name]
        return None

    @cached_property
    def _folded(self) -> dict[str, Price]:
        """Prices by names and aliases in lower case."""
        aliases = {alias: self.models[name] for alias, name in self.aliases.items() if name in self.models}
        return {name.lower(): price for name, price in {**self.models, **aliases}.items()}


@lru_cache(maxsize=1024)
def _spellings(model: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spellings(model)))


@cache
def _default() -> PriceTable:
    text = Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
    return PriceTable.parse(text, name="prices.toml")


def _only(table: object, allowed: tuple[str, ...], name: str, prefix: str) -> None:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{name}: {prefix.rstrip('.')}", table, "a table")
    for key, value in table.items():
        if key not in allowed:
            raise unknown(key, value, allowed, "keys", at=f"{name}: {prefix}{key}")


def _date(value: object, name: str) -> str:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    raise ConfigurationError(f"{name}: date", value, "a date like 2026-01-31")


def _models(value: object, name: str) -> dict[str, Price]:
    if not isinstance(value, dict) or not value:
        raise ConfigurationError(f"{name}: models", value, "a table with a table per model")
    return {model: _price(entry, name, f"models.{model}") for model, entry in value.items()}


def _quoted(entry: object, name: str, key: str) -> None:
    """Refuse what TOML makes of ``gpt-4.1 = { … }``: a table ``1`` in a table ``gpt-4``."""
    for part, value in entry.items() if isinstance(entry, dict) else ():
        if isinstance(value, dict) and part != _ABOVE:
            raise ConfigurationError(f"{name}: {key}.{part}", value, f"a number, or {_QUOTES}")


def _price(entry: Any, name: str, key: str) -> Price:
    _quoted(entry, name, key)
    _only(entry, (*KINDS, _ABOVE), name, f"{key}.")
    tiers = {_ABOVE: _tiers(entry[_ABOVE], name, f"{key}.{_ABOVE}")} if _ABOVE in entry else {}
    try:
        return Price(**{"input": None, **entry, **tiers})
    except ConfigurationError as error:
        raise error.renamed(f"{name}: {key}.{error.key}") from None


def _tiers(value: Any, name: str, key: str) -> list[tuple[Any, Price]]:
    if not isinstance(value, list) or not all(isinstance(tier, dict) for tier in value):
        raise ConfigurationError(
            f"{name}: {key}", value, "a list of tables, each with `tokens` and its prices"
        )
    return [
        (tier.get("tokens"), _price({kind: tier[kind] for kind in tier if kind != "tokens"}, name, key))
        for tier in value
    ]


def _aliases(value: object, models: Mapping[str, Price], name: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name}: aliases", value, "a table from names to names of models")
    for alias, model in value.items():
        if isinstance(model, dict):
            raise ConfigurationError(f"{name}: aliases.{alias}", model, f"a name, or {_QUOTES}")
        if not isinstance(model, str) or model not in models:
            near = nearest(model, models) if isinstance(model, str) else None
            meant = f" (did you mean {near!r}?)" if near else ""
            raise ConfigurationError(f"{name}: aliases.{alias}", model, f"a model of the table{meant}")
    return dict(value)
