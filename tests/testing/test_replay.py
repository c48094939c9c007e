"""Recordings, made-up ones and others, that are served again."""

from __future__ import annotations

import gzip
import sys
import threading
from pathlib import Path
from typing import Any

import programs
import pytest
from kept_recordings import save_recording
from promtool import promtool
from servers import newer, prometheus

from otel_prom_bridge import start_http_server
from otel_prom_bridge.cli import main
from otel_prom_bridge.errors import ConfigurationError, ExpositionError
from otel_prom_bridge.snapshots.recordings import Recorder
from otel_prom_bridge.testing import (
    Clock,
    MetricsProbe,
    Recording,
    Replay,
    Snapshot,
    Synthetic,
    assert_valid_exposition,
)

SHOP: dict[str, Any] = {
    "seed": 7,
    "metrics": [
        {
            "name": "http.server.request.duration",
            "kind": "histogram",
            "unit": "s",
            "description": "Latency.",
            "rate": 20,
            "median": 0.12,
            "labels": {"http.route": 5, "http.request.method": {"GET": 9, "POST": 1}},
            "errors": {"label": "error.type", "share": 0.1, "values": ["timeout"]},
            "season": {"period": 600, "depth": 0.5},
        },
        {"name": "orders", "kind": "counter", "rate": 3, "labels": {"method": ["card", "cash"]}},
        {"name": "queue.length", "kind": "up_down_counter", "rate": 2},
        {"name": "temperature", "kind": "gauge", "unit": "Cel", "level": 20.0, "rate": 1},
    ],
}


