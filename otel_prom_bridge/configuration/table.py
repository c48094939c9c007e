"""What the rows of the table of options are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.values.checks import Check

PREFIX = "OTEL_PROM_BRIDGE_"


def ours(key: str) -> str:
    """The environment variable of an option that the specification has none for."""
    return f"{PREFIX}{key.upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A variable with a general name that sets an option, too, unless something of ours does.

    ``read`` makes of its text what the option's check takes, or None if it says nothing about the option;
    without one the text is read as that of the option's own variable. ``note`` says what the text is.
    """

    variable: str
    read: Callable[[str], object] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option.

    ``key`` is its name in files and, unless ``argument`` is another one, in ``start()``. Without a
    ``variable`` it has too much structure for one; ``variable_of_ours`` says the same and counts before one
    of the specification's. A ``default`` of None is described by ``without``. Of the ``aliases``, the first
    one that says something counts. An option that ``protects`` decides who gets to see metrics: where a
    wrong value is not an error of the application's, nothing is served.
    """

    key: str
    variable: str
    check: Check
    meaning: str
    default: object = None
    without: str = ""
    argument: str = ""
    variable_of_ours: str = ""
    other_keys: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    protects: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All names in files."""
        return (self.key, *self.other_keys)

    @property
    def variables(self) -> tuple[str, ...]:
        """Its environment variables but the aliases; the first one that is set counts."""
        return tuple(filter(None, (self.variable_of_ours, self.variable)))

    @property
    def shown_default(self) -> str:
        """The default as one would write it."""
        if isinstance(self.default, TranslationStrategy):
            return self.default.value
        return self.without or str(self.default).lower()
