"""The process: processor time, memory, open files, threads, how long it runs, and what was built.

What a system does not say is left out: Linux says all of it.

https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

from opentelemetry.metrics import MeterProvider, Observation

from otel_prom_bridge.clocks import process_start
from otel_prom_bridge.installed import release_of
from otel_prom_bridge.instrument import conventions
from otel_prom_bridge.instrument.scope import Scope, scope_of
from otel_prom_bridge.instruments import Metric

_PROC = Path("/proc/self")
# Where builds leave what they know, the most specific first.
_COMMITS = ("GIT_COMMIT", "COMMIT_SHA", "GITHUB_SHA", "CI_COMMIT_SHA", "SOURCE_COMMIT", "VCS_REF")
_TIMESTAMPS = ("BUILD_TIMESTAMP", "BUILD_DATE", "BUILD_TIME", "SOURCE_DATE_EPOCH")
_VERSIONS = ("SERVICE_VERSION", "APP_VERSION", "VERSION")
_imported = time.time()


def instrument_process(meter_provider: MeterProvider | None = None) -> None:
    """Observe the process. A second call for one provider does nothing.

    ``prometheus_client`` shows ``process_cpu_seconds_total`` and its kin by itself where its registry is
    served, as it is by default. This is for other registries and exporters, and for profiles.
    """
    scope = scope_of(meter_provider)
    if _is_new(scope, "process"):
        for metric, read in _READS:
            scope.observe(metric, read)


def instrument_build(
    package: str | None = None,
    *,
    version: str | None = None,
    commit: str | None = None,
    timestamp: str | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Observe ``build.info``: 1, with the ``version``, the ``commit`` and the ``timestamp`` of what runs.

    What is not given is looked for in OTEL_RESOURCE_ATTRIBUTES (``service.version``,
    ``vcs.ref.head.revision``), then in what builds leave in the environment (``SERVICE_VERSION``,
    ``GIT_COMMIT``, ``GITHUB_SHA``, ``BUILD_TIMESTAMP`` and so on). The version of the installed ``package``
    comes last. What is found nowhere is left out. A second call for one provider does nothing.
    """
    resource = _resource()
    found = {
        "version": version
        or resource.get("service.version")
        or _first(_VERSIONS)
        or (release_of(package) if package else None),
        "commit": commit or resource.get("vcs.ref.head.revision") or _first(_COMMITS),
        "timestamp": timestamp or _first(_TIMESTAMPS),
    }
    attributes = {key: str(value) for key, value in found.items() if value}
    scope = scope_of(meter_provider)
    if _is_new(scope, "build"):
        scope.observe(conventions.BUILD_INFO, lambda: [Observation(1, attributes)])


def _is_new(scope: Scope, what: str) -> bool:
    if what in scope.observed:
        return False
    scope.observed.add(what)
    return True


def _resource() -> Mapping[str, str]:
    pairs = (part.partition("=") for part in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}


def _first(names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def _cpu() -> list[Observation]:
    times = os.times()
    return [
        Observation(times.user, {"cpu.mode": "user"}),
        Observation(times.system, {"cpu.mode": "system"}),
    ]


def _memory() -> list[Observation]:
    pages = (_PROC / "statm").read_text().split()[1]
    return [Observation(int(pages) * os.sysconf("SC_PAGE_SIZE"))]


def _files() -> list[Observation]:
    # One of them is the one that reads the folder.
    return [Observation(len(os.listdir(_PROC / "fd")) - 1)]


def _threads() -> list[Observation]:
    try:
        return [Observation(len(os.listdir(_PROC / "task")))]
    except OSError:
        return [Observation(threading.active_count())]


def _started() -> float:
    began = process_start()
    return _imported if began is None else began  # the next best where no system says it


def _uptime() -> list[Observation]:
    return [Observation(max(time.time() - _started(), 0.0))]


def _start() -> list[Observation]:
    return [Observation(_started())]


def _where_there_is(read: Callable[[], list[Observation]]) -> Callable[[], list[Observation]]:
    def reading() -> list[Observation]:
        try:
            return read()
        except (OSError, ValueError, AttributeError, IndexError):
            return []

    return reading


_READS: tuple[tuple[Metric, Callable[[], list[Observation]]], ...] = tuple(
    (metric, _where_there_is(read))
    for metric, read in (
        (conventions.PROCESS_CPU, _cpu),
        (conventions.PROCESS_MEMORY, _memory),
        (conventions.PROCESS_FILES, _files),
        (conventions.PROCESS_THREADS, _threads),
        (conventions.PROCESS_UPTIME, _uptime),
        (conventions.PROCESS_START, _start),
    )
)
