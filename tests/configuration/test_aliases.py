"""General variables (`METRICS_…`) that stand for options, and variables of ours that nobody knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from option_tables import markdown_tables
from properties import examples

from otel_prom_bridge import ConfigurationError, start
from otel_prom_bridge.autoconfigure import AutoPrometheusMetricReader
from otel_prom_bridge.configuration import environment
from otel_prom_bridge.configuration.options import OPTIONS
from otel_prom_bridge.configuration.settings import (
    Settings,
    from_arguments,
    from_environment,
    from_mapping,
    log_error,
    raise_error,
)
from otel_prom_bridge.diagnostics import Findings

pytestmark = pytest.mark.usefixtures("equal_rules")

NOT_SERVED = "metrics are recorded but not served"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was noticed before."""
    monkeypatch.setattr(environment, "_findings", Findings())


def made(found: Settings, key: str) -> object:
    """What the settings say of an option."""
    return {**found.endpoint, **found.reader}[key]


# Variables as the seed documents have them, and what an option then is.
ALIASES: list[tuple[dict[str, str], str, object]] = [
    ({"METRICS_ENDPOINT_PORT": "9090"}, "port", 9090),
    ({"METRICS_ENDPOINT_PATH": "/metrics/app"}, "metrics_path", "/metrics/app"),
    ({"METRICS_CACHE_TTL_MS": "1500"}, "cache_ttl", 1.5),
    ({"METRICS_CACHE_TTL_MS": "0"}, "cache_ttl", 0.0),
    ({"METRICS_CACHE_ENABLED": "false"}, "cache_ttl", 0.0),
    ({"METRICS_CACHE_ENABLED": "true"}, "cache_ttl", None),
    ({"METRICS_CACHE_ENABLED": "true", "METRICS_CACHE_TTL_MS": "500"}, "cache_ttl", 0.5),
    ({"METRICS_CACHE_ENABLED": "False", "METRICS_CACHE_TTL_MS": "500"}, "cache_ttl", 0.0),
    ({"METRICS_COMPRESSION_ENABLED": "false"}, "compression_threshold", False),
    ({"METRICS_COMPRESSION_ENABLED": "true"}, "compression_threshold", 1024),
    ({"METRICS_COMPRESSION_MIN_SIZE": "2048"}, "compression_threshold", 2048),
    ({"METRICS_COMPRESSION_ENABLED": "false", "METRICS_COMPRESSION_MIN_SIZE": "1"},
     "compression_threshold", False),
    ({"METRICS_RATE_LIMIT_RPS": "10"}, "rate_limit", 10.0),
    ({"METRICS_RATE_LIMIT_RPS": "10", "METRICS_RATE_LIMIT_BURST": "20"}, "rate_burst", 20),
    ({"METRICS_CARDINALITY_MAX_PER_METRIC": "500"}, "max_series_per_metric", 500),
    ({"METRICS_CARDINALITY_MAX_TOTAL": " 5000 "}, "max_series", 5000),
]  # fmt: skip


@pytest.mark.parametrize(("variables", "key", "expected"), ALIASES)
def test_an_alias_sets_its_option(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], key: str, expected: object
) -> None:
    """By start() and under auto-instrumentation; a YAML file takes nothing from variables."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert made(from_environment(raise_error), key) == expected
    assert made(from_arguments({}), key) == expected
    assert from_mapping({}, raise_error) == Settings(**_defaults())


def _defaults() -> dict[str, dict[str, object]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("METRICS_")]:
            patch.delenv(name)
        found = from_environment(raise_error)
    return {"endpoint": dict(found.endpoint), "reader": dict(found.reader)}


def test_every_alias_is_tested_and_documented() -> None:
    """No alias is left out of the test above, or of the table of options."""
    aliases = {alias.variable for option in OPTIONS for alias in option.aliases}
    assert aliases == {name for variables, *_ in ALIASES for name in variables}
    table = markdown_tables()
    assert all(f"`{name}`" in table for name in aliases)


def test_who_wins_over_an_alias(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arguments, then our variable or the standard's, then the alias, then the file."""
    file = tmp_path / "bridge.toml"
    file.write_text("port = 4\ncache_ttl = 4\nmetrics_path = '/4'\nmax_series = 4\nrate_limit = 4\n")
    for name, text in {
        "METRICS_ENDPOINT_PORT": "3",
        "METRICS_CACHE_TTL_MS": "3000",
        "METRICS_ENDPOINT_PATH": "/3",
        "METRICS_CARDINALITY_MAX_TOTAL": "3",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "2",
        "OTEL_PROM_BRIDGE_CACHE_TTL": "2",
        "OTEL_PROM_BRIDGE_CONFIG_FILE": str(file),
    }.items():
        monkeypatch.setenv(name, text)
    keys = ("port", "cache_ttl", "metrics_path", "max_series", "rate_limit")
    expected = [2, 2.0, "/3", 3, 4.0]
    assert [made(from_environment(raise_error), key) for key in keys] == expected
    assert [made(from_arguments({}), key) for key in keys] == expected
    assert [made(from_arguments({"port": 1, "max_series": 1}), key) for key in keys] == [1, 2.0, "/3", 1, 4.0]


