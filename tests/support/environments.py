"""Environments with packages whose pins clash with those that the tests run with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest


def installed(folder: Path, name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages, and with what the bridge needs."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        base = ["opentelemetry-sdk", "prometheus-client", "h11"]
        for command in (
            [*uv, "venv", "-q", "--python", sys.executable, str(folder / name)],
            [*uv, "pip", "install", "-q", "--python", str(python), *packages, *base],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=220, check=False)
            if done.returncode:
                reason = f"cannot be installed here: {done.stderr[-300:]}"
                pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return python
