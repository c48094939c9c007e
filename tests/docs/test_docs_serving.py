"""What the documentation says of serving: our endpoint beside prometheus_client's, and checks of health."""

from __future__ import annotations

import inspect
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import prometheus_client
import pytest
from certificates import write_authority, write_pair
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, Gauge
from servers import free_port

import otel_prom_bridge
from otel_prom_bridge import ConfigurationError, EndpointError, PrometheusMetricReader
from otel_prom_bridge.endpoint.files.tls import Tls, TlsSettings
from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.server.server import DEFAULT_PORT

DOCS = Path(__file__).parents[2] / "docs"
SECTION = (DOCS / "migration.md").read_text().split("\n## Our endpoint\n")[1].split("\n## ")[0]


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry with a metric of the application's own."""
    found = CollectorRegistry()
    Gauge("own", "", registry=found).set(1)
    return found


@pytest.fixture
def reader(registry: CollectorRegistry) -> Iterator[PrometheusMetricReader]:
    """A reader in that registry, which knows of a counter."""
    found = PrometheusMetricReader(registry=registry)
    provider = MeterProvider([found], shutdown_on_exit=False)
    provider.get_meter("shop").create_counter("orders").add(1)
    yield found
    provider.shutdown()


@contextmanager
def theirs(registry: CollectorRegistry, port: int, **options: object) -> Iterator[object]:
    """prometheus_client's server, until the end of the block."""
    server, thread = prometheus_client.start_http_server(port, registry=registry, **options)  # type: ignore[arg-type]
    try:
        yield (server, thread)
    finally:
        server.shutdown()
        server.server_close()


def status(url: str, context: ssl.SSLContext | None = None) -> int:
    """The status of an answer."""
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def body(url: str) -> str:
    """What is there."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
        return str(response.read().decode())


def default(function: object, name: str) -> object:
    """The default of a parameter."""
    return inspect.signature(function).parameters[name].default  # type: ignore[arg-type]


def test_each_row_names_a_test() -> None:
    """Every row of the table has one that exists, but for what there is not."""
    rows = re.findall(r"^\| (.*) \|$", SECTION, re.MULTILINE)[1:]
    found = [row.rsplit(" | ", 1)[1].strip("`") for row in rows]
    assert len(found) == 11
    assert [name for name in found if name.isidentifier() and name not in globals()] == []


def test_the_line_that_is_shown(reader: PrometheusMetricReader, registry: CollectorRegistry) -> None:
    """The line before and the one after give the same metrics at the same address."""
    before, after = re.findall(r"^[-+](.*)$", SECTION.split("```")[1], re.MULTILINE)
    port = free_port()
    before = before.replace("8000", f"{port}, registry=registry")
    names = {"prometheus_client": prometheus_client, "otel_prom_bridge": otel_prom_bridge, "reader": reader}
    server, _ = eval(before, names | {"registry": registry})
    try:
        assert "orders_total{" in body(f"http://127.0.0.1:{port}/metrics")
        assert server.server_address[0] == "0.0.0.0"
    finally:
        server.shutdown()
        server.server_close()
    with eval(after.replace("8000", str(port)), names) as server:
        assert (server.address, server.port) == ("0.0.0.0", port)
        assert "orders_total{" in body(f"http://127.0.0.1:{port}/metrics")


def test_the_address(reader: PrometheusMetricReader) -> None:
    """Theirs is on all networks, ours on this machine, unless told."""
    assert default(prometheus_client.start_http_server, "addr") == "0.0.0.0"
    with otel_prom_bridge.start_http_server(reader, port=0) as server:
        assert server.address in ("127.0.0.1", "::1")
    for addr in ("0.0.0.0", "::"):
        with otel_prom_bridge.start_http_server(reader, port=0, addr=addr) as server:
            assert server.address == addr
            assert status(f"http://127.0.0.1:{server.port}/metrics") == 200


def test_the_port() -> None:
    """Ours need not be given."""
    assert default(prometheus_client.start_http_server, "port") is inspect.Parameter.empty
    assert default(otel_prom_bridge.start_http_server, "port") is None
    assert DEFAULT_PORT == 9464


def test_the_path(reader: PrometheusMetricReader, registry: CollectorRegistry) -> None:
    """Theirs answers everywhere, ours where the metrics are."""
    port = free_port()
    with theirs(registry, port):
        assert [status(f"http://127.0.0.1:{port}{path}") for path in ("/", "/metrics", "/x")] == [200] * 3
    with otel_prom_bridge.start_http_server(reader, port=0) as server:
        base = f"http://127.0.0.1:{server.port}"
        paths = ("/metrics", "/health", "/ready", "/", "/x")
        assert [status(base + path) for path in paths] == [200, 200, 200, 404, 404]
    with otel_prom_bridge.start_http_server(reader, port=0, metrics_path="/stats") as server:
        base = f"http://127.0.0.1:{server.port}"
        assert [status(f"{base}/stats"), status(f"{base}/metrics")] == [200, 404]


def test_the_registry_is_the_reader_s(reader: PrometheusMetricReader, registry: CollectorRegistry) -> None:
    """Both show the application's own metric, and the counter."""
    port = free_port()
    with (
        theirs(registry, port),
        otel_prom_bridge.start_http_server(reader, port=0) as server,
    ):
        for found in (body(f"http://127.0.0.1:{port}/metrics"), body(server.url)):
            assert "own 1" in found
            assert "orders_total{" in found
    with pytest.raises(TypeError, match="registry"):
        otel_prom_bridge.start_http_server(reader, registry=registry)  # type: ignore[call-arg]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A certificate, its key, and the authority."""
    cert, key = write_pair(tmp_path)
    return {"cert": cert, "key": key, "ca": write_authority(tmp_path)}


