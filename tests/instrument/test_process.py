"""The process and the build, as the system and the environment say them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from genai_points import Recorded
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor

from otel_prom_bridge import clocks
from otel_prom_bridge.instrument import instrument_build, instrument_process, process


def test_the_process(recorded: Recorded) -> None:
    """psutil, which reads the same by other means, says about the same."""
    instrument_process(recorded.provider)
    instrument_process(recorded.provider)  # does nothing
    ours = psutil.Process()
    metrics = recorded.metrics()
    values = {name: metric.data.data_points for name, metric in metrics.items()}
    cpu = {p.attributes["cpu.mode"]: p.value for p in values["process.cpu.time"]}
    assert cpu["user"] == pytest.approx(ours.cpu_times().user, abs=1)
    assert cpu["system"] == pytest.approx(ours.cpu_times().system, abs=1)
    assert values["process.memory.usage"][0].value == pytest.approx(ours.memory_info().rss, rel=0.2)
    assert values["process.unix.file_descriptor.count"][0].value == pytest.approx(ours.num_fds(), abs=2)
    assert values["process.thread.count"][0].value == pytest.approx(ours.num_threads(), abs=2)
    assert values["process.start_time"][0].value == pytest.approx(ours.create_time(), abs=2)
    assert values["process.uptime"][0].value == pytest.approx(time.time() - ours.create_time(), abs=5)
    assert all(len(points) == 1 for name, points in values.items() if name != "process.cpu.time")


def test_the_packaged_instrumentation_has_the_same_names(recorded: Recorded) -> None:
    """Who has opentelemetry-instrumentation-system-metrics gets families of the same names from it."""
    other = Recorded()
    wanted = {
        "process.cpu.time": ["user", "system"],
        "process.memory.usage": None,
        "process.thread.count": None,
    }
    instrumentor = SystemMetricsInstrumentor(config=wanted)
    instrumentor.instrument(meter_provider=other.provider)
    instrument_process(recorded.provider)
    theirs, ours = other.metrics(), recorded.metrics()
    instrumentor.uninstrument()
    assert set(theirs) <= set(ours)
    assert {name: ours[name].unit for name in theirs if theirs[name].unit} == {
        name: metric.unit for name, metric in theirs.items() if metric.unit
    }


def test_another_system(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no /proc, what there is is shown, without an error."""
    monkeypatch.setattr(process, "_PROC", tmp_path / "nothing")
    monkeypatch.setattr(clocks, "_PROC", tmp_path / "nothing")
    instrument_process(recorded.provider)
    assert {name for name in recorded.metrics() if name.startswith("process.")} == {
        "process.cpu.time",
        "process.thread.count",
        "process.uptime",
        "process.start_time",
    }


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the build of this project's own CI."""
    for name in (*process._COMMITS, *process._TIMESTAMPS, *process._VERSIONS):
        monkeypatch.delenv(name, raising=False)


def build(recorded: Recorded) -> dict[str, object]:
    """What build.info says."""
    point = recorded.point("build.info")
    assert point.value == 1
    return dict(point.attributes)


@pytest.mark.usefixtures("no_build")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"version": "given"}),
        (
            {"GIT_COMMIT": "abc", "BUILD_TIMESTAMP": "2026-11-29T06:00:00Z"},
            {"version": "given", "commit": "abc", "timestamp": "2026-11-29T06:00:00Z"},
        ),
        ({"GITHUB_SHA": "def", "SERVICE_VERSION": "9"}, {"version": "given", "commit": "def"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "vcs.ref.head.revision=a%20b,service.version=7", "GIT_COMMIT": "x"},
            {"version": "given", "commit": "a b"},
        ),
        ({"OTEL_RESOURCE_ATTRIBUTES": ",=,novalue, =x"}, {"version": "given"}),
    ],
)
def test_the_build(
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    expected: dict[str, str],
) -> None:
    """Arguments come first, then resource attributes, then what builds leave in the environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    instrument_build(version="given", meter_provider=recorded.provider)
    instrument_build(version="again", meter_provider=recorded.provider)  # does nothing
    assert build(recorded) == expected


@pytest.mark.usefixtures("no_build")
def test_the_version_of_a_package(recorded: Recorded) -> None:
    """The version of the installed package is what remains; one that is not installed has none."""
    instrument_build("pytest", meter_provider=recorded.provider)
    assert build(recorded) == {"version": pytest.__version__}
    other = Recorded()
    instrument_build("no-such-package-anywhere", meter_provider=other.provider)
    assert build(other) == {}


def test_after_a_fork(recorded: Recorded) -> None:
    """A child has times and a start of its own."""
    parent = process._started()
    time.sleep(0.05)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(process._started()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert float(os.read(reading, 100)) > parent
    os.close(reading)
    os.close(writing)
