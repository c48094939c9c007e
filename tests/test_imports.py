"""The package's folders know each other in one direction only, as docs/design.md draws it."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

import otel_prom_bridge

ROOT = Path(otel_prom_bridge.__file__).parent
DESIGN = Path(__file__).parents[1] / "docs" / "design.md"
# What every part may use; the picture leaves these arrows out.
WORDS = {"families", "errors", "diagnostics", "forks", "interrupts", "native", "clocks", "installed", "lazy"}


def arrows() -> dict[str, set[str]]:
    """The picture of docs/design.md: each part, and the parts that it imports."""
    picture = re.search(r"<!-- arrows -->\n```\n(.*?)```", DESIGN.read_text(), re.DOTALL)
    assert picture is not None
    rows = (line.split("→") for line in picture[1].splitlines())
    return {part.strip(): set(re.findall(r"\w+", targets)) for part, targets in rows}


@functools.cache
def imports() -> dict[str, set[str]]:
    """The parts of the package as they are, and what each imports beside the common words."""
    found: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if part not in {"__init__", "__main__"}:
            targets = found.setdefault(part, set())
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    targets |= _targets(node)
    return {part: targets - {part} - WORDS for part, targets in found.items()}


def _targets(node: ast.ImportFrom) -> set[str]:
    package, _, module = (node.module or "").partition(".")
    if package != "otel_prom_bridge":
        return set()
    return {module.split(".")[0]} if module else {alias.name for alias in node.names}


def test_the_picture_is_the_code() -> None:
    """Each arrow of the picture is an import, and each import is an arrow."""
    assert {part: sorted(targets) for part, targets in imports().items() if part not in WORDS} == {
        part: sorted(targets) for part, targets in arrows().items()
    }


def test_arrows_point_upwards() -> None:
    """A part imports only parts above it in the picture, so that there is no circle and no way back."""
    order = list(arrows())
    for part, targets in arrows().items():
        assert targets <= set(order[: order.index(part)]), part


def test_the_common_words_know_nobody() -> None:
    """They import at most each other."""
    assert {part: targets for part, targets in imports().items() if part in WORDS and targets} == {}


def test_a_file_name_stands_in_two_folders_only_where_design_says_why() -> None:
    """Whoever looks for a subject finds one file, or knows from the page why there are several."""
    section = DESIGN.read_text().split("### What a file is called")[1].split("\n## ")[0]
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
    folders: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        if path.parent.name != "cli" and not path.stem.startswith("__"):
            folders.setdefault(path.stem, set()).add(str(path.parent.relative_to(ROOT)))
    assert {name for name, found in folders.items() if len(found) > 1} == explained


def test_a_class_name_is_one_class() -> None:
    """Only a public name may also be that of something inside."""
    rows = re.findall(r"^\| `otel_prom_bridge[\w.]*` \| (.*) \|$", DESIGN.read_text(), re.MULTILINE)
    promised = set(re.findall(r"\w+", " ".join(rows)))
    found: dict[str, list[Path]] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1 and name not in promised} == {}


def test_the_package_has_all_of_its_names() -> None:
    """Each is imported when it is used; one that does not exist is an AttributeError like any other."""
    assert sorted(chain(*otel_prom_bridge._HOMES.values())) == sorted(otel_prom_bridge.__all__)
    for name in otel_prom_bridge.__all__:
        assert getattr(otel_prom_bridge, name).__name__ == name
        assert name in dir(otel_prom_bridge)
    assert not hasattr(otel_prom_bridge, "nothing")


@pytest.mark.parametrize(
    ("module", "more"),
    [
        ("otel_prom_bridge.genai", set()),
        ("otel_prom_bridge.instrument", {"clocks", "instrument", "native", "rules"}),
        ("otel_prom_bridge.instrument.grpc", {"clocks", "instrument", "native", "rules"}),
        ("otel_prom_bridge.instrument.sqlalchemy", {"clocks", "instrument", "native", "rules"}),
    ],
)
def test_recorders_load_no_sdk(module: str, more: set[str]) -> None:
    """They are for any exporter: who imports them gets neither the SDK nor this bridge."""
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "opentelemetry.metrics" in loaded
    assert not [name for name in loaded if name.startswith(("opentelemetry.sdk", "prometheus_client"))]
    assert {name.split(".")[1] for name in loaded if name.startswith("otel_prom_bridge.")} == {
        "attribution",
        "diagnostics",
        "errors",
        "families",
        "genai",
        "installed",
        "instruments",
        "interrupts",
        "lazy",
        "model_names",
        "prices",
        "recording",
        "values",
        *more,
    }


# What only those pay for who ask for it: other doors, other ways in and out, and what stands beside them.
UNUSED = {
    "otel_prom_bridge.autoconfigure",
    "otel_prom_bridge.audit",
    "otel_prom_bridge.cli",
    "otel_prom_bridge.configuration.arguments",
    "otel_prom_bridge.configuration.spans",
    "otel_prom_bridge.dashboards",
    "otel_prom_bridge.direct.synchronous",
    "otel_prom_bridge.direct.provider",
    "otel_prom_bridge.direct.reader",
    "otel_prom_bridge.doctor",
    "otel_prom_bridge.endpoint.apps",
    "otel_prom_bridge.explorer.answers",
    "otel_prom_bridge.genai",
    "otel_prom_bridge.hub",
    "otel_prom_bridge.instrument",
    "otel_prom_bridge.prices.packages",
    "otel_prom_bridge.push.hub_connection",
    "otel_prom_bridge.push.reader",
    "otel_prom_bridge.recording",
    "otel_prom_bridge.snapshots",
    "otel_prom_bridge.testing",
    "asyncio",
    "importlib.resources",
    "multiprocessing",
    "yaml",
    "zipfile",
}
# Of a reader alone, without an endpoint of ours.
UNUSED_BY_READERS = {
    "otel_prom_bridge.bridge",
    "otel_prom_bridge.configuration",
    "otel_prom_bridge.direct",
    "otel_prom_bridge.endpoint",
    "otel_prom_bridge.explorer",
    "otel_prom_bridge.profiles",
    "otel_prom_bridge.push",
    "h11",
}
START = "from otel_prom_bridge import start; bridge = start(port=0)"
READER = "from otel_prom_bridge import PrometheusMetricReader; PrometheusMetricReader()"


def loaded_after(*steps: str) -> list[set[str]]:
    """The modules that a process has after each of these steps, beside those of the SDK and the client."""
    tell = "print(*(set(sys.modules) - before))"
    code = "import sys, opentelemetry.sdk.metrics.export, opentelemetry.sdk.metrics.view, prometheus_client"
    lines = [code, "before = set(sys.modules)", *chain(*((step, tell) for step in steps))]
    command = [sys.executable, "-c", "\n".join(lines)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [set(line.split()) for line in result.stdout.splitlines()]


def test_what_is_unused_exists() -> None:
    """A module that was renamed would never be found among those that were loaded."""
    assert [name for name in UNUSED | UNUSED_BY_READERS if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("step", "unused"), [(START, UNUSED), (READER, UNUSED | UNUSED_BY_READERS)], ids=["start", "reader"]
)
def test_nobody_pays_for_what_was_not_asked_for(step: str, unused: set[str]) -> None:
    """A start imports what it needs. Tests and short jobs feel it: each import is a part of their time."""
    (loaded,) = loaded_after(step)
    assert sorted(loaded & unused) == []


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_nothing_is_imported_where_something_is_recorded(recording: str) -> None:
    """Whoever records or forks may hold any lock, or be a signal handler, and must not wait for an import."""
    record = """
import os, urllib.request
from opentelemetry import metrics
def record():
    meter = metrics.get_meter("shop")
    meter.create_counter("orders").add(1, {"key": "value", "user.id": "7"})
    meter.create_histogram("paid", unit="s").record(0.5, {"http.route": "/orders"})
    meter.create_observable_gauge("queue", [lambda options: [metrics.Observation(3)]])
"""
    use = """
record()
assert b"orders_total" in urllib.request.urlopen(bridge.server.url).read()
child = os.fork()
if child == 0:
    before = set(sys.modules)
    record()
    os._exit(sorted(set(sys.modules) - before) != [])
assert os.waitpid(child, 0)[1] == 0
bridge.shutdown()
"""
    start = f"{START[:-1]}, recording={recording!r})"
    before, after = loaded_after(record + start, use)
    ours = [name for name in after - before if name.startswith("otel_prom_bridge")]
    assert sorted(ours) == []
