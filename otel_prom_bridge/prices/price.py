"""The price of a model, and what tokens cost with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from otel_prom_bridge.values.checks import Check, check_fields, is_number

_MILLION = 1_000_000
KINDS = ("input", "output", "cached", "cache_write", "reasoning")


def _price_of_a_kind(value: object) -> float:
    if not (is_number(value) and 0 <= value < math.inf):
        raise ValueError
    return value


class Tokens(Protocol):
    """How many tokens a call took; None is a number that was not reported.

    Tokens of a cache are part of the input, and those of reasoning part of the output.
    """

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    cache_write: int | None


def _tiers(value: object) -> tuple[tuple[int, Price], ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError
    for tokens, price in value:
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise ValueError
        if not isinstance(price, Price) or price.above:
            raise ValueError
    return tuple(sorted(value, key=lambda tier: tier[0]))


_PRICE = Check(allowed="USD per million tokens, a number that is not negative", check=_price_of_a_kind)


_ABOVE = Check(allowed="pairs of a number of tokens and a Price without any of its own", check=_tiers)


@dataclass(frozen=True, slots=True)
class Price:
    """Prices in USD per million tokens.

    ``cached`` is the price of tokens that were read from a cache, and ``cache_write`` of those that were
    written to one. Where these are None, such tokens cost what input costs. Where ``reasoning`` is None,
    tokens of reasoning cost what output costs. ``above`` has pairs of a number of tokens and a price: of a
    call whose input has more tokens than that, everything costs as much.
    """

    input: float
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    above: Sequence[tuple[int, Price]] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        check_fields(self, {**dict.fromkeys(KINDS, _PRICE), "above": _ABOVE})

    def at(self, tokens: int | None) -> Price:
        """The price of a call whose input has so many tokens."""
        found = self
        for most, price in self.above:
            if tokens is not None and tokens > most:
                found = price
        return found

    def cost(self, usage: Tokens) -> float:
        """The cost of a call in USD. Tokens of a cache are not paid for a second time as input."""
        return self.at(usage.input).lowest(usage)

    def lowest(self, usage: Tokens) -> float:
        """The same where nobody knows how the tokens are shared out among calls: as if all were short."""
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

    def of(self, kind: str) -> float:
        """The price of tokens of this kind, one of :data:`KINDS`."""
        own: float | None = getattr(self, kind)
        if own is not None:
            return own
        return self.output if kind == "reasoning" else self.input

    def per_token(self, kind: str) -> Fraction:
        """What one token of this kind costs in USD, exactly as the price was written."""
        return Fraction(repr(self.of(kind))) / _MILLION
