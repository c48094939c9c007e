"""Applications that run under `opentelemetry-instrument`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# How an application is told to have its metrics exposed, and nothing else exported.
EXPORTERS = {
    "OTEL_METRICS_EXPORTER": "prometheus_bridge",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}
# Instrumentations of what happens to be installed (openai, say) take most of the time of a start, and have no
# part in exposing metrics. The test of the README's command starts with them.
NO_OTHERS = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}


def instrumented(
    folder: Path, code: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run this code with these arguments and environment variables until its end."""
    app = folder / "app.py"
    app.write_text(code)
    return subprocess.run(
        [Path(sys.executable).with_name("opentelemetry-instrument"), sys.executable, app, *arguments],
        env={**os.environ, **NO_OTHERS, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
