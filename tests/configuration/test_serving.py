"""From settings to a server: guards and TLS as a scraper meets them, and what is never served."""

from __future__ import annotations

import gzip
import http.client
import math
import re
import socket
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme
from certificates import CA, CLIENT, client_context, write_authority, write_pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promtool import approved
from properties import examples
from servers import wait_for
from setups import Setup
from wire import Always

from otel_prom_bridge import (
    Bridge,
    ConfigurationError,
    EndpointError,
    MetricsServer,
    PrometheusMetricReader,
    start,
    start_http_server,
)
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader, DeclarativePrometheusMetricReader
from otel_prom_bridge.configuration import serving
from otel_prom_bridge.configuration.options import ENDPOINT_OPTIONS, OPTIONS
from otel_prom_bridge.configuration.settings import from_mapping, log_error
from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.messages import Request
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.once import LONGEST_WAIT

TOKEN, PASSWORD = "0123456789abcdef", "correct horse battery staple"
NOT_SERVED = "metrics are recorded but not served"
VARIABLES = {option.key: option.variables[-1] for option in OPTIONS if option.variables}

Start = Callable[..., Bridge]


@pytest.fixture
def begin() -> Iterator[Start]:
    """`start()` on a free port of this machine, until the end of the test."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Bridge:
            where = {} if "unix_socket" in options else {"port": 0, "addr": "127.0.0.1"}
            return stack.enter_context(start(set_global=False, **{**where, **options}))

        yield begin


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with tokens, certificates and a web-config.yml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokens").write_text(f"{TOKEN}  # prometheus\n")
    write_pair(tmp_path)
    write_authority(tmp_path)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
        f"basic_auth_users: {{prometheus: '{hashed}'}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    (tmp_path / "rate.yml").write_text("rate_limit: {interval: 1h, burst: 1}\n")
    return tmp_path


def ask(
    url: str, headers: Mapping[str, str] | None = None, *, certificate: trustme.LeafCert | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body, with a client that trusts the CA."""
    context = client_context(certificate)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def beside(bridge: Bridge, path: str) -> str:
    """Another path of the same server."""
    return bridge.server.url.removesuffix("/metrics") + path


def test_a_rate_limit(begin: Start) -> None:
    """Past the burst a scrape is told when to come again; health is answered all the same."""
    bridge = begin(rate_limit=0.01, rate_burst=2)
    assert [ask(bridge.server.url)[0] for _ in range(2)] == [200, 200]
    status, headers, _ = ask(bridge.server.url)
    assert status == 429
    assert 90 <= int(headers["Retry-After"]) <= 100
    assert ask(beside(bridge, "/health"))[0] == 200


@pytest.mark.usefixtures("clock")  # which stands still, however long a busy machine takes for the requests
@pytest.mark.parametrize(("rate", "passed"), [(0.001, 1), (1.2, 2)])
def test_a_rate_limit_without_a_burst(begin: Start, rate: float, passed: int) -> None:
    """As many at once as one second has, and one at least; also for each peer."""
    bridge = begin(peer_rate_limit=rate)
    statuses = [ask(bridge.server.url)[0] for _ in range(passed + 1)]
    assert statuses == [*[200] * passed, 429]


def test_allowed_networks(begin: Start) -> None:
    """Who is not in one of them is not heard; who is, is served."""
    with pytest.raises(OSError, match=r"reset|closed|Remote end"):
        ask(begin(allow=["192.0.2.0/24"]).server.url)
    assert ask(begin(allow=["192.0.2.0/24", "127.0.0.0/8"]).server.url)[0] == 200


def test_a_trusted_proxy_says_for_whom_it_asks(begin: Start) -> None:
    """The networks are about whom the proxy names; other people's headers say nothing."""
    bridge = begin(allow=["192.0.2.0/24"], trusted_proxies=["127.0.0.1"])
    assert ask(bridge.server.url, {"X-Forwarded-For": "192.0.2.7"})[0] == 200
    assert ask(bridge.server.url, {"X-Forwarded-For": "198.51.100.7"})[0] == 403


