"""The explorer at an endpoint: where it is, who may see it, and what it sends."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from explored import shop
from hubs import counter, own, push, request_of
from setups import Setup

from otel_prom_bridge import ConfigurationError, Guards, make_asgi_app, make_wsgi_app, start_http_server
from otel_prom_bridge.configuration.serving import serve, serve_if_possible
from otel_prom_bridge.configuration.settings import from_arguments, from_environment, log_error
from otel_prom_bridge.endpoint.messages import Request, Response
from otel_prom_bridge.endpoint.pages import Pages, pages_of
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.hub.hub import Hub

Make = Callable[..., Setup]
OVERVIEW = "/explorer/api/v1/overview"


def pages(setup: Setup, **options: Any) -> Pages:
    """The explorer of a reader."""
    found = pages_of(setup.reader, True, trace_url=None, **options)
    assert found is not None
    return found


def headers(response: Response) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {name.lower(): value for name, value in response.headers}


@pytest.fixture
def setup(bridge: Make) -> Setup:
    """A shop."""
    found = bridge()
    shop(found)
    return found


@pytest.fixture
def tokens(tmp_path: Path) -> Guards:
    """Guards that ask for the token ``secret-secret-secret-secret``."""
    path = tmp_path / "tokens"
    path.write_text("secret-secret-secret-secret\n")
    return Guards(bearer_tokens_file=path)


def test_it_is_off_unless_asked_for(setup: Setup) -> None:
    """Without the option there is nothing, and nothing of it is mentioned."""
    scrape = Scrape(setup.reader)
    for path in ("/", "/explorer", OVERVIEW):
        response = scrape.respond(Request(path=path))
        assert response.status == 404
        assert b"explorer" not in response.body


def test_where_it_is(setup: Setup) -> None:
    """The page is at the root and at its own path; the metrics stay where they were."""
    scrape = Scrape(setup.reader, pages=pages(setup))
    for path in ("/", "/explorer"):
        response = scrape.respond(Request(path=path))
        assert (response.status, response.body[:15]) == (200, b"<!doctype html>")
    moved = scrape.respond(Request(path="/explorer/"))
    assert (moved.status, headers(moved)["location"]) == (308, "/explorer")
    assert b"shop_orders_total" in scrape.respond(Request(path="/metrics")).body
    assert b"/explorer" in scrape.respond(Request(path="/nothing")).body
    assert scrape.respond(Request(path="/explorer", method="POST")).status == 405


def test_a_mount_and_metrics_at_the_root(setup: Setup) -> None:
    """Where the root is taken by the metrics, the page is at its own path only."""
    mounted = Scrape(setup.reader, pages=pages(setup))
    assert b"shop_orders" in mounted.respond(Request(path="/", mount="/prom")).body
    assert mounted.respond(Request(path="/explorer", mount="/prom")).status == 200
    found = json.loads(mounted.respond(Request(path=OVERVIEW, mount="/prom")).body)
    assert found["metrics_path"] == "/prom/metrics"
    rooted = Scrape(setup.reader, pages=pages(setup), metrics_path="/")
    assert b"shop_orders" in rooted.respond(Request(path="/")).body
    with pytest.raises(ConfigurationError, match=r"metrics_path.*the explorer is there"):
        Scrape(setup.reader, pages=pages(setup), metrics_path="/explorer")


def test_the_policy_allows_this_script_and_no_other(setup: Setup) -> None:
    """The policy begins with nothing, has the hashes of what is in the page, and no address but its own."""
    response = Scrape(setup.reader, pages=pages(setup)).respond(Request(path="/"))
    policy = headers(response)["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind in ("style", "script"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", response.body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert headers(response)["x-content-type-options"] == "nosniff"
    assert headers(response)["cache-control"] == "no-store"


def test_the_page_needs_nothing_from_anywhere(setup: Setup) -> None:
    """No script, style, font or image of the page has an address."""
    body = Scrape(setup.reader, pages=pages(setup)).respond(Request(path="/")).body.decode()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", body)
    assert not re.findall(r"url\(|@import|innerHTML|insertAdjacentHTML|document\.write|eval\(", body)


def test_answers_are_compressed_and_shared(setup: Setup) -> None:
    """Whoever takes gzip gets it, and equal questions within a second have one answer."""
    asked: list[int] = []
    setup.meter.create_observable_gauge("asked", [lambda options: asked.append(1) or []])  # type: ignore[func-returns-value]
    scrape = Scrape(setup.reader, pages=pages(setup))
    request = Request(path=OVERVIEW, headers={"accept-encoding": "gzip"})
    first = scrape.respond(request)
    assert headers(first)["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(first.body))["version"] == 1
    assert scrape.respond(request) is first
    assert len(asked) == 1


def test_scrapes_are_remembered(setup: Setup) -> None:
    """Who scraped, with which program, what was sent and how long it took; the page itself is no scrape."""
    scrape = Scrape(setup.reader, pages=pages(setup))
    scrape.respond(Request(peer="10.0.0.9", headers={"user-agent": "Prometheus/3.5"}))
    scrape.respond(Request(path=OVERVIEW))
    health = json.loads(scrape.respond(Request(path="/explorer/api/v1/health")).body)
    (seen,) = health["scrapes"]
    assert (seen["peer"], seen["agent"], seen["status"]) == ("10.0.0.9", "Prometheus/3.5", 200)
    assert seen["bytes"] > 100
    assert set(health["phases"]) >= {"collect", "apply", "encode"}


def test_a_token_guards_the_data_and_not_the_empty_page(setup: Setup, tokens: Guards) -> None:
    """A browser can open the page, which has nothing in it, and needs the token for everything else."""
    handler = tokens.wrap(Scrape(setup.reader, pages=pages(setup)))
    assert handler.respond(Request(path="/")).status == 200
    assert handler.respond(Request(path="/explorer")).status == 200
    for path in (OVERVIEW, "/explorer/api/v1/schema", "/explorer/", "/metrics", "/explorer/x"):
        assert handler.respond(Request(path=path)).status == 401, path
    token = {"authorization": "Bearer secret-secret-secret-secret"}
    assert handler.respond(Request(path=OVERVIEW, headers=token)).status == 200


def test_networks_and_passwords_guard_the_page_itself(setup: Setup) -> None:
    """Who may not ask gets no page either; for a password the browser asks by itself."""
    network = Guards(allow=["10.0.0.0/8"]).wrap(Scrape(setup.reader, pages=pages(setup)))
    assert network.respond(Request(path="/", peer="192.0.2.1")).status == 403
    hashed = "$2b$04$9aA1mXTRxYDVTZKHr3Cx/eV6zJJ8nqIhHSVsmDD4cQb2XVXzUwWka"
    users = Guards(basic_users={"me": hashed}).wrap(Scrape(setup.reader, pages=pages(setup)))
    response = users.respond(Request(path="/"))
    assert response.status == 401
    assert headers(response)["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("addr", ["0.0.0.0", "::"])
def test_a_public_address_needs_a_guard(setup: Setup, tokens: Guards, addr: str) -> None:
    """Where others reach it and nothing guards it, it is refused, unless that is said to be meant."""
    with pytest.raises(ConfigurationError, match="explorer: True is not allowed, expected a guard") as caught:
        start_http_server(setup.reader, port=0, addr=addr, explorer=True)
    assert "'public'" in str(caught.value)
    for options in ({"explorer": "public"}, {"explorer": True, "guards": tokens}, {"explorer": False}):
        with start_http_server(setup.reader, port=0, addr=addr, **options) as server:  # type: ignore[arg-type]
            assert server.is_serving
    with pytest.raises(ConfigurationError, match="expected a guard"):
        start_http_server(setup.reader, port=0, addr=addr, explorer=True, guards=Guards(max_in_flight=1))


def test_an_application_of_a_server_needs_a_guard(setup: Setup, tokens: Guards) -> None:
    """Nobody knows who reaches the server of the application."""
    for make in (make_asgi_app, make_wsgi_app):
        with pytest.raises(ConfigurationError, match="guard"):
            make(setup.reader, explorer=True)
        make(setup.reader, explorer=True, guards=tokens)
        make(setup.reader, explorer="public")


def test_options_by_every_way(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Arguments and variables say it alike; what is wrong with it says what would be right."""
    settings = from_arguments({"port": 0, "explorer": True, "trace_url": "https://t.example/{trace_id}"})
    with serve(setup.reader, settings) as server:
        url = server.url.replace("/metrics", OVERVIEW)
        with urllib.request.urlopen(url) as response:
            assert json.loads(response.read())["trace_url"] == "https://t.example/{trace_id}"
    for key, value in (("explorer", "yes, please"), ("trace_url", "javascript:alert({trace_id})")):
        with pytest.raises(ConfigurationError, match=f"^{key}: "):
            from_arguments({key: value})
    monkeypatch.setenv("OTEL_PROM_BRIDGE_EXPLORER", "public")
    assert from_environment(log_error).endpoint["explorer"] == "public"
    monkeypatch.setenv("OTEL_PROM_BRIDGE_EXPLORER", "true")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "0.0.0.0")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    with caplog.at_level(logging.ERROR):
        found = serve_if_possible(setup.reader, from_environment(log_error))
    assert found is not None
    assert not found.is_serving
    assert "recorded but not served: OTEL_PROM_BRIDGE_EXPLORER" in caplog.text


