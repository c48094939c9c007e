"""`bridge.toml`: options, views and limits in a file, for `start()` and for `opentelemetry-instrument`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instrumented import EXPORTERS, instrumented
from oracles import parse
from properties import examples
from servers import free_port, get

from otel_prom_bridge import ConfigurationError, ExportView, PrometheusMetricReader, start
from otel_prom_bridge.configuration.settings import from_arguments, from_environment, log_error, raise_error
from otel_prom_bridge.values.toml import read_config_file

pytestmark = pytest.mark.usefixtures("equal_rules")

ROOT = Path(__file__).parents[2]
VARIABLE = "OTEL_PROM_BRIDGE_CONFIG_FILE"
NOT_SERVED = "metrics are recorded but not served"
Write = Callable[[str | bytes], Path]

# Views on an instrument that nobody can edit: a flood of paths, and a counter of the service's own.
FILE = """
host = "127.0.0.1"
port = {port}
scope_info_enabled = false
self_metrics = false

[[views]]
instrument_name = "http.requests"
name = "requests_total"
keep = ["http.route", "http.response.status_code"]
rename = {{ "http.response.status_code" = "status" }}
rules = {{ "http.route" = ["path_template", {{ first = 2 }}], status = "status_class" }}

[[views]]
instrument_name = "debug.*"
name = false
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file `bridge.toml`."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "bridge.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_a_file_configures_start(write: Write) -> None:
    """What a scrape shows is what the file says; nothing else in the code mentions it."""
    with start(config_file=write(FILE.format(port=0)), set_global=False) as bridge:
        meter = bridge.meter_provider.get_meter("app")
        requests = meter.create_counter("http.requests")
        for path, status in (("/users/17", 200), ("/users/18", 204), ("/chat", 503), ("/wp-admin", 404)):
            requests.add(1, {"http.route": path, "http.response.status_code": status, "client": path})
        meter.create_counter("debug.lines").add(1)
        assert bridge.server.url.startswith("http://127.0.0.1:")
        families = {family.name: family.samples for family in parse(*get(bridge.server.url))}
    assert not any(name.startswith(("http", "debug")) for name in families)
    found = {(item.labels["http_route"], item.labels["status"]): item.value for item in families["requests"]}
    assert found == {("/users/{number}", "2xx"): 2, ("/chat", "5xx"): 1, ("other", "4xx"): 1}


