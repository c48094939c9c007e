"""The pytest plugin: fixtures for tests of metrics.

==================== =================================================================================
``metrics``          a probe with a provider of its own, new for each test
``global_metrics``   a probe of what the global provider gets, whoever sets it; begins at zero for each test
``metrics_clock``    a clock that stands still until the test moves it
``metrics_endpoint`` the real endpoint of ``metrics`` on a free port
``metrics_snapshot`` compares metrics with those that are kept beside the test
==================== =================================================================================

pytest loads this file in every project in which the package is installed. So it imports nothing but pytest
until a test asks for one of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otel_prom_bridge.endpoint import MetricsServer
    from otel_prom_bridge.testing import Clock, MetricsProbe
    from otel_prom_bridge.testing.kept import KeptSnapshots


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of kept snapshots."""
    group = parser.getgroup("metrics", "metrics of otel_prom_bridge")
    group.addoption(
        "--metrics-snapshots",
        choices=["check", "new", "update"],
        default="check",
        help="what metrics_snapshot does: compare with what is kept (check, the default), keep what is not "
        "kept yet (new), or keep what there is now (update)",
    )


@pytest.fixture
def metrics_clock() -> Iterator[Clock]:
    """A clock that stands still: expiry, rates of guards and timers go by it. ``advance()`` moves it."""
    from otel_prom_bridge.testing import Clock

    with Clock().standing() as clock:
        yield clock


@pytest.fixture
def metrics(request: pytest.FixtureRequest) -> Iterator[MetricsProbe]:
    """A probe: ``metrics.meter()`` records, ``metrics.value("orders_total", method="card")`` asks."""
    from otel_prom_bridge.testing import MetricsProbe

    if "metrics_clock" in request.fixturenames:  # what is made while it stands goes by it
        request.getfixturevalue("metrics_clock")
    with MetricsProbe() as probe:
        yield probe


@pytest.fixture(scope="session")
def _global_probe() -> Iterator[MetricsProbe]:
    from otel_prom_bridge.testing.global_provider import global_probe

    with global_probe() as probe:
        yield probe


@pytest.fixture
def global_metrics(_global_probe: MetricsProbe) -> MetricsProbe:
    """A probe of the global provider, for applications that use it. Each test begins at zero."""
    _global_probe.reset()
    return _global_probe


@pytest.fixture
def metrics_endpoint(metrics: MetricsProbe) -> Iterator[MetricsServer]:
    """The real endpoint of ``metrics``, at ``metrics_endpoint.url``. Each scrape shows what is there now."""
    from otel_prom_bridge.endpoint import start_http_server

    with start_http_server(metrics.reader, port=0, addr="127.0.0.1", cache_ttl=0) as server:
        yield server


@pytest.fixture
def metrics_snapshot(request: pytest.FixtureRequest) -> KeptSnapshots:
    """``metrics_snapshot(metrics)`` fails if the metrics are others than those kept beside the test."""
    from otel_prom_bridge.testing.kept import KeptSnapshots

    mode = request.config.getoption("--metrics-snapshots")
    return KeptSnapshots(request.node.path, request.node.name, mode=mode)
