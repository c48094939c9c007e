"""The same value gets the same answer, whichever way it came in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_prom_bridge import PrometheusMetricReader, start, start_http_server
from otel_prom_bridge.endpoint.apps import make_asgi_app, make_wsgi_app
from otel_prom_bridge.endpoint.files.tls import TlsSettings
from otel_prom_bridge.endpoint.guards import Guards
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.errors import ConfigurationError

# Of each option of the endpoint: values that cannot be, and what is said to be allowed.
WRONG: list[tuple[str, Any, str]] = [
    *(("cache_ttl", value, "a number of seconds up to 1000000, 0 for never") for value in (1e9, -1, "1")),
    *(("addr", value, "a host name or an IP address, without a port") for value in ("", " ", 5)),
    *(("port", value, "a whole number from 0 to 65535") for value in (-1, 65536, "9464", True)),
    *(("unix_socket", value, "a path with a slash in it") for value in ("m.sock", Path("m.sock"), 5, "")),
    *(("health", value, "true or false") for value in ("yes", 0)),
    *(("compression_threshold", value, "a whole number of bytes, or false for never") for value in (-1, 1.5)),
    *(("strict", value, "true or false") for value in ("yes", 1)),
    ("web_config", 5, "the path of a file"),
]
WRONG_GUARDS: list[tuple[str, Any, str]] = [
    *(("allow", value, "a list of networks like .*, at least one") for value in ([], "10.0.0.0/8", [5])),
    (
        "allow",
        ["10.0.0.0/99"],
        "networks like '10.0.0.0/8', addresses, or 'unix' for peers without an address",
    ),
    ("trusted_proxies", 5, "a list of networks like .*'unix' for peers without an address"),
    ("max_in_flight", 0, "a whole number of at least 1"),
    ("bearer_tokens_file", 5, "the path of a file"),
    ("health_open", 1, "true or false"),
]


def answer(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, str]:
    """What is said about the value: its key, and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        call(*args, **options)
    return caught.value.key, caught.value.expected


@pytest.mark.parametrize(("key", "value", "expected"), WRONG)
def test_start_and_the_server_refuse_in_the_same_words(key: str, value: Any, expected: str) -> None:
    """A call with options, and one with arguments."""
    reader = PrometheusMetricReader(registry=None)
    beside = {} if key in ("port", "unix_socket") else {"port": 0}
    assert answer(start, set_global=False, **beside, **{key: value}) == (key, expected)
    assert answer(start_http_server, reader, **beside, **{key: value}) == (key, expected)


@pytest.mark.parametrize(
    ("key", "value", "expected"), [row for row in WRONG if row[0] in ("cache_ttl", "health")]
)
def test_the_applications_refuse_in_the_same_words(key: str, value: Any, expected: str) -> None:
    """What has no port of its own."""
    reader = PrometheusMetricReader(registry=None)
    for make in (make_wsgi_app, make_asgi_app):
        assert answer(make, reader, **{key: value}) == (key, expected)


@pytest.mark.parametrize(("key", "value", "expected"), WRONG_GUARDS)
def test_start_and_guards_refuse_in_the_same_words(key: str, value: Any, expected: str) -> None:
    """The options of the guards, and their arguments."""
    said = answer(start, port=0, set_global=False, **{key: value})
    assert said == answer(Guards, **{key: value})
    assert said[0].startswith(key)
    with pytest.raises(ConfigurationError, match=expected):
        Guards(**{key: value})


@pytest.mark.parametrize("value", [0, -1, "5", True, 1e9, float("nan")])
def test_deadlines(value: Any) -> None:
    """A deadline as an option, and as a limit of the server."""
    expected = ("write_timeout", "a number of seconds above zero, up to 1000000")
    assert answer(start, port=0, set_global=False, write_timeout=value) == expected
    assert answer(ServerLimits, write_timeout=value) == expected


def test_files_of_tls() -> None:
    """A path as an option, and as a setting."""
    options = {"cert_file": 5, "key_file": "key.pem"}
    said = answer(start, port=0, set_global=False, **{f"tls_{key}": value for key, value in options.items()})
    assert said == ("tls_cert_file", "the path of a file")
    assert answer(TlsSettings, **options) == ("cert_file", "the path of a file")


def test_a_path_is_a_path(tmp_path: Path) -> None:
    """Both take a `Path` for a Unix socket."""
    reader = PrometheusMetricReader(registry=None)
    with start(unix_socket=tmp_path / "a.sock", set_global=False) as bridge:
        assert bridge.server.address == str(tmp_path / "a.sock")
    with start_http_server(reader, unix_socket=tmp_path / "b.sock") as server:
        assert server.address == str(tmp_path / "b.sock")


@pytest.mark.parametrize(
    "key", ["health", "metrics_path", "cache_ttl", "compression_threshold", "addr", "unix_socket"]
)
def test_none_is_what_was_not_given(key: str) -> None:
    """None means the default to both."""
    reader = PrometheusMetricReader(registry=None)
    with start(port=0, set_global=False, **{key: None}) as bridge:  # type: ignore[misc]
        assert bridge.server.url.endswith("/metrics")
    with start_http_server(reader, port=0, **{key: None}) as server:  # type: ignore[arg-type]
        assert server.url.endswith("/metrics")
