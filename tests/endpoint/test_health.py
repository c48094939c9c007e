"""Health and readiness, with checks of the application's own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from servers import wait_for
from setups import Setup

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.endpoint.health import Check, Health
from otel_prom_bridge.endpoint.messages import Request, Response
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.report.self_metrics import SelfMetrics

Make = Callable[..., Setup]


class Source:
    """Something to be ready."""

    def __init__(self, ready: bool = True, healthy: bool = True) -> None:
        self.is_ready, self.is_healthy, self.is_shut_down = ready, healthy, False
        self.observer = SelfMetrics(findings=Findings())
        self.collections = 0

    def expose(self, accept: str | None = None, **_: object) -> Exposition:
        """Collect, in vain."""
        self.collections += 1
        return Exposition("text/plain", b"")

    def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Never."""
        return hook


def asked(bridge: Make, path: str, *, authenticated: bool = True, **checks: dict[str, Check]) -> Response:
    """What an endpoint with these checks answers."""
    setup = bridge()
    setup.reader.expose()
    scrape = Scrape(setup.reader, health=Health(setup.reader, **checks))
    return scrape.respond(Request(path=path, authenticated=authenticated))


def fail() -> None:
    """A check that fails."""
    raise RuntimeError("no connection to secret-db")


CHECKS: list[tuple[str, Check, str | None]] = [
    ("none", lambda: None, None),
    ("true", lambda: True, None),
    ("false", lambda: False, "it says no"),
    ("words", lambda: "queue is full", "queue is full"),
    ("raises", fail, "it failed: RuntimeError('no connection to secret-db')"),
    ("exits", lambda: exit(1), "it failed: SystemExit(1)"),
]


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize(("name", "check", "complaint"), CHECKS, ids=[name for name, *_ in CHECKS])
def test_checks(bridge: Make, path: str, name: str, check: Check, complaint: str | None) -> None:
    """A check passes with True or None; anything else, and an exception, is a 503 that says why."""
    kind = "alive" if path == "/health" else "ready"
    response = asked(bridge, path, **{kind: {name: check, "other": lambda: True}})
    if complaint is None:
        assert response.status == 200
    else:
        assert (response.status, response.body.decode()) == (503, f"{name}: {complaint}\n")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_strangers_learn_no_details(bridge: Make, path: str) -> None:
    """Without proof of who asks, the answer is yes or no."""
    response = asked(bridge, path, authenticated=False, alive={"db": fail}, ready={"db": fail})
    assert response.status == 503
    assert response.body in (b"not alive\n", b"not ready\n")


@pytest.mark.clocked
def test_a_check_that_hangs_fails_and_costs_one_thread(bridge: Make) -> None:
    """It is waited for a moment, and not started again while it runs."""
    release = threading.Event()
    calls = []

    def hang() -> None:
        calls.append(1)
        release.wait(20)

    health = Health(Source(), ready={"slow": hang})
    start = time.monotonic()
    assert health.ready() == (False, "slow: it does not answer")
    assert time.monotonic() - start < 10
    for _ in range(3):
        assert not health.ready()[0]
    assert len(calls) == 1
    release.set()
    for _ in range(100):
        if health.ready()[0]:
            break
        time.sleep(0.05)
    assert health.ready() == (True, "ready")


def test_readiness_follows_the_source() -> None:
    """Not ready is what nobody uses, and what has not collected or does so no more."""
    assert Health(Source()).ready() == (True, "ready")
    good, why = Health(Source(ready=False, healthy=False)).ready()
    assert (good, "no meter provider" in why) == (False, True)
    good, why = Health(Source(healthy=False)).ready()
    assert (good, "collected" in why) == (False, True)


def test_readiness_needs_no_scraper(bridge: Make) -> None:
    """Who asks first makes the first collection; the answer is about that, and later ones make none."""
    setup = bridge()
    calls: list[int] = []
    setup.meter.create_observable_gauge("g", [lambda _: calls.append(1) or [Observation(1)]])
    health = Health(setup.reader)
    assert health.ready() == (True, "ready")
    assert health.ready() == (True, "ready")
    assert len(calls) == 1


