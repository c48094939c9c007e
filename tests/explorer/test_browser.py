"""The explorer's page in a real browser: what is on it, and what a click does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import programs
import pytest
from browser import Browser
from explored import shop
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from setups import Setup

from otel_prom_bridge import Guards, MetricsServer

Make = Callable[..., Setup]
Visit = Callable[..., Browser]
HOSTILE = '<img src=x onerror="window.hurt=1"><b>&amp;"\'</b>\u202egnisrever'


@pytest.fixture
def setup(bridge: Make) -> Setup:
    """A shop at one of its limits, with a callback that fails."""
    found = bridge(max_series_per_metric=10, self_metrics=True)
    shop(found)
    return found


def family(name: str, part: str = "") -> str:
    """The address of a family."""
    return f"#/family/{quote(name, safe='')}{part}"


def rows(browser: Browser, table: str = "#families") -> list[str]:
    """The first cells of the visible rows, from top to bottom."""
    script = (
        "return [...document.querySelectorAll(arguments[0] + ' .tbody .tr')]"
        ".sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))"
        ".map(r => r.querySelector('.td').innerText.split('\\n')[0])"
    )
    found: list[str] = browser.run(script, table)
    return found


def severe(browser: Browser) -> list[str]:
    """What the browser complains of: scripts that failed, and what the policy refused."""
    found = [entry["message"] for entry in browser.log("browser") if entry["level"] == "SEVERE"]
    return [message for message in found if "/favicon.ico" not in message]  # of the page before


def test_the_first_screen(setup: Setup, visit: Visit) -> None:
    """What is here, is it healthy and what is too much are answered without a click."""
    browser = visit(setup.reader)
    browser.wait_for("shop_number has", ".cards")
    cards = browser.texts(".cards .card")
    assert cards[0].startswith("What is here")
    assert "series" in cards[0]
    assert cards[1].startswith("Is it healthy\n\n2 errors")
    assert "a callback of pool.size failed" in cards[1]
    assert "shop_orders_total: at its limit: 2 points" in cards[1]
    assert "shop_number has 10 values in shop_orders_total" in cards[2]
    assert rows(browser)[0] in ("http_server_request_duration_seconds", "shop_orders_total over its limit")
    assert severe(browser) == []


@pytest.mark.slow
def test_families_are_searched_and_sorted(setup: Setup, visit: Visit) -> None:
    """The search finds names and help as one types; a type and an order can be chosen."""
    browser = visit(setup.reader)
    browser.wait_for("shop_orders_total", "#families")
    browser.press("/")
    browser.press(*"orders TAK")
    browser.until(lambda: rows(browser) == ["shop_orders_total over its limit"], "only the orders")
    assert browser.wait_for("1 of ", ".tools")
    browser.type("#search", "nobody has this")
    browser.wait_for("No family is like that", ".empty")
    browser.type("#search", "")
    browser.run("document.querySelector('#search').dispatchEvent(new Event('input'))")
    browser.choose("#type", "histogram")
    browser.until(lambda: rows(browser)[:1] == ["http_server_request_duration_seconds"], "histograms")
    browser.choose("#type", "")
    browser.choose("#sort", "name")
    names = browser.until(lambda: rows(browser), "rows")
    assert names == sorted(names)


@pytest.mark.slow
def test_change_since_the_page_was_opened(setup: Setup, visit: Visit) -> None:
    """What is counted while the page is open shows as a rate; a new family is marked and first."""
    browser = visit(setup.reader)
    browser.wait_for("0/s", "#families")
    counter = setup.provider.get_meter("shop", "1.2").create_counter("shop.orders")
    counter.add(5000, {"payment.method": "card", "shop.number": 0})
    setup.meter.create_counter("brand.new").add(1)
    browser.choose("#sort", "newest")
    browser.until(lambda: rows(browser)[:1] == ["brand_new_total new"], "new family")
    browser.choose("#sort", "fastest")
    browser.until(lambda: rows(browser)[0].startswith("shop_orders_total"), "fastest family")
    assert browser.run("return document.querySelectorAll('#families .spark path').length") > 0


def test_series_are_sorted_and_filtered(setup: Setup, visit: Visit) -> None:
    """A head of a column sorts, labels filter, and what is the same in all series is said once."""
    browser = visit(setup.reader, family("shop_orders_total"))
    browser.wait_for("11 of 11 series")
    browser.click_text("shop_number", "#series .th button")
    browser.until(lambda: rows(browser, "#series")[:3] == ["0", "1", "2"], "numbers in their order")
    assert browser.run("return document.querySelector('#series [aria-sort=ascending]').innerText") == (
        "shop_number ↑"
    )
    browser.choose("#filter-label", "payment_method")
    browser.type("#filter-value", "cash")
    browser.click("#filter-add")
    browser.wait_for("5 of 11 series")
    assert 'shop_orders_total{payment_method="cash"}' in browser.wait_for("rate(", ".stack")
    browser.click("[aria-label='Remove the filter payment_method=cash']")
    browser.type("#series-search", "9")
    browser.wait_for("1 of 11 series")


@pytest.mark.slow
def test_a_counter_and_a_gauge_have_lines(setup: Setup, visit: Visit) -> None:
    """A counter is drawn by its rate, a gauge by its value, and both are told to who cannot see them."""
    browser = visit(setup.reader, family("queue_size"))
    label = "return (document.querySelector('svg.chart') || document.body).getAttribute('aria-label') || ''"
    browser.until(lambda: "All series together: now 7" in browser.run(label), "the line of the gauge")
    browser.run("location.hash = arguments[0]", family("shop_orders_total"))
    browser.until(lambda: "per second: now 0/s" in browser.run(label), "the line of the counter")


def test_a_histogram_with_exemplars(bridge: Make, visit: Visit) -> None:
    """A histogram has a heat map, its distribution, its quantiles, and dots that lead to traces."""
    setup = bridge(resource=None)
    histogram = setup.meter.create_histogram("call.duration", unit="s")
    tracer = TracerProvider().get_tracer("t")
    traces = set()
    with tracer.start_as_current_span("s") as span:
        traces.add(f"{span.get_span_context().trace_id:032x}")
        for number in range(100):
            histogram.record(0.2 + number / 100)
    url = "https://traces.example/trace/{trace_id}?span={span_id}"
    browser = visit(setup.reader, family("call_duration_seconds"), trace_url=url)
    browser.wait_for("100 observations")
    pills = browser.texts(".two .pill")
    assert [pill.split()[0] for pill in pills] == ["p50", "p90", "p99"]
    links = browser.run("return [...document.querySelectorAll('svg a')].map(a => a.getAttribute('href'))")
    assert links
    assert all(link.startswith(f"https://traces.example/trace/{next(iter(traces))}?span=") for link in links)
    assert browser.run("return document.querySelector('svg a').getAttribute('rel')") == "noopener noreferrer"
    histogram.record(0.4)
    cells = "return document.querySelectorAll('svg[role=group] rect').length"
    browser.until(lambda: browser.run(cells), "a cell of the heat map")
    for query in ("histogram_quantile(0.95, sum by (le) (rate(call_duration_seconds_bucket[5m])))",):
        assert query in browser.texts("pre")


@pytest.mark.slow
def test_a_native_histogram_and_the_doctor(bridge: Make, visit: Visit) -> None:
    """Native buckets are drawn as such; buckets that say nothing get the doctor's remark."""
    view = View(instrument_name="e", aggregation=ExponentialBucketHistogramAggregation())
    setup = bridge(views=(view,))
    setup.meter.create_histogram("e").record(3)
    poor = setup.meter.create_histogram("poor", unit="s")
    for _ in range(60):
        poor.record(0.0001)
    browser = visit(setup.reader, family("e"))
    browser.wait_for("native histogram")
    browser.run("location.hash = arguments[0]", family("poor_seconds"))
    assert "bounds that fit" in browser.wait_for("nearly all of 60 observations", ".note")


