"""Series that come and go under many threads while others scrape: totals are exact, and no counter falls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "churning.py"


def churn(seconds: float, *beside: str) -> dict[str, object]:
    """What the program says."""
    command = [sys.executable, str(PROGRAM), str(seconds), *beside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("door", ["sdk", "direct"])
def test_some_churn(door: str) -> None:
    """For half a second, with children that fork off and a limit that is reached."""
    found = churn(0.5, "limit", "fork", "others", door)
    assert found["recorded"]
    assert found["wrong"] == []


@pytest.mark.slow
@pytest.mark.parametrize("door", ["sdk", "direct"])
@pytest.mark.parametrize(
    "beside", ["others fork", "limit others", "view fork", "expire others fork", "expire limit"]
)
def test_much_churn(door: str, beside: str) -> None:
    """For twenty seconds; where series expire, they begin anew with a start time of their own."""
    found = churn(20, *beside.split(), door)
    assert found["recorded"]
    assert found["wrong"] == []
    if beside == "expire others fork":
        assert found["again"]
