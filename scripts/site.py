"""What mkdocs needs beside the pages of ``docs/``: the reference, the README, the changelog, and their links.

The reference has a page for each module that docs/design.md names as public, with the names that stand there,
in that order. mkdocstrings makes it of the docstrings, which are written for Sphinx and for doctest.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# Pages that are not below docs/, by the name that they get there.
OUTSIDE = {"readme.md": "README.md", "changelog.md": "CHANGELOG.md"}
REFERENCE = "reference"
# Classes of options, and whose constructors take their fields as arguments.
OPTIONS = {
    "pipeline.options.PipelineOptions": (
        "reader.reader.PrometheusMetricReader",
        "direct.reader.DirectReader",
    ),
    "push.pushed.PushOptions": ("push.reader.PushReader", "direct.push_reader.DirectPushReader"),
}
_EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", re.MULTILINE)


def public() -> dict[str, list[str]]:
    """The public names of each module, as docs/design.md has them."""
    section = (
        (ROOT / "docs" / "design.md").read_text().partition("## What is public\n")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| `(otel_prom_bridge[\w.]*)` \| (.*) \|$", section, re.MULTILINE)
    return {module: re.findall(r"`(\w+)`", names) for module, names in rows}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name, path in OUTSIDE.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / path).read_text())
        files.append(File.generated(config, name, content=_linked(text, outside="")))
    modules = public()
    index = "\n".join(f"- [`{module}`]({module}.md)" for module in modules)
    first = f"# Reference\n\nWhat is public, by the module to import it from.\n\n{index}\n"
    files.append(File.generated(config, f"{REFERENCE}/index.md", content=first))
    for module, names in modules.items():
        files.append(File.generated(config, f"{REFERENCE}/{module}.md", content=_reference(module, names)))
    return files


def _reference(module: str, names: list[str]) -> str:
    blocks = "\n".join(
        f"## {name}\n\n::: {module}.{name}\n    options:\n      heading_level: 3\n" for name in names
    )
    return f"# {module}\n\n{blocks}"


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Lead links that leave docs/ to the pages that were added."""
    return _linked(markdown, outside="../" * (page.file.src_uri.count("/") + 1))


def _linked(text: str, *, outside: str) -> str:
    """The text with links to pages that are there; of files of the repository only the name stays."""
    above = outside[3:]
    for name, path in OUTSIDE.items():
        text = text.replace(f"]({outside}{path}", f"]({above}{name}")
    return re.sub(
        rf"\[([^\]]*)\]\({re.escape(outside)}(?:examples|LICENSE|benchmarks|Makefile)[^)]*\)", r"\1", text
    )


def _section(example: re.Match[str]) -> str:
    return "Examples:\n" + textwrap.indent(example[0], "    ")


class Docstrings(griffe.Extension):
    """Writes in Markdown what docstrings have in the notations of Sphinx and doctest."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Roles become code (:class:`Counter`), and examples of an interpreter a section."""
        if obj.docstring is not None:
            text = re.sub(r":(?:class|func|meth|mod|attr|exc|data|obj):`~?", "`", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub(_section, text)

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Show the arguments of readers, which a decorator makes of the fields of their options."""
        for options, readers in OPTIONS.items():
            kind = griffe.ParameterKind.positional_or_keyword
            arguments = [griffe.Parameter("self", kind=kind)]
            for name, field in pkg[options].attributes.items():
                if name == "_":  # a dataclass takes what follows by its name only
                    kind = griffe.ParameterKind.keyword_only
                else:
                    argument = griffe.Parameter(
                        name, annotation=field.annotation, kind=kind, default=field.value
                    )
                    arguments.append(argument)
            for reader in readers:
                pkg[reader]["__init__"].parameters = griffe.Parameters(*arguments)
