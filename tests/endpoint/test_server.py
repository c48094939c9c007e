"""The endpoint on a port: real sockets on loopback."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import programs
import pytest
from prometheus_client import REGISTRY
from setups import Setup
from wire import SOON, ask, exchange

from otel_prom_bridge import (
    ConfigurationError,
    EndpointError,
    MetricsServer,
    PrometheusMetricReader,
    make_asgi_app,
    make_wsgi_app,
    native,
    start,
    start_http_server,
)
from otel_prom_bridge.endpoint.guards import Guards
from otel_prom_bridge.endpoint.server.limits import ServerLimits

Make = Callable[..., Setup]
BODY = b"# TYPE c_total counter\nc_total 1\n"


@pytest.fixture
def server(setup: Setup) -> Iterator[MetricsServer]:
    """An endpoint on a free port."""
    with start_http_server(setup.reader, port=0) as server:
        yield server


def told(server: MetricsServer, path: str = "/metrics") -> tuple[int, bytes]:
    """Status and body of one request with the standard library's client."""
    answer = ask(server.port, path, address=server.address)
    return answer.status, answer.body


def test_the_server_answers_where_it_says(server: MetricsServer) -> None:
    """`url` names the metrics; health, readiness and a 404 are there as well."""
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"
    assert told(server) == (200, BODY)
    assert told(server, "/ready") == (200, b"ready\n")
    assert told(server, "/health")[0] == 200
    assert told(server, "/%2e%2e/etc/passwd")[0] == 404
    assert told(server, "/metrics?name[]=none") == (200, b"")


@pytest.mark.clocked
def test_a_connection_is_kept_alive(server: MetricsServer) -> None:
    """Several scrapes on one connection, without the delay of a head sent apart from its body."""
    client = http.client.HTTPConnection(server.address, server.port, timeout=5)
    start = time.perf_counter()
    for method in ("GET", "HEAD", "GET", "OPTIONS", "GET") * 5:
        client.request(method, "/metrics")
        response = client.getresponse()
        assert response.read() == (BODY if method == "GET" else b"")
    assert time.perf_counter() - start < SOON
    client.close()