def test_load_is_as_described() -> None:
    """Rates, shares and labels are those of the description; the same seed makes the same."""
    first, second = (Synthetic(SHOP).recording(600, interval=60) for _ in range(2))
    assert not first.snapshots[-1].diff(second.snapshots[-1])
    assert first.seconds == 600
    with MetricsProbe() as probe:
        Synthetic(SHOP).step(probe.meter(), 600)
        assert probe.value("orders_total") == 1800
        assert probe.value("orders_total", method="card") == pytest.approx(900, rel=0.15)
        errors = probe.value("http_server_request_duration_seconds_count", error_type="timeout")
        total = probe.value("http_server_request_duration_seconds_count")
        assert errors / total == pytest.approx(0.1, abs=0.03)
        assert probe.histogram("http_server_request_duration_seconds").quantile(0.5) == pytest.approx(
            0.12, abs=0.05
        )
    busy = [snapshot.by_name["orders_total"].points for snapshot in first.snapshots[1:]]
    assert all(len(points) == 2 for points in busy)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "timer"}, "metrics[0].kind: 'timer' is not allowed, expected one of"),
        (
            {"rat": 1},
            "metrics[0].rat: 'rat' is not allowed, expected one of the keys of a metric (did you mean 'rate'",
        ),
        ({"rate": -1}, "metrics[0].rate: -1 is not allowed"),
        ({"labels": {"k": 0}}, "metrics[0].labels.k: 0 is not allowed, expected a number of values"),
        ({"labels": []}, "metrics[0].labels: [] is not allowed, expected a table"),
        ({"errors": {"label": "x"}}, "metrics[0].errors.share: None is not allowed"),
        ({"season": {"period": 1, "depth": 2}}, "metrics[0].season.depth: 2 is not allowed"),
    ],
)
def test_descriptions_that_are_wrong(change: dict[str, Any], complaint: str) -> None:
    """The message names the key, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        Synthetic({"metrics": [{"name": "a", "kind": "counter", **change}]})
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_what_is_saved_is_loaded(tmp_path: Path, name: str) -> None:
    """A recording in a file is the same recording, compressed or not."""
    recording = Synthetic(SHOP).recording(60, interval=20)
    save_recording(recording.snapshots, tmp_path / name)
    again = Recording.of(tmp_path / name)
    assert [item.time for item in again.snapshots] == [item.time for item in recording.snapshots]
    for before, after in zip(recording.snapshots, again.snapshots, strict=True):
        assert not before.diff(after)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"time": 1}\n', "line 1 is no snapshot of a recording"),
        ('{"time": NaN, "body": "", "content_type": ""}\n', "line 1 is no snapshot of a recording"),
        ('{"time": 1, "body": "? ?", "content_type": ""}\n', "line 1: '? ?' is not a sample"),
        ("no recording\n", "line 1: 'no recording' is not a sample"),
    ],
)
def test_files_that_are_no_recordings(
    tmp_path: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says so, and the command ends with exit code 2."""
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(ExpositionError, match=r"r\.jsonl: line 1"):
        Recording.of(path)
    assert main(["replay", str(path), "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith(f"otel-prom-bridge: {path}: {complaint}")


def test_a_replay_shows_what_there_was_at_each_moment() -> None:
    """By its clock and its speed; the last snapshot stays, or it begins anew."""
    clock = Clock(0.0)
    recording = Synthetic(SHOP).recording(60, interval=20)
    replay, endless = (Replay(recording, speed=10, loop=loop, clock=clock) for loop in (False, True))
    counts = []
    for _ in range(5):
        with start_http_server(replay, port=0, cache_ttl=0) as server:
            snapshot = Snapshot.of(server.url)
        counts.append(recording.snapshots.index(next(s for s in recording.snapshots if not s.diff(snapshot))))
        clock.advance(2)
    assert counts == [0, 1, 2, 3, 3]
    assert replay.has_ended
    assert not endless.has_ended
    for accept in (None, "application/openmetrics-text;version=1.0.0"):
        exposition = endless.expose(accept)
        assert_valid_exposition(exposition.body, exposition.content_type)


def test_recording_an_endpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command fetches at an interval, and says what it wrote; a wrong URL makes no file."""
    with MetricsProbe() as probe:
        counter = probe.meter().create_counter("c")
        counter.add(1)
        with start_http_server(probe.reader, port=0, cache_ttl=0) as server:
            timer = threading.Timer(0.15, counter.add, [1])
            timer.start()
            path = tmp_path / "r.jsonl.gz"
            assert main(["record", server.url, "--out", str(path), "--interval", "0.1", "--count", "4"]) == 0
            timer.join()
    assert capsys.readouterr().out == f"{path}: 4 snapshots, 0 missed\n"
    found = Recording.of(path).snapshots
    assert [item.by_name["c_total"].points[0].value for item in (found[0], found[-1])] == [1, 2]
    assert main(["record", "localhost:1", "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    with pytest.raises(ExpositionError, match="cannot be written"):
        Recorder(tmp_path / "no" / "folder")


QUERIES = {
    "sum(orders_total)": lambda probe: probe.value("orders_total"),
    'orders_total{method="card"}': lambda probe: probe.value("orders_total", method="card"),
    "count(http_server_request_duration_seconds_count)": lambda probe: len(
        next(f for f in probe.families() if f.name == "http_server_request_duration_seconds").points
    ),
    "sum(http_server_request_duration_seconds_count)": lambda probe: probe.value(
        "http_server_request_duration_seconds_count"
    ),
    "sum(http_server_request_duration_seconds_sum)": lambda probe: probe.value(
        "http_server_request_duration_seconds_sum"
    ),
    'sum(http_server_request_duration_seconds_count{error_type="timeout"})': lambda probe: probe.value(
        "http_server_request_duration_seconds_count", error_type="timeout"
    ),
    **{
        f"histogram_quantile({q}, sum by (le) (http_server_request_duration_seconds_bucket))": (
            lambda probe, q=q: probe.histogram("http_server_request_duration_seconds").quantile(q)
        )
        for q in (0.5, 0.9, 0.99)
    },
    "temperature_celsius": lambda probe: probe.value("temperature_celsius"),
    "queue_length": lambda probe: probe.value("queue_length"),
}


@pytest.mark.slow
@pytest.mark.real_server
def test_an_hour_is_the_same_in_a_real_prometheus(tmp_path: Path) -> None:
    """Ten queries at the end of an hour have the answers that the probe has, which played the same load."""
    executable = newer("sid", "prometheus")
    tool = newer("sid", "promtool")
    recording = Synthetic(SHOP).recording(3600, interval=60)
    save_recording(recording.snapshots, tmp_path / "hour.jsonl.gz")
    (tmp_path / "hour.om").write_bytes(backfill(tmp_path / "hour.jsonl.gz"))
    make = [tool, "tsdb", "create-blocks-from", "openmetrics", tmp_path / "hour.om", tmp_path / "data"]
    programs.run(make, check=True, capture_output=True, timeout=100)
    end = recording.snapshots[-1].time
    settings = ["--storage.tsdb.retention.time=100y"]
    with MetricsProbe() as probe:
        synthetic = Synthetic(SHOP)
        for _ in range(60):
            synthetic.step(probe.meter("synthetic"), 60)
        with prometheus(executable, tmp_path, {}, arguments=settings) as server:
            for query, answer in QUERIES.items():
                (found,) = server.query(query, time=end)
                assert float(found["value"][1]) == pytest.approx(answer(probe), rel=1e-9), query
            increase = "sum(increase(orders_total[3600s]))"
            (found,) = server.query(increase, time=end)
            assert float(found["value"][1]) == pytest.approx(3 * 3600, rel=0.05)


def test_backfill_is_what_promtool_reads(tmp_path: Path) -> None:
    """A recording with times is OpenMetrics, and promtool makes blocks of it."""
    save_recording(Synthetic(SHOP).snapshots(120, interval=30), tmp_path / "r.jsonl")
    (tmp_path / "r.om").write_bytes(backfill(tmp_path / "r.jsonl"))
    done = promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "r.om", tmp_path / "data")
    assert done.returncode == 0, done.stderr


def backfill(path: Path) -> bytes:
    """What the command writes, in a process of its own: the parser that judges here reads no such series."""
    command = [sys.executable, "-m", "otel_prom_bridge", "replay", str(path), "--backfill"]
    body = programs.run(command, capture_output=True, check=True, timeout=100).stdout
    assert_valid_exposition(body, "application/openmetrics-text; version=1.0.0")
    return body


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    """A compressed recording that breaks off is no recording."""
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}" * 100)[:-12])
    with pytest.raises(ExpositionError, match="broken gzip"):
        Recording.of(path)
