"""What is public is the table of docs/design.md, and the documents and examples import nothing else."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DESIGN = (ROOT / "docs" / "design.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".md", ".py"}),
    )
)
# Statements wherever they stand: in a module, a code block, a shell's `python -c`.
FROM = re.compile(r"\bfrom\s+(otel_prom_bridge[\w.]*)\s+import\s+(\([^)]*\)|[\w ,]+)")
IMPORT = re.compile(r"\bimport\s+(otel_prom_bridge[\w.]*)")
# Names that are reached through the package, as in `bridge = otel_prom_bridge.start()`.
DOTTED = re.compile(r"(?<![\w/.\"'`])otel_prom_bridge((?:\.\w+)+)(?=[(\s])")


def public() -> dict[str, list[str]]:
    """The table of docs/design.md: the names of each module."""
    section = DESIGN.partition("## What is public\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(otel_prom_bridge[\w.]*)` \| (.*) \|$", section, re.MULTILINE)
    return {module: re.findall(r"`(\w+)`", names) for module, names in rows}


def imported(text: str) -> set[tuple[str, str]]:
    """Each module that a text imports from, and the name; "" for the module itself."""
    found = {(module, "") for module in IMPORT.findall(text)}
    for module, names in FROM.findall(text):
        found |= {(module, item.split()[0]) for item in names.strip("()").split(",") if item.strip()}
    return found


def allowed() -> set[tuple[str, str]]:
    """Everything that may be imported."""
    modules = {(module, "") for module in public()}
    below = {("otel_prom_bridge", module.rpartition(".")[2]) for module in public() if "." in module}
    return modules | below | {(module, name) for module, names in public().items() for name in names}


@pytest.mark.parametrize("module", public())
def test_the_table_is_what_modules_offer(module: str) -> None:
    """The names of a public module stand in the table, in the order of its `__all__`, and exist."""
    offered = importlib.import_module(module)
    assert public()[module] == offered.__all__
    assert all(hasattr(offered, name) for name in offered.__all__)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_import_what_is_public(document: str) -> None:
    """README, docs and examples import from public modules only, and of these only public names."""
    assert imported((ROOT / document).read_text()) <= allowed()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_what_is_public(document: str) -> None:
    """What they reach through the package, as in `otel_prom_bridge.start()`, is public, too."""
    reached = {tuple(path.split(".")[1:]) for path in DOTTED.findall((ROOT / document).read_text())}
    for first, *_ in reached:
        assert ("otel_prom_bridge", first) in allowed(), first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from otel_prom_bridge.store import Store", {("otel_prom_bridge.store", "Store")}),
        (
            "x = 1\n    from otel_prom_bridge.genai import (\n    timer as t,\n    Batch,\n)\n",
            {("otel_prom_bridge.genai", "timer"), ("otel_prom_bridge.genai", "Batch")},
        ),
        ("python -c 'import otel_prom_bridge.reader'", {("otel_prom_bridge.reader", "")}),
        (
            "from otel_prom_bridge import reader, start\n",
            {("otel_prom_bridge", name) for name in ("reader", "start")},
        ),
    ],
)
def test_imports_are_found(text: str, expected: set[tuple[str, str]]) -> None:
    """The test sees imports in every form that documents have."""
    assert imported(text) == expected


def test_names_that_are_reached_are_found() -> None:
    """The test sees what is called or run, and no names of files, loggers and metrics."""
    text = "otel_prom_bridge.store.Store() python -m otel_prom_bridge.cli x otel_prom_bridge/store.py "
    assert DOTTED.findall(text + '"otel_prom_bridge.endpoint" `otel_prom_bridge.genai`') == [
        ".store.Store",
        ".cli",
    ]


def test_entry_points_and_the_command() -> None:
    """The section names every entry point and command that the package installs."""
    section = DESIGN.partition("## What is public\n")[2].partition("\n## ")[0]
    groups = dict(PROJECT["entry-points"])
    assert list(groups.pop("pytest11")) == ["otel_prom_bridge.pytest_plugin"]
    assert "`pytest11`" in section
    assert {name for group in groups.values() for name in group} == {"prometheus_bridge"}
    for name in (*groups, "prometheus_bridge", *PROJECT["scripts"]):
        assert f"`{name}`" in section
    assert list(PROJECT["scripts"]) == ["otel-prom-bridge"]
