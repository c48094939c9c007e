"""The package as it is built: what is in it and what is not, its metadata, and that it works by itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from pages import DOCS, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_THE_SDIST = {"tests", "examples", "benchmarks", "docs", "scripts"}
ROOT_FILES = {"Makefile", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO", ".gitignore"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints; it has to end well."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that was made of it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ".")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    """The wheel."""
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """What it says of itself."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def sources(folder: str) -> set[str]:
    """The files of a folder of the project, without what running it leaves behind."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def test_the_wheel_has_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Each file of the package, and those that every wheel has."""
    names = set(wheel.namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert {name.partition(".dist-info/")[2] for name in about} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }
    assert names - about == sources("otel_prom_bridge")


def test_the_wheel_has_its_data(wheel: zipfile.ZipFile) -> None:
    """Types, profiles, parts and prices are there; nothing is that no program of ours reads."""
    names = {name.removeprefix("otel_prom_bridge/") for name in wheel.namelist()}
    data = {name for name in names if not name.endswith(".py") and ".dist-info/" not in name}
    assert {"py.typed", "prices/prices.toml", "profiles/semconv.toml", "profiles/parts/endpoint.toml"} <= data
    assert {Path(name).suffix for name in data} <= {".typed", ".toml", ".html", ".json"}


def test_the_sdist_has_what_it_should(built: Path) -> None:
    """The package and its tests, which can be run from there, and nothing of this machine."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
        assert not [member.name for member in archive.getmembers() if member.issym() or member.islnk()]
    expected = set().union(*map(sources, OF_THE_SDIST | {"otel_prom_bridge"})) | ROOT_FILES
    assert files == expected


def test_an_index_would_take_it(built: Path) -> None:
    """`twine check` has no complaint, not even about the README."""
    said = run(sys.executable, "-m", "twine", "check", "--strict", *sorted(built.iterdir()))
    assert said.count("PASSED") == 2


def test_the_classifiers_are_known() -> None:
    """Each is one that an index knows, in order, and the versions of Python are those that CI runs."""
    trove = pytest.importorskip("trove_classifiers")  # comes with hatchling
    assert set(PROJECT["classifiers"]) <= trove.classifiers
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert versions[0] == PROJECT["requires-python"].removeprefix(">=")


def test_the_table_of_extras() -> None:
    """It has each extra once, with the packages that it brings."""
    text = (DOCS / "installing.md").read_text()
    table = re.findall(r"^\| (`.*?) \| (.*?) \|", text.partition("## Extras")[2], re.MULTILINE)
    rows = {name: said for names, said in table for name in re.findall(r"`([\w-]+)`", names)}
    extras = PROJECT["optional-dependencies"]
    assert set(rows) == set(extras)
    for name in set(extras) - {"test", "docs", "dev"}:
        brought = {re.match(r"[\w-]+", requirement)[0] for requirement in extras[name]}  # type: ignore[index]
        assert set(re.findall(r"`([\w-]+)`", rows[name])) == brought
    always = {re.match(r"[\w-]+", requirement)[0] for requirement in PROJECT["dependencies"]}  # type: ignore[index]
    first = text.partition("## Extras")[0]
    assert (
        set(re.findall(r"`([\w-]+)`", "".join(re.findall(r"^\| (`.*?) \|", first, re.MULTILINE)))) == always
    )


def test_the_size_that_is_stated(wheel: zipfile.ZipFile) -> None:
    """It is that of the files, to a tenth; and so is their number."""
    said = re.search(r"itself is ([\d.]+) MB in (\d+) files", (DOCS / "installing.md").read_text())
    assert said is not None
    size = sum(item.file_size for item in wheel.infolist())
    assert float(said[1]) == pytest.approx(size / 1e6, rel=0.1)
    assert int(said[2]) == pytest.approx(len(wheel.namelist()), rel=0.1)


PROGRAM = """
import importlib, pkgutil, urllib.request
import otel_prom_bridge
from opentelemetry import metrics

left = []
for module in pkgutil.walk_packages(otel_prom_bridge.__path__, "otel_prom_bridge."):
    if module.name.endswith(("gunicorn", "__main__")):
        continue  # programs: they begin when they are imported
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        left.append(f"{module.name} {error.name or error}")
with otel_prom_bridge.start(port=0, profile="llmdevops") as bridge:
    metrics.get_meter("shop").create_counter("orders").add(1)
    body = urllib.request.urlopen(bridge.server.url).read().decode()
    assert "orders_total" in body
print(len(left), *sorted(left), sep="\\n")
"""


@pytest.mark.slow  # it fetches what the package needs
def test_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """Installed where nothing else is, it serves; only what is of an extra cannot be imported."""
    (path,) = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", path)
    (tmp_path / "program.py").write_text(PROGRAM)
    number, *missing = run(python, "program.py", cwd=tmp_path).split("\n")[:-1]
    assert int(number) == len(missing)
    extras = (
        "yaml",
        "grafana_foundation_sdk",
        "grpc",
        "sqlalchemy",
        "google",
        "opentelemetry.proto",
        "pytest",
    )
    assert [name for name in missing if not any(extra in name.partition(" ")[2] for extra in extras)] == []
    assert run(tmp_path / "venv" / "bin" / "otel-prom-bridge", "--version").split()[1] == PROJECT["version"]
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    own = {"pip", "setuptools", "_distutils_hack"}
    files = [path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    size = sum(
        path.stat().st_size for path in files if not path.relative_to(site).parts[0].startswith(tuple(own))
    )
    said = re.search(r"it is about (\d+) MB", (DOCS / "installing.md").read_text())
    assert said is not None
    assert int(said[1]) == pytest.approx(size / 1e6, rel=0.15)
