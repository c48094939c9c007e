"""The bridge can be installed beside what it is for: there are releases of both that go together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What people install with it, not older than a year: what each allows of the SDK differs, and some pin it.
PACKAGES = (
    "google-adk>=2",
    "strands-agents>=1",
    "openlit>=1.40",
    "traceloop-sdk>=0.60",
    "langfuse>=5",
    "pydantic-ai>=2",
    "litellm[proxy-runtime]>=1.100",
    "opentelemetry-distro>=0.66b0",
    "opentelemetry-instrumentation-fastapi>=0.66b0",
    "opentelemetry-instrumentation-threading>=0.66b0",
)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_there_are_releases_for_both(package: str) -> None:
    """A resolver finds them. Bounds keep it from going back to a release that knew no SDK."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", "-"]
    asked = f"{package}\n{ROOT}\n"
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=False)
    if "No module named uv" in done.stderr:
        reason = "no uv here: it comes with `pip install otel-prom-bridge[dev]`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "opentelemetry-sdk==" in done.stdout
