"""Fixtures, and the rule that every exposition a test produces is judged by independent parsers."""

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
from metrics_messages import decode
from opentelemetry.sdk.metrics import ExemplarFilter, MeterProvider
from opentelemetry.sdk.resources import Resource
from oracles import parse
from prometheus_client import REGISTRY
from promtool import promtool_complaint
from properties import WHOLE, examples
from registries import collectors
from servers import missing
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.endpoint import scrape
from otel_prom_bridge.exposition import Exposer, Exposition
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.recording import reports
from otel_prom_bridge.testing import Clock

pytest_plugins = ["otel_prom_bridge.pytest_plugin"]
settings.register_profile("project", max_examples=examples(100), deadline=None)  # machines are shared
settings.load_profile("project")
# While tests are read, hardly anything is garbage: looking for it would be a tenth of the time.
gc.disable()
# It takes 40 ms each, and property tests produce thousands of expositions.
PROMTOOL_RUNS_PER_TEST = 5 if WHOLE else 2
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


_forget_variables()


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Whatever is set where the tests run, or was left by another test, no test or fixture sees it."""
    yield
    _forget_variables()


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """What a test leaves in prometheus_client's registry is taken out; other readers share its place."""
    before = collectors(REGISTRY)
    yield
    for collector in collectors(REGISTRY):
        if collector not in before:
            REGISTRY.unregister(collector)


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Parse every exposition that the test produces, in any thread, and fail the test if one is wrong."""
    faults: list[str] = []
    seen: set[int] = set()
    texts: list[bytes] = []
    original = Exposer.expose

    def expose(self: Exposer, *args: object, **options: object) -> Exposition:
        result = original(self, *args, **options)  # type: ignore[arg-type]
        if hash(result.body) not in seen:
            seen.add(hash(result.body))
            try:
                is_protobuf = result.content_type.startswith("application/vnd.google.protobuf")
                decode(result.body) if is_protobuf else parse(result.content_type, result.body)
            except ValueError as error:
                faults.append(f"{error!r} in\n{result.body.decode(errors='replace')}")
            # Debian's promtool is older than quoted names.
            quoted = result.content_type.endswith("escaping=allow-utf-8")
            if result.content_type.startswith("text/") and not quoted and len(texts) < PROMTOOL_RUNS_PER_TEST:
                texts.append(result.body)
        return result

    monkeypatch.setattr(Exposer, "expose", expose)
    yield
    faults += [complaint for text in texts if (complaint := promtool_complaint(text)) is not None]
    assert not faults, "\n\n".join(faults)


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests scrape more often than once a second, and want to see what they recorded."""
    monkeypatch.setattr(scrape, "DEFAULT_CACHE_TTL", 0.0)


@pytest.fixture(autouse=True)
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What recorders reported in other tests is reported again."""
    monkeypatch.setattr(reports, "_findings", Findings(log=reports.logger))


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
