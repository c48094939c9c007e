"""An isolated sub-interpreter allows no daemon threads: the bridge says so, and does without where it can."""

from __future__ import annotations

import subprocess
import sys

import pytest

CREATE = """
try:
    import _interpreters as interpreters
    create = lambda: interpreters.create("isolated")
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda: interpreters.create(isolated=True)
import sys
interpreter = create()
failure = interpreters.run_string(interpreter, f"import sys; sys.path[:] = {sys.path!r}\\n" + CODE)
assert not failure, failure
interpreters.destroy(interpreter)
print("the process goes on")
"""


def isolated(code: str) -> str:
    """What the code prints in an isolated sub-interpreter, which ends before the process does."""
    done = subprocess.run(
        [sys.executable, "-c", f"CODE = {code!r}\n{CREATE}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "does not support loading in subinterpreters" in done.stderr:
        pytest.skip("a package of the SDK cannot be imported there")
    assert done.stdout.endswith("the process goes on\n"), done.stderr
    return done.stdout


def test_start_says_that_there_are_no_threads() -> None:
    """It is an EndpointError with a sentence, and not whatever the interpreter says."""
    code = """
from otel_prom_bridge import EndpointError, start
try:
    start(port=0, set_global=False)
except EndpointError as error:
    print("said:", error)
"""
    said = isolated(code)
    assert "said: cannot serve metrics on " in said
    assert "this is an isolated sub-interpreter, which allows no daemon threads; start the bridge in" in said


def test_a_reader_works_without_threads() -> None:
    """What is scraped by a call is there, and nothing keeps the interpreter from ending."""
    code = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from otel_prom_bridge import PrometheusMetricReader, make_wsgi_app
reader = PrometheusMetricReader(registry=None)
provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
provider.get_meter("m").create_counter("calls").add(3)
app = make_wsgi_app(reader)
body = b"".join(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda *_: None))
print([line for line in body.decode().splitlines() if line.startswith("calls_total")])
provider.shutdown()
"""
    assert 'calls_total{otel_scope_name="m"' in isolated(code)
