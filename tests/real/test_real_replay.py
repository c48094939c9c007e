"""The demo, recorded and replayed into a real Prometheus 3: it answers as after the original scrape.

An hour of the demo goes by a clock that passes as fast as the demo gets along. No Prometheus can scrape
that, so the original is what the endpoint said every minute, loaded with these times, in a way that knows
nothing of snapshots and recordings. A quarter of a minute of the demo goes by the real time: one Prometheus
scrapes it, one command records it, and another command replays it for another Prometheus.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kept_recordings import save_recording
from oracles import OPENMETRICS
from servers import Prometheus, free_port, newer, prometheus, running, wait_for
from simulated import SimulatedTime

from otel_prom_bridge import start
from otel_prom_bridge.demo import AGENTS, Service
from otel_prom_bridge.testing import Clock, Snapshot

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(400)]

HOUR, INTERVAL = 3600, 60
# What is as it was at the end, whenever that was scraped.
TOTALS = [
    "sum by (model, status) (llmdevops_llm_requests_total)",
    "sum by (model, type) (llmdevops_llm_tokens_total)",
    "sum by (model) (llmdevops_llm_cost_usd_total)",
    "sum by (error_type) (llmdevops_llm_errors_total)",
    "histogram_quantile(0.95, sum by (le, model) (llmdevops_llm_request_duration_seconds_bucket))",
    "sum(llmdevops_http_request_duration_seconds_sum) / sum(llmdevops_http_request_duration_seconds_count)",
    "count by (__name__) ({__name__=~'llmdevops_.+'})",
]
# What depends on when it was scraped.
RATES = [
    "sum by (model) (rate(llmdevops_llm_requests_total[{range}]))",
    "sum(increase(llmdevops_llm_tokens_total[{range}]))",
    "histogram_quantile(0.5, sum by (le) (rate(llmdevops_llm_request_duration_seconds_bucket[{range}])))",
]
QUERIES = [*TOTALS, *RATES]


def test_an_hour_of_the_demo(tmp_path: Path) -> None:
    """Ten queries, at every fifth minute, have the answers of the original, to the last bit."""
    executable = newer("sid", "prometheus")
    original, snapshots = [], []
    for begun, body in hour_of_the_demo():
        original.append((begun, body))
        snapshots.append(Snapshot(Snapshot.of(body).families, begun))
    save_recording(snapshots, tmp_path / "hour.jsonl.gz")
    replay = [sys.executable, "-m", "otel_prom_bridge", "replay", tmp_path / "hour.jsonl.gz", "--backfill"]
    bodies = {
        "original": with_times(original).encode(),
        "replay": subprocess.run(replay, check=True, capture_output=True, timeout=100).stdout,
    }
    begin, end = original[0][0], original[-1][0]
    assert end - begin == HOUR
    answers = {}
    for name, body in bodies.items():
        (tmp_path / name).mkdir()
        with loaded(executable, body, tmp_path / name) as server:
            answers[name] = {
                query: [
                    server.query(query.replace("{range}", "5m"), time=begin + minute * 60)
                    for minute in range(5, HOUR // 60 + 1, 5)
                ]
                for query in QUERIES
            }
    assert len(QUERIES) == 10
    for query in QUERIES:
        assert ordered(answers["replay"][query]) == ordered(answers["original"][query]), query
        assert answers["original"][query][-1], query


def hour_of_the_demo() -> Iterator[tuple[float, bytes]]:
    """What the endpoint of the demo says every minute of an hour, and when."""
    clock = Clock()
    simulated = SimulatedTime(clock, threads=len(AGENTS) + 2)  # its callers, and whoever scrapes
    with (
        clock.standing(),
        start(port=0, set_global=False, profile="llmdevops", resource={"service.name": "demo"}) as bridge,
        Service(meter_provider=bridge.meter_provider, wait=simulated.wait, clock=clock),
    ):
        for _ in range(HOUR // INTERVAL):
            yield clock.epoch + clock(), bridge.reader.expose(OPENMETRICS).body
            simulated.wait(INTERVAL)
        yield clock.epoch + clock(), bridge.reader.expose(OPENMETRICS).body
        simulated.end()


def with_times(bodies: list[tuple[float, bytes]]) -> str:
    """Expositions as one, with the time behind each sample: families and series stand together."""
    families: dict[str, tuple[list[str], dict[str, list[str]]]] = {}
    for at, body in bodies:
        samples: dict[str, list[str]] = {}
        for line in body.decode().removesuffix("# EOF\n").splitlines():
            if line.startswith("# TYPE"):
                metadata, samples = families.setdefault(line.split()[2], ([line], {}))
            elif line.startswith("#"):
                metadata += [line] if line not in metadata else []
            else:
                series, value = line.partition(" # {")[0].rsplit(" ", 1)
                # A histogram is a metric with several series, which stand together.
                samples.setdefault(series, []).append(f"{series} {value} {at:.3f}")
    lines = [
        line
        for metadata, series in families.values()
        for part in (metadata, *series.values())
        for line in part
    ]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def loaded(executable: str, body: bytes, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has these samples, and no more."""
    (folder / "all.om").write_bytes(body)
    make = [newer("sid", "promtool"), "tsdb", "create-blocks-from", "openmetrics", "all.om", "data"]
    subprocess.run(make, check=True, capture_output=True, timeout=100, cwd=folder)
    with prometheus(executable, folder, {}, arguments=["--storage.tsdb.retention.time=100y"]) as server:
        yield server


