"""One table of options: what the ways of giving one have in common, and the answers to wrong values."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableGauge
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from option_tables import markdown_tables
from oracles import OPENMETRICS
from prometheus_client import CollectorRegistry, Gauge
from properties import examples
from setups import Setup

from otel_prom_bridge import (
    ConfigurationError,
    Conflict,
    Exemplars,
    ExportView,
    PrometheusMetricReader,
    Tenants,
    TranslationStrategy,
    start,
)
from otel_prom_bridge.autoconfigure import DeclarativePrometheusMetricReader
from otel_prom_bridge.configuration.arguments import EndpointOptions, ReaderOptions, WorkerOptions
from otel_prom_bridge.configuration.options import (
    CONFIG_FILE,
    ENDPOINT_OPTIONS,
    OPTIONS,
    READER_OPTIONS,
    WORKER,
)
from otel_prom_bridge.configuration.settings import (
    Settings,
    from_arguments,
    from_environment,
    from_mapping,
    log_error,
    raise_error,
)
from otel_prom_bridge.direct import DirectReader
from otel_prom_bridge.pipeline.options import _CHECKS, PipelineOptions
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.push.wire import HubAddress
from otel_prom_bridge.rules import Forbid
from otel_prom_bridge.sdk.meanings import INSTRUMENTS
from otel_prom_bridge.values.checks import PATTERNS

pytestmark = pytest.mark.usefixtures("equal_rules")

Make = Callable[..., Setup]
ROOT = Path(__file__).parents[2]
KEYS = [option.key for option in OPTIONS]
VARIABLES = {option.key: option.variables[-1] for option in OPTIONS if option.variables}
PROTECTING = {option.key for option in OPTIONS if option.protects}
NOT_SERVED = "metrics are recorded but not served"


# One value per option in each of the ways, and what the reader is made with. Without text it has no variable.
WAYS: list[tuple[str, str | None, object, str, object]] = [
    ("host", "0.0.0.0", "0.0.0.0", "host", "0.0.0.0"),
    ("port", "9999", 9999, "port", 9999),
    ("unix_socket", "/run/x", "/run/x", "unix_socket", "/run/x"),
    ("strict", "false", False, "strict", False),
    ("process_ports", "4", 4, "process_ports", 4),
    ("span_metrics", "true", True, "span_metrics", True),
    ("metrics_path", "/a/b.c", "/a/b.c", "metrics_path", "/a/b.c"),
    ("metrics_path", "/", "/", "metrics_path", "/"),
    ("cache_ttl", "0", 0, "cache_ttl", 0.0),
    ("cache_ttl", "2.5", 2.5, "cache_ttl", 2.5),
    ("compression_threshold", "0", 0, "compression_threshold", 0),
    ("compression_threshold", "False", False, "compression_threshold", False),
    ("health", "false", False, "health", False),
    ("explorer", "true", True, "explorer", True),
    ("explorer", "public", "public", "explorer", "public"),
    ("trace_url", "http://t/{trace_id}", "http://t/{trace_id}", "trace_url", "http://t/{trace_id}"),
    ("allow", "10.0.0.0/8, ::1,unix", ["10.0.0.0/8", "::1", "unix"], "allow", ("10.0.0.0/8", "::1", "unix")),
    ("trusted_proxies", "10.0.0.7", ["10.0.0.7"], "trusted_proxies", ("10.0.0.7",)),
    ("rate_limit", "0.5", 0.5, "rate_limit", 0.5),
    ("rate_burst", "3", 3, "rate_burst", 3),
    ("peer_rate_limit", "10", 10, "peer_rate_limit", 10.0),
    ("peer_rate_burst", "1", 1, "peer_rate_burst", 1),
    ("max_in_flight", "5", 5, "max_in_flight", 5),
    ("bearer_tokens_file", "tokens", "tokens", "bearer_tokens_file", "tokens"),
    ("health_open", "false", False, "health_open", False),
    ("web_config", "web.yml", "web.yml", "web_config", "web.yml"),
    ("tls_cert_file", "a.pem", "a.pem", "tls_cert_file", "a.pem"),
    ("tls_key_file", "a.key", "a.key", "tls_key_file", "a.key"),
    ("tls_client_ca_file", "ca.pem", "ca.pem", "tls_client_ca_file", "ca.pem"),
    ("tls_client_allowed_sans", "a, b", ["a", "b"], "tls_client_allowed_sans", ("a", "b")),
    ("tls_min_version", "TLS13", "TLS13", "tls_min_version", "TLS13"),
    ("head_timeout", "1", 1, "head_timeout", 1.0),
    ("handshake_timeout", "1", 1, "handshake_timeout", 1.0),
    ("write_timeout", "1", 1, "write_timeout", 1.0),
    ("idle_timeout", "300", 300, "idle_timeout", 300.0),
    ("max_connections", "64", 64, "max_connections", 64),
    ("recording", "direct", "direct", "recording", "direct"),
    ("hub", "unix:/run/hub.sock", "unix:/run/hub.sock", "hub", HubAddress(path="/run/hub.sock")),
    ("hub", "http://127.0.0.1:4318", "http://127.0.0.1:4318", "hub", HubAddress(host="127.0.0.1", port=4318)),
    ("hub_token", "s3cret", "s3cret", "hub_token", "s3cret"),
    ("push_interval", "0.5", 0.5, "push_interval", 0.5),
    ("flush_on_sigterm", "false", False, "flush_on_sigterm", False),
    ("prefix", "shop", "shop", "prefix", "shop"),
    ("scope_info_enabled", "False", False, "scope_info_enabled", False),
    ("target_info_enabled", "false", False, "disable_target_info", True),
    ("translation_strategy", "NoTranslation", "no_translation/development", "translation_strategy",
     TranslationStrategy.NO_TRANSLATION),
    ("max_series_per_metric", "7", 7, "max_series_per_metric", 7),
    ("cardinality_limits", "counter=5, histogram=6", {"counter": 5, "histogram": 6, "gauge": None},
     "cardinality_limits", {Counter: 5, Histogram: 6}),
    ("cardinality_limits", "default=9,observable_gauge=1", {"default": 9, "observable_gauge": 1},
     "cardinality_limits", {**dict.fromkeys(INSTRUMENTS, 9), ObservableGauge: 1}),
    ("created_timestamps", "true", True, "created_timestamps", True),
    ("openmetrics_2", "true", True, "openmetrics_2", True),
    ("exponential_histogram_bounds", "-1, 0.5,1e3", [-1, 0.5, 1000], "exponential_histogram_bounds",
     (-1.0, 0.5, 1000.0)),
    ("views", None, [{"instrument_name": "a", "rules": {"b": "forbid"}}], "views",
     (ExportView(instrument_name="a", rules={"b": Forbid()}),)),
    ("max_series", "1000000", 1_000_000, "max_series", 1_000_000),
    ("max_label_value_length", "200", 200, "max_label_value_length", 200),
    ("max_labels", "0", 0, "max_labels", 0),
    ("max_help_length", "80", 80, "max_help_length", 80),
    ("max_client_values", "10", 10, "max_client_values", 10),
    ("max_lines_per_metric", "500", 500, "max_lines_per_metric", 500),
    ("prices", "false", False, "prices", False),
    ("seconds_buckets", "false", False, "seconds_buckets", False),
    ("tenant", None, {"attribute": "t", "limits": {"acme": 5}}, "tenant", Tenants("t", {"acme": 5})),
    ("gauges", "newest", "newest", "gauges", "newest"),
    ("id_labels", "TRUE", True, "id_labels", True),
    ("exemplars", "false", False, "exemplars", False),
    ("exemplars", None, {"keep": "slowest", "hold": 60}, "exemplars", Exemplars(keep="slowest", hold=60)),
    ("expire_after", "1.5e3", 1500, "expire_after", 1500.0),
    ("scrape_timeout", "2.5", 2.5, "scrape_timeout", 2.5),
    ("collect_interval", "0", 0, "collect_interval", 0.0),
    ("collect_interval", "30", 30, "collect_interval", 30.0),
    ("sdk_max_series", "50000", 50000, "sdk_max_series", 50000),
    ("self_metrics", "false", False, "self_metrics", False),
    ("context_labels", "a=b, c=d.e", {"a": "b", "c": "d.e"}, "context_labels", {"a": "b", "c": "d.e"}),
    ("self_metric_names", "a=b, c=d", {"a": "b", "c": "d"}, "self_metric_names", {"a": "b", "c": "d"}),
    ("common_labels", "a=b, c=d|e", {"a": "b", "c": ["d", "e"]}, "common_labels",
     {"a": ("b",), "c": ("d", "e")}),
]  # fmt: skip


# A function cannot be compared, and of a profile all options are made: tests/test_profiles.py.
ELSEWHERE = {"resource_constant_labels", "profile", "present"}
# Options that make no sense alone, and what they need beside them.
CERTIFICATE = {"tls_cert_file": "a.pem", "tls_key_file": "a.key"}
BESIDE: dict[str, dict[str, object]] = {
    "rate_burst": {"rate_limit": 1},
    "peer_rate_burst": {"peer_rate_limit": 1},
    "tls_cert_file": CERTIFICATE,
    "tls_key_file": CERTIFICATE,
    "tls_min_version": CERTIFICATE,
    "tls_client_ca_file": CERTIFICATE,
    "tls_client_allowed_sans": {**CERTIFICATE, "tls_client_ca_file": "ca.pem"},
}


def made(found: Settings, argument: str) -> object:
    """What the settings say of an argument."""
    return {"recording": found.recording, **found.endpoint, **found.worker, **found.reader}[argument]


@pytest.mark.parametrize(("key", "text", "value", "argument", "expected"), WAYS)
def test_every_way_means_the_same(
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    text: str | None,
    value: object,
    argument: str,
    expected: object,
) -> None:
    """A variable's text, a value of YAML and an argument of start() lead to one and the same setting."""
    beside = BESIDE.get(key, {})
    assert made(from_mapping({**beside, key: value}, raise_error), argument) == expected
    for given_value in (value, expected) if argument == key else (value,):
        arguments = {**beside, "addr" if key == "host" else key: given_value}
        assert made(from_arguments(arguments), argument) == expected
    if text is None:
        return
    for other, other_value in beside.items():
        monkeypatch.setenv(VARIABLES[other], str(other_value))
    monkeypatch.setenv(VARIABLES[key], f" {text} ")
    assert made(from_environment(raise_error), argument) == expected
    assert made(from_arguments({}), argument) == expected


