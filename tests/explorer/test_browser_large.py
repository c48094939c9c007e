"""The explorer's page with very much to show, and in other circumstances; what takes its time."""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from browser import Browser, driven, programs
from explored import shop
from servers import missing
from setups import Setup

from otel_prom_bridge import MetricsServer, start_http_server
from otel_prom_bridge.explorer.target import FileTarget, ForeignTarget
from otel_prom_bridge.families import CounterPoint, Kind, MetricFamily
from otel_prom_bridge.snapshots import Snapshot

pytestmark = pytest.mark.slow
Serve = Callable[..., MetricsServer]


def large(families: int, series: int) -> ForeignTarget:
    """Many families of counters, each with so many series."""
    return FileTarget(
        Snapshot.of_families(
            MetricFamily(
                f"metric_{number}_total",
                Kind.COUNTER,
                "A metric.",
                "",
                tuple(
                    CounterPoint((("number", str(index)), ("route", f"/r{index % 50}")), float(index))
                    for index in range(series)
                ),
            )
            for number in range(families)
        )
    )


def root(server: MetricsServer) -> str:
    """Where the page is."""
    return server.url.removesuffix("metrics")


def milliseconds_until(browser: Browser, what: str) -> float:
    """When this was, since the page was opened. The browser says it a little later than it was."""
    entries = f"performance.getEntriesByName('{what}')"
    browser.until(lambda: browser.run(f"return {entries}.length"), what)
    return float(browser.run(f"return {entries}[0].startTime"))


@pytest.mark.clocked
def test_ten_thousand_series_are_there_at_once(browser: Browser, serve: Serve) -> None:
    """With 10,000 series in 500 families something is seen within 100 ms, and the list soon after."""
    server = serve(large(500, 20))
    painted, listed = [], []
    for _ in range(5):
        browser.open(root(server))
        browser.wait_for("metric_0_total", "#families")
        painted.append(milliseconds_until(browser, "first-contentful-paint"))
        listed.append(milliseconds_until(browser, "families"))
    assert min(painted) < 100
    assert statistics.median(listed) < 500


@pytest.mark.clocked
def test_a_hundred_thousand_series_are_scrolled(browser: Browser, serve: Serve) -> None:
    """Of 100,000 series only the visible rows exist; the last one is there soon after one scrolls to it."""
    server = serve(large(1, 100_000))
    browser.open(f"{root(server)}#/family/metric_0_total")
    browser.wait_for("100,000 of 100,000 series", seconds=30)
    browser.click_text("number", "#series .th button")
    browser.wait_for("\n0\n", "#series", seconds=30)
    frames = browser.run_async(
        "const done = arguments[0], gaps = []; let last = performance.now(), n = 0;"
        "(function step() { const now = performance.now(); gaps.push(now - last); last = now;"
        "scrollBy(0, 300); if (n++ < 60) requestAnimationFrame(step); else done(gaps); })()"
    )
    assert statistics.median(frames) < 50
    assert browser.run("return document.querySelectorAll('#series .tbody .tr').length") < 60
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.run("document.querySelector('#series').scrollIntoView({block: 'end'})")
    browser.until(lambda: "99999" in browser.text("#series"), "the last series", seconds=20)
    assert browser.run("return document.querySelector('#series').getAttribute('aria-rowcount')") == "100001"


def test_german_numbers(serve: Serve) -> None:
    """Numbers are written as the browser's language has them."""
    if programs() is None:
        missing("chromium and chromedriver", package="chromium chromium-driver")
    server = serve(large(1, 1234))
    with driven("--accept-lang=de-DE", "--lang=de") as browser:
        browser.devtools("Emulation.setLocaleOverride", locale="de-DE")
        browser.devtools(
            "Network.setUserAgentOverride",
            userAgent=browser.run("return navigator.userAgent"),
            acceptLanguage="de-DE",
        )
        browser.open(root(server))
        browser.wait_for("1.234", ".cards")


def test_a_slow_service_and_a_slow_reader(setup_slow: Setup, browser: Browser, serve: Serve) -> None:
    """While a callback hangs, the page shows what was known last and says that something is missing."""
    server = serve(setup_slow.reader)
    browser.open(root(server))
    browser.wait_for("the answer is not complete", ".cards", seconds=30)


@pytest.fixture
def setup_slow(bridge: Callable[..., Setup]) -> Any:
    """A shop with a callback that hangs."""
    setup = bridge(scrape_timeout=1.0)
    shop(setup)
    end = threading.Event()
    setup.meter.create_observable_gauge("hangs", [lambda options: (end.wait(20) and []) or []])
    yield setup
    end.set()


def test_pages_that_stay_open_hold_up_no_scrape(bridge: Callable[..., Setup]) -> None:
    """While ten clients ask for everything all the time, each scrape is answered."""
    setup = bridge()
    shop(setup, orders=1500)
    with start_http_server(setup.reader, port=0, explorer=True) as server:
        end = time.monotonic() + 4
        answers: list[int] = []

        def look(number: int) -> None:
            paths = (
                "overview",
                "cardinality?name=shop_orders_total",
                "family?name=shop_orders_total&limit=1000",
            )
            while time.monotonic() < end:
                url = f"{root(server)}explorer/api/v1/{paths[number % 3]}"
                try:
                    with urllib.request.urlopen(
                        f"{url}{'&' if '?' in url else '?'}x={quote(str(time.time()))}"
                    ) as r:
                        answers.append(r.status)
                        r.read()
                except urllib.error.HTTPError as error:
                    with error:
                        answers.append(error.code)

        threads = [threading.Thread(target=look, args=(number,)) for number in range(10)]
        for thread in threads:
            thread.start()
        scrapes = 0
        while time.monotonic() < end:
            with urllib.request.urlopen(server.url, timeout=10) as response:
                assert b"shop_orders_total" in response.read()
            scrapes += 1
        for thread in threads:
            thread.join(30)
    assert scrapes > 3
    assert set(answers) <= {200, 503}
