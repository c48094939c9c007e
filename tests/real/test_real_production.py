"""docs/troubleshooting.md: a target is down, and a real Prometheus says of each cause what the page says."""

from __future__ import annotations

import re
import socket
import threading
import time
import wsgiref.simple_server
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import write_authority, write_pair
from opentelemetry.sdk.metrics import MeterProvider
from servers import free_port, prometheus, wait_for

from otel_prom_bridge import MetricsServer, PrometheusMetricReader, make_wsgi_app, start_http_server
from otel_prom_bridge.endpoint.files.tls import Tls, TlsSettings
from otel_prom_bridge.endpoint.guards import Guards, RateLimit

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
SECTION = PAGE.split("\n## The target is down\n")[1].split("\n## ")[0]
ERRORS = [
    re.findall(r"`([^`]+)`", cell)
    for row in re.findall(r"^\| (.*) \|$", SECTION, re.MULTILINE)[1:]
    if not (cell := row.split(" | ")[0]).startswith("the same")
]
REFUSED, TIMEOUT, CLOSED, NO_TLS, UNKNOWN, CERTIFICATE, *STATUS = ERRORS


class Site:
    """Endpoints in which something is wrong."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.addresses: dict[str, str] = {}
        self.settings: dict[str, Mapping[str, object]] = {}
        self.expected: dict[str, list[str]] = {}
        write_authority(folder)
        self.certificate = write_pair(folder)
        (folder / "tokens").write_text("6d2f0c5a7be94e1c8a37d5f0b1e29c84\n")
        self.reader = self.new_reader()

    def path(self, name: str) -> str:
        """A file."""
        return str(self.folder / name)

    def new_reader(self) -> PrometheusMetricReader:
        """A reader that a provider uses."""
        reader = PrometheusMetricReader(registry=None)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        self.stack.callback(provider.shutdown)
        return reader

    def serve(self, **options: object) -> MetricsServer:
        """An endpoint on a free port."""
        server = start_http_server(self.reader, port=0, addr="127.0.0.1", **options)  # type: ignore[arg-type]
        return self.stack.enter_context(server)

    def add(
        self, job: str, port: int, expected: list[str], *, host: str = "127.0.0.1", **how: object
    ) -> None:
        """A target, what Prometheus is told of it, and what it will say."""
        self.addresses[job] = f"{host}:{port}"
        self.settings[job], self.expected[job] = how, expected

    def tls(self, **options: str) -> Tls:
        """TLS with our certificate."""
        cert_file, key_file = self.certificate
        return Tls(TlsSettings(cert_file=cert_file, key_file=key_file, **options))  # type: ignore[arg-type]


def connections(site: Site) -> None:
    """Nothing gets through, or not what was meant to."""
    plain, secure = site.serve(), site.serve(tls=site.tls())
    trusted = {"scheme": "https", "tls_config": {"ca_file": site.path("ca.pem")}}
    site.add("good", plain.port, [])
    site.add("good-tls", secure.port, [], **trusted)
    site.add("localhost", plain.port, REFUSED, host="127.0.0.2")
    site.add("nobody", free_port(), REFUSED)
    silent = site.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    site.add("silent", silent.getsockname()[1], TIMEOUT)
    site.add("allow", site.serve(guards=Guards(allow=["10.0.0.0/8"])).port, CLOSED)
    site.add("plain-to-tls", secure.port, CLOSED)
    site.add("tls-to-plain", plain.port, NO_TLS, scheme="https")
    site.add("unknown", secure.port, UNKNOWN, scheme="https")
    required = site.tls(client_ca_file=site.path("ca.pem"), client_auth="RequireAndVerifyClientCert")
    site.add("certificate", site.serve(tls=required).port, CERTIFICATE, **trusted)


def statuses(site: Site) -> None:
    """Answers that are none."""
    by_code = {re.findall(r"\d+", error)[0]: [error] for (error,) in STATUS}
    token = Guards(bearer_tokens_file=site.path("tokens"))
    site.add("token", site.serve(guards=token).port, by_code.pop("401"))
    behind = Guards(allow=["10.0.0.0/8"], trusted_proxies=["127.0.0.1"])
    site.add("forbidden", site.serve(guards=behind).port, by_code.pop("403"))
    site.add("path", site.serve().port, by_code.pop("404"), metrics_path="/stats")
    rate = Guards(rate_limit=RateLimit(interval=1000, burst=1))
    site.add("rate", site.serve(guards=rate, cache_ttl=0).port, by_code.pop("429"))
    ended = site.new_reader()
    ended.shutdown()
    server = wsgiref.simple_server.make_server(
        "127.0.0.1", 0, make_wsgi_app(ended), handler_class=type("Quiet", (_Handler,), {})
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.stack.callback(lambda: (server.shutdown(), thread.join(), server.server_close()))
    site.add("shut-down", server.server_port, by_code.pop("503"))
    site.add("fault", _faulty(site), by_code.pop("500"))
    assert by_code == {}


class _Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _faulty(site: Site) -> int:
    reader = site.new_reader()

    def expose(*_: object, **__: object) -> None:
        raise RuntimeError

    reader.expose = expose  # type: ignore[method-assign,assignment]
    return site.stack.enter_context(start_http_server(reader, port=0, addr="127.0.0.1")).port


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """All of it."""
    with ExitStack() as stack:
        found = Site(tmp_path, stack)
        connections(found)
        statuses(found)
        yield found


def test_what_prometheus_says(site: Site, real_prometheus: str, tmp_path: Path) -> None:
    """Each error of the page is there for its reason, and none where nothing is wrong."""
    with prometheus(real_prometheus, tmp_path, site.addresses, interval=1.5, settings=site.settings) as api:
        wait_for(api.has_scraped, seconds=30, what="the first scrapes")
        time.sleep(3)  # the first scrape within a rate is answered
        found = {target["labels"]["job"]: target["lastError"] for target in api.targets()}
    assert found.keys() == site.expected.keys()
    for job, expected in site.expected.items():
        assert any(text in found[job] for text in expected) if expected else found[job] == "", (
            job,
            found[job],
        )
