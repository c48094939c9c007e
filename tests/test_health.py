"""Health and readiness, with checks of the application's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from conftest import Setup

from otel_prom_bridge.endpoint.health import Check, Health
from otel_prom_bridge.endpoint.scrape import Request, Response, Scrape

Make = Callable[..., Setup]


class Source:
    """Something to be ready."""

    def __init__(self, ready: bool = True, healthy: bool = True) -> None:
        self.is_ready, self.is_healthy = ready, healthy


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