def test_certificates(
    reader: PrometheusMetricReader, registry: CollectorRegistry, files: dict[str, str]
) -> None:
    """TLS with the same files, and the same least version."""
    context = ssl.create_default_context(cafile=files["ca"])
    port = free_port()
    with theirs(registry, port, certfile=files["cert"], keyfile=files["key"]):
        assert status(f"https://127.0.0.1:{port}/metrics", context) == 200
    tls = Tls(TlsSettings(cert_file=files["cert"], key_file=files["key"], min_version="TLS13"))
    with otel_prom_bridge.start_http_server(reader, port=0, addr="127.0.0.1", tls=tls) as server:
        assert status(server.url, context) == 200
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(urllib.error.URLError):
            status(server.url, context)
    with pytest.raises(ConfigurationError):
        TlsSettings(cert_file="c", key_file="k", max_version="TLS11")


def test_certificates_of_clients(reader: PrometheusMetricReader, files: dict[str, str]) -> None:
    """Without one there is no answer, with one there is."""
    settings = TlsSettings(
        cert_file=files["cert"],
        key_file=files["key"],
        client_ca_file=files["ca"],
        client_auth="RequireAndVerifyClientCert",
    )
    context = ssl.create_default_context(cafile=files["ca"])
    with otel_prom_bridge.start_http_server(reader, port=0, addr="127.0.0.1", tls=Tls(settings)) as server:
        with pytest.raises((ssl.SSLError, ConnectionError, urllib.error.URLError)):
            status(server.url, context)
        context.load_cert_chain(files["cert"], files["key"])
        assert status(server.url, context) == 200


def test_what_it_returns(reader: PrometheusMetricReader, registry: CollectorRegistry) -> None:
    """Two objects, or one with everything."""
    port = free_port()
    with theirs(registry, port) as (server, thread):  # type: ignore[misc]
        assert (server.server_port, thread.is_alive()) == (port, True)
    ours = otel_prom_bridge.start_http_server(reader, port=0)
    assert status(ours.url) == 200
    assert ours.url.endswith(f":{ours.port}/metrics")
    ours.close()
    assert not ours.is_serving


def test_a_taken_port(reader: PrometheusMetricReader, registry: CollectorRegistry) -> None:
    """Both raise an OSError; ours says which address and port."""
    with otel_prom_bridge.start_http_server(reader, port=0, addr="127.0.0.1") as server:
        with pytest.raises(OSError, match="in use"), theirs(registry, server.port, addr="127.0.0.1"):
            pass
        with pytest.raises(EndpointError, match=str(server.port)):
            otel_prom_bridge.start_http_server(reader, port=server.port, addr="127.0.0.1")
    assert issubclass(EndpointError, OSError)


def test_after_the_shutdown(registry: CollectorRegistry) -> None:
    """Ours closes with its reader; theirs knows none."""
    reader, port = PrometheusMetricReader(registry=registry), free_port()
    with theirs(registry, port), otel_prom_bridge.start_http_server(reader, port=0) as server:
        reader.shutdown()
        assert status(f"http://127.0.0.1:{port}/metrics") == 200
        assert not server.is_serving


def fail() -> None:
    """A check that raises."""
    raise RuntimeError("no pool")


CHECKS: dict[str, tuple[Callable[[], object], ...]] = {
    "returns `True` or `None`": (lambda: True, lambda: None),
    "returns `False`": (lambda: False,),
    "returns a text": (lambda: "the text",),
    "returns anything else": (lambda: 1, lambda: 0, lambda: ["a"]),
    "raises": (fail,),
    "takes more than a second": (lambda: threading.Event().wait(3),),
}


def test_the_table_of_checks(reader: PrometheusMetricReader) -> None:
    """Each row of the page on health is what a check with that result does."""
    table = (DOCS / "health.md").read_text().split("| a check | the answer | reason |\n|---|---|---|\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n")[0].splitlines()]
    assert [row[0] for row in rows] == list(CHECKS)
    for name, answer, reason in rows:
        for check in CHECKS[name]:
            passes, said = Health(reader, ready={"mine": check}).ready()
            assert passes == answer.startswith("200"), name
            assert passes or said == f"mine: {reason.partition('; ')[0].strip('`')}", name


def test_the_reader_s_own_arguments() -> None:
    """`start()` does not take the registry; a reader of one's own does."""
    with pytest.raises(ConfigurationError, match="registry"):
        otel_prom_bridge.start(registry=None, port=0, set_global=False)  # type: ignore[call-arg]
    reader = PrometheusMetricReader(registry=None)
    with otel_prom_bridge.start(reader=reader, port=0, set_global=False) as bridge:
        assert status(bridge.server.url) == 200
