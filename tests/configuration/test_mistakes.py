"""What is said about mistakes: what is wrong, and what was probably meant, in front of everything else."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_prom_bridge import ConfigurationError, EndpointError, ExportView, PrometheusMetricReader, start
from otel_prom_bridge.cli import main
from otel_prom_bridge.configuration.options import OPTIONS
from otel_prom_bridge.configuration.settings import from_environment, from_mapping, log_error, raise_error
from otel_prom_bridge.endpoint.files.webconfig import load
from otel_prom_bridge.errors import BridgeError
from otel_prom_bridge.values.notation import nearest


def message(call: Callable[..., Any], *args: Any, **options: Any) -> str:
    """What a call says about its mistake."""
    with pytest.raises(ConfigurationError) as caught:
        call(*args, **options)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a TOML file."""

    def write(text: str) -> Path:
        path = tmp_path / "bridge.toml"
        path.write_text(text)
        return path

    return write


# ---------------------------------------------------------------- unknown names


def test_the_nearest_name_comes_before_the_others() -> None:
    """Nobody reads fifty names to find the right one at the end."""
    said = message(start, set_global=False, metric_path="/x")
    assert said.startswith(
        "metric_path: '/x' is not allowed, expected one of the options (did you mean 'metrics_path'?): "
    )
    assert all(option.key in said for option in OPTIONS if option.key != "host")


def test_of_equally_near_names_the_first_is_meant() -> None:
    """`instrument` is as near to the name as to the unit, and the name is what views select by."""
    said = message(from_mapping, {"views": [{"instrument": "http.*"}]}, raise_error)
    assert "(did you mean 'instrument_name'?)" in said
    assert nearest("instrument", ["instrument_unit", "instrument_name"]) == "instrument_unit"
    assert nearest("PREFX", ["port", "prefix"]) == "prefix"
    assert nearest("something else", ["port", "prefix"]) is None


# ---------------------------------------------------------------- options below a table


MISPLACED = [
    ('[exemplars]\nkeep = "slowest"\nport = 9464', "exemplars.port: 9464"),
    ('[tenant]\nattribute = "t"\nlimits = {a = 1}\nprefix = "shop"', "tenant.prefix: 'shop'"),
    ('[[views]]\ninstrument_name = "a"\nmetrics_path = "/x"', "views[0].metrics_path: '/x'"),
    ("[cardinality_limits]\ncounter = 5\nport = 9464", "cardinality_limits.port: "),
    ('[common_labels]\nservice = "service.name"\nport = 9464', "common_labels.port: "),
    (
        "[resource_constant_labels]\nincluded = ['a']\nid_labels = true",
        "resource_constant_labels.id_labels: ",
    ),
]


@pytest.mark.parametrize(("text", "place"), MISPLACED)
def test_an_option_below_a_table(file: Callable[[str], Path], text: str, place: str) -> None:
    """In TOML everything below a table's name belongs to it, which the message says."""
    path = file(text)
    said = message(start, set_global=False, config_file=path)
    assert said.startswith(f"{path}: {place}")
    assert said.endswith("expected this option outside of every table, before the first one")


def test_an_option_within_another_one() -> None:
    """In YAML and in calls it stands within the other one, not below it."""
    given = {"exemplars": {"port": 9464}}
    expected = "exemplars.port: 9464 is not allowed, expected this option beside 'exemplars', not within it"
    assert message(from_mapping, given, raise_error) == expected
    assert message(start, set_global=False, **given) == expected


def test_a_key_of_a_view_that_is_also_an_option_is_not_misplaced(file: Callable[[str], Path]) -> None:
    """`exemplars` and `tenant` are options; the one is a key of views, too, and another key is wrong here."""
    said = message(start, set_global=False, config_file=file("[[views]]\nexemplars = false\nkep = ['a']"))
    assert ".kep" in said
    assert "outside of every table" not in said
    said = message(start, set_global=False, config_file=file("[exemplars]\nkeep = 'fastest'"))
    assert "outside of every table" not in said


# ---------------------------------------------------------------- variables


def test_a_wrong_variable_of_ours_beside_a_right_standard_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next variable counts where a wrong one is logged, and the log says so; start() refuses it."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PORT", "http")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "9500")
    settings = from_environment(log_error)
    assert settings.endpoint["port"] == 9500
    assert settings.names["port"] == "OTEL_EXPORTER_PROMETHEUS_PORT"
    assert [line for line in caplog.messages if "PORT" in line] == [
        "OTEL_PROM_BRIDGE_PORT: 'http' is not allowed, expected a whole number from 0 to 65535; using the"
        " value of OTEL_EXPORTER_PROMETHEUS_PORT"
    ]
    assert message(start, set_global=False).startswith("OTEL_PROM_BRIDGE_PORT: 'http' is not allowed")