def test_the_ways_above_are_all_options() -> None:
    """No option is left out of the test above, or of what type checkers know of start()."""
    assert {key for key, *_ in WAYS} | ELSEWHERE == {option.key for option in OPTIONS}
    assert WorkerOptions.__annotations__.keys() == {option.key for option in WORKER}
    assert ReaderOptions.__annotations__.keys() == {option.key for option in READER_OPTIONS}
    endpoint = {option.key for option in ENDPOINT_OPTIONS} - {"host", "port"}
    assert EndpointOptions.__annotations__.keys() == endpoint


@pytest.mark.parametrize("empty", ["", "  "])
def test_nothing_and_empty_and_null_are_the_default(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    """An empty variable is an unset one, null in YAML is the default, and so is None as an argument."""
    expected = from_mapping({}, raise_error)
    assert expected == Settings(
        {
            "host": "localhost",
            "port": 9464,
            "unix_socket": None,
            "strict": None,
            "process_ports": 32,
            "span_metrics": False,
            "metrics_path": "/metrics",
            "cache_ttl": None,
            "compression_threshold": 1024,
            "health": True,
            "explorer": False,
            "trace_url": None,
            "allow": None,
            "trusted_proxies": None,
            "rate_limit": None,
            "rate_burst": None,
            "peer_rate_limit": None,
            "peer_rate_burst": None,
            "max_in_flight": 40,
            "bearer_tokens_file": None,
            "health_open": True,
            "web_config": None,
            **dict.fromkeys(key for key in KEYS if key.startswith("tls_")),
            "head_timeout": 5.0,
            "handshake_timeout": 5.0,
            "write_timeout": 10.0,
            "idle_timeout": 120.0,
            "max_connections": None,
        },
        {
            "prefix": "",
            "scope_info_enabled": True,
            "disable_target_info": False,
            "resource_attribute_filter": None,
            "translation_strategy": TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES,
            "views": (),
            "fallback_views": load_profile("semconv").views(),
            "max_series_per_metric": 2000,
            "cardinality_limits": None,
            "max_series": None,
            "max_label_value_length": 1024,
            "max_labels": 64,
            "max_help_length": 1024,
            "max_client_values": 50,
            "max_lines_per_metric": None,
            "seconds_buckets": True,
            "prices": "default",
            "tenant": None,
            "context_labels": None,
            "gauges": "each",
            "id_labels": False,
            "exemplars": True,
            "expire_after": None,
            "scrape_timeout": 5.0,
            "collect_interval": 10.0,
            "sdk_max_series": None,
            "created_timestamps": False,
            "openmetrics_2": False,
            "exponential_histogram_bounds": None,
            "self_metrics": True,
            "self_metric_names": None,
            "common_labels": None,
        },
    )
    for name in (*CONFIG_FILE.variables, *VARIABLES.values()):
        monkeypatch.setenv(name, empty)
    nulls = dict.fromkeys(KEYS)
    assert from_environment(raise_error) == expected
    assert from_mapping(nulls, raise_error) == expected
    assert (
        from_arguments({"addr" if key == "host" else key: None for key in [*nulls, "config_file"]})
        == expected
    )


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is not even read where there is an argument; YAML ignores all but those of the launcher."""
    alone = ("host", "unix_socket", "web_config", "profile", "present")
    for key, name in VARIABLES.items():
        if key not in alone[1:]:
            monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv(VARIABLES["prefix"], "variable")
    arguments = {"addr": "::1", **{key: value for key, _, value, *_ in WAYS if key not in alone}}
    labels = {"included": ["x"]}
    assert from_arguments({**arguments, "resource_constant_labels": labels}).reader["prefix"] == "shop"
    monkeypatch.setenv(VARIABLES["hub"], "unix:/run/launched.sock")
    found = from_mapping({}, raise_error)
    assert (found.reader["prefix"], found.worker["hub"]) == ("", HubAddress(path="/run/launched.sock"))
    yaml = {"hub": "unix:/run/yaml.sock"}
    assert from_mapping(yaml, raise_error).worker["hub"] == HubAddress(path="/run/yaml.sock")


WHOLE = "expected a whole number of at least 1"
WRONG_TEXTS = [
    *(
        ("port", text, "expected a whole number from 0 to 65535")
        for text in ("http", "65536", "-1", "+80", "80.0", "1e3", "9_464", "²", "9" * 5000)
    ),
    ("scope_info_enabled", "1", "expected true or false"),
    ("target_info_enabled", "no", "expected true or false"),
    ("created_timestamps", "yes please", "expected true or false"),
    ("prefix", "\udc80", "expected a string"),
    ("translation_strategy", "CamelCase", "expected one of 'UnderscoreEscapingWithSuffixes', 'Under"),
    *(("max_series_per_metric", text, WHOLE) for text in ("0", "many", "1.5")),
    *((key, "none", WHOLE) for key in ("max_series", "sdk_max_series")),
    *(
        (key, text, "expected a whole number, 0 for no limit")
        for key in ("max_label_value_length", "max_labels", "max_help_length", "max_client_values")
        for text in ("-1", "none", "1.5")
    ),
    *(
        (key, text, "a number of seconds above zero")
        for key in ("expire_after", "scrape_timeout")
        for text in ("0", "-1", "1h", "nan", "inf", "1000001")
    ),
    *(("collect_interval", text, "0 for never") for text in ("-1", "1h", "nan", "inf", "1000001")),
    *(
        (key, "1", "expected true or false")
        for key in ("id_labels", "self_metrics", "strict", "health", "health_open")
    ),
    ("unix_socket", "metrics.sock", "expected a path with a slash in it"),
    *(
        ("metrics_path", text, "expected a path like '/metrics'")
        for text in ("metrics", "/metrics/", "//", "/a b", "/a?b", "/health", "/ready", "/ü", "/%41")
    ),
    *(("cache_ttl", text, "0 for never") for text in ("-1", "1s", "off")),
    *(("compression_threshold", text, "or false for never") for text in ("-1", "true", "1k", "never")),
    *(("explorer", text, "or 'public' for an address") for text in ("yes, please", "private")),
    *(
        ("trace_url", text, "with {trace_id} in it")
        for text in ("http://t", "ftp://t/{trace_id}", "{trace_id}")
    ),
    *((key, "x,", "expected networks like") for key in ("allow", "trusted_proxies")),
    ("allow", "10.0.0.1/8", r"expected a network without bits behind its prefix, like '10\.0\.0\.0/8'"),
    *(
        (key, text, "requests per second, above zero")
        for key in ("rate_limit", "peer_rate_limit")
        for text in ("0", "-1", "nan", "inf", "10/s", "1e-320")
    ),
    *(
        (key, text, WHOLE)
        for key in ("rate_burst", "peer_rate_burst", "max_in_flight", "max_connections")
        for text in ("0", "1.5", "x")
    ),
    ("tls_client_allowed_sans", ",", "expected a list of names"),
    *(("tls_min_version", text, "one of 'TLS12', 'TLS13'") for text in ("TLS11", "1.2", "tls13")),
    *(
        (key, text, "a number of seconds above zero")
        for key in ("head_timeout", "handshake_timeout", "write_timeout", "idle_timeout")
        for text in ("0", "5s", "1e12")
    ),
    *(("exemplars", text, "true, false, or a mapping of 'keep'") for text in ("slowest", "{}", "1")),
    *(
        ("cardinality_limits", text, "expected a mapping of 'counter', .*, written like 'counter=500,")
        for text in ("counter", "counter=", "counter=0", "contur=5", "=5", "counter=5,", "5")
    ),
    *(
        ("exponential_histogram_bounds", text, "each greater than the one before, written like '0.1,0.5,1'")
        for text in ("1,1", "2,1", "nan", "1,inf", "a", "1,,2", "1;2")
    ),
    *(
        ("resource_constant_labels", text, r"written like 'service.\*,!service.instance.id'")
        for text in ("a,,b", "!", ",")
    ),
]


@pytest.mark.parametrize(("key", "text", "message"), WRONG_TEXTS)
def test_a_wrong_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, key: str, text: str, message: str
) -> None:
    """start() refuses it, naming variable, value and what is allowed; a lenient reader logs that."""
    monkeypatch.setenv(VARIABLES[key], text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        start(set_global=False)
    if "[" not in caught.value.key:
        assert (caught.value.key, caught.value.value) == (VARIABLES[key], text)
    check_lenient(from_environment(log_error), key, str(caught.value), caplog.messages)


def check_lenient(found: Settings, key: str, error: str, logged: list[str]) -> None:
    """A wrong value was logged and the default used; of what was to protect, nothing is served."""
    instead = NOT_SERVED if key in PROTECTING else "using "
    (line,) = logged
    assert line.startswith(f"{error}; {instead}")
    assert [str(refused) for refused in found.refused] == ([error] if key in PROTECTING else [])
    assert replace(found, refused=()) == from_mapping({}, raise_error)


WRONG_VALUES: list[tuple[str, object]] = [
    *(("host", value) for value in ("", " ", 1, ["localhost"])),
    *(("port", value) for value in ("9464", 1.0, True, -1, 65536, [1])),
    *(("prefix", value) for value in (1, b"x", "\ud800")),
    *(("scope_info_enabled", value) for value in ("true", 1, 0, {})),
    *(("translation_strategy", value) for value in ("", "none", 1, [])),
    *(("max_series_per_metric", value) for value in (0, True, "5", 1.5)),
    *(
        ("cardinality_limits", value)
        for value in ({"contur": 5}, {"counter": 0}, {"counter": "5"}, {"default": True}, {int: 5}, 5, [])
    ),
    *(
        ("exponential_histogram_bounds", value)
        for value in ([1, 1], [2, 1], [1, float("nan")], [float("inf")], [10**400], "123", b"12", 5, [True])
    ),
    *(
        ("resource_constant_labels", value)
        for value in ({"include": ["x"]}, {"included": "x"}, {"included": []}, {"excluded": [1]}, "x", [], 1)
    ),
    ("resource_constant_labels", {"included": [""]}),
    *(("views", value) for value in ("views", {}, 1, {"instrument_name": "x"}, b"x")),
    *(("tenant", value) for value in ("acme", [], 1, {}, {"attribute": "t"}, True)),
    *(("exemplars", value) for value in ("slowest", 1, [], 0)),
    *(
        (key, value)
        for key in ("expire_after", "scrape_timeout")
        for value in (0, -1, "60", True, float("inf"), 10**400)
    ),
    *(("collect_interval", value) for value in (-1, "0", False, float("inf"))),
    *((key, value) for key in ("max_series", "sdk_max_series") for value in (0, True, "5")),
    *((key, value) for key in ("max_label_value_length", "max_client_values") for value in (-1, True, "5")),
    *(
        (key, value)
        for key in ("id_labels", "self_metrics", "strict", "health", "health_open")
        for value in (0, "true")
    ),
    *(("unix_socket", value) for value in ("x", 1, b"/x", "/a\0b")),
    *(("metrics_path", value) for value in ("", 1, "/metrics/", "/health")),
    *(("cache_ttl", value) for value in (-1, "1", True)),
    *(("compression_threshold", value) for value in (True, -1, 1.5, "1024")),
    *(("allow", value) for value in ([], "10.0.0.0/8", [1], ["localhost"], ["10.0.0.1/8"], {}, [""])),
    *(("trusted_proxies", value) for value in ("10.0.0.7", ["proxy.internal"], [None])),
    *((key, value) for key in ("rate_limit", "peer_rate_limit") for value in (0, "10", True, 10**400)),
    *(
        (key, value)
        for key in ("rate_burst", "peer_rate_burst", "max_in_flight", "max_connections")
        for value in (0, 1.5, "1", True)
    ),
    *((key, value) for key in ("bearer_tokens_file", "web_config", "tls_cert_file") for value in ("", 1, [])),
    *((key, value) for key in ("tls_key_file", "tls_client_ca_file") for value in ("", 1, [])),
    *(("tls_client_allowed_sans", value) for value in ([], "a", [""], [1])),
    *(("tls_min_version", value) for value in ("TLS10", 12)),
    *(
        (key, value)
        for key in ("head_timeout", "handshake_timeout", "write_timeout", "idle_timeout")
        for value in (0, "5", float("inf"))
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG_VALUES)
def test_a_wrong_value(caplog: pytest.LogCaptureFixture, key: str, value: object) -> None:
    """As an argument and in YAML it is refused or, under auto-instrumentation, logged."""
    argument = "addr" if key == "host" else key
    for refuse in (lambda: start(**{argument: value, "set_global": False}), lambda: strict({key: value})):
        with pytest.raises(ConfigurationError, match="is not allowed, expected") as caught:
            refuse()
        if "[" not in caught.value.key:
            assert caught.value.key in {key, argument}
            assert caught.value.value is value
    check_lenient(from_mapping({key: value}, log_error), key, str(caught.value), caplog.messages)


def strict(given: dict[str, object]) -> Settings:
    """The settings of a mapping, whose wrong values are errors."""
    return from_mapping(given, raise_error)


def test_an_unknown_key(caplog: pytest.LogCaptureFixture) -> None:
    """It is named with what is allowed; where that is only logged, the other keys still count."""
    message = (
        r"^prefx: 'x' is not allowed, expected one of the options \(did you mean 'prefix'\?\): .*prefix.*$"
    )
    with pytest.raises(ConfigurationError, match=message):
        strict({"prefix": "shop", "prefx": "x"})
    with pytest.raises(ConfigurationError, match=r"prefx: 'x' is not allowed, expected one of .*addr"):
        start(prefx="x", set_global=False)  # type: ignore[call-arg]
    found = from_mapping({"prefix": "shop", "prefx": "x", "self": 1}, log_error)
    assert found.reader["prefix"] == "shop"
    assert [message.split(":")[0] for message in caplog.messages] == ["prefx", "self"]
    assert all(message.endswith("; ignoring it") for message in caplog.messages)


def test_a_name_of_another_way() -> None:
    """The address has one name in files and another one in calls: each leads to the other."""
    with pytest.raises(
        ConfigurationError, match=r"^host: 'localhost' .* one of the options \(it is 'addr' here\): "
    ):
        start(host="localhost", set_global=False)  # type: ignore[call-arg]
    with pytest.raises(
        ConfigurationError, match=r"^addr: 'localhost' .* one of the options \(it is 'host' here\): "
    ):
        strict({"addr": "localhost"})


def test_the_specifications_other_spelling() -> None:
    """`target_info_enabled/development` is `target_info_enabled`."""
    assert strict({"target_info_enabled/development": False}).reader["disable_target_info"] is True


PATTERN_CASES = [
    ({"included": ["service.*"]}, {"service.name": True, "Service.name": False, "host.name": False}),
    ({"included": ["*"], "excluded": ["*.id"]}, {"host.name": True, "host.id": False}),
    ({"excluded": ["host.?"]}, {"host.x": False, "host.xy": True, "host.": True}),
    ({"included": ["a.b", "c?"], "excluded": None}, {"a.b": True, "axb": False, "cd": True, "xa.b": False}),
    ({"included": ["[ab]", "x\ny*"]}, {"a": False, "[ab]": True, "x\ny\nz": True}),
    ({"included": ["a"], "excluded": ["a"]}, {"a": False}),
    ({}, {"anything": True}),
]


@pytest.mark.parametrize(("patterns", "expected"), PATTERN_CASES)
def test_patterns(patterns: dict[str, object], expected: dict[str, bool]) -> None:
    """Case matters, `?` is one character and `*` any number, nothing else is special, excluded wins."""
    chosen = PATTERNS.value("resource_constant_labels", patterns)
    assert {key: chosen(key) for key in expected} == expected


@pytest.mark.parametrize("way", ["variable", "yaml", "argument"])
def test_resource_labels_come_by_every_way(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """The chosen attributes are labels, and all of them stay in target_info."""
    patterns = {"included": ["service.*"], "excluded": ["service.instance.id"]}
    monkeypatch.setenv(VARIABLES["resource_constant_labels"], "service.*,!service.instance.id")
    found = {
        "variable": lambda: from_environment(raise_error),
        "yaml": lambda: strict({"resource_constant_labels": patterns}),
        "argument": lambda: from_arguments({"resource_constant_labels": patterns}),
    }[way]()
    chosen: Any = found.reader["resource_attribute_filter"]
    keys = ("service.name", "service.instance.id", "host.name")
    assert [chosen(key) for key in keys] == [True, False, False]


@settings(max_examples=examples(200))
@given(
    st.dictionaries(
        st.sampled_from([*KEYS, "target_info_enabled/development", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text() | st.sampled_from(["included", "counter", "default"]), inner)
            ),
            max_leaves=6,
        ),
    )
)
def test_no_yaml_whatsoever_raises_under_auto_instrumentation(values: dict[str, Any]) -> None:
    """Whatever the mapping holds, settings come out that a reader can be made with."""
    found = from_mapping(values, log_error)
    PrometheusMetricReader(**{**found.reader, "registry": None})


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=examples(200))
@given(
    st.dictionaries(
        st.sampled_from(list(VARIABLES.values())),
        TEXTS | st.lists(TEXTS | st.sampled_from(["1", "counter=1", "*", "!*", "nan"])).map(",".join),
    )
)
def test_no_variable_whatsoever_raises_under_auto_instrumentation(values: dict[str, str]) -> None:
    """Whatever the variables hold, settings come out that a reader can be made with."""
    with patch.dict(os.environ, values):
        found = from_environment(log_error)
    PrometheusMetricReader(**{**found.reader, "registry": None})


def test_the_declarative_reader_is_made_of_any_keys(caplog: pytest.LogCaptureFixture) -> None:
    """Even a key named `self` is only an unknown option."""
    options: dict[str, Any] = {"self": 1, "port": 0, "host": "127.0.0.1", "created_timestamps": "often"}
    reader = DeclarativePrometheusMetricReader(**options)
    try:
        assert reader.server.is_serving
    finally:
        reader.shutdown()
    assert [message.split(":")[0] for message in caplog.messages] == ["self", "created_timestamps"]


def test_start_takes_the_readers_options() -> None:
    """The options of start() are visible in what it serves."""
    bounds = View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())
    with start(
        port=0,
        addr="127.0.0.1",
        set_global=False,
        resource=Resource({"service.name": "shop", "rank": 1}),
        sdk_views=[bounds],
        prefix="shop",
        scope_info_enabled=False,
        target_info_enabled=False,
        resource_constant_labels={"included": ["rank"]},
        exponential_histogram_bounds=[1, 10],
        created_timestamps=True,
        self_metrics=False,
    ) as bridge:
        bridge.meter_provider.get_meter("test").create_histogram("h").record(3.5)
        body = bridge.reader.expose(OPENMETRICS, names=["shop_h"]).body.decode()
    assert re.sub(r"\d{10}\.\d{3}", "<time>", body) == (
        "# TYPE shop_h histogram\n"
        'shop_h_bucket{rank="1",le="1.0"} 0\nshop_h_bucket{rank="1",le="10.0"} 1\n'
        'shop_h_bucket{rank="1",le="+Inf"} 1\nshop_h_count{rank="1"} 1\nshop_h_sum{rank="1"} 3.5\n'
        'shop_h_created{rank="1"} <time>\n# EOF\n'
    )


def test_a_reader_of_ones_own_has_its_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options beside `reader` are an error; the variables of the reader's options do not matter then."""
    monkeypatch.setenv(VARIABLES["max_series_per_metric"], "nonsense")
    reader = PrometheusMetricReader(registry=None)
    with pytest.raises(ConfigurationError, match="prefix: 'x' is not allowed, expected no option of the"):
        start(port=0, reader=reader, prefix="x", set_global=False)
    with start(port=0, addr="127.0.0.1", reader=reader, prefix=None, set_global=False) as bridge:
        assert bridge.reader is reader


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"created_timestamps": "no"}, "created_timestamps: 'no' is not allowed, expected true or false"),
        ({"exponential_histogram_bounds": [2, 1]}, r"exponential_histogram_bounds: \[2, 1\] is not allowed"),
        ({"cardinality_limits": {Counter: 0}}, "cardinality_limits: .* expected a mapping of 'counter',"),
    ],
)
def test_the_constructor_checks_by_the_same_table(options: dict[str, Any], message: str) -> None:
    """A reader made by hand refuses what start() refuses."""
    with pytest.raises(ConfigurationError, match=message):
        PrometheusMetricReader(registry=None, **options)


