"""How it is doing: collections, scrapes and who asked, workers, what was logged, and the versions."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from otel_prom_bridge.audit.checking import check
from otel_prom_bridge.explorer.as_json import Json, text
from otel_prom_bridge.explorer.looking import Look, Subject
from otel_prom_bridge.installed import release_of
from otel_prom_bridge.report.facts import Facts

_SCRAPES = 50
_PACKAGES = (
    *("otel-prom-bridge", "opentelemetry-api", "opentelemetry-sdk", "prometheus-client"),
    *("opentelemetry-instrumentation", "opentelemetry-distro"),
)


class ScrapeSeen(NamedTuple):
    """A scrape: who asked, and what came of it."""

    time: float
    peer: str
    agent: str
    format: str
    status: int
    bytes: int
    seconds: float


class Scrapes:
    """The last scrapes. Remembering one is one operation, so no lock is needed."""

    def __init__(self) -> None:
        self._last: deque[ScrapeSeen] = deque(maxlen=_SCRAPES)

    def add(
        self,
        *,
        peer: str | None,
        agent: str,
        content_type: str,
        status: int,
        size: int,
        seconds: float,
    ) -> None:
        """A scrape was answered."""
        seen = ScrapeSeen(time.time(), peer or "", agent, content_type, status, size, seconds)
        self._last.append(seen)

    def latest(self) -> list[ScrapeSeen]:
        """The scrapes, the latest first."""
        return sorted(self._last, key=lambda seen: -seen.time)


def health_answer(
    source: Subject,
    facts: Facts | None,
    scrapes: Scrapes,
    *,
    look: Look | None,
    configuration: Sequence[str],
    metrics_path: str,
) -> Json:
    """How it is doing. ``look`` is of an exposition that is not ours, and is checked."""
    return {
        "time": time.time(),
        "ready": bool(source.is_ready),
        "healthy": bool(source.is_healthy),
        "metrics_path": metrics_path,
        "scrapes": [_scrape(item) for item in scrapes.latest()],
        "configuration": [text(item) for item in configuration],
        "versions": _versions(),
        "findings": [] if look is None else _findings(look),
        **(_nothing() if facts is None else _facts(facts)),
    }


def _nothing() -> Json:
    return {
        "phases": {},
        "collections": [],
        "background": None,
        "workers": None,
        "messages": [],
        "callbacks": [],
    }


def _facts(facts: Facts) -> Json:
    background = None
    if facts.interval is not None:
        background = {"interval": facts.interval, "due": facts.due}
    workers = None
    if facts.workers is not None:
        workers = [{**item._asdict(), "service": text(item.service)} for item in facts.workers]
    return {
        "phases": dict(facts.phases),
        "collections": [
            {"time": item.time, "seconds": item.seconds, "error": text(item.error)}
            for item in reversed(facts.collections)
        ],
        "background": background,
        "workers": workers,
        "messages": [{"time": item.time, "text": text(item.text)} for item in reversed(facts.said)],
        "callbacks": [
            {**item._asdict(), "instrument": text(item.instrument), "error": text(item.error)}
            for item in facts.failures
        ],
    }


def _scrape(item: ScrapeSeen) -> Json:
    return {key: text(value) if isinstance(value, str) else value for key, value in item._asdict().items()}


def _findings(look: Look) -> list[Json]:
    return [
        {
            "severity": item.severity,
            "family": text(item.metric),
            "text": text(item.message),
            "hint": text(item.hint),
            "line": item.line,
        }
        for item in check(look.snapshot())
    ]


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    found = {"Python": platform.python_version()}
    return found | {package: release for package in _PACKAGES if (release := release_of(package))}