@pytest.mark.clocked
def test_readiness_shares_the_first_collection_and_waits_a_second(bridge: Make) -> None:
    """Ten who ask while the first one takes long wait a moment for it; then it is not asked for again."""
    setup = bridge()
    release, calls = threading.Event(), []

    def slow(_: CallbackOptions) -> list[Observation]:
        calls.append(1)
        release.wait(20)
        return [Observation(1)]

    setup.meter.create_observable_gauge("g", [slow])
    health = Health(setup.reader)
    start = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        assert {good for good, _ in pool.map(lambda _: health.ready(), range(10))} == {False}
    assert 0.5 < time.monotonic() - start < 5
    start = time.monotonic()
    assert not health.ready()[0]
    assert time.monotonic() - start < 0.5
    release.set()
    wait_for(lambda: health.ready()[0], seconds=10, what="readiness")
    assert len(calls) == 1


def test_readiness_tries_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing could be collected; what was collected once is up to scrapes."""
    source = Source(healthy=False)
    health = Health(source)
    assert not any(health.ready()[0] for _ in range(5))
    assert source.collections == 1
    monkeypatch.setattr("otel_prom_bridge.endpoint.health._AGAIN", 0.0)
    health = Health(source)
    assert not any(health.ready()[0] for _ in range(5))
    assert source.collections == 6
    source.is_healthy = True
    assert health.ready()[0]
    source.is_healthy = False
    assert not health.ready()[0]
    assert source.collections == 6


async def coroutine() -> bool:
    """A check that somebody wrote async."""
    return True


class AsyncCheck:
    """The same as an object."""

    async def __call__(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["alive", "ready"])
@pytest.mark.parametrize(
    "checks",
    [
        [lambda: True],
        lambda: True,
        {"db": True},
        {"db": coroutine},
        {"db": partial(coroutine)},
        {"db": AsyncCheck()},
        {"db": lambda needed: needed},
        {1: lambda: True},
    ],
)
def test_checks_that_cannot_be(kind: str, checks: object) -> None:
    """They are refused when they are given, with what is allowed, not when somebody asks."""
    with pytest.raises(ConfigurationError, match=rf"^{kind}.* is not allowed, expected "):
        Health(Source(), **{kind: checks})  # type: ignore[arg-type]


def test_a_source_that_is_none() -> None:
    """Checks in the place of the reader are no reader."""
    with pytest.raises(ConfigurationError, match=r"^source: .*PrometheusMetricReader"):
        Health({"db": lambda: True})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_a_check_that_gives_a_coroutine() -> None:
    """It fails and says why; nothing warns that something was never awaited."""
    health = Health(Source(), ready={"db": lambda: coroutine()})
    assert health.ready() == (False, "db: it gave a coroutine; a check must not be async")
    gc.collect()


def test_paths_can_be_switched_off(bridge: Make) -> None:
    """Without health there is nothing at its paths."""
    scrape = Scrape(bridge().reader, health=False)
    for path in ("/health", "/ready"):
        assert scrape.respond(Request(path=path)).status == 404
        assert scrape.quick(Request(path=path)) is None
    assert scrape.respond(Request()).status == 200


def test_only_what_takes_no_time_is_quick(bridge: Make) -> None:
    """/health is answered at once if no check of the application's could hold it up; nothing else is."""
    reader = bridge().reader
    plain, checked = Scrape(reader), Scrape(reader, health=Health(reader, alive={"db": fail}))
    response = plain.quick(Request(path="/health"))
    assert response is not None
    assert response.status == 200
    for request in (Request(), Request(path="/ready"), Request(path="/nothing")):
        assert plain.quick(request) is None
    assert checked.quick(Request(path="/health")) is None
