"""The pytest plugin, in projects of its own: fixtures, kept snapshots, and what it costs others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from otel_prom_bridge.endpoint import MetricsServer
from otel_prom_bridge.testing import Clock, MetricsProbe, assert_valid_exposition
from otel_prom_bridge.testing.kept import KeptSnapshots

APPLICATION = """
from opentelemetry import metrics

orders = metrics.get_meter("shop").create_counter("orders")  # before anybody set a provider


def order(method):
    orders.add(1, {"method": method})
"""


def run(folder: Path, *arguments: str, code: str, beside: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest on a test file of its own, in a process of its own."""
    (folder / "test_it.py").write_text(code)
    (folder / "application.py").write_text(APPLICATION)
    (folder / "conftest.py").write_text(f'pytest_plugins = ["otel_prom_bridge.pytest_plugin"]\n{beside}')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_the_endpoint_is_real(metrics: MetricsProbe, metrics_endpoint: MetricsServer) -> None:
    """It is scraped over HTTP, and each scrape shows what was recorded before it."""
    counter = metrics.meter().create_counter("orders")
    for number in range(1, 3):
        counter.add(1)
        with urlopen(metrics_endpoint.url, timeout=5) as response:
            body = response.read()
            assert_valid_exposition(body, response.headers["Content-Type"])
        assert f"orders_total {number}" in body.decode()


def test_the_clock_comes_before_the_probe(metrics: MetricsProbe, metrics_clock: Clock) -> None:
    """In whichever order a test names them, the probe goes by the clock."""
    metrics.meter().create_histogram("h").record(1)
    metrics_clock.advance(3600)
    assert metrics.value("h_count") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "workers"), [("", []), ("before", []), ("during", []), ("before", ["-n", "2"])], ids=range(4)
)
def test_global_metrics(tmp_path: Path, setting: str, workers: list[str]) -> None:
    """Each test begins at zero, with instruments of modules, whoever sets the global provider and when."""
    own = "from opentelemetry.sdk.metrics import MeterProvider\nmetrics.set_meter_provider(MeterProvider())\n"
    code = f"""
import logging
from opentelemetry import metrics
import application
import pytest

logging.disable()
{own if setting == "before" else ""}

@pytest.mark.parametrize("number", range(1, 5))
def test_orders(global_metrics, number):
    if {setting == "during"}:
        from opentelemetry.sdk.metrics import MeterProvider
        metrics.set_meter_provider(MeterProvider())
    for _ in range(number):
        application.order("card")
    global_metrics.assert_counter("orders_total", number, method="card")
    assert global_metrics.delta("orders_total") == number
"""
    done = run(tmp_path, *workers, code=code)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


DIRECT = """
from opentelemetry import metrics
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader

metrics.set_meter_provider(DirectMeterProvider(DirectReader(registry=None)))

def test_orders(global_metrics):
    pass
"""


def test_global_metrics_have_one_reader_with_a_direct_provider(tmp_path: Path) -> None:
    """Which takes no second one; the error says what to do instead."""
    done = run(tmp_path, code=DIRECT)
    assert "1 error" in done.stdout, done.stdout + done.stderr
    assert "ask for global_metrics before the application sets its own" in done.stdout


SNAPSHOTS = """
import os

def test_orders(metrics, metrics_snapshot):
    counter = metrics.meter().create_counter("orders", description="Orders taken.")
    counter.add(int(os.environ["ORDERS"]), {"method": "card"})
    if os.environ["ORDERS"] == "3":
        counter.add(1, {"method": "cash"})
    metrics_snapshot(metrics)
"""


@pytest.mark.slow
def test_snapshots_are_kept_beside_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference is shown; an update keeps what there is now."""
    monkeypatch.setenv("ORDERS", "1")
    assert run(tmp_path, "--metrics-snapshots=new", code=SNAPSHOTS).returncode == 0
    kept = tmp_path / "__metrics__" / "test_it" / "test_orders.txt"
    assert 'orders_total{method="card"} 1\n' in kept.read_text()
    monkeypatch.setenv("ORDERS", "3")
    differs = run(tmp_path, code=SNAPSHOTS)
    assert differs.returncode == 1
    assert "+ orders_total{method='cash'} 1" in differs.stdout
    assert "~ orders_total{method='card'} was 1 and is 3" in differs.stdout
    assert run(tmp_path, "--metrics-snapshots=update", code=SNAPSHOTS).returncode == 0
    assert 'orders_total{method="cash"} 1\n' in kept.read_text()


def test_a_snapshot_that_is_not_kept(metrics: MetricsProbe, tmp_path: Path) -> None:
    """The failure says how to keep it."""
    with pytest.raises(AssertionError, match="pytest --metrics-snapshots=new keeps them"):
        KeptSnapshots(tmp_path / "test_x.py", "test[a/b]", mode="check")(metrics)


def test_who_does_not_use_it_loads_nothing() -> None:
    """The plugin imports neither the SDK nor any part of the bridge."""
    code = "import sys, otel_prom_bridge.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith(("opentelemetry", "otel_prom_bridge"))}
    small = {"otel_prom_bridge.lazy", "otel_prom_bridge.installed"}  # of which the package is made
    assert loaded == {"otel_prom_bridge", "otel_prom_bridge.pytest_plugin", *small}
