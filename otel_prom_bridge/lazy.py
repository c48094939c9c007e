"""The names of a package whose modules are imported when somebody asks for the name.

What a process does not use costs it nothing then: of the server alone, nobody pays for asyncio. Names are
asked for where an application is written down or begins, and never where it records, so no import of theirs
begins in a signal handler, in a fork or at exit.

An import that waits for anything else stands in the function that needs it: what only one option, command or
kind of file needs, and packages that need not be installed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def names_of(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The ``__getattr__`` of a package, by the modules in which its names are. Each is asked for once."""
    home_of = {name: home for home, names in homes.items() for name in names}

    def named(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return named