def test_each_way_before_the_next(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """Arguments, then the environment, then the file, then the defaults: each option by itself."""
    path = write(
        'prefix = "file"\nmax_series = 1\nid_labels = true\nexpire_after = 60\nviews = [{ keep = [] }]'
    )
    monkeypatch.setenv("OTEL_PROM_BRIDGE_PREFIX", "variable")
    monkeypatch.setenv("OTEL_PROM_BRIDGE_MAX_SERIES", "2")
    view = ExportView(drop=["a"])
    arguments = {"config_file": path, "prefix": "argument", "views": [view], "expire_after": None}
    found = from_arguments(arguments).reader
    keys = ("prefix", "max_series", "id_labels", "expire_after", "views", "created_timestamps")
    assert [found[key] for key in keys] == ["argument", 2, True, 60.0, (view,), False]
    monkeypatch.setenv(VARIABLE, str(path))
    found = from_environment(raise_error).reader
    assert [found[key] for key in keys] == ["variable", 2, True, 60.0, (ExportView(keep=[]),), False]
    assert from_arguments({"views": []}).reader["views"] == ()


def test_the_argument_names_the_file_before_the_variable(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """A variable that names no file does not matter then; a path may be text or a Path."""
    monkeypatch.setenv(VARIABLE, "/nowhere.toml")
    path = write("port = 1")
    for given_path in (path, str(path)):
        assert from_arguments({"config_file": given_path}).endpoint["port"] == 1


def test_the_file_is_read_as_windows_writes_it(write: Write) -> None:
    """A byte order mark and carriage returns are no mistakes."""
    path = write('\ufeffport = 1\r\nprefix = "shop"\r\n')
    assert read_config_file("config_file", path) == {"port": 1, "prefix": "shop"}


# A file; the key after its path, the value, and what is allowed.
WRONG: list[tuple[str, str, object, str]] = [
    ("port = 70000", "port", 70000, "a whole number from 0 to 65535"),
    ('prefx = "x"', "prefx", "x", r"one of the options \(did you mean 'prefix'\?\): .*"),
    ('config_file = "x"', "config_file", "x", "one of the options .*"),
    ('addr = "x"', "addr", "x", "one of the options .*, host, .*"),
    ("[views]\ntake = 'sum'", "views", {"take": "sum"}, "a list of views, each a mapping of .*"),
    ("[[views]]\n[[views]]\ntake = 'average'", "views[1].take", "average", "one of 'value', 'count', 'sum'"),
    ("[[views]]\n[views.rules]\na = { alow = ['x'] }", "views[0].rules['a'].alow", ["x"], ".*mean 'allow'.*"),
    ("[[views]]\nrules.http.route = 'forbid'", "views[0].rules['http'].route", "forbid", ".* in quotes"),
    ("[tenant]\nattribute = 't'\nlimits = { a = 1.5 }", "tenant.limits['a']", 1.5, "a whole number of .*"),
    ("[exemplars]\nkeep = 'old'", "exemplars.keep", "old", "one of 'newest', .*"),
    ("cardinality_limits = { counter = 0 }", "cardinality_limits", {"counter": 0}, "a mapping of .*"),
    ("a = 1\nb = [1,,2]", "line 2, column 8", "b = [1,,2]", r"TOML \(Invalid value\)"),
    ("a = 1\na = 2", "the end", "a = 2", r"TOML \(Cannot overwrite a value\)"),
    ("a = 1\nb", "the end", "b", r"TOML \(Expected '=' after a key in a key/value pair\)"),
    ("a = '\n'", "line 1, column 6", "a = '", r"TOML \(.*\)"),
    (f"a = {'[' * 5000}", "", "its content", "TOML of fewer lists within lists"),
    (f"a = {'9' * 5000}", "", "its content", r"TOML that can be read \(.*\)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "value", "allowed"), WRONG)
def test_what_is_wrong_with_a_file(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    write: Write,
    text: str,
    key: str,
    value: object,
    allowed: str,
) -> None:
    """The error names file, key or place, value, and what is allowed; where it is only logged, too."""
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        start(config_file=path, set_global=False)
    error = caught.value
    assert (error.key, error.value) == (f"{path}: {key}" if key else str(path), value)
    assert re.fullmatch(allowed, error.expected, re.DOTALL), error.expected
    expected = from_environment(raise_error)
    monkeypatch.setenv(VARIABLE, str(path))
    found = from_environment(log_error)
    assert replace(found, refused=()) == expected
    (logged,) = caplog.messages
    instead = "using .*|ignoring it"
    if found.refused:  # it cannot be read, and may have said who may ask
        assert [str(refused) for refused in found.refused] == [str(error)]
        assert "TOML" in error.expected
        instead = NOT_SERVED
    assert re.fullmatch(re.escape(str(error)) + f"; ({instead})", logged)


@pytest.mark.parametrize("content", [b"a = '\xff'", b"\xff\xfea\x00"])
def test_a_file_of_another_encoding(write: Write, content: bytes) -> None:
    """TOML is UTF-8; the error says which byte is not."""
    with pytest.raises(ConfigurationError, match=r"toml: byte \d+: 255 is not allowed, expected UTF-8$"):
        start(config_file=write(content), set_global=False)


@pytest.mark.parametrize("path", ["/nowhere/bridge.toml", "/", "a\0b"])
def test_a_file_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """The error says who named it, its path, and why it cannot be read; or that is logged."""
    with pytest.raises(
        ConfigurationError, match=r"^config_file: .* expected the path of a file to read"
    ) as caught:
        start(config_file=path, set_global=False)
    assert caught.value.value == path
    if "\0" in path:
        return
    monkeypatch.setenv(VARIABLE, path)
    with pytest.raises(ConfigurationError, match=VARIABLE):
        start(set_global=False)
    found = from_environment(log_error)
    assert found.refused
    assert found.endpoint["port"] == 9464
    (message,) = caplog.messages
    assert message.startswith(f"{VARIABLE}: {path!r} is not allowed, expected the path of a file to read (")
    assert message.endswith(f"); {NOT_SERVED}")


@pytest.mark.parametrize("path", [1, b"bridge.toml", ["bridge.toml"], ""])
def test_what_is_no_path(path: Any) -> None:
    """A wrong argument is refused as any other."""
    with pytest.raises(ConfigurationError, match=r"^config_file: .* expected the path of a file$"):
        start(config_file=path, set_global=False)


def test_a_wrong_variable_leaves_the_files_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, write: Write
) -> None:
    """Where a wrong value is only logged, what comes next is used, and the log says what."""
    path = write('max_series = 5\nexpire_after = "long"')
    monkeypatch.setenv(VARIABLE, str(path))
    for name in ("MAX_SERIES", "EXPIRE_AFTER"):
        monkeypatch.setenv(f"OTEL_PROM_BRIDGE_{name}", "many")
    found = from_environment(log_error).reader
    assert (found["max_series"], found["expire_after"]) == (5, None)
    assert [(message.split(":")[0], message.rpartition("; ")[2]) for message in caplog.messages] == [
        ("OTEL_PROM_BRIDGE_MAX_SERIES", f"using the value of {path}: max_series"),
        ("OTEL_PROM_BRIDGE_EXPIRE_AFTER", "using never"),
        (str(path), "using never"),
    ]


def test_a_reader_of_ones_own_and_a_file(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """The endpoint is from the file; options of the reader are not, and are refused if the call names it."""
    reader = PrometheusMetricReader(registry=None)
    path = write('host = "127.0.0.1"\nport = 0\nprefix = "shop"')
    with pytest.raises(ConfigurationError, match=r"toml: prefix: 'shop' .* expected no option of the reader"):
        start(reader=reader, config_file=path, set_global=False)
    monkeypatch.setenv(VARIABLE, str(path))
    with start(reader=reader, set_global=False) as bridge:
        assert bridge.server.url.startswith("http://127.0.0.1:")
        assert bridge.reader is reader


def test_the_example_is_a_file_that_works() -> None:
    """`examples/bridge.toml` bounds what an LLM service records, and all of its views are used."""
    found = from_arguments({"config_file": ROOT / "examples" / "bridge.toml"})
    assert (found.endpoint["host"], found.endpoint["port"]) == ("127.0.0.1", 9464)
    assert len(found.reader["views"]) == 5
    reader = PrometheusMetricReader(**{**found.reader, "registry": None, "self_metrics": False})
    with start(port=0, reader=reader, set_global=False) as bridge:
        meter = bridge.meter_provider.get_meter("gen_ai")
        calls = meter.create_histogram("gen_ai.client.operation.duration", unit="s")
        tokens = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
        for number, model in enumerate(["gpt-4o-2024-08-06", "prod-chat"]):
            common = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "tenant.id": "acme"}
            calls.record(0.3, {**common, "gen_ai.system": "openai", "gen_ai.response.id": str(number)})
            tokens.record(7, {**common, "gen_ai.token.type": "input"})
        meter.create_histogram("gen_ai.client.operation.time_to_first_chunk", unit="s").record(0.1)
        requests = meter.create_histogram("http.server.request.duration", unit="s")
        for route in ("/users/17", "/health"):
            requests.record(0.2, {"http.route": route, "http.response.status_code": 200})
        meter.create_histogram("http.client.request.duration", unit="s").record(0.3)
        text = bridge.reader.expose().body.decode()
    assert re.findall(r"^# TYPE (?!target_info)(\S+)", text, re.MULTILINE) == [
        "llm_request_duration_seconds",
        "llm_tokens_total",
        "llm_time_to_first_token_seconds",
        "http_request_duration_seconds",
    ]
    (line,) = re.findall(r"^llm_request_duration_seconds_count{(.*)} 2$", text, re.MULTILINE)
    for label in ('model="gpt-4o"', 'operation="chat"', 'provider="openai"', 'outcome="success"'):
        assert label in line
    assert re.search(r'^llm_tokens_total{.*model="gpt-4o".*type="input".*} 14$', text, re.MULTILINE)
    (line,) = re.findall(r"^http_request_duration_seconds_count{(.*)} 1$", text, re.MULTILINE)
    assert 'route="/users/{number}"' in line
    assert 'status="2xx"' in line


APP = """
from opentelemetry import metrics

meter = metrics.get_meter("app")
requests = meter.create_counter("http.requests")
for number in range(20):
    requests.add(1, {"http.route": f"/users/{number}", "http.response.status_code": 200, "n": number})
meter.create_counter("debug.lines").add(1)
import prometheus_client
print(prometheus_client.generate_latest().decode())
"""


def configured(folder: Path, config_file: Path) -> tuple[str, list[str]]:
    """Run the application under `opentelemetry-instrument` with this file: stdout, and stderr's lines."""
    port = {"OTEL_EXPORTER_PROMETHEUS_PORT": str(free_port())}
    result = instrumented(folder, APP, **EXPORTERS, **port, **{VARIABLE: str(config_file)})
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr.splitlines()


def test_a_file_configures_auto_instrumentation(tmp_path: Path, write: Write) -> None:
    """A variable is all that it takes; the application does not know of views."""
    text, errors = configured(tmp_path, write(FILE.format(port=1)))
    assert errors == []
    (line,) = re.findall(r"^requests_total{(.*)} 20.0$", text, re.MULTILINE)
    assert sorted(line.split(",")) == ['http_route="/users/{number}"', 'status="2xx"']
    assert "debug" not in text


def test_a_mistake_in_a_file_does_not_stop_the_application(tmp_path: Path, write: Write) -> None:
    """One line says what is wrong; no view is used, and everything else of the file is."""
    path = write(FILE.format(port=1).replace("status_class", "status_clas"))
    text, errors = configured(tmp_path, path)
    (error,) = errors
    assert error.startswith(
        f"{path}: views[0].rules['status']: 'status_clas' is not allowed, expected one of the rules"
        " (did you mean 'status_class'?): allow, "
    )
    assert error.endswith("; using none")
    assert len(re.findall(r"^http_requests_total{", text, re.MULTILINE)) == 20
    assert "debug_lines_total" in text
    assert "otel_scope_name" not in text


WORDS = ["[[views]]", "[tenant]", "port", "views", "take", ".", " = ", "'x'", "1", "\n", "[", "]", "{", "}"]


@settings(max_examples=examples(150))
@given(
    content=st.binary()
    | st.text().map(lambda text: text.encode(errors="replace"))
    | st.lists(st.sampled_from(WORDS)).map(lambda words: "".join(words).encode())
)
def test_no_file_whatsoever_raises_under_auto_instrumentation(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever the file holds, settings come out that a reader can be made with."""
    path = tmp_path_factory.getbasetemp() / "hostile.toml"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(path))
        found = from_environment(log_error)
    PrometheusMetricReader(**{**found.reader, "registry": None})
