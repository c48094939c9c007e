"""What an SDK View makes of instruments that add up, so that they show what was recorded last."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import LastValueAggregation, View

from otel_prom_bridge import PrometheusMetricReader


@pytest.mark.parametrize(
    ("kind", "record"), [("counter", "add"), ("up_down_counter", "add"), ("histogram", "record")]
)
def test_what_was_recorded_last_stays(kind: str, record: str) -> None:
    """A series is there in each scrape, whether something was recorded since the one before or not."""
    reader = PrometheusMetricReader(registry=None, scope_info_enabled=False, self_metrics=False)
    view = View(instrument_name="x", aggregation=LastValueAggregation())
    meter = MeterProvider(metric_readers=[reader], views=[view]).get_meter("app")
    recorded: Any = getattr(getattr(meter, f"create_{kind}")("x"), record)

    def shown() -> list[str]:
        lines = reader.expose().body.decode().splitlines()
        return [line for line in lines if line.startswith("x{")]

    recorded(5, {"k": "a"})
    assert shown() == shown() == ['x{k="a"} 5']
    recorded(7, {"k": "a"})
    recorded(0, {"k": "b"})
    assert shown() == shown() == ['x{k="a"} 7', 'x{k="b"} 0']
