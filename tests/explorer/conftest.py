"""Shops to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from explored import Ask, ask_of, shop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.explorer.answers import Explorer


@pytest.fixture
def ask(bridge: Callable[..., Setup]) -> Ask:
    """Asks about a shop."""
    setup = bridge(max_series_per_metric=10, self_metrics=True)
    shop(setup)
    return ask_of(Explorer(setup.reader))


@pytest.fixture
def make_reader(bridge: Callable[..., Setup]) -> Callable[..., Setup]:
    """Makes readers with export views: ``bridge`` has the SDK's under that name."""

    def make(*, export_views: list[Any] | None = None, **options: Any) -> Setup:
        reader = PrometheusMetricReader(
            registry=None,
            scope_info_enabled=False,
            self_metrics=False,
            collect_interval=0,
            views=export_views or (),
            **options,
        )
        provider = MeterProvider([reader], resource=Resource({}), shutdown_on_exit=False)
        return Setup(reader, provider)

    return make