def test_two_wrong_variables(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Each is said, and the default counts."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PORT", "http")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "https")
    assert from_environment(log_error).endpoint["port"] == 9464
    assert [line.split(":")[0] for line in caplog.messages] == [
        "OTEL_PROM_BRIDGE_PORT",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
    ]
    assert all(line.endswith("; using 9464") for line in caplog.messages)


# ---------------------------------------------------------------- arguments of start()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("resource", "checkout", "a Resource, or a mapping of attributes"),
        ("resource", 5, "a Resource, or a mapping of attributes"),
        ("resource", [1], "a Resource, or a mapping of attributes"),
        ("reader", object(), "a PrometheusMetricReader"),
        ("reader", PrometheusMetricReader, "a PrometheusMetricReader"),
        ("sdk_views", 5, "a list of the SDK's Views; an ExportView belongs into `views`"),
        ("sdk_views", [ExportView()], "a list of the SDK's Views; an ExportView belongs into `views`"),
        ("set_global", "no", "true or false"),
    ],
)
def test_other_arguments_of_start(key: str, value: Any, expected: str) -> None:
    """Also what is no option is refused with its name, its value and what is allowed."""
    said = message(start, port=0, **{"set_global": False, key: value})
    assert said == f"{key}: {value!r} is not allowed, expected {expected}"


def test_a_unix_socket_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Python has none on Windows: that is an address that cannot be opened, with an advice."""
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(EndpointError, match="this Python has no Unix sockets; use an address and a port"):
        start(unix_socket=tmp_path / "m.sock", set_global=False)
    with start(unix_socket=tmp_path / "m.sock", set_global=False, strict=False) as bridge:
        assert not bridge.server.is_serving


# ---------------------------------------------------------------- packages


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What needs a package says which, and how to install it, and not that a value is not allowed."""
    path = tmp_path / "web-config.yml"
    path.write_text("basic_auth_users: {a: $2b$04$" + "a" * 53 + "}")
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    assert message(load, path) == (
        "basic_auth_users: the package 'bcrypt' is needed for it and is not installed; `pip install bcrypt`"
        " does that"
    )
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert message(load, path) == (
        f"{path}: the package 'yaml' is needed for it and is not installed; `pip install PyYAML` does that"
    )
    code = (
        "import sys; sys.modules['grafana_foundation_sdk'] = None\n"
        "from otel_prom_bridge.cli import main; sys.exit(main(['dashboards', '--profile', 'llmdevops']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    said = done.stderr.removeprefix("otel-prom-bridge: ")
    assert said.startswith(
        "dashboards: the package 'grafana_foundation_sdk' is needed for it and is not installed; "
    )
    assert issubclass(ConfigurationError, BridgeError)


# ---------------------------------------------------------------- values that are not shown


def test_words_in_the_place_of_a_value_have_no_quotes(tmp_path: Path) -> None:
    """Nobody wrote "what stands there": it is said instead of what somebody wrote, which may be a secret."""
    path = tmp_path / "web-config.yml"
    path.write_text("basic_auth_users:\n  alice: a-password\nrate_limits: {}\n")
    assert message(load, path).startswith(
        f"{path}: line 3: rate_limits: what stands there is not allowed, expected one of the keys"
        " (did you mean 'rate_limit'?): "
    )
    path.write_text("basic_auth_users:\n  alice: a-password\n")
    said = message(load, path)
    assert "basic_auth_users.alice: what stands there is not allowed, expected a bcrypt hash" in said
    assert "a-password" not in said
    file = tmp_path / "bridge.toml"
    file.write_text("bearer_token = 'secret'")
    said = message(start, config_file=file, set_global=False)
    assert f"{file}: bearer_token: what stands there is not allowed" in said
    assert "secret'" not in said


@pytest.mark.parametrize(
    ("options", "key", "meant"),
    [
        ({"translation_strategy": "notranslation"}, "translation_strategy", "NoTranslation"),
        ({"translation_strategy": "NoUTF8Escaping"}, "translation_strategy", "NoUTF8EscapingWithSuffixes"),
        ({"prices": "genai_prices"}, "prices", "genai-prices"),
        ({"views": [{"instrument_type": "histo"}]}, "views[0].instrument_type", "histogram"),
        ({"cardinality_limits": {"counters": 500}}, "cardinality_limits", "counter"),
        ({"views": [{"compute": {"status": {"outcom": {}}}}]}, "views[0].compute['status']", "outcome"),
    ],
)
def test_which_word_was_meant(options: dict[str, Any], key: str, meant: str) -> None:
    """An option that takes one of some words says which of them is most like what was written."""
    said = message(start, port=0, **options)
    assert said.startswith(f"{key}: ")
    assert f"(did you mean {meant!r}?)" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"addr": "0.0.0.0:9464"}, "addr: '0.0.0.0:9464' is not allowed, .*, without a port"),
        ({"addr": "http://0.0.0.0"}, "addr: 'http://0.0.0.0' is not allowed, .*, without a port"),
        ({"addr": ":9464"}, "addr: ':9464' is not allowed"),
        (
            {"common_labels": {"my label": "service.name"}},
            ".* labels \\(of letters, digits and '_'; not 'le'",
        ),
        ({"views": ExportView()}, "views: ExportView.* a list of views, .*; one is a list, too: "),
        ({"views": {"name": "x"}}, "views: {'name': 'x'}.* a list of views, .*; one is a list, too: "),
        (
            {"views": [{"rules": {"a": {"allow": ["x"], "first": 3}}}]},
            ".*; several are a list of such mappings",
        ),
        (
            {"prices": "none.toml"},
            r"prices: 'none.toml' .* a file that can be read \(No such file or directory\)",
        ),
        ({"registry": None}, r"registry: None .* \(it is an argument of PrometheusMetricReader, which start"),
        ({"disable_target_info": True}, r"disable_target_info: True .* \(it is 'target_info_enabled' here\)"),
    ],
)
def test_typical_mistakes(options: dict[str, Any], said: str) -> None:
    """The message says which part of a value is wrong, or where something belongs."""
    assert re.match(said, message(start, **{"port": 0, "set_global": False, **options}))