@pytest.mark.usefixtures("here")
def test_bearer_tokens(begin: Start) -> None:
    """A scrape needs one of the file's tokens; health does not, unless it is closed, too."""
    bridge = begin(bearer_tokens_file="tokens")
    status, headers, _ = ask(bridge.server.url)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert ask(bridge.server.url, {"Authorization": f"Bearer {TOKEN}x"})[0] == 401
    assert ask(bridge.server.url, {"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert ask(beside(bridge, "/health"))[0] == 200
    closed = begin(bearer_tokens_file="tokens", health_open=False)
    assert ask(beside(closed, "/health"))[0] == 401


@pytest.mark.usefixtures("here")
def test_a_web_config(begin: Start) -> None:
    """The exporters' file brings TLS, users and headers; our own tokens may stand beside its users."""
    bridge = begin(web_config="web.yml", bearer_tokens_file="tokens")
    assert bridge.server.url.startswith("https://127.0.0.1:")
    assert ask(bridge.server.url)[0] == 401
    basic = b64encode(f"prometheus:{PASSWORD}".encode()).decode()
    for header in (f"Basic {basic}", f"Bearer {TOKEN}"):
        status, headers, body = ask(bridge.server.url, {"Authorization": header})
        assert (status, headers["X-Frame-Options"]) == (200, "deny")
        assert b"# TYPE" in body


@pytest.mark.usefixtures("here")
def test_tls_without_a_file_for_it(begin: Start) -> None:
    """A certificate is enough for https; with authorities every client needs one of theirs."""
    pair = {"tls_cert_file": "server.pem", "tls_key_file": "server.key", "tls_min_version": "TLS13"}
    assert ask(begin(**pair).server.url)[0] == 200
    mutual = begin(**pair, tls_client_ca_file="ca.pem", tls_client_allowed_sans=["scraper.example"])
    assert ask(mutual.server.url, certificate=CLIENT)[0] == 200
    for stranger in (None, CA.issue_cert("other.example")):
        with pytest.raises(OSError, match=r"."):
            ask(mutual.server.url, certificate=stranger)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ({"bearer_tokens_file": "tokens"}, "tokens"),
        (
            {"bearer_tokens_file": "tokens", "tls_cert_file": "server.pem", "tls_key_file": "server.key"},
            "server.key",
        ),
        ({"bearer_tokens_file": "tokens", "web_config": "web.yml"}, "web.yml"),
        pytest.param(
            {"bearer_tokens_file": "tokens", "web_config": "web.yml"}, "server.pem", marks=pytest.mark.slow
        ),
    ],
)
def test_a_file_that_was_broken_is_seen(begin: Start, here: Path, options: dict[str, str], file: str) -> None:
    """A metric says so, and /ready why, though only to those with credentials; until the file is mended."""
    bridge = begin(**options, cache_ttl=0)
    known = {"Authorization": f"Bearer {TOKEN}"}
    metric = "otel_prom_bridge_last_reload_successful"

    def shown(value: int) -> bool:
        text = ask(bridge.server.url, known)[2].decode()
        return f"\n{metric} {value}\n" in text

    assert shown(1)
    assert ask(beside(bridge, "/ready"), known)[2] == b"ready\n"
    good = (here / file).read_bytes()
    (here / file).write_text("two words")
    wait_for(lambda: shown(0), seconds=20, what="the metric that says 0")
    status, _, body = ask(beside(bridge, "/ready"), known)
    assert status == 200
    assert body.startswith(b"ready; what was read before stays in use: ")
    assert file in body.decode() or file == "server.key"  # which OpenSSL blames the certificate for
    assert b"two words" not in body
    assert ask(beside(bridge, "/ready"))[2] == b"ready\n"
    (here / file).write_bytes(good)
    wait_for(lambda: shown(1), seconds=20, what="the metric that says 1")


@pytest.mark.parametrize(
    "options",
    [{"tls_cert_file": "server.pem", "tls_key_file": "server.key"}, {"web_config": "web.yml"}],
    ids=lambda options: min(options),
)
def test_the_end_of_the_certificate(begin: Start, here: Path, options: dict[str, str]) -> None:
    """A metric says when the one that is served ends, also after it was renewed, or broken."""
    first, renewed = datetime(2031, 5, 6, tzinfo=UTC), datetime(2051, 5, 6, 7, 8, 9, tzinfo=UTC)
    write_pair(here, CA.issue_cert("localhost", "127.0.0.1", not_after=first))
    bridge = begin(**options, cache_ttl=0)
    known = {"Authorization": f"Basic {b64encode(f'prometheus:{PASSWORD}'.encode()).decode()}"}

    names = ("last_reload_successful", "certificate_expiry_timestamp_seconds")

    def shown() -> list[tuple[str, float]]:
        text = ask(bridge.server.url, known)[2].decode()
        reloaded, ends = (
            re.findall(rf"^otel_prom_bridge_{name} (.+)$", text, re.MULTILINE) for name in names
        )
        return [(says, float(end)) for says, end in zip(reloaded, ends, strict=True)]

    assert shown() == [("1", first.timestamp())]
    write_pair(here, CA.issue_cert("localhost", "127.0.0.1", not_after=renewed))
    wait_for(lambda: shown() == [("1", renewed.timestamp())], seconds=20, what="the new certificate")
    (here / "server.pem").write_text("two words")
    wait_for(lambda: shown() == [("0", renewed.timestamp())], seconds=20, what="that it was not read")


