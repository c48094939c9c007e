"""Fixtures. ``judging`` has the rule that independent parsers judge every exposition that a test produces."""

from __future__ import annotations

import functools
import gc
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from genai_points import Recorded
from hypothesis import settings
from opentelemetry.sdk.metrics import ExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import REGISTRY
from properties import examples
from registries import collectors
from servers import missing
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.endpoint import scrape
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.recording import reports
from otel_prom_bridge.testing import Clock

pytest_plugins = ["otel_prom_bridge.pytest_plugin", "judging"]
settings.register_profile("project", max_examples=examples(100), deadline=None)  # machines are shared
settings.load_profile("project")
# While tests are read, hardly anything is garbage: looking for it would be a tenth of the time.
gc.disable()
# What starts programs as forks. `make slow` runs the tests of those who use it with real interpreters, too.
STARTERS = {"programs", "pushing", "hub_processes", "instrumented"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file that has none of the tests asked for: all of them take each worker 20 seconds.

    `-m clocked…` and `-m slow…` ask for what few files have, and a file that has it says so.
    """
    mark = config.option.markexpr.partition(" ")[0]
    if mark not in ("clocked", "slow") or not collection_path.name.startswith("test_"):
        return None
    return mark not in collection_path.read_text(encoding="utf-8") or None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of files that start programs."""
    if isinstance(item, pytest.Function) and _starts_programs(item.module):
        item.add_marker("programs")


@functools.cache
def _starts_programs(module: ModuleType) -> bool:
    homes = {getattr(value, "__module__", None) for value in vars(module).values()}
    return not STARTERS.isdisjoint({*vars(module), *homes})


@pytest.hookimpl(trylast=True)  # when those of other marks are out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of few tests: these start servers, and short tests fill the end better."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (sizes[item.path], item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Leave the tests themselves out of garbage collection: many collect, and 5,000 are in the way.

    It is called in the process that hands tests to others, too, which reads none.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> None:
    """Leave what earlier files imported and kept out of it, too, so that a collection takes no second."""
    gc.collect()
    gc.freeze()


def _forget_variables() -> None:
    for name in [name for name in os.environ if name.startswith(("OTEL_", "METRICS_"))]:
        del os.environ[name]
    if "RECORDING" in os.environ:  # `make slow` runs tests with another way of recording than the usual one
        os.environ["OTEL_PROM_BRIDGE_RECORDING"] = os.environ["RECORDING"]


_forget_variables()


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    """No test sees what others left. It is one fixture: each takes a quarter of a millisecond of every test.

    What recorders reported in other tests is reported again. Tests scrape more often than once a second, and
    want to see what they recorded. What a test leaves in prometheus_client's registry is taken out; other
    readers share its place. What is set where the tests run, or was left by another, no test or fixture sees.
    """
    reports._findings = Findings(log=reports.logger)
    kept, scrape.DEFAULT_CACHE_TTL = scrape.DEFAULT_CACHE_TTL, 0.0
    before = collectors(REGISTRY)
    yield
    scrape.DEFAULT_CACHE_TTL = kept
    for collector in collectors(REGISTRY):
        if collector not in before:
            REGISTRY.unregister(collector)
    _forget_variables()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """The clock by which readers of this test let series go: it stands still until it is moved."""
    with Clock().standing() as clock:
        yield clock


@pytest.fixture
def bridge() -> Iterator[Callable[..., Setup]]:
    """Make readers with providers; only their own metrics, and without scope labels, unless a test asks."""
    providers: list[MeterProvider] = []

    def make(
        *,
        views: tuple[object, ...] = (),
        resource: Resource | None = None,
        exemplar_filter: ExemplarFilter | None = None,
        **options: object,
    ) -> Setup:
        settings: dict[str, object] = {
            "registry": None,
            "scope_info_enabled": False,
            "self_metrics": False,
            # A scrape may share a collection that began before the last measurement; tests want their own.
            "collect_interval": 0,
            **options,
        }
        reader = PrometheusMetricReader(**settings)  # type: ignore[arg-type]
        provider = MeterProvider(
            [reader],
            views=views,  # type: ignore[arg-type]
            resource=resource or Resource({}),
            exemplar_filter=exemplar_filter,
            shutdown_on_exit=False,
        )
        providers.append(provider)
        return Setup(reader, provider)

    yield make
    for provider in providers:
        provider.shutdown()


@pytest.fixture
def recorded() -> Recorded:
    """A provider without the bridge, for recorders."""
    return Recorded()


@pytest.fixture
def llm(recorded: Recorded) -> LLMRecorder:
    """A recorder on it."""
    return LLMRecorder(recorded.provider)


@pytest.fixture(scope="session")
def real_prometheus() -> str:
    """The path of a real Prometheus: missing on CI is a failure, elsewhere a visible skip."""
    if shutil.which("promtool") is None:
        missing("promtool", package="prometheus")
    return _installed("prometheus")


@pytest.fixture(scope="session")
def real_victoria_metrics() -> str:
    """The path of a real VictoriaMetrics: missing on CI is a failure, elsewhere a visible skip."""
    return _installed("victoria-metrics")


@pytest.fixture(scope="session")
def real_alertmanager() -> str:
    """The path of a real Alertmanager, which has amtool beside it; missing on CI is a failure."""
    if shutil.which("amtool") is None:
        missing("amtool", package="prometheus-alertmanager")
    return _installed("prometheus-alertmanager")


def _installed(server: str) -> str:
    return shutil.which(server) or missing(server, package=server)
