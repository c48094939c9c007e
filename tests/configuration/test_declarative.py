"""`OTEL_CONFIG_FILE`: the YAML of the documentation, run and scraped; and files with mistakes in them."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from instrumented import instrumented
from oracles import parse
from servers import free_port

from otel_prom_bridge.autoconfigure import DeclarativePrometheusMetricReader

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
# It knows nothing of the bridge: it records through the API and looks at its metrics from outside.
APP = """
import sys
from urllib.request import ProxyHandler, Request, build_opener

from opentelemetry import metrics, trace

meter = metrics.get_meter("app", "1.0")
jobs = meter.create_counter("jobs")
for kind in "abc":
    jobs.add(1, {"kind": kind})
meter.create_histogram("size").record(0.3)
for url in sys.argv[1:]:
    request = Request(url, headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    with build_opener(ProxyHandler({})).open(request, timeout=5) as response:
        print(response.read().decode(), end="")
print(type(trace.get_tracer_provider()).__module__, file=sys.stderr)
"""
# A tracer provider beside it, to see that a mistake in ours does not take it down.
FILE = """
file_format: "1.0"
tracer_provider:
  processors:
    - simple:
        exporter:
          console:
meter_provider:
  views:
    - selector: {instrument_name: size}
      stream:
        aggregation:
          base2_exponential_bucket_histogram: {}
  readers:
    - pull:
        exporter:
          prometheus_bridge:
"""
TRACED = "opentelemetry.sdk.trace"  # the last line of stderr: the tracer provider is the SDK's
# The configurator says of itself that it takes nothing but the file.
NOT_OURS = "OTEL_CONFIG_FILE is set; ignoring configurator kwargs: "


def declared(folder: Path, yaml: str, *urls: str, **environment: str) -> tuple[str, list[str]]:
    """Run the application under `opentelemetry-instrument` with this file: stdout, and stderr's lines."""
    config = folder / "otel.yaml"
    config.write_text(yaml)
    result = instrumented(folder, APP, *urls, OTEL_CONFIG_FILE=str(config), **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout, [line for line in result.stderr.splitlines() if not line.startswith(NOT_OURS)]


def with_options(**options: str) -> str:
    """The file with these lines under the exporter's name."""
    lines = (f"            {key}: {value}\n" for key, value in options.items())
    return FILE + "".join(lines)


def url(port: int) -> str:
    """Where the application finds its metrics."""
    return f"http://127.0.0.1:{port}/metrics"


def test_the_entry_point_is_the_reader() -> None:
    """`prometheus_bridge` as a pull exporter of a YAML file finds the class."""
    (found,) = entry_points(group="opentelemetry_pull_metric_exporter", name="prometheus_bridge")
    assert found.load() is DeclarativePrometheusMetricReader


def test_the_documented_file_does_what_it_says(tmp_path: Path) -> None:
    """The options of the page's YAML are visible in what a scrape gets; nothing but its limit is logged."""
    found = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (yaml,) = (text for text in found if text.startswith("file_format"))
    port = free_port()
    text, errors = declared(
        tmp_path, yaml, url(port), METRICS_PORT=str(port), OTEL_PROM_BRIDGE_PREFIX="ignored"
    )
    (limit, _) = errors
    assert limit.startswith("metric 'shop_jobs_total' is at a limit")
    families = {family.name: family for family in parse("application/openmetrics-text", text.encode())}
    (target,) = families["target"].samples
    assert target.labels["service_name"] == "shop"
    jobs = [sample for sample in families["shop_jobs"].samples if sample.name == "shop_jobs_total"]
    staging = {"deployment_environment_name": "staging"}
    assert [sample.labels for sample in jobs] == [
        {"kind": "a", **staging},
        {"kind": "b", **staging},
        {"otel_metric_overflow": "true", **staging},
    ]
    assert "shop_jobs_created{" in text
    assert "ignored" not in text


@pytest.mark.slow
def test_exponential_histograms_get_the_bounds(tmp_path: Path) -> None:
    """A view of the file makes the histogram exponential, and the option gives its buckets in OpenMetrics."""
    port = free_port()
    options = {"port": str(port), "host": "127.0.0.1", "exponential_histogram_bounds": "[0.1, 0.5]"}
    text, errors = declared(tmp_path, with_options(**options), url(port))
    assert errors == [TRACED]
    assert re.findall(r'^size_bucket{.*le="(.*?)"} (\d)$', text, re.MULTILINE) == [
        ("0.1", "0"),
        ("0.5", "1"),
        ("+Inf", "1"),
    ]


WRONG = {
    "scope_info_enabled": ("'no way'", "'no way' is not allowed, expected true or false; using true"),
    "translation_strategy": ("CamelCase", "'CamelCase' is not allowed, expected one of "),
    "exponential_histogram_bounds": ("[2, 1]", "[2, 1] is not allowed, expected a list of finite numbers"),
    "resource_constant_labels": ("{include: [a]}", "{'include': ['a']} is not allowed, expected a mapping"),
    "tenant": (
        "{attribute: kind}",
        "{'attribute': 'kind'} is not allowed, expected a mapping of 'attribute',",
    ),
    "prefx": ("shop", "'shop' is not allowed, expected one of the options "),
}


@pytest.mark.slow
def test_views_and_limits_of_the_file(tmp_path: Path) -> None:
    """The reader does what the file says of views and tenants, though the provider is not ours."""
    port = free_port()
    options = {
        "port": str(port),
        "host": "127.0.0.1",
        "scope_info_enabled": "false",
        "self_metrics": "false",
        "tenant": "{attribute: kind, limits: {a: 5}}",
        "exemplars": "{keep: slowest}",
        "views": "[{instrument_name: job*, name: done_total, compute: {how: {outcome: true}}},"
        " {instrument_name: size, name: false}]",
    }
    text, errors = declared(tmp_path, with_options(**options), url(port))
    assert errors == [TRACED]
    assert sorted(re.findall(r"^done_total{(.*?)} (\S+)", text, re.MULTILINE)) == [
        ('how="success",kind="a"', "1"),
        ('how="success",kind="other"', "2"),
    ]
    assert "TYPE size" not in text


def test_a_wrong_view_is_logged_and_no_view_used(tmp_path: Path) -> None:
    """Not even the right ones: the file's name is not known here, so the key comes first."""
    port = free_port()
    views = "[{instrument_name: size, name: false}, {rules: {kind: {alow: [a]}}}]"
    text, (error, traced) = declared(
        tmp_path, with_options(port=str(port), host="127.0.0.1", views=views), url(port)
    )
    assert traced == TRACED
    assert error.startswith(
        "views[1].rules['kind'].alow: ['a'] is not allowed, expected one of the rules (did you mean 'allow'?)"
    )
    assert error.endswith("; using none")
    assert "size_bucket{" in text


def test_mistakes_are_logged_and_the_defaults_used(tmp_path: Path) -> None:
    """Each mistake is one line that says what is allowed; everything else works, metrics and traces."""
    port = free_port()
    options = {"port": str(port), "host": "127.0.0.1", **{key: text for key, (text, _) in WRONG.items()}}
    text, errors = declared(tmp_path, with_options(**options), url(port))
    *logged, traced = errors
    assert traced == TRACED
    assert len(logged) == len(WRONG)
    for key, (_, message) in WRONG.items():
        assert any(line.startswith(f"{key}: {message}") for line in logged), errors
    assert 'jobs_total{kind="a",otel_scope_name="app",' in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"port": "'9464'"}, "port: '9464' is not allowed, expected a whole number from 0 to"),
        ({"host": "no-such-host.invalid"}, "metrics are recorded but not served: [Errno "),
        ({"host": "a..b"}, "metrics are recorded but not served: "),
    ],
)
def test_an_endpoint_that_cannot_be_is_logged(
    tmp_path: Path, options: dict[str, str], complaint: str
) -> None:
    """The application runs to its end, with its traces."""
    _, errors = declared(tmp_path, with_options(**options))
    assert errors[0].startswith(complaint)
    assert errors[-1] == TRACED


@pytest.mark.slow
def test_a_name_without_options_is_enough(tmp_path: Path) -> None:
    """`prometheus_bridge:` alone means the defaults; the port may be taken here, which is only logged."""
    _, errors = declared(tmp_path, FILE, OTEL_EXPORTER_PROMETHEUS_PORT="nonsense")
    assert errors[-1] == TRACED
    assert all(line.startswith("metrics are recorded but not served: ") for line in errors[:-1])
