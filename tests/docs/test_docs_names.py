"""The page of other libraries' names: what it says is here is here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "names.md").read_text()
# A name, and in brackets after it methods that it has.
NAMES = re.findall(r"`(otel_prom_bridge[\w.]*)(?:\(\))?`(?: \(([^)]*)\))?", PAGE)


@pytest.mark.parametrize(("name", "methods"), NAMES, ids=[name for name, _ in NAMES])
def test_names_exist(name: str, methods: str) -> None:
    """Each class and function of the right column exists, is public, and has the methods in brackets."""
    module, _, last = name.rpartition(".")
    assert last in importlib.import_module(module).__all__
    found = getattr(importlib.import_module(module), last)
    for method in re.findall(r"`(\w+)`", methods):
        assert callable(getattr(found, method))


def test_there_are_many() -> None:
    """The expression finds the names."""
    assert len(NAMES) > 35
