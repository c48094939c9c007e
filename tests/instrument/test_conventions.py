"""The metrics are those of the semantic conventions, as the packages of OpenTelemetry have them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import (
    db_metrics,
    http_metrics,
    process_metrics,
    rpc_metrics,
)
from opentelemetry.semconv.schemas import Schemas

from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instruments import Metric

METRICS = [found for found in vars(conventions).values() if isinstance(found, Metric)]
MODULES = (db_metrics, http_metrics, process_metrics, rpc_metrics)
# Those of the conventions whose makers the package has; the two stable durations are looked up by hand.
CREATED = {
    value: getattr(module, f"create_{key.lower()}")
    for module in MODULES
    for key, value in vars(module).items()
    if isinstance(value, str) and hasattr(module, f"create_{key.lower()}")
}
STABLE = {"http.server.request.duration", "db.client.operation.duration"}
OURS = {
    "http.server.unsampled_requests",
    "http.server.active_connections",
    "rpc.server.active_streams",
    "rpc.client.active_streams",
    "db.client.connection.errors",
    "process.start_time",
}


def theirs(name: str) -> Any:
    """The metric as OpenTelemetry's package makes it."""
    create = CREATED[name]
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("t")
    observed = "callbacks" in inspect.signature(create).parameters
    return create(meter, []) if observed else create(meter)


@pytest.mark.parametrize("metric", [m for m in METRICS if m.name in CREATED], ids=lambda m: m.name)
def test_names_units_and_descriptions(metric: Metric) -> None:
    """Those of the conventions are taken as they are."""
    instrument = theirs(metric.name)
    assert (instrument.unit, instrument.description) == (metric.unit, metric.description)
    kind = type(instrument).__name__.strip("_").removeprefix("Observable")
    assert kind.lower() == metric.instrument.replace("_", "")


def test_what_is_ours() -> None:
    """Whatever has a name in one of their families, and is none of theirs, is known to be ours."""
    prefixes = ("http.", "rpc.", "db.", "process.")
    in_families = {metric.name for metric in METRICS if metric.name.startswith(prefixes)}
    assert in_families - set(CREATED) - STABLE == OURS
    assert set(CREATED) & in_families


def test_the_schema() -> None:
    """It is one that OpenTelemetry has published."""
    assert conventions.SCHEMA_URL in {schema.value for schema in Schemas}