def test_a_request_with_a_body_is_answered_and_closed(server: MetricsServer) -> None:
    """A body is never read as the next request."""
    answer = exchange(
        server,
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 36\r\n\r\n"
        b"GET /metrics HTTP/1.1\r\nHost: smuggled",
    )
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\r\n\r\n",
        b"GET " + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_nothing_is_printed(
    server: MetricsServer, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is not HTTP closes its connection; the endpoint lives, the host's stderr stays silent."""
    try:
        answer = exchange(server, request_bytes)
    except ConnectionResetError:
        answer = b""
    assert b" 200 " not in answer
    assert told(server) == (200, BODY)
    assert capfd.readouterr().err == ""


@pytest.mark.clocked
def test_clients_that_vanish_or_stay_silent_do_not_block_others(
    server: MetricsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Half requests and aborted connections leave the endpoint free for the next scrape."""
    silent = [socket.create_connection((server.address, server.port)) for _ in range(20)]
    for client in silent[:10]:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHo")
    for client in silent[5:15]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    start = time.perf_counter()
    assert told(server) == (200, BODY)
    assert time.perf_counter() - start < SOON
    for client in silent:
        client.close()
    assert capfd.readouterr().err == ""


@pytest.mark.clocked
def test_a_burst_of_new_connections_is_taken_at_once(server: MetricsServer) -> None:
    """Thirty scrapers that connect at once are all answered, none after a lost packet's second."""

    def timed(_: int) -> float:
        start = time.perf_counter()
        assert told(server) == (200, BODY)
        return time.perf_counter() - start

    with ThreadPoolExecutor(30) as pool:
        assert max(pool.map(timed, range(60))) < 0.9


def test_a_taken_port_is_an_error_that_names_it(server: MetricsServer, setup: Setup) -> None:
    """The error says the address, the port and what to do, and is an OSError too."""
    with pytest.raises(EndpointError, match=rf"address 'localhost', port {server.port}: .*in use") as caught:
        start_http_server(setup.reader, port=server.port)
    assert isinstance(caught.value, OSError)
    with pytest.raises(EndpointError, match=r"address 'no\.such\.host\.invalid'"):
        start_http_server(setup.reader, port=0, addr="no.such.host.invalid")


@pytest.mark.parametrize("port", [-1, 65536, "9464", True, 1.5])
def test_a_port_that_is_none_is_refused(setup: Setup, port: object) -> None:
    """A wrong port says what is allowed."""
    with pytest.raises(ConfigurationError, match="a whole number from 0 to 65535"):
        start_http_server(setup.reader, port=port)  # type: ignore[arg-type]


@pytest.mark.parametrize("addr", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::"])
def test_addresses(setup: Setup, addr: str) -> None:
    """IPv4, IPv6 and all interfaces."""
    try:
        server = start_http_server(setup.reader, port=0, addr=addr)
    except EndpointError:
        if ":" in addr and not socket.has_ipv6:
            pytest.skip("no IPv6 on this machine")
        raise
    with server:
        assert told(server) == (200, BODY)
        assert ("[" in server.url) == (":" in server.address)


@pytest.mark.clocked
def test_close_frees_the_port_with_connections_open(setup: Setup) -> None:
    """close() returns soon, twice, with an idle and a half-open connection; the port is free at once."""
    for _ in range(3):
        server = start_http_server(setup.reader, port=0)
        idle = socket.create_connection((server.address, server.port))
        half = socket.create_connection((server.address, server.port))
        half.sendall(b"GET /met")
        start = time.perf_counter()
        server.close()
        server.close()
        assert time.perf_counter() - start < SOON
        again = start_http_server(setup.reader, port=server.port)
        assert told(again) == (200, BODY)
        again.close()
        idle.close()
        half.close()


def test_the_server_closes_when_the_reader_shuts_down(setup: Setup) -> None:
    """A provider's shutdown reaches the endpoint."""
    server = start_http_server(setup.reader, port=0)
    setup.provider.shutdown()
    with pytest.raises(OSError, match="refused"):
        told(server)


def test_a_reader_that_was_shut_down_cannot_be_served(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    """That is an error like a taken port: raised, or logged where nothing may be raised."""
    setup.provider.shutdown()
    with pytest.raises(EndpointError, match="was shut down; serve a new one"):
        start_http_server(setup.reader, port=0)
    assert not start_http_server(setup.reader, port=0, strict=False).is_serving
    assert "not served: " in caplog.text


def test_prometheus_clients_call_is_an_error_that_says_so() -> None:
    """There the port comes first, and the registry need not be said."""
    expected = r"^source: 8000 is not allowed, expected a PrometheusMetricReader; the port is `port=8000`$"
    with pytest.raises(ConfigurationError, match=expected):
        start_http_server(8000)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, "reader", True, object(), PrometheusMetricReader, REGISTRY])
def test_a_source_that_is_none(source: Any) -> None:
    """It is refused before anything is opened, not with every scrape."""
    for make in (start_http_server, make_wsgi_app, make_asgi_app):
        with pytest.raises(ConfigurationError, match=r"^source: .* expected a PrometheusMetricReader$"):
            make(source)


WRONG: list[tuple[str, Any]] = [
    *(("cache_ttl", value) for value in ("1", -1, True, float("nan"), float("inf"))),
    *(("compression_threshold", value) for value in ("1", -1, True, 1.5)),
    *(("health", value) for value in ("no", 0, lambda: True)),
    *(("metrics_path", value) for value in ("metrics", "", "/ready")),
    *(("guards", value) for value in ("10.0.0.0/8", 5, Guards)),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_an_argument_that_cannot_work(setup: Setup, key: str, value: Any) -> None:
    """It is refused at the start by its name, by the server and by both applications."""
    for make in (start_http_server, make_wsgi_app, make_asgi_app):
        with pytest.raises(ConfigurationError, match=rf"^{key}: "):
            make(setup.reader, **{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tls", ssl.create_default_context()),
        ("tls", True),
        ("limits", {"max_connections": 5}),
        ("web_config", 5),
        ("strict", "no"),
        ("strict", None),
    ],
)
def test_an_argument_of_the_server_that_cannot_work(setup: Setup, key: str, value: Any) -> None:
    """The same for what only the server has."""
    with pytest.raises(ConfigurationError, match=rf"^{key}: "):
        start_http_server(setup.reader, port=0, **{key: value})


@pytest.mark.parametrize("beside", [{"port": 0}, {"addr": "127.0.0.1"}, {"port": 9464, "addr": "localhost"}])
def test_a_unix_socket_is_instead_of_a_port(setup: Setup, tmp_path: Path, beside: dict[str, Any]) -> None:
    """Which of them was meant nobody can say; `start()` refuses it in the same words."""
    path = str(tmp_path / "m.sock")
    for call in (partial(start_http_server, setup.reader), partial(start, set_global=False)):
        with pytest.raises(
            ConfigurationError, match=r"^unix_socket: .* expected no .* beside it; give one of the two$"
        ):
            call(unix_socket=path, **beside)


@pytest.mark.parametrize("key", ["max_connections", "max_in_flight", "head_timeout"])
@pytest.mark.parametrize("value", ["5", 0, True, -1])
def test_limits_that_are_none(key: str, value: Any) -> None:
    """A bound of another type would fail with every connection."""
    with pytest.raises(ConfigurationError, match=rf"^{key}: "):
        ServerLimits(**{key: value})


@pytest.mark.clocked
def test_the_interpreter_exits_with_the_server_running() -> None:
    """A process that never closes anything ends at once, silently, with a client connected."""
    code = (
        "import socket, otel_prom_bridge as b\n"
        "bridge = b.start(port=0)\n"
        "client = socket.create_connection((bridge.server.address, bridge.server.port))\n"
        "client.sendall(b'GET /met')\n"
    )
    start = time.perf_counter()
    result = programs.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert time.perf_counter() - start < 10


def test_answers_have_a_date(server: MetricsServer) -> None:
    """Every answer of the own server says when it was made, once (RFC 9110, 6.6.1); also a refusal."""
    for request in (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.0\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ):
        answer = exchange(server, request)
        dates = re.findall(rb"\r\nDate: (.*)\r\n", answer)
        assert len(dates) == answer.count(b"HTTP/1.1 ")
        for date in dates:
            assert abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 20


def test_a_filter_of_too_many_fields_is_refused(setup: Setup, server: MetricsServer) -> None:
    """It must not be taken for none, which would show everything; it is neither slow nor kept."""
    for query in ("name[]=x" + "&" * 1001, "&".join(["a=1"] * 1000 + ["name[]=x"])):
        for _ in range(2):
            status, body = told(server, f"/metrics?{query}")
            assert (status, body) == (400, b"more than 1000 fields in the query; send fewer name[]\n")
    assert told(server, "/metrics?" + "&".join(["a=1"] * 999 + ["name[]=c_total"])) == (200, BODY)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"addr": "192.0.2.1"}, r"no such address: give one that it has, or 0\.0\.0\.0 for all"),
        ({"unix_socket": "{dir}/none/m.sock"}, "its directory does not exist: make it first"),
        ({"unix_socket": "{dir}/file/m.sock"}, "a part of the path is not a directory"),
        ({"unix_socket": "{dir}/" + "x" * 120}, "choose a shorter path"),
        ({"unix_socket": "{dir}/" + "x" * 300}, "choose a shorter path"),
    ],
)
def test_what_to_do_about_an_address(
    setup: Setup, tmp_path: Path, options: dict[str, str], advice: str
) -> None:
    """The advice is for this mistake: nothing uses the port."""
    (tmp_path / "file").touch()
    options = {key: text.format(dir=tmp_path) for key, text in options.items()}
    with pytest.raises(EndpointError, match=advice) as caught:
        start_http_server(setup.reader, **{**({} if "unix_socket" in options else {"port": 0}), **options})  # type: ignore[arg-type]
    assert "choose another port" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_what_to_do_about_a_port_that_is_not_allowed(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Ports below 1024 are root's on most machines, and a directory may be somebody else's."""

    def bind(_: socket.socket, __: object) -> None:
        raise PermissionError(number, "Permission denied")

    monkeypatch.setattr(native.Socket, "bind", bind)
    with pytest.raises(EndpointError, match=r"ports below 1024 need a privilege"):
        start_http_server(setup.reader, port=80)
    with pytest.raises(EndpointError, match=r"this user may not write to its directory"):
        start_http_server(setup.reader, unix_socket=str(tmp_path / "m.sock"))


@pytest.mark.clocked
def test_scrapes_leave_no_threads(server: MetricsServer, setup: Setup) -> None:
    """After many scrapes there are as many threads as before, with the one that collects for the reader."""
    setup.text()
    before = threading.active_count()
    for _ in range(50):
        told(server)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
