"""Workflows, hooks and templates for contributors: they fit their published schemas, and name what exists."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner
from pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": [path for path in WORKFLOWS if path.stem == "ci"],
    "vendor.dependabot": [ROOT / ".github" / "dependabot.yml"],
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
}
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no files for contributors")


def jobs(path: Path) -> dict[str, Any]:
    """The jobs of a workflow."""
    return dict(yaml.safe_load(path.read_text())["jobs"])


STEPS = [
    step
    for path in WORKFLOWS
    for job in jobs(path).values()
    for step in job.get("steps", ())
    if "run" in step
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_they_fit_their_schema(schema: str) -> None:
    """The schemas are those that are published for each kind of file."""
    assert SCHEMAS[schema]
    command = ["--builtin-schema", schema, *map(str, SCHEMAS[schema])]
    done = CliRunner().invoke(check_jsonschema.main, command)
    assert done.exit_code == 0, done.output


@pytest.mark.skipif(sys.platform != "linux", reason="it is installed on Linux only")
def test_actionlint_has_no_complaint() -> None:
    """Expressions, inputs and outputs of actions are right, and no action is one that GitHub will not run."""
    program = Path(sys.executable).with_name("actionlint")
    # Other programs that it would ask are here on some machines only; the shell's syntax is looked at below.
    command = [program, "-shellcheck=", "-pyflakes=", "-no-color", *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_credentials_do_not_stay() -> None:
    """A checkout leaves no token behind, which a later step could hand on."""
    every = [step for path in WORKFLOWS for job in jobs(path).values() for step in job.get("steps", ())]
    checkouts = [step for step in every if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) > 5
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_what_steps_run_exists() -> None:
    """Each target of make is one of the Makefile, and each script and module is there."""
    text = "\n".join(step["run"] for step in STEPS)
    assert set(re.findall(r"\bmake ([a-z]+)", text)) == {"lint", "test", "slow", "coverage", "docs"}
    assert set(re.findall(r"\bmake ([a-z]+)", text)) <= TARGETS
    scripts = set(re.findall(r"\bsh (scripts/[\w-]+)", text))
    assert scripts
    assert all((ROOT / script).exists() for script in scripts)
    assert (ROOT / "benchmarks" / "compare.py").exists()
    assert "python -m benchmarks.compare" in text


def test_what_guides_name_exists() -> None:
    """CONTRIBUTING.md and SECURITY.md name targets and pages that there are."""
    for page in ("CONTRIBUTING.md", "SECURITY.md"):
        text = (ROOT / page).read_text()
        assert set(re.findall(r"`?\bmake (test|lint|slow|docs|demo)\b", text)) <= TARGETS
        for target in re.findall(r"\]\(([^)#:]+)", text):
            assert (ROOT / target).exists(), target


def test_every_shell_line_can_be_read() -> None:
    """The shell has no complaint about the syntax of any step. An expression of GitHub stands for a word."""
    for step in STEPS:
        script = re.sub(r"\$\{\{.*?\}\}", "word", step["run"])
        done = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0, done.stderr


def test_nothing_from_outside_gets_into_a_shell() -> None:
    """Names of branches and tags are handed over as variables, never as text of a script."""
    for step in STEPS:
        assert "github.event" not in step["run"], step
        assert "github.ref" not in step["run"], step
        assert "github.head" not in step["run"], step


def test_the_versions_of_python() -> None:
    """CI tests on those that the package says it supports."""
    (workflow,) = (path for path in WORKFLOWS if path.stem == "ci")
    matrix = jobs(workflow)["test"]["strategy"]["matrix"]["python"]
    classifiers = re.findall(r"Python :: (3\.\d+)\n", "\n".join([*PROJECT["classifiers"], ""]))
    assert matrix == classifiers


def test_rights_are_small() -> None:
    """A workflow may read, and a job says what it needs more; needs lead to jobs that are there."""
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}, path
        for name, job in jobs(path).items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            assert set(needs) <= set(jobs(path)), name


@pytest.mark.parametrize(("tag", "said"), [("right", ""), ("v99.0.0", "the tag is v99.0.0")])
def test_a_tag_has_to_be_the_version(tag: str, said: str) -> None:
    """The step of the release that compares them lets one tag pass."""
    (step,) = (step for step in STEPS if step.get("name") == "The tag is the version")
    environment = {**os.environ, "TAG": f"v{PROJECT['version']}" if tag == "right" else tag}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode == 0, said in done.stderr) == (not said, True), done.stderr


def test_hooks_run_what_make_lint_runs() -> None:
    """Each hook runs a program of the development environment, and the linters are those of the Makefile."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    assert [entry.split()[0] for entry in entries] == [
        ".venv/bin/ruff",
        ".venv/bin/ruff",
        ".venv/bin/mypy",
        ".venv/bin/python",
    ]
    for path in re.findall(r"tests/\S+", " ".join(entries)):
        assert (ROOT / path).exists()


def test_issues_ask_for_the_doctor() -> None:
    """The form for bugs asks for the output of a command that there is."""
    (form,) = (path for path in FORMS if path.stem == "bug")
    assert "otel-prom-bridge doctor" in form.read_text()


def module() -> Any:
    """`benchmarks.compare`, wherever pytest was started."""
    spec = importlib.util.spec_from_file_location("compare", ROOT / "benchmarks" / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(("here", "code"), [(1.4, 0), (1.6, 1)])
def test_the_threshold_of_benchmarks(
    here: float,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """The best times are compared, and what one side cannot do is left out."""
    compare = module()
    turns = iter([1.5, 9.0, 1.0, here])  # there, here, there, here

    def measured(checkout: Path) -> dict[str, float]:
        return {"scrape": next(turns), "new" if checkout == Path.cwd() else "old": 1.0}

    monkeypatch.setattr(compare, "measured", measured)
    assert compare.main(["--base", str(tmp_path), "--turns", "2"]) == code
    said = capsys.readouterr().out
    assert ("too slow: scrape" in said) == bool(code)
    assert "new" not in said


@pytest.mark.slow
@pytest.mark.clocked
def test_benchmarks_can_be_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout against itself is about as fast, in every measure."""
    monkeypatch.chdir(ROOT)
    assert module().main(["--base", str(ROOT), "--turns", "2", "--threshold", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8, lines