def test_what_does_not_belong_in_a_file(file: Callable[[str], Path]) -> None:
    """The tables of a profile, and what only a call can say."""
    said = message(start, set_global=False, config_file=file('extends = "llmdevops"'))
    assert "(it is for the file of a profile, which 'profile' names)" in said
    said = message(start, set_global=False, config_file=file('[resource]\n"service.name" = "shop"'))
    assert "OTEL_RESOURCE_ATTRIBUTES" in said
    said = message(start, set_global=False, profile=file("max_series = 5"))
    assert said.endswith("; options of the bridge stand below [options]")
    said = message(start, set_global=False, profile=file('extends = "llmdevops"\nnamespace = "a b"'))
    assert "namespace: 'a b' is not allowed, expected a string of letters" in said


def test_an_option_that_is_none_of_a_reader() -> None:
    """A reader knows nothing of ports, and says who does."""
    with pytest.raises(
        TypeError, match="'port'; options of the endpoint, and `profile`, are arguments of start"
    ):
        PrometheusMetricReader(port=9464)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'max_serie'; did you mean 'max_series'"):
        PrometheusMetricReader(max_serie=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("recording", ["sdk", "direct"])
def test_a_wrong_exemplar_filter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, recording: Any
) -> None:
    """The SDK raises for it, and does not say for what; direct recording logs it, as the rest goes on."""
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always")
    said = (
        "OTEL_METRICS_EXEMPLAR_FILTER: 'always' is not allowed, expected one of 'trace_based', 'always_on',"
        " 'always_off' (did you mean 'always_on'?)"
    )
    if recording == "sdk":
        assert message(start, port=0, set_global=False) == said
    else:
        start(port=0, set_global=False, recording=recording).shutdown()
        assert any(line.startswith(said) for line in caplog.messages)


def test_a_variable_for_which_only_a_file_has_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no use to try other spellings."""
    monkeypatch.setenv("OTEL_PROM_BRIDGE_EXEMPLARS", "keep=slowest")
    said = message(start, port=0, set_global=False)
    assert said.startswith(
        "OTEL_PROM_BRIDGE_EXEMPLARS: 'keep=slowest' is not allowed, expected true, false, or"
    )
    assert "which only a file can hold" in said


def test_which_command_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line says it, too."""
    with pytest.raises(SystemExit):
        main(["chek", "metrics.txt"])
    assert "there is no command 'chek'; did you mean check?" in capsys.readouterr().err
