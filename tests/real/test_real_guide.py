"""docs/guide.md is true: its commands, run in their order, lead from nothing to the trace of a call."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_openai import fake_openai
from servers import free_port, missing

pytestmark = [pytest.mark.real_server, pytest.mark.timeout(120), pytest.mark.slow]

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
MARK = "=== the next block"
SECONDS = 55


@pytest.fixture(scope="module")
def outputs(real_prometheus: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block of the page has written, after all of them have run in one shell."""
    for program in ("bash", "curl", "jq", "pip"):
        _needed(program, real_prometheus)
    folder = tmp_path_factory.mktemp("guide")
    with fake_openai() as base_url:
        yield _run(folder, base_url).split(f"{MARK}\n")[1:]


def _needed(program: str, prometheus: str) -> None:
    if shutil.which(program, path=_path(prometheus)) is None:
        missing(program, package=program)


def _path(prometheus: str) -> str:
    return os.pathsep.join(
        [str(Path(sys.executable).parent), str(Path(prometheus).parent), os.environ["PATH"]]
    )


def _run(folder: Path, base_url: str) -> str:
    """Run all blocks, at ports that are free, and end whatever they have started."""
    script = "".join(f"echo '{MARK}'\n{block}" for block in BLOCKS)
    # What the checkout gives is installed here; building it anew would need the network.
    assert "'path/to/checkout[dashboards]'" in script
    script = script.replace("path/to/checkout[", "otel-prom-bridge[")
    for port in ("9464", "9090"):
        script = script.replace(f"localhost:{port}", f"localhost:{{{port}}}")
    ports = {"9464": free_port(), "9090": free_port()}
    for port, free in ports.items():
        script = script.replace(f"{{{port}}}", str(free))
    environment = {
        "HOME": str(folder),
        "PATH": _path(shutil.which("prometheus") or ""),
        "NO_PROXY": "localhost,127.0.0.1",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": base_url,
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(ports["9464"]),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INDEX": "1",  # everything is here already
        "PIP_ROOT_USER_ACTION": "ignore",
        "PYTHONWARNINGS": "error::ResourceWarning",
    }
    log = folder / "guide.log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-euc", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        code = shell.wait(SECONDS)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(shell)
    logs = "\n".join(f"--- {file.name}\n{file.read_text()}" for file in sorted(folder.glob("*.log")))
    assert code == 0, logs
    return log.read_text()


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End the shell and everything in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shell.pid, number)
            shell.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def block(outputs: list[str], part: str) -> str:
    """The output of the one block that has this in it."""
    ((_, output),) = [(text, output) for text, output in zip(BLOCKS, outputs, strict=True) if part in text]
    return output


def test_the_endpoint_shows_the_profile_s_families(outputs: list[str]) -> None:
    """The metrics of the calls are there by the names of llmdevops, and have exemplars."""
    shown = block(outputs, "grep trace_id")
    assert re.search(
        r'^llmdevops_llm_requests_total\{.*model="gpt-4o-mini".*service="guide".*status="success".*\} [1-9]',
        shown,
        re.MULTILINE,
    )
    assert re.search(
        r'^llmdevops_llm_request_duration_seconds_bucket\{.*\} \d+ # \{trace_id="', shown, re.MULTILINE
    )


def test_rules_and_dashboard_are_written(outputs: list[str]) -> None:
    """The command names its two files, and promtool has no complaint."""
    written = block(outputs, "otel-prom-bridge dashboards")
    assert written.splitlines()[:2] == ["monitoring/llmdevops.json", "monitoring/llmdevops.rules.yml"]
    assert "SUCCESS" in written


def test_queries_answer(outputs: list[str]) -> None:
    """Prometheus has computed the recorded rate, and a quantile."""
    answers = block(outputs, "histogram_quantile").splitlines()
    rate, quantile = (line for line in answers if "=>" in line)
    assert "service_model:llmdevops_llm_requests:rate5m{" in rate
    assert 0 < float(quantile.split("=> ")[1].split(" @")[0]) < 10


def test_the_exemplar_leads_to_the_call(outputs: list[str]) -> None:
    """The slowest exemplar's trace is in the spans: the call of the model, and the span around it."""
    exemplars = [line.split("\t") for line in block(outputs, "query_exemplars").splitlines()]
    bound, value, trace_id = exemplars[-1]
    assert float(value) <= float(bound)
    assert float(value) == max(float(value) for _, value, _ in exemplars)
    spans = _documents(block(outputs, 'grep "$trace_id"'))
    assert {span["span"]["trace_id"] for span in spans} == {f"0x{trace_id}"}
    assert [span["name"] for span in spans] == ["chat gpt-4o-mini", "answer"]
    assert spans[0]["attributes"]["gen_ai.request.model"] == "gpt-4o-mini"


def _documents(text: str) -> list[dict[str, dict[str, str]]]:
    """JSON documents that follow one another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_it_is_one_page() -> None:
    """Nobody reads a guide of two pages; its YAML is YAML."""
    text = GUIDE.read_text()
    assert len(text.splitlines()) < 140
    for example in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        assert yaml.safe_load(example)["apiVersion"] == 1