def test_start_times_are_opt_in(bridge: Make) -> None:
    """`_created` lines are there when asked for, in OpenMetrics only."""
    for wanted in (False, True):
        setup = bridge(created_timestamps=wanted)
        setup.meter.create_counter("jobs").add(1)
        assert ("jobs_created " in setup.text(OPENMETRICS)) is wanted
        assert "jobs_created" not in setup.text()


def test_conflicts_of_types_and_comments(bridge: Make, caplog: pytest.LogCaptureFixture) -> None:
    """What another type, another description or another unit cost is listed, and logged once."""
    registry = CollectorRegistry()
    Gauge("jobs", "of the application", registry=registry).set(1)
    setup = bridge(registry=registry, translation_strategy="UnderscoreEscapingWithoutSuffixes")
    setup.meter.create_counter("jobs", unit="s", description="first").add(1)
    setup.provider.get_meter("b").create_counter("jobs", unit="By", description="second").add(1)
    setup.provider.get_meter("c").create_histogram("jobs").record(1)
    assert setup.reader.conflicts() == []
    for _ in range(2):
        setup.text()
    kept = "the first one is kept: "
    expected = [
        Conflict("jobs", "the description 'second'", f"{kept}'first'"),
        Conflict(
            "jobs",
            "the unit 'bytes'",
            f"{kept}'seconds', and values are as recorded; an ExportView can show all in one unit,"
            " or rename one",
        ),
        Conflict(
            "jobs",
            "histogram 'jobs' of scope 'c'",
            "'jobs' is a counter already, not a histogram; rename one of them with an ExportView",
        ),
        Conflict("jobs", "gauge 'jobs' of the prometheus_client registry", "its name is taken"),
    ]
    assert setup.reader.conflicts() == expected
    assert caplog.messages == [str(conflict) for conflict in expected]
    assert str(expected[0]) == (
        "metric 'jobs' does not show the description 'second'; the first one is kept: 'first'"
    )


