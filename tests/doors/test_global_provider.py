"""The global meter provider: there is one for each process, and `start()` says so or has it."""

from __future__ import annotations

import json
import sys
from typing import Any

import programs

# Each program has a process of its own, since the global provider can be set once in each.
HEAD = """
import json, os
from opentelemetry import metrics
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY
from otel_prom_bridge import ConfigurationError, ExportView, start

def values(bridge):
    lines = bridge.reader.expose().body.decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line[0] != "#")
    return {name: float(value) for name, value in samples if "otel_scope_name=\\"app\\"" in name}

def refused(**options):
    before = set(REGISTRY._collector_to_names)
    try:
        start(port=0, **options)
    except ConfigurationError as error:
        assert set(REGISTRY._collector_to_names) == before
        return str(error)

meter = metrics.get_meter("app")
"""


def run(program: str) -> Any:
    """What a program says at its end, as JSON; it may write nothing else."""
    command = [sys.executable, "-W", "error", "-c", HEAD + program]
    result = programs.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_an_application_that_has_set_its_own_provider() -> None:
    """It is an error with a cure, after which nothing is left; without `set_global` it works."""
    message, served = run(
        """
metrics.set_meter_provider(MeterProvider())
message = refused()
with start(port=0, set_global=False) as bridge:
    bridge.meter_provider.get_meter("app").create_counter("own").add(2)
    print(json.dumps([message, sum(values(bridge).values())]))
"""
    )
    assert message.startswith("set_global: True is not allowed, expected False, because another meter")
    assert "call start() before that one is set, or give it a PrometheusMetricReader" in message
    assert served == 2


def test_a_second_start_while_one_runs() -> None:
    """It is an error that says what to do, and the first one goes on."""
    message, served = run(
        """
counter = meter.create_counter("jobs")
with start(port=0) as bridge:
    counter.add(1)
    message = refused()
    counter.add(1)
    print(json.dumps([message, sum(values(bridge).values())]))
"""
    )
    assert "one bridge is running already; use that one, or call its shutdown() before" in message
    assert served == 2


def test_start_again_after_a_shutdown() -> None:
    """Instruments from before the first start, between the two and after record into what runs now."""
    first, second, provider_is_global, flushed = run(
        """
early = meter.create_counter("early")
bridge = start(port=0)
jobs = meter.create_counter("jobs")
meter.create_observable_gauge("level", [lambda _: [Observation(7)]])
early.add(1), jobs.add(2)
first = values(bridge)
bridge.shutdown()
jobs.add(100)  # nobody hears of it
between = metrics.get_meter("app").create_counter("between")
bridge = start(port=0)
early.add(3), jobs.add(4), between.add(5)
flushed = bridge.meter_provider.force_flush()
second = values(bridge)
print(json.dumps([first, second, metrics.get_meter_provider() is bridge.meter_provider, flushed]))
bridge.meter_provider.shutdown()
assert bridge.reader.is_shut_down
"""
    )
    labels = '{otel_scope_name="app",otel_scope_schema_url="",otel_scope_version=""}'
    assert first == {f"early_total{labels}": 1, f"jobs_total{labels}": 2, f"level{labels}": 7}
    assert second == {
        f"early_total{labels}": 3,
        f"jobs_total{labels}": 4,
        f"between_total{labels}": 5,
        f"level{labels}": 7,
    }
    assert provider_is_global
    assert flushed


def test_start_again_with_other_options() -> None:
    """Views, SDK Views and the resource are those of the bridge that runs, also for old instruments."""
    first, second = run(
        """
def shown(bridge):
    lines = bridge.reader.expose().body.decode().splitlines()
    return [line for line in lines if line.startswith(("jobs", "target_info"))]

options = {"scope_info_enabled": False, "self_metrics": False}
with start(port=0, resource={"service.name": "one"}, **options,
           views=[ExportView(instrument_name="jobs", keep=["a"])]) as bridge:
    jobs = meter.create_counter("jobs")
    jobs.add(1, {"a": "x", "b": "y"})
    first = shown(bridge)
with start(port=0, resource={"service.name": "two"}, **options,
           views=[ExportView(instrument_name="jobs", keep=["b"])]) as bridge:
    jobs.add(2, {"a": "x", "b": "y"})
    print(json.dumps([first, shown(bridge)]))
"""
    )
    assert first[1:] == ['jobs_total{a="x"} 1']
    assert 'service_name="one"' in first[0]
    assert second[1:] == ['jobs_total{b="y"} 2']
    assert 'service_name="two"' in second[0]


def test_start_again_and_again() -> None:
    """What runs for the tenth time is what ran for the first time, and nothing of the others is left."""
    sums, left = run(
        """
jobs = meter.create_counter("jobs")
before = set(REGISTRY._collector_to_names)
sums = []
for number in range(10):
    with start(port=0) as bridge:
        jobs.add(1)
        sums.append(sum(values(bridge).values()))
print(json.dumps([sums, len(set(REGISTRY._collector_to_names) - before)]))
"""
    )
    assert sums == [1] * 10
    assert left == 0


def test_a_provider_that_the_application_has_shut_down() -> None:
    """The SDK does not start again what was shut down; the error says whose shutdown() to call."""
    message = run(
        """
bridge = start(port=0)
bridge.meter_provider.shutdown()
print(json.dumps(refused()))
"""
    )
    assert "the global meter provider was shut down; call shutdown() of the Bridge instead" in message