def ordered(answers: list[list[dict[str, Any]]]) -> list[list[tuple[Any, ...]]]:
    """Answers that may be compared: vectors have no order."""
    return [sorted((sorted(item["metric"].items()), *item["value"]) for item in answer) for answer in answers]


def test_a_quarter_of_a_minute_of_the_demo(tmp_path: Path) -> None:
    """What was scraped, and what is scraped of a replay of what was recorded beside it."""
    executable = newer("sid", "prometheus")
    file = tmp_path / "demo.jsonl"
    command = [sys.executable, "-m", "otel_prom_bridge"]
    with start(port=0, addr="127.0.0.1", set_global=False, profile="llmdevops") as bridge:
        recorder = [*command, "record", bridge.server.url, "--out", file, "--interval", "1", "--for", "20"]
        with scraped(executable, tmp_path / "original", bridge.server.port) as server:
            with running(recorder, log=tmp_path / "record.log") as recording:
                with Service(meter_provider=bridge.meter_provider):
                    time.sleep(15)
                assert recording.wait(30) == 0
            original = answers_of(server)
    port = free_port()
    replay = [*command, "replay", file, "--port", str(port), "--addr", "127.0.0.1"]
    with (
        scraped(executable, tmp_path / "replay", port) as server,
        running(replay, log=tmp_path / "replay.log"),
    ):
        last = 'count({__name__=~"llmdevops_.+"} offset 2s) > 0 and on () vector(1)'
        wait_for(lambda: server.query(last), seconds=20, what="scrapes of the replay")
        time.sleep(21)
        again = answers_of(server)
    for query in TOTALS:
        assert again[query] == original[query], query
        assert original[query], query
    # What a new series has at its first scrape is in no rate, and the servers scrape at different moments.
    # That is a large share of a call in three seconds.
    for query in RATES:
        assert again[query] == pytest.approx(original[query], rel=0.5), query


def answers_of(server: Prometheus) -> dict[str, dict[str, float]]:
    """The answers to the ten queries, by the labels of what they found."""
    answers = {}
    for query in QUERIES:
        found = server.query(query.replace("{range}", "1m"))
        answers[query] = {str(sorted(item["metric"].items())): float(item["value"][1]) for item in found}
    return answers


@contextmanager
def scraped(executable: str, folder: Path, port: int) -> Iterator[Prometheus]:
    """A Prometheus that scrapes this port."""
    folder.mkdir()
    with prometheus(executable, folder, {"demo": f"127.0.0.1:{port}"}) as server:
        yield server
