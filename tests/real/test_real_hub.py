"""A real Prometheus 3 scrapes a hub with several workers: what it stores is what they recorded."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
from servers import Prometheus, free_port, newer, prometheus, wait_for

pytestmark = pytest.mark.real_server

WORKERS = 3
# Each worker says the traces that it has recorded in.
PROGRAM = """
import json, os, sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_prom_bridge import start

exponential = View(instrument_name="body.size", aggregation=ExponentialBucketHistogramAggregation())
bridge = start(resource={"service.name": "shop"}, sdk_views=[exponential])
meter = metrics.get_meter("shop")
orders = meter.create_counter("orders")
duration = meter.create_histogram(
    "request.duration", unit="s", explicit_bucket_boundaries_advisory=[1, 2, 4]
)
size = meter.create_histogram("body.size", unit="By")
busy, limit = meter.create_up_down_counter("busy"), meter.create_gauge("limit")

def work(number):
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tracer = provider.get_tracer("shop")
    limit.set(number)
    busy.add(2)
    for count in range(100):
        with tracer.start_as_current_span("order"):
            orders.add(1)
            duration.record(1.5 if count % 4 else 3)
            size.record(count + 1)
    bridge.reader.force_flush()
    traces = [f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()]
    os.write(1, (json.dumps(traces, separators=(",", ":")) + "\\n").encode())  # below 4,096 bytes: one piece
    os.read(0, 1)

children = []
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        work(number)
        sys.exit()
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""


@dataclass
class Scraped:
    """A server that has scraped the hub of workers, and the traces in which these have recorded."""

    api: Prometheus
    traces: set[str]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """Started once, for all tests."""
    executable = newer("sid", "prometheus", required=True)
    port, folder = free_port(), tmp_path_factory.mktemp("hub")
    run = [sys.executable, "-m", "otel_prom_bridge", "run", "--port", str(port), "--linger", "0.1", "--"]
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(
            programs.Program(
                [*run, sys.executable, "-c", PROGRAM, str(WORKERS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("OTEL")},
            )
        )
        stack.callback(program.kill)
        assert program.stdout is not None
        traces = {trace for _ in range(WORKERS) for trace in json.loads(program.stdout.readline())}
        targets = {"shop": f"127.0.0.1:{port}"}
        api = stack.enter_context(
            prometheus(executable, Path(folder), targets, features=("native-histograms",))
        )
        wait_for(lambda: api.query("orders_total"), seconds=30, what="the first scrape")
        yield Scraped(api, traces)
        program.communicate("." * WORKERS, timeout=20)
        assert program.returncode == 0


def test_sums(scraped: Scraped) -> None:
    """Counters and levels are those of all workers, gauges those of each; there is one target."""
    assert scraped.api.values("up") == {(): 1}
    assert scraped.api.values("orders_total") == {(): 100 * WORKERS}
    assert scraped.api.values("busy") == {(): 2 * WORKERS}
    gauges = scraped.api.values("limit", "worker")
    assert sorted(gauges.values()) == list(range(WORKERS))
    assert len(gauges) == WORKERS
    assert scraped.api.values("target_info", "service_name") == {("shop",): 1}


def test_histograms(scraped: Scraped) -> None:
    """Quantiles of all workers together, from classic buckets and from native ones."""
    api, name = scraped.api, "request_duration_seconds"
    assert api.values(f"{name}_count") == {(): 100 * WORKERS}
    assert api.values(f"{name}_sum") == {(): (75 * 1.5 + 25 * 3) * WORKERS}
    # Three quarters are between 1 and 2, the rest between 2 and 4.
    found = api.values(f"histogram_quantile(0.375, sum by (le) ({name}_bucket))")
    assert found == {(): pytest.approx(1.5)}
    found = api.values(f"histogram_quantile(0.875, sum by (le) ({name}_bucket))")
    assert found == {(): pytest.approx(3)}
    assert api.values("histogram_count(body_size_bytes)") == {(): 100 * WORKERS}
    assert api.values("histogram_sum(body_size_bytes)") == {(): 5050 * WORKERS}
    assert api.values("histogram_quantile(0.5, body_size_bytes)") == {(): pytest.approx(50, rel=0.05)}


def test_exemplars(scraped: Scraped) -> None:
    """Each leads to a trace that is there."""
    for name in ("orders_total", "request_duration_seconds_bucket", "body_size_bytes"):
        wait_for(lambda name=name: scraped.api.query_exemplars(name), seconds=10, what=name)
        found = {
            exemplar["labels"]["trace_id"]
            for series in scraped.api.query_exemplars(name)
            for exemplar in series["exemplars"]
        }
        assert found
        assert found <= scraped.traces
