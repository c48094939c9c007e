"""The endpoint's core: requests in, responses out, without a port."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from setups import Setup

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.clocks import process_start
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.endpoint.messages import Request, Response
from otel_prom_bridge.endpoint.scrape import GZIP_THRESHOLD, Scrape
from otel_prom_bridge.exposition import Exposition
from otel_prom_bridge.report.self_metrics import SelfMetrics, State

Make = Callable[..., Setup]


@pytest.fixture
def large(bridge: Make) -> Setup:
    """A reader with enough series for a compressed body."""
    setup = bridge()
    counter = setup.meter.create_counter("c")
    for number in range(200):
        counter.add(1, {"k": str(number)})
    setup.meter.create_gauge("g").set(1)
    return setup


@pytest.fixture
def scrape(large: Setup) -> Scrape:
    """The core over that reader."""
    return Scrape(large.reader)


def headers(response: Response) -> dict[str, str]:
    """The headers by lower-case name; a name that stands twice is a fault."""
    found = {name.lower(): value for name, value in response.headers}
    assert len(found) == len(response.headers)
    return found


def test_a_scrape(scrape: Scrape, large: Setup) -> None:
    """GET /metrics answers 200 with the exposition, its type and its length."""
    response = scrape.respond(Request())
    assert (response.status, response.reason) == (200, "OK")
    assert response.body == large.reader.expose().body
    assert headers(response) == {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        "vary": "Accept, Accept-Encoding",
        "process-start-time-unix": str(int(process_start() or 0)),
        "content-length": str(len(response.body)),
    }


def test_accept_chooses_the_format(scrape: Scrape) -> None:
    """The Accept header reaches the negotiation."""
    response = scrape.respond(Request(headers={"accept": "application/openmetrics-text;version=1.0.0"}))
    assert response.body.endswith(b"# EOF\n")
    assert headers(response)["content-type"].startswith("application/openmetrics-text; version=1.0.0;")


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [("gzip", True), ("gzip;q=0", False), ("identity", False), ("", False), ("br, gzip;q=0.5", True)],
)
def test_gzip_when_asked_for(scrape: Scrape, encoding: str, compressed: bool) -> None:
    """A large body is compressed if the client takes gzip, and says so; the plain bytes are the same."""
    plain = scrape.respond(Request()).body
    for _ in range(2):
        response = scrape.respond(Request(headers={"accept-encoding": encoding}))
        assert headers(response).get("content-encoding") == ("gzip" if compressed else None)
        assert headers(response)["content-length"] == str(len(response.body))
        assert (gzip.decompress(response.body) if compressed else response.body) == plain


def test_a_small_body_is_not_compressed(scrape: Scrape) -> None:
    """Below the threshold gzip is not worth its head."""
    response = scrape.respond(Request(query="name[]=g", headers={"accept-encoding": "gzip"}))
    assert response.body == b"# TYPE g gauge\ng 1\n"
    assert len(response.body) < GZIP_THRESHOLD
    assert "content-encoding" not in headers(response)


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("name[]=g", {b"g"}),
        ("name%5B%5D=c_total&name[]=g", {b"g", b"c_total"}),
        ("name[]=nothing", set()),
        ("name=g&other[]=x", {b"g", b"c_total"}),
        ("%ff%%&&=;name[]", {b"g", b"c_total"}),
    ],
)
def test_the_name_filter(scrape: Scrape, query: str, types: set[bytes]) -> None:
    """`name[]` keeps the metrics it names; anything that is no such filter keeps all."""
    body = scrape.respond(Request(query=query)).body
    assert {line.split()[2] for line in body.splitlines() if line.startswith(b"# TYPE")} == types


def test_an_absurd_filter_is_refused(scrape: Scrape) -> None:
    """With more fields than are read, nobody can say what it keeps: not everything, at any rate."""
    for query in ("name[]=g" + "&" * 1000, "name[]=" + "&name[]=" * 2000):
        assert scrape.quick(Request(query=query)) is None
        assert scrape.respond(Request(query=query)).status == 400
    assert scrape.respond(Request(query="name[]=g" + "&" * 999)).status == 200


def test_head_is_get(scrape: Scrape) -> None:
    """HEAD has the answer of GET, of which whoever writes it leaves the body out."""
    get, head = scrape.respond(Request()), scrape.respond(Request(method="HEAD"))
    assert head == get


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "BREW", ""])
def test_other_methods_are_told_what_is_allowed(scrape: Scrape, method: str) -> None:
    """Anything but GET, HEAD and OPTIONS is 405 with Allow."""
    response = scrape.respond(Request(method=method))
    assert response.status == 405
    assert headers(response)["allow"] == "GET, HEAD, OPTIONS"
    assert b"use one of GET, HEAD, OPTIONS" in response.body
    options = scrape.respond(Request(method="OPTIONS"))
    assert (options.status, headers(options)["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/", "", "/metricsx", "/favicon.ico", "/metrics/x", "\ud800"])
def test_an_unknown_path_says_what_is_there(scrape: Scrape, path: str) -> None:
    """A 404 lists the paths that exist."""
    response = scrape.respond(Request(path=path))
    assert response.status == 404
    assert response.body.decode().split()[-3:] == ["/metrics", "/health", "/ready"]


def test_an_app_that_is_mounted_serves_metrics_at_its_mount_point(scrape: Scrape) -> None:
    """Mounted at /metrics, the mount point itself is the scrape; a 404 shows the full paths."""
    for path in ("", "/", "/metrics", "/metrics/"):
        assert scrape.respond(Request(mount="/internal", path=path)).status == 200
    assert b"/internal/ready" in scrape.respond(Request(mount="/internal", path="/x")).body


def test_health_and_readiness(scrape: Scrape, large: Setup) -> None:
    """/health says alive; /ready that one can collect; a scrape of a reader that was shut down fails."""
    assert scrape.respond(Request(path="/health")).body.startswith(b"alive since 20")
    assert scrape.respond(Request(path="/ready")).body == b"ready\n"
    large.reader.shutdown()
    assert scrape.respond(Request(path="/ready")).status == 503
    assert scrape.respond(Request()).status == 503
    assert scrape.respond(Request(path="/health")).status == 200


def test_a_reader_without_a_provider_is_not_ready() -> None:
    """Before a provider uses the reader /ready says so, and a scrape is empty but fine."""
    scrape = Scrape(PrometheusMetricReader(registry=None))
    assert scrape.respond(Request(path="/ready")).status == 503
    assert scrape.respond(Request()).status == 200


def test_a_fault_of_ours_is_a_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    """If the source itself fails, the scraper learns nothing but that; the log has the traceback."""

    class Broken:
        is_ready, is_healthy, is_shut_down = True, True, False
        observer = SelfMetrics(findings=Findings())

        def expose(self, accept: str | None = None, **options: object) -> Exposition:
            raise RuntimeError("secret")

        def on_shutdown(self, hook: Callable[[], None]) -> Callable[[], None]:
            return hook

    response = Scrape(Broken()).respond(Request())
    assert response.status == 500
    assert b"secret" not in response.body
    found = {family.name: family for family in Broken.observer.families(State())}
    assert [point.labels for point in found["otel_prom_bridge_scrapes_total"].points] == [
        (("status", "500"),)
    ]
    assert "secret" in caplog.text


@settings(max_examples=examples(200))
@given(
    st.builds(
        Request,
        method=st.sampled_from(["GET", "HEAD"]) | st.text(max_size=8),
        path=st.sampled_from(["/metrics", "/health", "/ready"]) | st.text(max_size=30),
        query=st.text(max_size=60),
        headers=st.dictionaries(st.sampled_from(["accept", "accept-encoding", "host"]), st.text(max_size=80)),
        mount=st.text(max_size=5),
    )
)
def test_no_request_ends_in_a_500(request: Request) -> None:
    """Whatever the request says, the answer is well-formed and not a server error."""
    response = Scrape(PrometheusMetricReader(registry=None)).respond(request)
    assert response.status in (200, 204, 404, 405, 503)
    if request.method != "HEAD" and response.status != 204:
        assert headers(response)["content-length"] == str(len(response.body))
