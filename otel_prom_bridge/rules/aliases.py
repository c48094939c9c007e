"""What rules for names have in common that everybody makes up: further names, which come before their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.rules.rule import TABLE


@dataclass(frozen=True, slots=True, init=False)
class Aliased:
    """A rule with ``aliases``, a mapping of names in any case to what is shown for them."""

    aliases: Mapping[str, str] = field(hash=False)
    _names: Mapping[str, str] = field(repr=False, compare=False)

    def __init__(self, aliases: Mapping[str, str] = {}) -> None:
        checked = TABLE.value(f"{type(self).__name__}.aliases", aliases)
        object.__setattr__(self, "aliases", checked)
        object.__setattr__(self, "_names", {name.strip().lower(): value for name, value in checked.items()})

    @property
    def max_values(self) -> None:
        """None: there is no bound, because applications and gateways make up names."""
        return None
