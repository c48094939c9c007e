"""What an option is: a row of facts. Its variable, its flag and its documentation follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from otel_prom_bridge.translate import TranslationStrategy
from otel_prom_bridge.values.checks import Check

PREFIX = "OTEL_PROM_BRIDGE_"


@dataclass(frozen=True, slots=True)
class Alias:
    """A variable with a general name. It sets an option unless something of ours sets it.

    ``read`` turns the variable's text into what the option's check takes, or into None if the text says
    nothing about the option. Without it the text is read as that of the option's own variable. ``note`` says
    what the text is, for the documentation.
    """

    variable: str
    read: Callable[[str], object] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    ``key`` is its name in files, and in ``start()`` unless ``argument`` is another one. ``meaning`` is its
    line in the documentation, and ``without`` describes a ``default`` of None there. ``standard`` is the
    specification's variable for it, which counts after the bridge's own. An option that is ``only_in_files``
    has too much structure for a variable. Of its ``aliases``, the first one that says something counts. An
    option that ``protects`` decides who gets to see the metrics: where a wrong value must not raise, nothing
    is served.
    """

    key: str
    check: Check
    meaning: str
    _: KW_ONLY
    default: object = None
    without: str = ""
    argument: str = ""
    standard: str = ""
    only_in_files: bool = False
    other_keys: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    protects: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All of its names in files."""
        return (self.key, *self.other_keys)

    @property
    def variables(self) -> tuple[str, ...]:
        """Its environment variables without the aliases. The first one that is set counts."""
        own = "" if self.only_in_files else f"{PREFIX}{self.key.upper()}"
        return tuple(filter(None, (own, self.standard)))

    @property
    def flag(self) -> str:
        """What it is called on a command line."""
        return f"--{(self.argument or self.key).replace('_', '-')}"

    @property
    def shown_default(self) -> str:
        """The default as one would write it."""
        if isinstance(self.default, TranslationStrategy):
            return self.default.value
        return self.without or str(self.default).lower()
