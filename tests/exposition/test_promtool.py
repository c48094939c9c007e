"""How promtool judges what tests expose: many texts at once, and each that is ill-formed fails its test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import promtool
import pytest
from promtool import PROMTOOL, promtool_complaint, promtool_complaints

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here")

WELL_FORMED = b"".join(
    [
        b"# HELP a_total A.\n# TYPE a_total counter\na_total 1\n",
        b'# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
        b'_ 1\n:b{k="# HELP a\\n"} NaN 1000\n# EOF\n',
    ]
)
ILL_FORMED = [
    b"1a 1\n",
    b"a-b 1\n",
    b"a 1",
    b"# TYPE a",
    b"a\n",
    b"a 1\n# TYPE a gauge\n",
    b"# TYPE a gauge\n# TYPE a gauge\n",
    b"# TYPE a number\n",
    b"# HELP a A.\n# HELP a A.\n",
    b'a{k="1",k="2"} 1\n',
    b'a{k="\n"} 1\n',
    b'a{k="1} 1\n',
    b'a{1k="1"} 1\n',
    b"a{ 1\n",
    b"a one\n",
    b"\xff 1\n",
]


@pytest.mark.parametrize("text", ILL_FORMED)
def test_what_is_ill_formed_is_found_beside_others(text: bytes) -> None:
    """Beside one that has the same names, and is well-formed."""
    (found, none) = promtool_complaints([text, WELL_FORMED])
    assert found is not None
    assert none is None


def test_many_that_are_well_formed_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though they have the same names."""
    started: list[bytes] = []
    monkeypatch.setattr(promtool, "promtool_complaint", lambda text: started.append(text))
    assert promtool_complaints([WELL_FORMED] * 100) == [None] * 100
    (joined,) = started
    monkeypatch.undo()
    assert promtool_complaint(joined) is None
    assert joined.count(b"# HELP a_total A.") == 0
    assert joined.count(b" A.\n") == 100


TESTS = """
import pytest
from judging import judge_later

@pytest.mark.parametrize("text", [b"a 1\\n", b"a one\\n"])
def test_it(request, text):
    judge_later([text, b"b 1\\n"], request.node)

def test_other():
    pass
"""


@pytest.mark.parametrize("processes", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_test_that_is_over_fails(tmp_path: Path, processes: str) -> None:
    """In whatever process it ran, and it is the one that is run again."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "judging", "-p", "no:hypothesispytest", "-q", "-n"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}

    def ended(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    code, said = ended(processes)
    assert code == 1, said
    assert "ERROR at teardown of test_it[a one\\n]" in said
    assert "text format parsing error in line" in said
    assert "3 passed, 1 error" in said
    code, said = ended("0", "--last-failed")
    assert code == 1, said
    assert "1 passed, 1 error" in said
