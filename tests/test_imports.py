"""Imports follow the way of the data: no cycles, no upward edges."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import otel_prom_bridge

ROOT = Path(otel_prom_bridge.__file__).parent

# From the bottom up; a part may import the parts before it. One line may hold parts that must not know each
# other.
LAYERS = (
    ("forks", "primitives"),
    (
        "errors",
        "diagnostics",
        "callbacks",
        "patterns",
        "model_names",
        "coalescing",
        "background",
        "shutdown",
        "instruments",
    ),
    ("families", "rules", "genai", "notation", "config_file"),
    ("histograms", "self_metrics", "cardinality"),
    ("merging", "scaling", "exemplars", "expositions", "collection"),
    ("translate", "exposition"),
    ("limits", "collector", "client_metrics"),
    ("accumulators", "registry", "checks", "sdk_data", "target_info"),
    ("computations",),
    ("catalog", "views", "table"),
    ("attributes",),
    ("sdk_views", "exemplar_intake"),
    ("policy", "expiry"),
    ("projections", "schema"),
    ("streams", "profiles"),
    ("store", "dashboards"),
    ("reader", "endpoint"),
    ("endpoint_checks",),
    ("endpoint_options",),
    ("options",),
    ("environment",),
    ("contradictions",),
    ("configuration",),
    ("serving",),
    ("bridge", "autoconfigure", "cli"),
    ("__main__",),
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def parts() -> dict[str, set[str]]:
    """The top-level parts of the package and the parts that each imports."""
    edges: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                edges.setdefault(part, set()).update(_targets(node))
    return {part: targets - {part} for part, targets in edges.items()}


def _targets(node: ast.ImportFrom) -> set[str]:
    package, _, module = (node.module or "").partition(".")
    if package != "otel_prom_bridge":
        return set()
    return {module.split(".")[0]} if module else {alias.name for alias in node.names} & LEVEL.keys()


def test_imports_point_down() -> None:
    """Every part imports only parts of lower layers, so there is no cycle and no way back."""
    wrong = {
        (part, target)
        for part, targets in parts().items()
        for target in targets
        if LEVEL[target] >= LEVEL[part]
    }
    assert wrong == set()


def test_translation_and_exposition_do_not_know_each_other() -> None:
    """Families are all that the two sides share."""
    graph = parts()
    assert graph["translate"] <= {"families", "errors"}
    assert graph["exposition"] <= {"families", "histograms", "merging", "errors", "diagnostics"}
    assert graph["endpoint"] <= {"exposition", "families", "errors", "diagnostics", "coalescing", "forks"}


def test_the_package_has_all_of_its_names() -> None:
    """Each is imported when it is used; one that does not exist is an AttributeError like any other."""
    assert sorted(otel_prom_bridge._HOMES) == sorted(otel_prom_bridge.__all__)
    for name in otel_prom_bridge.__all__:
        assert getattr(otel_prom_bridge, name).__name__ == name
        assert name in dir(otel_prom_bridge)
    assert not hasattr(otel_prom_bridge, "nothing")


def test_recorders_load_no_sdk() -> None:
    """They are for any exporter: who imports them gets neither the SDK nor this bridge."""
    code = "import sys, otel_prom_bridge.genai; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "opentelemetry.metrics" in loaded
    assert not [name for name in loaded if name.startswith(("opentelemetry.sdk", "prometheus_client"))]
    assert {name.split(".")[1] for name in loaded if name.startswith("otel_prom_bridge.")} == {
        "diagnostics",
        "errors",
        "genai",
        "instruments",
        "model_names",
    }
