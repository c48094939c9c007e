"""Shops to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser import Browser, driven, programs
from explored import Ask, ask_of, shop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from servers import missing
from setups import Setup

from otel_prom_bridge import MetricsServer, PrometheusMetricReader, start_http_server
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


@pytest.fixture(scope="module")  # one that is idle takes processor, too
def chromium() -> Iterator[Browser]:
    """One browser for all tests: missing on CI is a failure, elsewhere a visible skip."""
    if programs() is None:
        missing("chromium and chromedriver", package="chromium chromium-driver")
    with driven() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser as a new visitor has it: a large window, a light page, and nothing kept."""
    chromium.size(1280, 900)
    chromium.theme("light")
    chromium.log("browser")
    chromium.log("performance")
    yield chromium
    if chromium.run("return location.protocol") != "data:":
        chromium.run("localStorage.clear(); sessionStorage.clear()")
    chromium.open("data:,")


@pytest.fixture
def serve() -> Iterator[Callable[..., MetricsServer]]:
    """Serves a reader on a free port, with the explorer, until the test ends."""
    with ExitStack() as stack:

        def start(source: Any, **options: Any) -> MetricsServer:
            server = start_http_server(source, **{"port": 0, "explorer": True, **options})
            return stack.enter_context(server)

        yield start


@pytest.fixture
def visit(browser: Browser, serve: Callable[..., MetricsServer]) -> Callable[..., Browser]:
    """Opens the explorer of a reader, which looks once a second, at one of its views."""

    def open_at(source: Any, view: str = "#/", **options: Any) -> Browser:
        server = serve(source, **options)
        root = server.url.removesuffix("/metrics")
        browser.open(f"{root}/health")  # of the same origin, to say how often it looks
        browser.run("localStorage.setItem('seconds', '1')")
        browser.open(f"{root}/{view}")
        return browser

    return open_at
