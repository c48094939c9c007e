"""Several rules as one."""

from __future__ import annotations

from dataclasses import dataclass

from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules.rule import Rule


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Chain:
    """Rules one after the other. Each gets what the one before returned. A label that is left out stays so.

    >>> from otel_prom_bridge.rules import Allow, StatusClass
    >>> Chain(StatusClass(), Allow(["4xx", "5xx"], other="fine"))("204")
    'fine'
    """

    rules: tuple[Rule, ...]

    def __init__(self, *rules: Rule) -> None:
        # A class is callable, too: Chain(Forbid) would make a rule object of every value.
        if not rules or any(isinstance(rule, type) or not callable(rule) for rule in rules):
            raise ConfigurationError("Chain.rules", rules, "at least one rule, like Chain(First(10))")
        object.__setattr__(self, "rules", rules)

    @property
    def max_values(self) -> int | None:
        """The smallest bound of its rules.

        Each rule makes one result of one value. So there are at most as many results as any of the rules has,
        whatever comes before it or after it. (A rule of the application that has no bound and leaves labels
        out adds that one result.)
        """
        bounds = [getattr(rule, "max_values", None) for rule in self.rules]
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def other(self) -> str | None:
        """The catch-all of the last rule, or None if it has none."""
        return getattr(self.rules[-1], "other", None)

    def __call__(self, value: str) -> str | None:
        """The value after all rules."""
        result: str | None = value
        for rule in self.rules:
            if result is None:
                break
            result = rule(result)
        return result

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.rules))})"
