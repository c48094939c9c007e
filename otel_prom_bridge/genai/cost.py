"""What tokens cost: tables of prices, and the counters of costs that are computed with them."""

from __future__ import annotations

import datetime
import math
import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

from opentelemetry.context import Context

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.genai import conventions, vocabulary
from otel_prom_bridge.genai.emission import LLMRequest, Usage
from otel_prom_bridge.model_names import spellings
from otel_prom_bridge.recording.measurements import Measurements, clean
from otel_prom_bridge.values.checks import TEXT, Check, check_fields, is_number
from otel_prom_bridge.values.notation import unknown

_MILLION = 1_000_000
_KINDS = ("input", "output", "cached", "cache_write", "reasoning")
# OpenRouter's ending of models that cost nothing there, or another price than the table's.
_FREE = ":free"
# The tokens that these operations report are those of the calls inside of them, which are counted already.
_CONTAINERS = vocabulary.AGENT | vocabulary.TOOL | vocabulary.WORKFLOW
_QUOTES = 'quotes around a name with a full stop, as in "gpt-4.1"'


def _price_of_a_kind(value: object) -> float:
    if not (is_number(value) and 0 <= value < math.inf):
        raise ValueError
    return value


_PRICE = Check(allowed="USD per million tokens, a number that is not negative", check=_price_of_a_kind)


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in USD per million tokens.

    ``cached`` is the price of tokens that were read from a cache, and ``cache_write`` of those that were
    written to one. Where these are None, such tokens cost what input costs. Where ``reasoning`` is None,
    tokens of reasoning cost what output costs.
    """

    input: float
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, dict.fromkeys(_KINDS, _PRICE))

    def cost(self, usage: Usage) -> float:
        """The cost of the tokens in USD. Tokens of a cache are not paid for a second time as input."""
        given, answered = usage.input or 0, usage.output or 0
        cached = min(usage.cached or 0, given)
        written = min(usage.cache_write or 0, given - cached)
        reasoning = min(usage.reasoning or 0, answered)
        total = (given - cached - written) * self.input + (answered - reasoning) * self.output
        for count, price, otherwise in (
            (cached, self.cached, self.input),
            (written, self.cache_write, self.input),
            (reasoning, self.reasoning, self.output),
        ):
            total += count * (otherwise if price is None else price)
        return total / _MILLION


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
    Price(input=2.5, output=10, cached=1.25, cache_write=None, reasoning=None)
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
            raise ConfigurationError("prices", str(path), f"a file that can be read ({error})") from error
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

    def price(self, model: str | None) -> Price | None:
        """The price of a model, or None if the table does not have it.

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
    text = resources.files(__package__ or "").joinpath("prices.toml").read_text(encoding="utf-8")
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
        if isinstance(value, dict):
            raise ConfigurationError(f"{name}: {key}.{part}", value, f"a number, or {_QUOTES}")


def _price(entry: Any, name: str, key: str) -> Price:
    _quoted(entry, name, key)
    _only(entry, _KINDS, name, f"{key}.")
    try:
        return Price(**{"input": None, **entry})
    except ConfigurationError as error:
        raise error.renamed(f"{name}: {key}.{error.key}") from None


def _aliases(value: object, models: Mapping[str, Price], name: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name}: aliases", value, "a table from names to names of models")
    for alias, model in value.items():
        if isinstance(model, dict):
            raise ConfigurationError(f"{name}: aliases.{alias}", model, f"a name, or {_QUOTES}")
        if not isinstance(model, str) or model not in models:
            raise ConfigurationError(f"{name}: aliases.{alias}", model, "a model of the table")
    return dict(value)


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
        price = table.price(request.model) or table.price(request.response_model)
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