def test_variables_of_ours_for_host_and_port(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They count before those of the specification, which may be set for a whole machine; the log says so."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PORT", "2")
    monkeypatch.setenv("METRICS_ENDPOINT_PORT", "4")
    assert [made(from_environment(raise_error), key) for key in ("host", "port")] == ["127.0.0.1", 2]
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    assert caplog.messages == []
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "3")
    for _ in range(2):
        assert made(from_arguments({}), "port") == 2
    passed_over = "OTEL_EXPORTER_PROMETHEUS_PORT: OTEL_PROM_BRIDGE_PORT counts, so it is passed over"
    assert caplog.messages == [passed_over]
    assert made(from_arguments({"port": 1}), "port") == 1
    assert made(from_mapping({}, raise_error), "port") == 9464
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PORT", "http")
    with pytest.raises(ConfigurationError, match=r"^OTEL_PROM_BRIDGE_PORT: 'http' is not allowed"):
        from_arguments({})


NONSENSE = [
    ("METRICS_ENDPOINT_PORT", "tcp://10.0.0.1:9090"),  # Kubernetes, for a service of that name
    ("METRICS_ENDPOINT_PATH", "metrics"),
    ("METRICS_CACHE_ENABLED", "1"),
    ("METRICS_CACHE_TTL_MS", "1s"),
    ("METRICS_CACHE_TTL_MS", "nan"),
    ("METRICS_COMPRESSION_ENABLED", "gzip"),
    ("METRICS_COMPRESSION_MIN_SIZE", "1KB"),
    ("METRICS_RATE_LIMIT_RPS", "0"),
    ("METRICS_RATE_LIMIT_BURST", "-1"),
    ("METRICS_RATE_LIMIT_BURST", "20"),  # a burst of what?
    ("METRICS_CARDINALITY_MAX_PER_METRIC", "none"),
    ("METRICS_CARDINALITY_MAX_TOTAL", "1e5"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), NONSENSE)
def test_nonsense_in_an_alias_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    """The variable may be somebody else's: one line says so, nothing is raised, and metrics are served."""
    expected = from_environment(raise_error)
    monkeypatch.setenv(name, text)
    for found in (from_arguments({}), from_environment(log_error)):
        assert found == expected
        assert found.refused == ()
    for line in caplog.messages:
        assert line.startswith(f"{name}: ")
        assert line.endswith("so it is passed over")
    assert len(caplog.messages) == 2