def test_where_no_file_is_in_front_none_is_missed(begin: Start) -> None:
    """Without guards and TLS there are no such metrics."""
    text = ask(begin().server.url)[2]
    assert b"last_reload" not in text
    assert b"certificate" not in text


def test_a_path_of_its_own(begin: Start) -> None:
    """The metrics are there and in the URL, and nowhere else."""
    server = begin(metrics_path="/internal/metrics").server
    assert server.url.endswith("/internal/metrics")
    assert ask(server.url)[0] == 200
    assert ask(server.url.replace("/internal", ""))[0] == 404


def test_health_is_optional_and_takes_checks(begin: Start) -> None:
    """Nothing is at the paths then; or what the application's own checks say."""
    assert ask(beside(begin(health=False), "/health"))[0] == 404
    reader = PrometheusMetricReader(registry=None)
    health = Health(reader, alive={"disk": lambda: "full"})
    assert ask(beside(begin(reader=reader, health=health), "/health"))[0] == 503


def test_cache_and_compression(begin: Start) -> None:
    """A kept answer does not show what was recorded since; a body is compressed from the threshold on."""
    for ttl, shown in ((60, 1), (0, 2)):
        bridge = begin(cache_ttl=ttl, compression_threshold=0)
        counter = bridge.meter_provider.get_meter("test").create_counter("c")
        for _ in range(2):
            counter.add(1)
            _, headers, body = ask(bridge.server.url, {"Accept-Encoding": "gzip"})
        assert headers["Content-Encoding"] == "gzip"
        assert (
            f'c_total{{otel_scope_name="test",otel_scope_schema_url="",otel_scope_version=""}} {shown}'
            in (gzip.decompress(body).decode())
        )
    plain = begin(compression_threshold=False)
    assert ask(plain.server.url, {"Accept-Encoding": "gzip"})[1]["Content-Encoding"] is None


