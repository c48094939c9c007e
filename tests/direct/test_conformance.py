"""The published tests of the API and the SDK, pointed at direct recording: see conformance.py.

They are not part of the installed packages, so they come from the source distributions of the very releases
that the tests run with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
# Which tests there are for a provider, and how many of them can be pointed at ours at least.
TESTS = {
    "opentelemetry-api": (["test_meter.py", "test_meter_provider.py"], 17),
    "opentelemetry-sdk": (
        [
            "integration_test",
            "test_attribute_hashing.py",
            "test_backward_compat.py",
            "test_in_memory_metric_reader.py",
            "test_instrument.py",
            "test_metrics.py",
        ],
        123,
    ),
}
# Those that fail, and why that is as it should be.
DIFFERENT = {
    "opentelemetry-api": {
        "TestGetMeter::test_get_meter_wrapper": "the meter without effect is asked for by its class",
        "TestMeter::test_repeated_instrument_names": "one mock for all callbacks, which the SDK refuses, too",
    },
    "opentelemetry-sdk": {
        "TestCardinalityLimit::test_default_limit_is_2000": "the limit is that of the bridge",
        # Prometheus' histograms have neither.
        "TestExplicitBucketHistogramAggregation::test_synchronous_cumulative_temporality": "min and max",
        "TestMeterProvider::test_addition_of_metric_reader": "what the SDK logs for a reader of its own",
        "TestMeterProvider::test_init_default": "it asks for a private class of the SDK",
        # test_same_rules.py has the same.
        "TestMeterProvider::test_shutdown_race": "it replaces the SDK's logger",
        # The SDK logs it at each collection.
        "TestSumAggregation::test_asynchronous_cumulative_temporality": "a callback's failure is logged once",
    },
}


def published(package: str, folder: Path) -> Path:
    """The tests in the source distribution of a package, in the release that is installed."""
    name = f"{package.replace('-', '_')}-{version(package)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    command += ["--no-build-isolation", "--dest", str(folder), f"{package}=={version(package)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    archive = folder / f"{name}.tar.gz"
    if done.returncode or not archive.exists():
        reason = f"{package} has no source distribution here: {done.stderr[-300:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with tarfile.open(archive) as found:
        found.extractall(folder, filter="data")
    return folder / name


@pytest.mark.parametrize("package", TESTS)
def test_the_published_tests_pass(package: str, tmp_path: Path) -> None:
    """All that can be pointed at a provider, but for those whose reason is given."""
    pytest.importorskip("opentelemetry.test")
    tests, least = TESTS[package]
    where, outcomes = published(package, tmp_path), tmp_path / "outcomes.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conformance", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", ".", *(f"tests/metrics/{name}" for name in tests)]
    path = os.pathsep.join([str(ROOT), str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "CONFORMANCE_OUTCOMES": str(outcomes)}
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert outcomes.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    found = {name.partition("::")[2]: said for name, said in json.loads(outcomes.read_text()).items()}
    failed = {name: said[1] for name, said in found.items() if said[0] == "failed"}
    assert {name: why for name, why in failed.items() if name not in DIFFERENT[package]} == {}
    assert [name for name in DIFFERENT[package] if name not in failed] == []
    assert [said[1] for said in found.values() if said[0] == "skipped" and "beyond" not in said[1]] == []
    assert sum(said[0] == "passed" for said in found.values()) >= least
