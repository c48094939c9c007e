"""The tables of options in ``docs/configuration.md``, as the table of the code has them.

Run it to see what the page has to say: ``python tests/support/option_tables.py``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from otel_prom_bridge.configuration.option import Option
from otel_prom_bridge.configuration.options import (
    ACCESS,
    CONFIG_FILE,
    ENDPOINT,
    HUB_OPTIONS,
    KEPT,
    RECORDING,
    SHOWN,
    WORKER,
)

_TABLES = {
    "The file, and the endpoint": (CONFIG_FILE, RECORDING, *ENDPOINT),
    "Who may ask": ACCESS,
    "One process of several": WORKER,
    "What is shown, and its names": SHOWN,
    "How much is kept, and for how long": KEPT,
    "A hub, and who pushes to it": HUB_OPTIONS,
}


def markdown_tables() -> str:
    """The tables of options for ``docs/configuration.md``, each below its heading."""
    return "\n".join(f"### {title}\n\n{markdown_table(options)}" for title, options in _TABLES.items())


def markdown_table(options: Sequence[Option]) -> str:
    """These options as a table for ``docs/configuration.md``."""
    rows = ["| option | environment variable | allowed | default | meaning |", "|---|---|---|---|---|"]
    for option in options:
        allowed = option.check.allowed
        if option.check.example:
            allowed += f"; as text `{option.check.example}`"
        allowed = re.sub(r"'([^']+)'", r"`\1`", allowed).replace("|", "\\|")  # which would end the cell
        variables = [f"`{variable}`" for variable in option.variables] or ["in a file"]
        variables += _aliases(option)
        default = option.without or f"`{option.shown_default}`"
        cells = (f"`{option.key}`", ", ".join(variables), allowed, default, option.meaning)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _aliases(option: Option) -> list[str]:
    return [f"`{alias.variable}`" + (f" ({alias.note})" if alias.note else "") for alias in option.aliases]


if __name__ == "__main__":
    sys.stdout.write(markdown_tables())
