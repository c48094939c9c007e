"""docs/requirements.md accounts for everything: each number is there once, and what it names exists."""

from __future__ import annotations

import re
import tomllib

from pages import DOCS, ROOT

from otel_prom_bridge import errors
from otel_prom_bridge.profiles import BUILT_IN

PAGE = (DOCS / "requirements.md").read_text()
# What a row says that has no test.
REASONS = (
    *("not here", "not met", r"met \|", "yes", "no:", "%", "no switch", "what people do", "rows? above"),
    *("document", "those above", r"benchmarks\."),
)
TESTS = re.findall(r"`((?:[\w-]+/)*test_\w+\.py)::(test_\w+)`", PAGE)


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables below a heading, without their heads."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    heads = {before for before, line in re.findall(r"^\| (.*) \|\n(\|---.*)$", section, re.MULTILINE)}
    return [line.split(" | ") for line in found if line not in heads]


def test_every_test_that_is_named_exists() -> None:
    """The file is there, and has a function of that name."""
    assert len(TESTS) > 250
    missing = [
        f"{file}::{name}"
        for file, name in set(TESTS)
        if not re.search(rf"^(?:async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_row_says_where_or_why_not() -> None:
    """A row names a test, or a number that was measured, or the reason why there is none."""
    for line in re.findall(r"^\| .* \|$", PAGE, re.MULTILINE):
        if line.startswith("| ---") or "`test_" in line or "::test_" in line:
            continue
        heads = re.search(rf"^{re.escape(line)}\n\|---", PAGE, re.MULTILINE)
        said = re.search("|".join(REASONS), line)
        title = re.match(r"\| (Specification|Completion|Spec 333|Summary|System) \|", line)
        assert heads or said or title, line


def test_the_numbered_criteria() -> None:
    """FC-1 to CC-3, the components 1 to 35, and 9.1.1 to 9.2.8, each once."""
    first = [row[0] for row in rows("Specification: acceptance criteria")]
    assert first == [
        *(f"FC-{number}" for number in range(1, 13)),
        *(f"NFC-{number}" for number in range(1, 7)),
        *(f"CC-{number}" for number in range(1, 4)),
    ]
    numbers = [row[0] for row in rows("Completion: components") if row[0].isdigit()]
    assert numbers == [str(number) for number in range(1, 36)]
    verified = [row[0] for row in rows("Completion: verification") if row[0].startswith("9.")]
    assert verified == [*(f"9.1.{n}" for n in range(1, 21)), *(f"9.2.{n}" for n in range(1, 9))]


# How many tests the matrix has in each of its groups, and what else is counted there.
MATRIX = {
    "Registry": 11,
    "Counter": 9,
    "Gauge": 10,
    "Histogram": 10,
    "Labels": 10,
    "Serialization": 12,
    "Cardinality": 6,
    "HTTP handler": 12,
    "Integration: scrapes": 5,
    "Integration: LLM collector": 5,
    "Integration: agent collector": 4,
    "Integration: concurrency": 4,
    "Integration: compatibility": 3,
}


def test_the_matrix_is_whole() -> None:
    """Each group has as many rows as there are tests in it, and no test is there twice."""
    found = rows("Completion: test case matrix")
    groups = [row[0] for row in found]
    assert {group: groups.count(group) for group in groups} == MATRIX
    names = [(row[0], row[1]) for row in found]
    assert len(set(names)) == len(names)


def test_the_other_tables_are_whole() -> None:
    """Components with a coverage, benchmarks, variables, runbooks and criteria are as many as there were."""
    assert len(rows("Completion: coverage by component")) == 12  # with the whole
    assert len(rows("Completion: benchmarks")) == 8
    variables = re.findall(r"^\| `(METRICS_\w+)` \|", PAGE, re.MULTILINE)
    assert len(variables) == len(set(variables)) == 14
    assert [number for number in range(1, 6) if f"| 8.{number} runbook" not in PAGE] == []
    # Features and sections, what is said of them, and each line of the checklists.
    counted = {"Spec 333": 16, "Summary: key features": 57, "System: sections": 45}
    assert {heading: len(rows(heading)) for heading in counted} == counted
    options = PAGE.partition("The options of 7.1.6:")[2].partition("The errors of 8.1:")
    assert len(re.findall(r"^\| `", options[0], re.MULTILINE)) == 11
    assert len(re.findall(r"^\| `", options[2].partition("Performance (9)")[0], re.MULTILINE)) == 16


def test_errors_are_one_hierarchy() -> None:
    """Whoever catches the first has all of them, and the page says how many there are."""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = {each for each in classes if issubclass(each, Exception) and each.__module__ == errors.__name__}
    assert all(issubclass(each, errors.BridgeError) for each in raised)
    assert len(raised - {errors.BridgeError}) == 12
    assert "`BridgeError` and twelve below it" in PAGE


def test_coverage_is_demanded() -> None:
    """`make coverage` fails below what the documents ask for, and CI runs it."""
    report = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["coverage"]["report"]
    assert report["fail_under"] >= 85
    assert "make coverage" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_pages_of_profiles_are_there() -> None:
    """Each built-in profile has a page."""
    assert [name for name in BUILT_IN if not (DOCS / "profiles" / f"{name}.md").exists()] == []


def test_it_needs_no_document() -> None:
    """The page names the documents by their titles, and no file outside of the project."""
    assert "../shared" not in PAGE
    assert "seeds/" not in PAGE
