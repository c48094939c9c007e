"""`otel-prom-bridge demo`, which `make demo` runs: what a newcomer sees first."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from oracles import OPENMETRICS, parse
from prometheus_client import Metric
from servers import Running, free_port, get, running, wait_for

from otel_prom_bridge import PrometheusMetricReader, start_http_server
from otel_prom_bridge.dashboards.metric_names import names_in
from otel_prom_bridge.profiles import load_profile

LAST_LINE = "Ctrl-C ends it."
START_SECONDS = 15  # on a busy machine; it takes one


def demo(folder: Path, port: int, *arguments: str) -> AbstractContextManager[Running]:
    """Run the demo at a port of 127.0.0.1."""
    return running(
        [sys.executable, "-W", "error", "-m", "otel_prom_bridge", "demo", *arguments],
        log=folder / "demo.log",
        env={"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)},
    )


def test_demo_shows_what_it_promises(tmp_path: Path) -> None:
    """The URL, the names, the curl command and the exemplar that it prints are real; SIGINT ends it."""
    port = free_port()
    with demo(tmp_path, port) as process:
        output = process.until(LAST_LINE, START_SECONDS)
        url = f"http://127.0.0.1:{port}/metrics"
        assert f"\n  {url}\n" in output
        names = set(re.findall(r"^  (llmdevops_\w+)  ", output, re.MULTILINE))
        assert len(names) == 7
        names |= _queried(output)

        # Each agent's first task has to end before its duration is there, some call has to fail.
        def everything() -> bytes:
            body = get(url, accept=OPENMETRICS)[1]
            return body if all(name.encode() in body for name in names) else b""

        _check_families(wait_for(everything, seconds=40, what=f"samples of {names}"))
        (command,) = re.findall(r"^  (curl .*)$", output, re.MULTILINE)
        _check_command(command, url, sample=_exemplar_line(output))
        process.process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.output == output


def _queried(output: str) -> set[str]:
    """The metrics in the queries that it prints, which have the labels that it groups them by."""
    queries = re.findall(r"^  ((?:sum|histogram_quantile) ?\(?.*)$", output, re.MULTILINE)
    assert len(queries) == 2
    names = {name for query in queries for name in names_in(query) if name.startswith("llmdevops_")}
    assert names == {"llmdevops_llm_tokens_total", "llmdevops_llm_request_duration_seconds_bucket"}
    return names


def _check_families(body: bytes) -> None:
    families = {family.name: family for family in parse(OPENMETRICS, body)}
    assert families["target"].samples[0].labels["service_name"] == "demo-agents"
    for family in load_profile("llmdevops").shown():
        found = families.get(family.name.removesuffix("_total"))
        assert found is None or found.type == family.type
    for name, first, last in (
        ("llmdevops_llm_request_duration_seconds", 0.01, 81.92),
        ("llmdevops_llm_time_to_first_chunk_seconds", 0.01, 81.92),
        ("llmdevops_agent_execution_duration_seconds", 0.1, 409.6),
        ("llmdevops_http_request_duration_seconds", 0.005, 10),
    ):
        bounds = sorted({float(s.labels["le"]) for s in families[name].samples if "le" in s.labels})
        assert (bounds[0], bounds[-2]) == (first, last)
        _check_exemplars(families[name])
    _check_exemplars(families["llmdevops_llm_errors"])


def _check_exemplars(family: Metric) -> None:
    """There are some, and each names a trace and a span."""
    exemplars = [sample.exemplar for sample in family.samples if sample.exemplar is not None]
    assert exemplars
    for exemplar in exemplars:
        assert re.fullmatch("[0-9a-f]{32}", exemplar.labels["trace_id"])
        assert re.fullmatch("[0-9a-f]{16}", exemplar.labels["span_id"])


def _exemplar_line(output: str) -> str:
    (line,) = re.findall(r"^  (llmdevops_\w+_bucket\{.*\} \d+ # \{trace_id=.*)$", output, re.MULTILINE)
    return line


def _check_command(command: str, url: str, *, sample: str) -> None:
    """What the printed command does is done here, without the need for a curl."""
    curl, options, header, target, pipe, grep, pattern = shlex.split(command)
    assert (curl, options, target, pipe, grep) == ("curl", "-sH", url, "|", "grep")
    name, accept = header.split(": ")
    assert name == "Accept"
    lines = [line for line in get(target, accept=accept)[1].decode().splitlines() if pattern in line]
    series = sample.split(" ")[0]
    assert series in [line.split(" ")[0] for line in lines]


def test_demo_stops_by_itself(tmp_path: Path) -> None:
    """With --for it ends after that time, without an error."""
    with demo(tmp_path, free_port(), "--for", "0.5") as process:
        assert process.wait(START_SECONDS) == 0
        assert process.output.endswith(f"{LAST_LINE}\n")


def test_demo_says_that_the_port_is_in_use(tmp_path: Path) -> None:
    """It prints which address and port cannot be used and what to do, not a traceback."""
    reader = PrometheusMetricReader(registry=None)
    with (
        start_http_server(reader, port=0, addr="127.0.0.1") as taken,
        demo(tmp_path, taken.port) as process,
    ):
        assert process.wait(START_SECONDS) == 2
    (line,) = process.output.splitlines()
    assert line.startswith("otel-prom-bridge: ")
    assert f"cannot serve metrics on address '127.0.0.1', port {taken.port}" in line
