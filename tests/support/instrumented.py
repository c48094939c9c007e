"""Applications that run under `opentelemetry-instrument`.

That is a program which adds a folder to the path and becomes the application. The folder has a
`sitecustomize`, which Python imports as it starts, and that starts OpenTelemetry.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import programs

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
    folder: Path, code: str, *arguments: str, by_command: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run this code with these arguments and environment variables until its end.

    ``by_command`` runs the command itself; otherwise what it does is done here, which is faster.
    """
    app = folder / "app.py"
    app.write_text(code)
    command = [Path(sys.executable).with_name("opentelemetry-instrument")] if by_command else []
    return programs.run(
        [*command, sys.executable, app, *arguments],
        env={**os.environ, **({} if by_command else with_folder()), **NO_OTHERS, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def with_folder() -> dict[str, str]:
    """The environment that the command gives to an application."""
    spec = find_spec("opentelemetry.instrumentation.auto_instrumentation")
    assert spec is not None
    assert spec.origin is not None
    path = [str(Path(spec.origin).parent), os.getcwd(), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