def test_conflicts_of_escaped_names(bridge: Make) -> None:
    """What a scraper's escaping merges or leaves out is listed when it first asks for it."""
    setup = bridge(translation_strategy="NoTranslation")
    setup.meter.create_gauge("a.b").set(1)
    setup.meter.create_gauge("a-b").set(2)
    setup.meter.create_histogram("c.d").record(1)
    setup.meter.create_gauge("c_d").set(1)
    setup.text(OPENMETRICS + "; escaping=allow-utf-8")
    assert setup.reader.conflicts() == []
    setup.text()
    taken = "another metric has its name under escaping=underscores, "
    assert setup.reader.conflicts() == [
        Conflict("a_b", "gauge 'a-b' as a metric of its own", f"{taken}its series are merged with those"),
        Conflict("c_d", "gauge 'c_d' at all", f"{taken}what came first is kept"),
    ]


def test_the_page_has_the_table_of_the_code() -> None:
    """docs/configuration.md holds what `markdown_tables()` gives."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    between = re.search(r"<!-- options: begin .*?-->\n(.*?)<!-- options: end -->", page, re.DOTALL)
    assert between is not None
    assert between[1] == markdown_tables()


@pytest.mark.parametrize("reader", [PrometheusMetricReader, DirectReader])
def test_readers_take_the_options_of_one_list(reader: type) -> None:
    """What `help()` and editors show of a reader is that list, with the three places that always were."""
    shown = inspect.signature(reader).parameters
    assert list(shown) == [item.name for item in fields(PipelineOptions)]
    places = [name for name, item in shown.items() if item.kind is item.POSITIONAL_OR_KEYWORD]
    assert places == ["disable_target_info", "prefix", "scope_info_enabled"]
    with pytest.raises(TypeError, match=r"argument 'prefxi'; did you mean 'prefix'\?"):
        reader(prefxi="shop")


WRONG = """
from otel_prom_bridge import PrometheusMetricReader, direct, strat
PrometheusMetricReader(True, "shop", registry=None)
PrometheusMetricReader(prefxi="shop")
direct.DirectReader(collect_interval="x")
direct.DirectRaeder()
"""


@pytest.mark.slow
def test_type_checkers_know_the_options_of_readers_and_names_of_packages(tmp_path: Path) -> None:
    """Also where options are taken from a list, and where names are imported when they are asked for."""
    program = tmp_path / "program.py"
    program.write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", str(program)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200).stdout
    assert re.findall(r"program.py:(\d+): error: .*\[(.*)\]", said) == [
        ("2", "attr-defined"),
        ("4", "call-arg"),
        ("5", "arg-type"),
        ("6", "attr-defined"),
    ]


def test_each_option_of_a_reader_is_checked() -> None:
    """All of them but the registry, which is checked where it is joined."""
    assert _CHECKS.keys() == {item.name for item in fields(PipelineOptions)} - {"registry"}