def test_a_unix_socket(
    begin: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is served there; a port that a variable names for everything is farther away and does not count."""
    monkeypatch.setenv("METRICS_ENDPOINT_PORT", "9090")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "9464")
    path = tmp_path / "metrics.sock"
    begin(unix_socket=path, allow=["unix"])
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    assert caplog.messages == []


def test_a_port_nearer_than_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That would be another audience, so it is an error; a general variable's port is passed over."""
    path = str(tmp_path / "metrics.sock")
    (tmp_path / "bridge.toml").write_text(f"unix_socket = {path!r}")
    monkeypatch.setenv("METRICS_ENDPOINT_PORT", "9090")
    with start(config_file=tmp_path / "bridge.toml", set_global=False) as bridge:
        assert bridge.server.address == path
    (message,) = caplog.messages
    assert message == (
        f"METRICS_ENDPOINT_PORT: {tmp_path}/bridge.toml: unix_socket counts, so it is passed over"
    )
    with pytest.raises(ConfigurationError, match="expected no port beside it; give one of the two"):
        start(config_file=tmp_path / "bridge.toml", port=0, set_global=False)


def test_deadlines_and_bounds_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, by the same name."""
    found: dict[str, Any] = {}

    def record(_: object, **options: object) -> MetricsServer:
        found.update(options)
        return MetricsServer("127.0.0.1", 1, loop=None)

    monkeypatch.setattr(serving, "start_http_server", record)
    start(set_global=False).shutdown()
    assert found["limits"] == ServerLimits()
    assert (found["guards"], found["tls"], found["strict"]) == (None, None, True)
    limits: dict[str, Any] = {
        "head_timeout": 1,
        "handshake_timeout": 2,
        "write_timeout": 3,
        "idle_timeout": 4,
        "max_connections": 5,
        "max_in_flight": 6,
    }
    start(set_global=False, **limits).shutdown()
    assert found["limits"] == ServerLimits(**limits)


def test_the_longest_times(begin: Start) -> None:
    """With the largest numbers that are taken, everything waits for what it has to, and works."""
    times = [option.key for option in OPTIONS if "1000000" in option.check.allowed]
    assert {"scrape_timeout", "collect_interval", "cache_ttl", "idle_timeout", "expire_after"} <= set(times)
    bridge = begin(**dict.fromkeys(times, LONGEST_WAIT))
    bridge.meter_provider.get_meter("m").create_counter("c").add(1)
    assert bridge.reader.force_flush(math.inf)
    with socket.create_connection(("127.0.0.1", bridge.server.port), timeout=5):  # has a deadline, too
        assert b"\nc_total" in ask(bridge.server.url)[2]
    assert bridge.server.is_serving


# Guards that cannot be as they were asked for: options, and what the error says; {0} is the first one's name.
PAIR = {"tls_cert_file": "server.pem", "tls_key_file": "server.key"}
REFUSED: list[tuple[dict[str, str], str]] = [
    ({"allow": "10.0.0.0/33"}, "{0}[0]: '10.0.0.0/33' is not allowed, expected networks like"),
    ({"allow": ","}, "{0}"),
    ({"trusted_proxies": "proxy.internal"}, "{0}[0]: 'proxy.internal' is not allowed"),
    ({"rate_limit": "many"}, "{0}: 'many' is not allowed"),
    ({"rate_burst": "5"}, "{0}: 5 is not allowed, expected rate_limit beside it, or neither"),
    ({"peer_rate_burst": "5"}, "{0}: 5 is not allowed, expected peer_rate_limit beside it, or neither"),
    ({"health_open": "no"}, "{0}: 'no' is not allowed"),
    ({"bearer_tokens_file": "nowhere"}, "{0}: 'nowhere' is not allowed, expected a file that can be read"),
    ({"bearer_tokens_file": "empty"}, "{0}: 'empty' is not allowed, expected a file with at least one token"),
    ({"web_config": "nowhere.yml"}, "{0}: '/"),
    ({"web_config": "bad.yml"}, "bad.yml: line 1: tls: "),
    ({"tls_cert_file": "server.pem"}, "{0}: 'server.pem' is not allowed, expected tls_key_file beside it"),
    ({"tls_key_file": "server.key"}, "{0}: 'server.key' is not allowed, expected tls_cert_file beside it"),
    ({"tls_client_ca_file": "ca.pem"}, "{0}: 'ca.pem' is not allowed, expected tls_cert_file beside it"),
    ({"tls_client_allowed_sans": "a", **PAIR}, "{0}: ('a',) is not allowed, expected tls_client_ca_file"),
    ({"tls_cert_file": "nowhere", "tls_key_file": "server.key"}, "{0}: 'nowhere' is not allowed, expected"),
    ({"tls_client_ca_file": "tokens", **PAIR}, "{0}: 'tokens' is not allowed, expected"),
    ({"web_config": "web.yml", "tls_min_version": "TLS13"}, "{0}: 'web.yml' is not allowed, expected no "),
    ({"rate_limit": "5", "web_config": "rate.yml"}, "{0}: RateLimit(interval=0.2, burst=5) is not allowed"),
    ({"unix_socket": "/tmp/x.sock", "port": "0"}, "{0}: '/tmp/x.sock' is not allowed, expected no "),
    ({"unix_socket": "relative"}, "{0}: 'relative' is not allowed"),
]  # fmt: skip


@pytest.fixture
def broken(here: Path) -> Path:
    """Files with mistakes beside the good ones."""
    (here / "empty").write_text("# no token yet\n")
    (here / "bad.yml").write_text("tls: {}\n")
    return here


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_wrong_guards_are_closed_ones(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, str],
    message: str,
) -> None:
    """start() raises; under auto-instrumentation one line says why, and nobody listens."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    if "unix_socket" not in options:
        monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    else:
        monkeypatch.delenv("OTEL_EXPORTER_PROMETHEUS_HOST")
    for key, text in options.items():
        monkeypatch.setenv(VARIABLES[key], text)
    expected = message.format(VARIABLES[next(iter(options))])
    with pytest.raises(ConfigurationError) as caught:
        start(set_global=False)
    assert expected in str(caught.value)
    with ExitStack() as stack:
        reader = AutoPrometheusMetricReader()
        stack.callback(reader.shutdown)
        assert not reader.server.is_serving
        (line,) = caplog.messages
        assert str(caught.value) in line
        assert NOT_SERVED in line
        monkeypatch.setenv(VARIABLES["strict"], "true")
        with pytest.raises(ConfigurationError):
            AutoPrometheusMetricReader()


RIGHT: list[dict[str, Any]] = [
    {"allow": ["unix"]},
    {"rate_limit": 1},
    {"peer_rate_limit": 1, "peer_rate_burst": 2},
    {"bearer_tokens_file": "tokens"},
    {"web_config": "web.yml"},
    {"unix_socket": "/tmp/x"},
    PAIR,
    {**PAIR, "tls_client_ca_file": "ca.pem"},
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(
        ["server.pem", "server.key", "ca.pem", "tokens", "empty", "web.yml", "rate.yml", "TLS13"]
    ),
    st.lists(st.sampled_from(["10.0.0.0/8", "unix", "x", "", 1]), max_size=2),
)


@pytest.mark.usefixtures("broken")
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(RIGHT), max_size=4),
    st.dictionaries(st.sampled_from([option.key for option in ENDPOINT_OPTIONS]), VALUES, max_size=1),
)
def test_whatever_is_asked_for_is_there_or_nothing_is(
    right: list[dict[str, Any]], other: dict[str, Any]
) -> None:
    """No settings raise under auto-instrumentation, and none serve without the protection that they name."""
    options = {key: value for part in (*right, other) for key, value in part.items() if key != "strict"}
    asked: list[dict[str, Any]] = []

    def record(_: object, **arguments: Any) -> MetricsServer:
        asked.append(arguments)
        return MetricsServer("127.0.0.1", 1, loop=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "start_http_server", record)
        serving.serve_if_possible(PrometheusMetricReader(registry=None), from_mapping(options, log_error))
    named = {key for key, value in options.items() if value is not None}
    for found in asked:
        assert ("unix_socket" in found) == ("unix_socket" in named)
        if named & {"allow", "rate_limit", "peer_rate_limit", "bearer_tokens_file", "web_config"}:
            assert found["guards"] is not None
        if "bearer_tokens_file" in named or options.get("web_config") == "web.yml":
            assert found["guards"].identify(Request(), Always()).status == 401
        if any(key.startswith("tls_") for key in named) or options.get("web_config") == "web.yml":
            assert found["tls"] is not None
        if "tls_client_ca_file" in named:
            assert found["tls"].context().verify_mode is ssl.CERT_REQUIRED


