"""The documentation is true: its Python runs, its tables are what the code does, its links exist."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from servers import free_port

from otel_prom_bridge import ExportView, PrometheusMetricReader, rules, start
from otel_prom_bridge.dashboards import files_of
from otel_prom_bridge.families import Labels, MetricFamily
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.profiles.reference import reference
from otel_prom_bridge.report.self_metrics import metadata
from otel_prom_bridge.translate.labels import labels
from otel_prom_bridge.translate.names import metric_name

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1)
]
TOML_BLOCKS = [
    block
    for page in ("profiles.md", "genai.md")
    for block in re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL
    )
]


@pytest.mark.parametrize("code", BLOCKS)
def test_python_blocks_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block runs by itself, without an error or a warning."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    command = [sys.executable, "-W", "error", "-c", code]
    result = programs.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its two head rows."""
    text = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    lines = table[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("row", rows("translation.md", "Names"), ids=lambda row: row[0])
def test_the_table_of_names(row: list[str]) -> None:
    """Each row of the page's table of names is what the code gives."""
    name, unit, kind, expected = row
    assert metric_name(name, unit=unit, counter=kind == "counter") == expected


def label_rows() -> list[tuple[dict[str, object], bool, str]]:
    """The rows of the table of labels: attributes, whether on a histogram, the labels."""
    found = []
    for attributes, shown in rows("translation.md", "Labels"):
        code, _, where = attributes.partition("` on a ")
        found.append((ast.literal_eval(code), where == "histogram", shown.split("`")[0]))
    return found


@pytest.mark.parametrize(("attributes", "on_histogram", "expected"), label_rows())
def test_the_table_of_labels(attributes: dict[str, object], on_histogram: bool, expected: str) -> None:
    """Each row of the page's table of labels is what the code gives."""
    reserved = frozenset({"le"}) if on_histogram else frozenset[str]()
    found: Labels = labels(attributes.items(), reserved=reserved)
    assert ",".join(f'{name}="{value}"' for name, value in found) == expected.replace(r"\"", '"')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file, and its anchor a heading of that file."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if not anchor:
            continue
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, target


FORMATS = rows("formats.md", "Formats")


@pytest.mark.parametrize(("accept", "content_type"), FORMATS, ids=[row[0][:50] for row in FORMATS])
def test_the_table_of_formats(accept: str, content_type: str) -> None:
    """Each row of the page's table of formats is what a scrape with this header gets."""
    reader = PrometheusMetricReader(registry=None)
    headers = [None, "*/*", "image/png"] if accept.startswith("nothing") else [accept]
    assert [reader.expose(header).content_type for header in headers] == [content_type] * len(headers)
    reader.shutdown()


@pytest.mark.parametrize("row", rows("formats.md", "Names"), ids=lambda row: row[0])
def test_the_table_of_escaping(row: list[str]) -> None:
    """Each row of the page's table of names is how a scraper with this parameter gets the name."""
    scheme, shown = row
    parameter = "" if scheme.startswith("underscores") else f";escaping={scheme}"
    reader = PrometheusMetricReader(registry=None, translation_strategy="NoTranslation")
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("shop").create_gauge("http.requests").set(1)
    body = reader.expose(f"text/plain;version=1.0.0{parameter}").body.decode()
    name = shown.split("`")[0].strip("{}")
    assert re.search(rf"^# TYPE {re.escape(name)} gauge$", body, re.MULTILINE)
    provider.shutdown()


def first_cells(page: str, heading: str) -> list[str]:
    """What the first column of all tables below a heading names, in their order."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE)]
    return [name for cell in cells for name in re.findall(r"`(\w+)", cell)]


def test_every_option_of_a_view_is_listed() -> None:
    """The tables have each of them once."""
    assert sorted(first_cells("view-options.md", "Options")) == sorted(
        field.name for field in dataclasses.fields(ExportView)
    )


def test_every_rule_is_listed() -> None:
    """The table has each of them."""
    assert set(first_cells("view-options.md", "Rules")) >= set(rules.__all__) - {"Rule", "is_identifier"}


def test_every_metric_of_the_bridge_is_listed() -> None:
    """The tables have each of them once."""
    page = (ROOT / "docs" / "self-metrics.md").read_text()
    listed = re.findall(r"^\| `(\w+)", page, re.MULTILINE)
    known = [value.name for value in vars(metadata).values() if isinstance(value, MetricFamily)]
    assert sorted(listed) == sorted(known)


def option_files() -> list[str]:
    """The TOML files with options that pages show, by themselves or in a shell's here-document."""
    docs = ROOT / "docs"
    shown = re.findall(
        r"^```toml\n(.*?)^```$", (docs / "configuration.md").read_text(), re.MULTILINE | re.DOTALL
    )
    written = re.findall(
        r"^cat > bridge.toml <<'END'\n(.*?)^END$", (docs / "views.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert (len(shown), len(written)) == (1, 1)
    return shown + written


@pytest.mark.parametrize("text", option_files())
def test_files_with_options_work(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`start()` takes them, and has nothing to say."""
    (tmp_path / "bridge.toml").write_text(text)
    with start(config_file=tmp_path / "bridge.toml", port=0, set_global=False) as bridge:
        assert bridge.server.is_serving
    assert caplog.messages == []


def test_files_that_the_design_names_exist() -> None:
    """Every file and folder of the package that docs/design.md names is there, and every test."""
    design = (ROOT / "docs" / "design.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", design)) - {"docs/", "examples/"}
    assert len(named) > 40
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "otel_prom_bridge" / path).exists(), path


def test_the_index_names_every_page() -> None:
    """docs/README.md leads to all pages."""
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / path).resolve() for path in re.findall(r"\]\(([^)#]+)\)", index.read_text())}
    assert set(PAGES) - {index} == linked


def test_the_two_commands_exist() -> None:
    """The README's commands are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in (ROOT / "README.md").read_text()
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


# It knows nothing of the bridge.
APPLICATION = """
import os
from urllib.request import ProxyHandler, build_opener

from opentelemetry import metrics

metrics.get_meter("shop").create_counter("orders").add(1)
url = f"http://localhost:{os.environ['OTEL_EXPORTER_PROMETHEUS_PORT']}/metrics"
with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
    print(response.read().decode())
"""


@pytest.mark.slow
def test_the_readme_s_auto_instrumentation(tmp_path: Path) -> None:
    """The block, as it is printed, serves an application's metrics, and nothing is complained about."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "opentelemetry-instrument" in block)
    (tmp_path / "app.py").write_text(APPLICATION)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment["OTEL_EXPORTER_PROMETHEUS_PORT"] = str(free_port())
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["sh", "-euc", block]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "orders_total{" in result.stdout


@pytest.mark.parametrize("text", TOML_BLOCKS)
def test_profiles_in_the_documentation_work(text: str, tmp_path: Path) -> None:
    """Every profile that is shown can be read, and has a page, a dashboard and rules."""
    file = tmp_path / "shop.toml"
    file.write_text(text)
    profile = load_profile(file)
    assert reference(profile, given=str(file)).startswith("# Profile `shop`")
    assert set(files_of(profile)) == {"shop.json", "shop.rules.yml"}
