"""Opening sockets: addresses, Unix sockets, those of systemd, and what is said when it cannot be."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
from setups import Setup

from otel_prom_bridge import ConfigurationError, EndpointError, MetricsServer, start_http_server
from otel_prom_bridge.endpoint.server.listeners import Listener, open_systemd, open_tcp, open_unix

LAST_GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Make = Callable[..., Setup]


def unix_get(path: str) -> bytes:
    """A scrape through a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        client.sendall(LAST_GET)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_listener_says_where_it_is() -> None:
    """IPv4 comes first where a name means both; port 0 becomes a real one."""
    listener = open_tcp("localhost", 0)
    assert listener.address == "127.0.0.1"
    assert listener.port > 0
    listener.close()
    listener.close()


def test_both_kinds_of_addresses_through_one_socket(bridge: Make) -> None:
    """`::` takes IPv4 as well, and an IPv4 client has an IPv4 address."""
    try:
        server = start_http_server(bridge().reader, port=0, addr="::")
    except EndpointError:
        pytest.skip("no IPv6 on this machine")
    with server:
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, server.port), timeout=5) as client:
                client.sendall(LAST_GET)
                assert client.recv(100).startswith(b"HTTP/1.1 200 ")


def test_33_a_taken_port(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Strict, it is an error with address and port; otherwise one line in the log, and it is not serving."""
    reader = bridge().reader
    with start_http_server(reader, port=0) as taken:
        with pytest.raises(EndpointError, match=rf"address 'localhost', port {taken.port}: .*in use"):
            start_http_server(reader, port=taken.port)
        assert caplog.messages == []
        with start_http_server(reader, port=taken.port, strict=False) as server:
            assert not server.is_serving
            assert (server.address, server.port) == ("localhost", taken.port)
            assert server.url == f"http://localhost:{taken.port}/metrics"
        server.close()
        assert taken.is_serving
        (message,) = caplog.messages
        assert f"port {taken.port}" in message
    assert not taken.is_serving


@pytest.mark.parametrize("addr", ["a..b", "no.such.host.invalid", "192.0.2.1"])
def test_addresses_that_cannot_be(addr: str) -> None:
    """Not a name, a name of nobody, somebody else's address: the error says which."""
    with pytest.raises((EndpointError, ConfigurationError), match=addr.replace(".", r"\.")):
        open_tcp(addr, 0)


def test_45_a_unix_socket(bridge: Make, tmp_path: Path) -> None:
    """The owner and the group may use it; it is removed when the server stops; the URL is one of a socket."""
    path = str(tmp_path / "m.sock")
    with start_http_server(bridge().reader, unix_socket=path) as server:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert unix_get(path).startswith(b"HTTP/1.1 200 ")
        assert (server.address, server.port) == (path, 0)
        assert server.url == f"http+unix://{path.replace('/', '%2F')}/metrics"
    assert not os.path.exists(path)


def test_45_a_stale_unix_socket(bridge: Make, tmp_path: Path) -> None:
    """The file of a process that crashed is replaced; one where somebody listens is not."""
    path = str(tmp_path / "m.sock")
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(path)
    reader = bridge().reader
    with start_http_server(reader, unix_socket=path):
        with pytest.raises(EndpointError, match=r"m\.sock': somebody serves there"):
            start_http_server(reader, unix_socket=path)
        assert unix_get(path).startswith(b"HTTP/1.1 200 ")


def test_45_a_file_is_not_removed(tmp_path: Path) -> None:
    """What is no socket stays, and so does what another process put in our place."""
    path = tmp_path / "m.sock"
    path.write_text("precious")
    with pytest.raises(EndpointError, match="something else than a socket"):
        open_unix(str(path))
    assert path.read_text() == "precious"
    path.unlink()
    listener = open_unix(str(path))
    path.unlink()
    path.write_text("another's")
    listener.close()
    assert path.read_text() == "another's"


@pytest.mark.parametrize("path", ["/no/such/folder/m.sock", "/tmp/" + "x" * 200, "/tmp/\0"])
def test_paths_that_cannot_be(path: str) -> None:
    """The error names the path."""
    with pytest.raises(EndpointError, match="Unix socket"):
        open_unix(path)


@pytest.mark.parametrize("path", ["", "m.sock", 5])
def test_paths_that_are_none(bridge: Make, path: object) -> None:
    """A path has a slash in it: what has none may be meant for something else."""
    with pytest.raises(ConfigurationError, match="unix_socket"):
        start_http_server(bridge().reader, unix_socket=path)  # type: ignore[arg-type]


def test_a_unix_socket_goes_with_the_interpreter(tmp_path: Path) -> None:
    """Also when nobody closes the server."""
    path = tmp_path / "m.sock"
    code = (
        "import os, sys, otel_prom_bridge as b\n"
        "server = b.start_http_server(b.PrometheusMetricReader(registry=None), unix_socket=sys.argv[1])\n"
        "assert os.path.exists(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    result = programs.run(command, capture_output=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
    assert not path.exists()


ACTIVATED = """
import os, socket, sys, otel_prom_bridge as b
os.environ["LISTEN_PID"] = str(os.getpid())
reader = b.PrometheusMetricReader(registry=None)
for addr in sys.argv[1:]:  # one server after the other, on the same sockets
    with b.start_http_server(reader, addr=addr) as server:
        client = socket.create_connection((server.address, server.port), timeout=5)
        client.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        print(server.port, client.recv(100).split(b" ")[1].decode())
        client.close()
"""


def test_sockets_of_systemd() -> None:
    """All of them or those with a name; they stay open for the next server."""
    with socket.socket() as app, socket.socket() as metrics:
        for sock in (app, metrics):
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        ports = [sock.getsockname()[1] for sock in (app, metrics)]

        def inherit() -> None:
            first, second = os.dup(app.fileno()), os.dup(metrics.fileno())
            os.dup2(first, 3)
            os.dup2(second, 4)

        result = programs.run(
            [sys.executable, "-c", ACTIVATED, "systemd:metrics", "systemd", "systemd:metrics"],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "app:metrics"},
            preexec_fn=inherit,
            pass_fds=(3, 4),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == [str(ports[1]), "200", str(ports[0]), "200", str(ports[1]), "200"]


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, None),
        ({"LISTEN_FDS": "x"}, None),
        ({"LISTEN_FDS": "0"}, None),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "app"}, "metrics"),
    ],
)
def test_without_sockets_of_systemd(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str | None
) -> None:
    """None passed, passed to another process, none with that name: an error that says so."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(EndpointError, match="sockets of systemd"):
        open_systemd(name)


def test_a_loop_that_cannot_start_leaves_nothing_open(bridge: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without descriptors for it, the port is free again, and the error names the address."""
    opened: list[Listener] = []

    def watched(addr: str, port: int) -> Listener:
        opened.append(open_tcp(addr, port))
        return opened[-1]

    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("otel_prom_bridge.endpoint.server.server.open_tcp", watched)
    monkeypatch.setattr(socket, "socketpair", fail)
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1.*Too many open files"):
        start_http_server(bridge().reader, port=0)
    assert opened[0].sock.fileno() == -1
    server = start_http_server(bridge().reader, port=0, strict=False)
    assert isinstance(server, MetricsServer)
    assert not server.is_serving