@pytest.mark.slow
def test_labels_and_what_if(setup: Setup, visit: Visit) -> None:
    """A tick beside a label says what would be without it, and gives the view in Python and TOML to copy."""
    browser = visit(setup.reader)
    browser.click_text("shop_number", ".cards a")
    browser.wait_for("Tick labels")
    browser.click("[aria-label='Leave out shop_number']")
    browser.wait_for("3 series instead of 11", "#what-if")
    python, toml = browser.texts("#what-if pre")
    assert "drop=['shop.number']" in python
    assert 'drop = ["shop.number"]' in toml
    assert "2 points went to the series otel_metric_overflow" in browser.text()
    assert "100%" in browser.text()
    browser.devtools("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    browser.click("#what-if [aria-label='Copy TOML']")
    browser.wait_for("Copied", "#what-if")


@pytest.mark.slow
def test_where_a_series_comes_from(setup: Setup, visit: Visit) -> None:
    """A series is followed from its recorded attributes to its labels."""
    browser = visit(setup.reader, family("shop_orders_total"))
    browser.wait_for("11 of 11 series")
    browser.click_text("shop_number", "#series .th button")
    browser.until(lambda: rows(browser, "#series")[:1] == ["0"], "the first number")
    browser.click("#series [aria-rowindex='2'] [data-key=why]")
    steps = browser.wait_for("Recorded by shop.orders", "#steps")
    assert "shop.number\t0\tshop_number\t0\tas recorded" in steps
    text = browser.text()
    assert "no view selects it" in text
    assert "name=shop" in text
    browser.run("location.hash = arguments[0]", family("otel_prom_bridge_series", "/origin"))
    browser.wait_for("The bridge says this of itself")


@pytest.mark.slow
def test_models_and_agents(bridge: Make, visit: Visit) -> None:
    """Where models are called there is a page of them, which names the slowest."""
    setup = bridge()
    seconds = setup.meter.create_histogram("gen_ai.client.operation.duration", unit="s")
    for model, duration in (("fast-1", 0.1), ("slow-1", 8.0)):
        of = {"gen_ai.request.model": model, "gen_ai.provider.name": "openai"}
        for _ in range(5):
            seconds.record(duration, of)
    setup.meter.create_histogram("gen_ai.invoke_agent.duration", unit="s").record(
        2, {"gen_ai.agent.name": "planner", "error.type": "timeout"}
    )
    browser = visit(setup.reader)
    browser.click_text("LLM and agents")
    browser.wait_for("slow-1 slowest")
    assert "fast-1\topenai\t5\t0" in browser.text()
    assert "planner\t1\t1 (100%)" in browser.text()
    assert violations(browser) == []


@pytest.mark.slow
def test_health(setup: Setup, visit: Visit, serve: Callable[..., MetricsServer]) -> None:
    """Who scraped and how long it took, which callback failed, what was logged, versions, and the command."""
    browser = visit(setup.reader)
    browser.run("return fetch('/metrics', {headers: {Accept: 'text/plain'}}).then(r => r.status)")
    browser.click_text("Health")
    text = browser.wait_for("Callbacks that failed")
    assert "pool.size" in text
    assert "text/plain; version=0.0.4" in browser.wait_for("127.0.0.1")
    assert "is at a limit of its series" in text
    assert "opentelemetry-sdk" in text
    assert any(line.startswith("curl -sH 'Accept:") for line in browser.texts("pre"))
    assert any("scrape_configs:" in line for line in browser.texts("pre"))


def test_hostile_texts_are_texts(bridge: Make, visit: Visit) -> None:
    """Markup in names, labels, values and help is shown as it is, and does nothing; nor does 1 MB."""
    setup = bridge(translation_strategy="NoTranslation", max_label_value_length=0, max_help_length=0)
    counter = setup.meter.create_counter("evil.metric", description=HOSTILE * 100)
    counter.add(1, {HOSTILE: HOSTILE, "k": "x" * 1_000_000})
    counter.add(1, {HOSTILE: "2", "k": "--><script>window.hurt=1</script>"})
    browser = visit(setup.reader)
    browser.wait_for("<img src=x onerror", "#families")
    for part in ("", "/labels", "/origin"):
        browser.run("location.hash = arguments[0]", family("evil.metric", part))
        browser.wait_for('<img src=x onerror="window.hurt=1"><b>&amp;', "main")
    browser.wait_for("Attributes")
    assert browser.run("return window.hurt") is None
    assert browser.run("return document.querySelectorAll('main img, main b, main script').length") == 0
    assert severe(browser) == []


def test_no_request_leaves_the_origin(setup: Setup, visit: Visit) -> None:
    """Whatever is looked at, everything that is fetched is of the page's own address."""
    browser = visit(setup.reader)
    for view in ("#/", family("shop_orders_total"), "#/labels", "#/models", "#/health"):
        browser.run("location.hash = arguments[0]", view)
        time.sleep(0.3)
    origin = browser.run("return location.origin")
    urls = [
        message["params"]["request"]["url"]
        for entry in browser.log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    ]
    asked = [url for url in urls if not url.startswith(("data:", "chrome"))]
    assert len(asked) > 8
    assert [url for url in asked if not url.startswith(f"{origin}/")] == []


def test_a_token_and_its_end(setup: Setup, visit: Visit, tmp_path: Path) -> None:
    """The page asks for a token in words, also when the one that it has is not valid any more."""
    path = tmp_path / "tokens"
    path.write_text("first-token-first-token-first\n")
    browser = visit(setup.reader, guards=Guards(bearer_tokens_file=path))
    browser.wait_for("This endpoint asks for a token.")
    browser.type("#token", "wrong")
    browser.press("Enter")
    browser.wait_for("The token is not valid, or has expired.")
    browser.type("#token", "first-token-first-token-first")
    browser.press("Enter")
    browser.wait_for("shop_orders_total", "#families")
    path.write_text("second-token-second-token-sec\n")
    browser.wait_for("The token is not valid, or has expired.", seconds=20)
    assert browser.text("#status") == "token needed"


def test_a_service_that_stops_and_comes_back(
    setup: Setup, browser: Browser, serve: Callable[..., MetricsServer]
) -> None:
    """A service that was stopped is said in words, and the page goes on when it is there again."""
    server = serve(setup.reader)
    root = server.url.removesuffix("/metrics")
    browser.open(f"{root}/health")
    browser.run("localStorage.setItem('seconds', '1')")
    browser.open(f"{root}/")
    browser.wait_for("shop_orders_total", "#families")
    server.close()
    browser.wait_for("The service does not answer. It may have been stopped", "#alert")
    assert browser.text("#status") == "no answer"
    assert "shop_orders_total" in browser.text("#families")
    serve(setup.reader, port=server.port)
    browser.until(lambda: not browser.text("#alert"), "quiet page")


def violations(browser: Browser) -> list[str]:
    """What axe-core finds that is serious or worse: https://github.com/dequelabs/axe-core"""
    if not browser.run("return Boolean(window.axe)"):
        source = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        browser.devtools("Runtime.evaluate", expression=source)
    passed, found = browser.run_async(
        "const done = arguments[0]; axe.run().then(r => done([r.passes.length, r.violations]),"
        " e => done([0, [{id: String(e)}]]))"
    )
    assert passed > 10, found
    return [
        f"{item['id']}: {[node['html'][:200] for node in item.get('nodes', [])][:3]}"
        for item in found
        if item.get("impact", "serious") in ("serious", "critical")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_for_who_cannot_see(setup: Setup, visit: Visit, theme: str) -> None:
    """axe-core finds no serious fault in any view, in both themes."""
    browser = visit(setup.reader)
    browser.theme(theme)
    views = {
        "#/": "What is too much",
        family("shop_orders_total"): "11 of 11",
        family("http_server_request_duration_seconds"): "Distribution",
        family("shop_orders_total", "/labels"): "Tick labels",
        family("shop_orders_total", "/origin"): "Attributes",
        "#/labels": "Budgets, the fullest first",
        "#/health": "Versions",
    }
    for view, text in views.items():
        browser.run("location.hash = arguments[0]", view)
        browser.wait_for(text)
        assert violations(browser) == [], view


def test_the_keyboard_is_enough(setup: Setup, visit: Visit) -> None:
    """The first tab skips to the content; a family opens with Enter, and the focus follows."""
    browser = visit(setup.reader)
    browser.wait_for("shop_orders_total", "#families")
    browser.press("Tab")
    assert browser.run("return document.activeElement.innerText") == "Skip to the content"
    browser.press("Enter")
    assert browser.run("return document.activeElement.id") == "main"
    browser.run("document.querySelector('#families a').focus()")
    browser.press("Enter")
    browser.wait_for("all families")
    assert browser.run("return document.activeElement.id") == "main"


@pytest.mark.parametrize(("width", "height"), [pytest.param(390, 844, marks=pytest.mark.slow), (320, 256)])
def test_a_phone_and_400_percent(setup: Setup, visit: Visit, width: int, height: int) -> None:
    """On a phone, and at 400 % of 1280 pixels, nothing is cut off at the side."""
    browser = visit(setup.reader)
    browser.size(width, height)
    for view, text in (
        ("#/", "shop_orders_total"),
        (family("shop_orders_total"), "11 of 11"),
        (family("http_server_request_duration_seconds"), "Distribution"),
        (family("shop_orders_total", "/labels"), "Tick labels"),
        ("#/health", "Versions"),
    ):
        browser.run("location.hash = arguments[0]", view)
        browser.wait_for(text)
        wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, view


@pytest.mark.slow
def test_the_theme_is_kept(setup: Setup, visit: Visit) -> None:
    """The theme follows the system, unless one is chosen, which is kept."""
    browser = visit(setup.reader)
    browser.wait_for("shop_orders_total", "#families")
    color = "return getComputedStyle(document.body).backgroundColor"
    light = browser.run(color)
    browser.theme("dark")
    dark = browser.run(color)
    browser.choose("#theme", "light")
    assert (browser.run(color), light != dark) == (light, True)
    browser.run("location.reload()")
    browser.wait_for("shop_orders_total", "#families")
    assert browser.run(color) == light


def test_serve_shows_anybodys_exposition(browser: Browser, tmp_path: Path) -> None:
    """`serve` has the same page for a file, with what is wrong in it."""
    path = tmp_path / "metrics.prom"
    path.write_text('# TYPE requests_total counter\nrequests_total{code="200"} 5\nwhat is this\n')
    command = [sys.executable, "-m", "otel_prom_bridge", "serve", str(path), "--port", "0"]
    process = programs.Program(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].split(";")[0]
        browser.open(url)
        browser.wait_for("requests_total", "#families")
        assert browser.text("#title") == str(path)
        assert "what is this" in browser.text(".cards")
        browser.open(f"{url}{family('requests_total', '/origin')}")
        browser.wait_for("An exposition does not say what was recorded")
        browser.open(f"{url}#/health")
        browser.wait_for("What is wrong with the exposition")
    finally:
        process.terminate()
        process.communicate(timeout=10)
