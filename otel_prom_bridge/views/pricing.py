"""What the tokens of a point cost: the price of one of them, looked up once for each new attribute set.

A view with ``price`` shows tokens as USD. Its series are told apart by the price, too: a series adds up
tokens and is multiplied when it is shown. So nothing is rounded while it adds up, and a new table begins new
series beside those before, which keep what they cost then.

Some producers say themselves what calls cost. That is right where ours is a guess, and both together would
be wrong. So the tokens of a producer (its scope) cost nothing here for models of which it reports costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.prices import KINDS, PriceTable
from otel_prom_bridge.values.checks import one_of
from otel_prom_bridge.views.computations import FirstOf

# Tokens that were read from a cache are among those of the input, and have another price. They are taken out
# of the input again ("-input"), as those of reasoning are taken out of the output. "missing" are the tokens
# of models without a price.
# The same in one number, for tokens that one library counted without saying that some were cached, while its
# spans say it: what these cost less than others.
_CORRECTIONS = {
    "cached-input": ("cached", "input"),
    "cache_write-input": ("cache_write", "input"),
    "reasoning-output": ("reasoning", "output"),
}
PRICED = (*KINDS, "-input", "-output", "missing", *_CORRECTIONS)
PRICE = one_of(*PRICED)

# The price of a token, as a part of what tells series apart. It is no label.
PRICE_KEY = "otel_prom_bridge.price"
MODELS = ("gen_ai.request.model", "gen_ai.response.model")
PROVIDERS = ("gen_ai.provider.name", "gen_ai.system")
ATTRIBUTES = frozenset((*MODELS, *PROVIDERS))
# Recorders with a table count in this scope what calls cost, and those without a price. Tokens of others are
# in another scope, and are anybody's. In a third one are those that a library counts itself without saying
# that they were cached; what they cost less is said where its own tokens are.
_OURS = "otel_prom_bridge.genai"
_OF_OTHERS = "otel_prom_bridge.genai.details"
_OF_SPANS = "otel_prom_bridge.genai.spans"  # which also say what long calls cost more
_REMEMBERED = 2_000

_provider = FirstOf(PROVIDERS)


class Pricing:
    """The table of prices in use, and which producers report costs themselves."""

    def __init__(self, table: PriceTable | None) -> None:
        self._table = table
        # By scopes, what the attributes of their costs say of the model.
        self._reported: dict[str, frozenset[frozenset[str]]] = {}
        self._is_used = False
        self._findings = Findings()
        # Another number when answers may be others. There is no lock, for which a forked child would wait.
        self._versions = itertools.count(1)
        self.version = 0

    @property
    def table(self) -> PriceTable | None:
        """The table; None is for no costs at all."""
        return self._table

    @table.setter
    def table(self, table: PriceTable | None) -> None:
        self._table = table
        self.version = next(self._versions)

    @property
    def in_use(self) -> dict[tuple[str, str], int]:
        """The version and the date of the table, if something was looked up in it."""
        table = self._table
        return {(table.version, table.date): 1} if table is not None and self._is_used else {}

    def report(self, scope: str, attributes: Mapping[str, object]) -> None:
        """Remember that a producer says itself what this model costs."""
        known, models = self._reported.get(scope, frozenset()), frozenset(_models(attributes))
        if models not in known and sum(map(len, self._reported.values())) < _REMEMBERED:
            self._reported[scope] = known | {models}  # a new one, as somebody may go through the other
            self.version = next(self._versions)

    def _is_reported(self, scope: str, models: Sequence[str]) -> bool:
        """Whether it costs what its producer says; its tokens may have less names of the model, or more."""
        said = frozenset(models)
        return any(said <= known or known <= said for known in self._reported.get(scope, ()))

    def price(self, kind: str, scope: str, attributes: Mapping[str, object]) -> Fraction | None:
        """What one token of this kind costs in USD, or None if it costs nothing here.

        Of the kind ``missing`` that is 1 for a token without a price.
        """
        models = _models(attributes)
        if self._table is None or scope == _OURS or self._is_reported(scope, models):
            return None
        if scope == _OF_OTHERS:
            return None
        self._is_used = True
        provider = _provider(attributes)
        known = provider if isinstance(provider, str) else None
        found = next(filter(None, (self._table.price(model, known) for model in models)), None)
        if kind == "missing":
            return Fraction(1) if found is None else None
        if found is None:
            return None
        if found.above and kind == "input" and scope != _OF_SPANS:
            self._findings.report(
                "tiers",
                "calls of %r with more than %d input tokens have another price, but the metrics of %r do not"
                " say how long calls were; unless spans do (span_metrics=True), all are paid as short ones",
                *(models[0], found.above[0][0], scope),
            )
        if kind in _CORRECTIONS:
            less, otherwise = map(found.per_token, _CORRECTIONS[kind])
            return less - otherwise or None
        price = found.per_token(kind.removeprefix("-"))
        return -price if kind.startswith("-") else price


def _models(attributes: Mapping[str, object]) -> tuple[str, ...]:
    values = (attributes.get(key) for key in MODELS)
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))
