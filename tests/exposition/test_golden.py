"""What the Go exporter's golden files say, recorded through the Python SDK.

The cases are those of open-telemetry/opentelemetry-go@736a14fcdca2, exporters/prometheus/exporter_test.go,
for the default strategy. Both sides are parsed: the order of families and labels, and `5` against `5.0`, are
not the golden files' business either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from oracles import parse

from otel_prom_bridge import PrometheusMetricReader

RESOURCE = {
    "service.name": "prometheus_test",
    "telemetry.sdk.language": "go",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "latest",
}
TARGET = (
    "# HELP target_info Target metadata\n# TYPE target_info gauge\n"
    'target_info{service_name="prometheus_test",telemetry_sdk_language="go",'
    'telemetry_sdk_name="opentelemetry",telemetry_sdk_version="latest"} 1\n'
)
VIEW = View(
    instrument_name="histogram_*",
    aggregation=ExplicitBucketHistogramAggregation([0, 5, 10, 25, 50, 75, 100, 250, 500, 1000]),
)


@dataclass(frozen=True)
class Case:
    """Instruments as (scope, kind, name, unit, description, [(value, attributes), ...])."""

    name: str
    instruments: tuple[tuple[tuple[str, dict[str, str]], str, str, str, str, Iterable[object]], ...]
    expected: str
    prefix: str = ""


FIZZ = ("testmeter", {"fizz": "buzz"})
AB, DB = {"A": "B", "C": "D", "E": True, "F": 42}, {"A": "D", "C": "B", "E": True, "F": 42}
SCOPE = (
    'otel_scope_fizz="buzz",otel_scope_name="testmeter",otel_scope_schema_url="",otel_scope_version="v0.1.0"'
)

CASES = (
    Case(
        "counter",
        ((FIZZ, "counter", "foo", "s", "a simple counter", [(5, AB), (10.3, AB), (9, AB), (5, DB)]),),
        "# HELP my_dotted_namespace_foo_seconds_total a simple counter\n"
        "# TYPE my_dotted_namespace_foo_seconds_total counter\n"
        f'my_dotted_namespace_foo_seconds_total{{A="B",C="D",E="true",F="42",{SCOPE}}} 24.3\n'
        f'my_dotted_namespace_foo_seconds_total{{A="D",C="B",E="true",F="42",{SCOPE}}} 5\n',
        prefix="my.dotted.namespace",
    ),
    Case(
        "sanitized labels",
        (
            (
                FIZZ,
                "counter",
                "foo",
                "",
                "a sanitary counter",
                [(n, {"A.B": "Q", "C.D": "Y", "C/D": "Z"}) for n in (5, 10.3, 9)],
            ),
        ),
        "# HELP foo_total a sanitary counter\n# TYPE foo_total counter\n"
        f'foo_total{{A_B="Q",C_D="Y;Z",{SCOPE}}} 24.3\n',
    ),
    Case(
        "multiple scopes",
        (
            (("meterfoo", {}), "counter", "foo", "s", "meter foo counter", [(100, {"type": "foo"})]),
            (("meterbar", {}), "counter", "bar", "s", "meter bar counter", [(200, {"type": "bar"})]),
        ),
        "# HELP bar_seconds_total meter bar counter\n# TYPE bar_seconds_total counter\n"
        'bar_seconds_total{otel_scope_name="meterbar",otel_scope_schema_url="",'
        'otel_scope_version="v0.1.0",type="bar"} 200\n'
        "# HELP foo_seconds_total meter foo counter\n# TYPE foo_seconds_total counter\n"
        'foo_seconds_total{otel_scope_name="meterfoo",otel_scope_schema_url="",'
        'otel_scope_version="v0.1.0",type="foo"} 100\n',
    ),
    Case(
        "conflicting help of two counters",
        (
            (("ma", {}), "counter", "bar", "By", "meter a bar", [(100, {"type": "bar"})]),
            (("mb", {}), "counter", "bar", "By", "meter b bar", [(100, {"type": "bar"})]),
        ),
        "# HELP bar_bytes_total meter a bar\n# TYPE bar_bytes_total counter\n"
        'bar_bytes_total{otel_scope_name="ma",otel_scope_schema_url="",'
        'otel_scope_version="v0.1.0",type="bar"} 100\n'
        'bar_bytes_total{otel_scope_name="mb",otel_scope_schema_url="",'
        'otel_scope_version="v0.1.0",type="bar"} 100\n',
    ),
)


def families(body: bytes) -> dict[str, object]:
    """Everything that an exposition says, without its order."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {(s.name, frozenset(s.labels.items()), s.value) for s in family.samples},
        )
        for family in parse("text/plain", body)
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_go_exporters_golden_cases(case: Case) -> None:
    """The same recordings give the same families as in Go."""
    reader = PrometheusMetricReader(prefix=case.prefix, registry=None, self_metrics=False)
    provider = MeterProvider([reader], resource=Resource(RESOURCE), views=[VIEW], shutdown_on_exit=False)
    for (scope, attributes), kind, name, unit, description, measurements in case.instruments:
        meter = provider.get_meter(scope, "v0.1.0", attributes=attributes)
        instrument = getattr(meter, f"create_{kind}")(name, unit=unit, description=description)
        for value, labels in measurements:  # type: ignore[misc]
            instrument.add(value, labels)
    assert families(reader.expose().body) == families((case.expected + TARGET).encode())
