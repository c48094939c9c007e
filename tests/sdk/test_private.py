"""An SDK in which private names are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from otel_prom_bridge.sdk import private
found, missing = private.private, sys.argv[1:]
private.private = lambda module, name: None if not missing or name in missing else found(module, name)

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge import ExportView, PrometheusMetricReader

reader = PrometheusMetricReader(
    registry=None, self_metrics=False, views=[ExportView(instrument_name="e", buckets="exponential")]
)
meter = MeterProvider([reader], views=reader.policy.sdk_views()).get_meter("m")
record = [
    meter.create_counter("c").add,
    meter.create_up_down_counter("u").add,
    meter.create_histogram("h").record,
    meter.create_histogram("e").record,
    meter.create_gauge("g").set,
]
flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False, trace_flags=flags))
for _ in range(2):
    for call in record:
        call(3, {"k": "a", "n": 1})
        with trace.use_span(span):
            call(4, {"k": "a", "n": 1})
    body = reader.expose("application/openmetrics-text; version=1.0.0").body.decode()
assert body.count("trace_id") >= 2, body
for line in body.splitlines():
    print(line.partition("{")[0], line.partition(" # ")[0].split()[-1])
"""


@pytest.mark.parametrize(
    "missing",
    [
        [],
        pytest.param(["_hash_attributes"], marks=pytest.mark.slow),
        ["_ViewInstrumentMatch"],
        pytest.param(["_SumAggregation"], marks=pytest.mark.slow),
        pytest.param(["_ExplicitBucketHistogramAggregation"], marks=pytest.mark.slow),
        ["_ExponentialBucketHistogramAggregation", "_LastValueAggregation"],
        ["ExponentMapping", "OtelComponentTypeValues", "_default_reservoir_factory"],
    ],
)
def test_it_records_without_them(missing: list[str]) -> None:
    """Whichever is missing, or all of them: each instrument records, and exemplars are shown."""
    command = [sys.executable, "-c", PROGRAM, *missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"c_total 14", "u 14", "g 4", "h_count 4", "h_sum 14", "e_count 4", "e_sum 14"} <= {*lines}