def test_errors_of_the_configuration_are_shown(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was wrong with a variable, and passed over, is on the page of health."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_EXPLORER", "true")
    monkeypatch.setenv("OTEL_PROM_BRIDGE_MAX_LABELS", "many")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    with serve(setup.reader, from_environment(log_error)) as server:
        answer = urllib.request.urlopen(server.url.replace("/metrics", "/explorer/api/v1/health"))
        with answer as response:
            (line,) = json.loads(response.read())["configuration"]
    assert line.startswith("OTEL_PROM_BRIDGE_MAX_LABELS: 'many' is not allowed")


def test_a_hub_has_it_with_its_workers() -> None:
    """The hub's endpoint shows what processes push, and how they are doing."""
    hub = Hub({})
    try:
        body = request_of(counter("orders", 3), resource={"service.name": "shop"})
        push(hub, body, **own("one", 1))
        found = pages_of(hub, True, trace_url=None)
        scrape = Scrape(hub, pages=found)
        overview = json.loads(scrape.respond(Request(path=OVERVIEW)).body)
        assert "orders_total" in {row["name"] for row in overview["families"]}
        (worker,) = json.loads(scrape.respond(Request(path="/explorer/api/v1/health")).body)["workers"]
        assert (worker["number"], worker["service"]) == (1, "shop")
    finally:
        hub.shutdown()


def test_many_at_once(setup: Setup) -> None:
    """Twenty pages that ask at once get answers or are told to come back; scrapes go on meanwhile."""
    with start_http_server(setup.reader, port=0, explorer=True) as server:
        statuses: list[int] = []

        def ask(number: int) -> None:
            url = server.url.replace("/metrics", f"{OVERVIEW}?n={number}")
            try:
                with urllib.request.urlopen(url) as response:
                    json.loads(response.read())
                    statuses.append(response.status)
            except urllib.error.HTTPError as error:
                with error:
                    statuses.append(error.code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        with urllib.request.urlopen(server.url) as response:
            assert response.status == 200
        for thread in threads:
            thread.join(30)
        assert len(statuses) == 20
        assert set(statuses) <= {200, 503}
        assert 200 in statuses
