"""The packaged instrumentations of web frameworks fill the families of profiles, with no code of ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from environments import installed
from oracles import samples

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ("fastapi", "starlette", "flask", "django")
PACKAGES = [*FRAMEWORKS, "httpx", "a2wsgi", *(f"opentelemetry-instrumentation-{name}" for name in FRAMEWORKS)]
TEXT = "text/plain; version=0.0.4"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has all of them; `PRODUCERS_ENVIRONMENTS` keeps it."""
    kept = os.environ.get("PRODUCERS_ENVIRONMENTS")
    return installed(Path(kept) if kept else tmp_path_factory.mktemp("environments"), "http", PACKAGES)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("recording", ["sdk", "direct"])
@pytest.mark.parametrize(
    ("name", "opted", "broken"),
    [
        ("fastapi", "http", "5xx"),
        ("starlette", "http", "other"),  # it does not say how a request ended that raised
        ("flask", "http", "5xx"),
        ("flask", "", "5xx"),  # the names of before the stable conventions, in milliseconds
        ("django", "http", "5xx"),
    ],
)
def test_requests_are_counted_by_route(
    python: Path, name: str, opted: str, broken: str, recording: str
) -> None:
    """Each has the method, the route and the class of the status that the application answered with."""
    variables = {"OTEL_SEMCONV_STABILITY_OPT_IN": opted, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [python, ROOT / "tests" / "support" / "packaged_http.py", name, "research_api", recording],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=variables,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counted = {}
    for (sample, labels), value in samples(TEXT, done.stdout.encode()).items():
        if sample == "http_requests_total":
            said = dict(labels)
            path = said["path"].strip("/").replace("<", "{").replace(">", "}")
            counted[said["method"], path, said["status"]] = value
    assert counted == {("GET", "users/{user}", "2xx"): 2, ("GET", "broken", broken): 1}
