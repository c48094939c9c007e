"""Every block of commands, queries, configuration and code in the documentation is run by some test.

The table below says by which. It is checked from both sides: a block that no row is about fails here, and so
does a row whose block or test is gone. What cannot be run here is an exception, with the reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pages import DOCS, ROOT, blocks
from promtool import approved

RUN = {"sh", "bash", "console", "python", "toml", "yaml", "promql"}
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

# Of a page, or of a heading of it, and of a language: the test that runs it. One test runs all Python.
EVERYWHERE = {"python": "docs/test_docs.py::test_python_blocks_run"}
BY: dict[tuple[str, str, str], str] = {
    ("README.md", "otel_prom_bridge", "sh"): "doors/test_demo.py::test_demo_shows_what_it_promises",
    ("README.md", "Start", "sh"): "docs/test_docs_shell.py::test_without_a_call",
    ("README.md", "Start", "yaml"): "docs/test_blocks.py::test_the_scrape_config_of_the_readme",
    ("commands.md", "", "sh"): "docs/test_docs_shell.py::test_commands",
    ("commands.md", "synth", "toml"): "docs/test_docs_shell.py::test_commands",
    ("configuration.md", "TOML", "toml"): "docs/test_docs.py::test_files_with_options_work",
    ("configuration.md", "YAML", "yaml"): (
        "configuration/test_declarative.py::test_the_documented_file_does_what_it_says"
    ),
    ("explorer.md", "The explorer", "sh"): "explorer/test_explorer_page.py::test_serve",
    ("explorer.md", "The JSON", "sh"): "explorer/test_explorer_page.py::test_the_json",
    ("genai.md", "", "toml"): "docs/test_docs.py::test_profiles_in_the_documentation_work",
    ("guide.md", "", "sh"): "real/test_real_guide.py::test_the_exemplar_leads_to_the_call",
    ("guide.md", "In Grafana", "yaml"): "docs/test_blocks.py::test_the_datasource_of_the_guide",
    ("hub.md", "A hub: one endpoint for all processes", "sh"): (
        "docs/test_docs_shell.py::test_run_in_front_of_a_server"
    ),
    ("hub.md", "Where the command cannot be changed", "sh"): "docs/test_docs_shell.py::test_a_hub_of_its_own",
    ("installing.md", "Installing", "sh"): "docs/test_docs_shell.py::test_installing",
    ("limits.md", "Which label is it?", "sh"): "docs/test_docs_shell.py::test_cardinality",
    ("mounting.md", "No call at all", "sh"): "docs/test_docs_shell.py::test_without_a_call",
    (
        "production.md",
        "All of it at once",
        "sh",
    ): "real/test_real_stack.py::test_the_exemplars_lead_to_traces",
    ("production.md", "In a container", "sh"): "docs/test_docs_shell.py::test_the_host_of_a_container",
    ("production.md", "Kubernetes", "yaml"): "docs/test_docs_production.py::test_the_container_s_environment",
    ("production.md", "Alerts", "yaml"): "docs/test_docs_production.py::test_rules",
    ("profiles.md", "", "toml"): "docs/test_docs.py::test_profiles_in_the_documentation_work",
    ("profiles.md", "The dashboard", "sh"): "docs/test_docs_shell.py::test_dashboards",
    ("runbooks.md", "", "sh"): "docs/test_runbooks.py::test_commands",
    ("runbooks.md", "Too many series", "toml"): "docs/test_runbook_remedies.py::test_the_view_of_the_page",
    ("ha.md", "A name for each instance", "yaml"): "docs/test_docs_units.py::test_a_name_for_each_instance",
    ("ha.md", "Tenants", "sh"): "real/test_real_tenants.py::test_tenants_see_their_own",
    ("scaling.md", "A hub for each machine, scraped", "sh"): (
        "real/test_real_scaling.py::test_vmagent_and_prometheus_have_the_same"
    ),
    ("scaling.md", "Federation", "sh"): (
        "real/test_real_scaling.py::test_the_federation_has_what_both_of_a_pair_sum_up"
    ),
    ("scaling.md", "Federation", "promql"): (
        "real/test_real_scaling.py::test_the_federation_has_what_both_of_a_pair_sum_up"
    ),
    ("scaling.md", "Services that push to a database", "sh"): (
        "real/test_real_scaling.py::test_services_push_cumulatively"
    ),
    ("securing.md", "An example", "toml"): "configuration/test_serving.py::test_the_documented_endpoint",
    ("securing.md", "An example", "yaml"): "configuration/test_serving.py::test_the_documented_scrape_config",
    ("servers.md", "", "sh"): "docs/test_docs_shell.py::test_without_a_call_under_gunicorn",
    ("troubleshooting.md", "", "sh"): "docs/test_docs_shell.py::test_an_empty_panel_and_missing_costs",
    ("view-options.md", "In a file", "toml"): (
        "views/test_written.py::test_the_examples_of_the_page_are_the_same"
    ),
    ("view-options.md", "In a file", "yaml"): (
        "views/test_written.py::test_the_examples_of_the_page_are_the_same"
    ),
    ("views.md", "Without touching the code", "sh"): (
        "docs/test_docs_shell.py::test_a_view_without_touching_the_code"
    ),
    ("workers.md", "One endpoint for all of them", "sh"): (
        "docs/test_docs_shell.py::test_run_in_front_of_a_server"
    ),
    ("workers.md", "Scraping all of them", "yaml"): (
        "docs/test_docs_production.py::test_the_ports_of_two_workers"
    ),
}
# What is not run, and why.
EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("scaling.md", "Kubernetes", "sh"): (
        "it needs a cluster; docs/test_docs_units.py builds what kubectl applies, and checks it by schemas"
    ),
    ("scaling.md", "systemd", "sh"): (
        "it needs systemd as the first process; docs/test_docs_units.py verifies the units and the socket"
    ),
    ("hub.md", "Other exporters and languages", "sh"): (
        "it needs Java; hub/test_run.py runs the same in front of OpenTelemetry's own exporter for Python"
    ),
}


def found() -> set[tuple[str, str, str]]:
    """The page, the heading and the language of each block that is to be run."""
    return {
        (block.page, block.heading, block.language)
        for page in PAGES
        for block in blocks(page)
        if block.language in RUN and block.language not in EVERYWHERE
    }


def row_of(block: tuple[str, str, str]) -> tuple[str, str, str] | None:
    """The key of the row about a block; one about its heading comes before one about its page."""
    page, _, language = block
    for key in (block, (page, "", language)):
        if key in BY or key in EXCEPTIONS:
            return key
    return None


def test_every_block_is_run_by_some_test() -> None:
    """Each has a row, and each row has a block."""
    assert sorted(block for block in found() if row_of(block) is None) == []
    assert {*BY, *EXCEPTIONS} - {row_of(block) for block in found()} == set()
    assert len(EXCEPTIONS) <= 5


@pytest.mark.parametrize("key", BY, ids=lambda key: f"{key[0]}-{key[1]}-{key[2]}")
def test_its_test_exists(key: tuple[str, str, str]) -> None:
    """The test that is named is there, and its file names what it reads."""
    file, _, name = BY[key].partition("::")
    text = (ROOT / "tests" / file).read_text()
    assert re.search(rf"^def {name}\b", text, re.MULTILINE)
    reads = key[0] in text or Path(key[0]).stem in Path(file).stem or "glob(" in text
    assert (
        reads or "`make demo`" in text or "EXAMPLES" in text or "examples" in text
    )  # a page about files of examples/


def test_the_datasource_of_the_guide() -> None:
    """What Grafana is to be given has the keys that its provisioning reads."""
    (text,) = (block.text for block in blocks(DOCS / "guide.md") if block.language == "yaml")
    read = yaml.safe_load(text)
    assert read["apiVersion"] == 1
    for source in read["datasources"]:
        assert {"name", "type", "url"} <= set(source)


@pytest.mark.real_server
@pytest.mark.usefixtures("real_prometheus")
def test_the_scrape_config_of_the_readme(tmp_path: Path) -> None:
    """Prometheus takes it."""
    (text,) = (block.text for block in blocks(ROOT / "README.md") if block.language == "yaml")
    (tmp_path / "prometheus.yml").write_text(text)
    approved("check", "config", tmp_path / "prometheus.yml")
