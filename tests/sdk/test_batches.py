"""A batch of the SDK's as streams of points."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.sdk.batches import streams_of


class _Broken:
    name = "broken"
    unit = description = ""

    @property
    def data(self) -> Any:
        raise RuntimeError("no data today")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (_Broken(), "metric 'broken' cannot be read: RuntimeError('no data today')"),
        (
            Metric(name="strange", description=None, unit=None, data=object()),  # type: ignore[arg-type]
            "not exported: metric 'strange' of scope 'test': no translation for object; give the instrument"
            " another aggregation with an SDK View",
        ),
    ],
)
def test_a_metric_that_cannot_be_read_takes_no_other_along(
    metric: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Those before it and behind it are there, and the log says it once, however often it comes."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for name in ("before", "behind"):
        provider.get_meter("test").create_counter(name).add(1)
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    (resource,) = data.resource_metrics
    resource.scope_metrics[0].metrics.insert(1, metric)
    findings = Findings()
    for _ in range(3):
        found = list(streams_of(resource, findings))
        assert [(stream.name, len(points)) for stream, points in found] == [("before", 1), ("behind", 1)]
    assert [record.message for record in caplog.records] == [said]
