"""The commands of docs/explorer.md do what the page says."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from explored import shop
from pages import DOCS, blocks
from servers import missing
from setups import Setup

from otel_prom_bridge import MetricsServer
from otel_prom_bridge.cli.parser import parser_of
from otel_prom_bridge.cli.serve import target_of
from otel_prom_bridge.explorer.options import TRACE_URL
from otel_prom_bridge.explorer.target import FileTarget, RecordingTarget, UrlTarget

PAGE = DOCS / "explorer.md"
SHELL = {block.heading: block.text for block in blocks(PAGE) if block.language == "sh"}


def test_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A URL, a file and a recording are what they are said to be."""
    monkeypatch.chdir(tmp_path)
    body = "# TYPE a gauge\na 1\n"
    Path("metrics.prom").write_text(body)
    moments = [{"time": time, "content_type": "text/plain", "body": body} for time in (0, 1)]
    recording = "\n".join(map(json.dumps, moments)).encode()
    Path("demo.jsonl.gz").write_bytes(gzip.compress(recording))
    kinds = []
    for line in SHELL["The explorer"].splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "otel-prom-bridge"
        kinds.append(type(target_of(parser_of(["serve"]).parse_args(arguments))))
    assert kinds == [UrlTarget, FileTarget, RecordingTarget]


def test_the_json(bridge: Callable[..., Setup], serve: Callable[..., MetricsServer]) -> None:
    """The line with jq shows the largest family."""
    for program in ("curl", "jq"):
        if shutil.which(program) is None:
            missing(program, package=program)
    setup = bridge()
    shop(setup)
    server = serve(setup.reader)
    line = SHELL["The JSON"].replace("localhost:9464", f"127.0.0.1:{server.port}")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=20)
    assert json.loads(done.stdout)["name"] == "http_server_request_duration_seconds"


def test_templates_of_traces() -> None:
    """Each template of the page is one that the option takes."""
    section = PAGE.read_text().partition("## From a dot to its trace")[2].partition("\n## ")[0]
    found = [row.split("`")[1] for row in section.splitlines() if row.startswith("| ") and "`" in row]
    assert len(found) == 4
    assert [TRACE_URL.value("trace_url", url) for url in found] == found