@pytest.mark.usefixtures("broken")
def test_wrong_guards_in_yaml(caplog: pytest.LogCaptureFixture) -> None:
    """The declarative configuration is no weaker."""
    wrong = ({"allow": ["10.0.0.1/8"]}, {"bearer_tokens_file": "empty"}, {"web_config": "bad.yml"})
    for options in wrong:
        reader = DeclarativePrometheusMetricReader(port=0, host="127.0.0.1", **options)
        assert not reader.server.is_serving
        reader.shutdown()
    assert all(NOT_SERVED in line for line in caplog.messages)
    assert len(caplog.messages) == len(wrong)


# Files in which an option that protects has come into a table.
MISPLACED = {
    "a table around everything": '[prometheus_bridge]\nbearer_tokens_file = "tokens"',
    "a table in a table": "[otel.endpoint]\nallow = ['10.0.0.0/8']",
    "behind a table whose keys are known": "[exemplars]\nkeep = 'slowest'\nallow = ['10.0.0.0/8']",
    "behind a table of labels": "[common_labels]\nregion = 'cloud.region'\ntls_cert_file = 'server.pem'",
    "behind a table of tenants": "[tenant]\nattribute = 't'\n[tenant.limits]\na = 1\nrate_limit = 5",
    "behind a view": "[[views]]\ninstrument_name = 'a'\nname = 'b'\nweb_config = 'web.yml'",
    "behind names in a view": "[[views]]\ninstrument_name = 'a'\n[views.rename]\nunix_socket = './s'",
    "behind the rules of a view": "[[views]]\ninstrument_name = 'a'\n[views.rules]\nallow = ['10.0.0.0/8']",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", MISPLACED)
def test_guards_in_a_table(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, name: str
) -> None:
    """Protection that a file asks for in the wrong place is not left out: nothing is served."""
    path = tmp_path / "bridge.toml"
    path.write_text(MISPLACED[name])
    with pytest.raises(ConfigurationError):
        start(port=0, set_global=False, config_file=path)
    monkeypatch.setenv("OTEL_PROM_BRIDGE_CONFIG_FILE", str(path))
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    reader = AutoPrometheusMetricReader()
    reader.shutdown()
    assert not reader.server.is_serving
    assert NOT_SERVED in caplog.text
    assert "what stands there is not allowed" in caplog.text


def test_what_only_looks_like_guards_in_a_table() -> None:
    """Labels and rules that are called like a guard are none, and a table within itself does no harm."""
    around: dict[str, Any] = {}
    around["around"] = around
    view = {
        "instrument_name": "a",
        "rename": {"allow": "allowed"},
        "rules": {"client.address": {"allow": ["10.0.0.1"]}},
    }
    settings = from_mapping({"views": [view], "common_labels": {"rate_limit": "plan"}, **around}, log_error)
    assert not settings.refused


@pytest.mark.usefixtures("here")
def test_a_general_rate_beside_that_of_the_file(
    begin: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """METRICS_RATE_LIMIT_RPS may be somebody else's: the file's limit counts, and one line says so."""
    monkeypatch.setenv("METRICS_RATE_LIMIT_RPS", "1000")
    bridge = begin(web_config="rate.yml")
    assert [ask(bridge.server.url)[0] for _ in range(2)] == [200, 429]
    (message,) = caplog.messages
    assert message == "METRICS_RATE_LIMIT_RPS: the rate limit of rate.yml counts, so it is passed over"


PAGE = Path(__file__).parents[2] / "docs" / "securing.md"


def test_the_documented_endpoint(here: Path) -> None:
    """The page's TOML, with its files in another directory: TLS, tokens and networks are what it says."""
    blocks = re.findall(r"^```TOML\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (toml,) = (block for block in blocks if "bearer_tokens_file" in block)
    (here / "scrape-tokens").write_text(f"{TOKEN}\n")
    (here / "bridge.toml").write_text(toml.replace("/etc/shop/", f"{here}/"))
    with start(config_file="bridge.toml", port=0, set_global=False) as bridge:
        url = f"https://127.0.0.1:{bridge.server.port}/metrics"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert [ask(url)[0], ask(url, headers)[0]] == [401, 200]
        client = http.client.HTTPSConnection(
            "127.0.0.1", bridge.server.port, timeout=5, context=client_context()
        )
        found = set()
        for _ in range(50):  # five per second: on a connection that is kept, they come faster than that
            client.request("GET", "/metrics", headers=headers)
            with client.getresponse() as response:
                found.add(response.status)
                response.read()
        client.close()
        assert found == {200, 429}


def test_the_documented_scrape_config(tmp_path: Path) -> None:
    """Prometheus takes the page's scrape configuration."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (yaml,) = (block for block in blocks if block.startswith("scrape_configs"))
    for name in ("shop-token", "ca.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "prometheus.yml").write_text(yaml.replace("/etc/prometheus/", f"{tmp_path}/"))
    approved("check", "config", "prometheus.yml", folder=tmp_path)


@pytest.fixture
def taken(bridge: Callable[..., Setup]) -> Iterator[MetricsServer]:
    """Another endpoint, on a port that nobody else can have."""
    with start_http_server(bridge().reader, port=0, addr="127.0.0.1") as server:
        yield server


def test_a_port_that_is_taken(
    taken: MetricsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Strict, that is an error with address and port; otherwise one line, and no serving."""
    where = f"address '127.0.0.1', port {taken.port}"
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(taken.port))
    with pytest.raises(EndpointError, match=where):
        start(set_global=False)
    reader = AutoPrometheusMetricReader()
    assert (reader.server.is_serving, reader.server.port) == (False, taken.port)
    reader.shutdown()
    with start(set_global=False, strict=False) as bridge:
        assert not bridge.server.is_serving
    assert [NOT_SERVED in line and where in line for line in caplog.messages] == [True, True]
    monkeypatch.setenv(VARIABLES["strict"], "true")
    with pytest.raises(EndpointError, match=where):
        AutoPrometheusMetricReader()