def test_after_a_wrong_variable_comes_the_alias(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a wrong value is only logged, what comes next is used, and the log says what."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "http")
    monkeypatch.setenv("METRICS_ENDPOINT_PORT", "9090")
    assert from_environment(log_error).endpoint["port"] == 9090
    (message,) = caplog.messages
    assert message.endswith("; using the value of METRICS_ENDPOINT_PORT")


@settings(max_examples=examples(100))
@given(
    st.dictionaries(
        st.sampled_from(sorted({alias.variable for option in OPTIONS for alias in option.aliases})),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
        | st.integers().map(str)
        | st.floats().map(str),
    )
)
def test_no_alias_whatsoever_raises(values: dict[str, str]) -> None:
    """Whatever is in the variables, even start() has settings, and they serve."""
    with pytest.MonkeyPatch.context() as patch:
        for name, text in values.items():
            patch.setenv(name, text)
        assert from_arguments({}).refused == ()


@pytest.mark.parametrize("text", ["true", "false"])
def test_collectors_that_there_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """Whoever switches them learns once that it has no effect; it changes nothing and is documented."""
    expected = from_environment(raise_error)
    names = [f"METRICS_COLLECTORS_{name}" for name in ("LLM", "AGENT", "PROCESS", "RUNTIME")]
    for name in names:
        monkeypatch.setenv(name, text)
    for _ in range(2):
        assert from_environment(raise_error) == from_arguments({}) == expected
    assert [line.partition(": ")[0] for line in caplog.messages] == names
    documented = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert all(f"`{name}`" in documented for name in names)


UNKNOWN = [
    ("OTEL_PROM_BRIDGE_PREFX", r" \(did you mean 'OTEL_PROM_BRIDGE_PREFIX'\?\)"),
    ("OTEL_PROM_BRIDGE_PORTS", r" \(did you mean 'OTEL_PROM_BRIDGE_PORT'\?\)"),
    ("OTEL_PROM_BRIDGE_VIEW", r" \(did you mean 'views' in a file, as it has no variable\?\)"),
    ("OTEL_PROM_BRIDGE_SOMETHING_ELSE", ""),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_an_unknown_variable_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, hint: str
) -> None:
    """It may be one of another version: the line names it and the nearest one, and shows no value."""
    monkeypatch.setenv(name, "what-it-says")
    for _ in range(2):
        assert from_environment(log_error).refused == ()
        from_arguments({})
    (message,) = caplog.messages
    expected = (
        f"environment: {name!r} is not allowed, expected a variable of docs/configuration.md"
        f"{hint}; ignoring it"
    )
    assert message == expected.replace("\\", "")


def test_an_empty_unknown_variable_is_unset(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As any other that is empty."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_ALOW", " ")
    from_arguments({})
    assert caplog.messages == []


def test_the_variables_of_a_kubernetes_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that is called otel-prom-bridge puts its own into every container; they say nothing to us."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PORT", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "9465")
    for name in ("SERVICE_HOST", "SERVICE_PORT_TLS", "PORT_9464_TCP", "PORT_9464_TCP_ADDR"):
        monkeypatch.setenv(f"OTEL_PROM_BRIDGE_{name}", "10.0.0.1")
    found = from_environment(log_error)
    assert (found.refused, found.endpoint["port"]) == ((), 9465)
    assert caplog.messages == []


MISSPELT = [
    ("ALOW", "allow"),
    ("BEARER_TOKEN", "bearer_tokens_file"),
    ("RATELIMIT", "rate_limit"),
    ("TLS_CERT", "tls_cert_file"),
    ("WEBCONFIG", "web_config"),
    ("BASIC_AUTH_USERS", None),
    ("CLIENT_SECRET", None),
]


@pytest.mark.parametrize(("name", "nearest"), MISSPELT)
@pytest.mark.parametrize("way", ["variable", "file", "yaml"])
def test_a_misspelt_guard_is_no_open_door(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    way: str,
    name: str,
    nearest: str | None,
) -> None:
    """What looks like a wish for protection is refused, or nothing is served; and secrets stay secret."""
    if way == "variable":
        monkeypatch.setenv(f"OTEL_PROM_BRIDGE_{name}", "hunter2")
        found, refuse = from_environment(log_error), lambda: start(set_global=False)
    elif way == "file":
        file = tmp_path / "bridge.toml"
        file.write_text(f"{name.lower()} = 'hunter2'")
        monkeypatch.setenv("OTEL_PROM_BRIDGE_CONFIG_FILE", str(file))
        found, refuse = from_environment(log_error), lambda: start(set_global=False)
    else:
        given = {name.lower(): "hunter2"}
        found = from_mapping(given, log_error)
        refuse = lambda: start(**given, set_global=False)  # type: ignore[arg-type]  # noqa: E731
    with pytest.raises(ConfigurationError) as caught:
        refuse()
    (message,) = caplog.messages
    assert message.endswith(f"; {NOT_SERVED}")
    assert len(found.refused) == 1
    for text in (message, str(caught.value)):
        assert "hunter2" not in text
        assert "did you mean" not in text if nearest is None else nearest in text.lower()


def test_nothing_is_served_with_a_misspelt_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader records, and nobody listens."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")
    monkeypatch.setenv("OTEL_PROM_BRIDGE_ALOW", "10.0.0.0/8")
    reader = AutoPrometheusMetricReader()
    try:
        assert not reader.server.is_serving
    finally:
        reader.shutdown()
