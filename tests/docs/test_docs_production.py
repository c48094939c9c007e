"""What production.md, workers.md and troubleshooting.md say of manifests and lines of the log is true."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import programs
import prometheus_client
import pytest
import yaml
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from oracles import OPENMETRICS, samples
from promtool import approved
from servers import free_port, get, running, wait_for

from otel_prom_bridge import EndpointError, PrometheusMetricReader, start, start_http_server
from otel_prom_bridge.configuration.options import OPTIONS
from otel_prom_bridge.endpoint.guards import Guards
from otel_prom_bridge.endpoint.server.limits import ServerLimits
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.profiles import load_profile
from otel_prom_bridge.report.self_metrics import metadata

DOCS = Path(__file__).parents[2] / "docs"
WORKERS = (DOCS / "workers.md").read_text()
PAGES = (DOCS / "production.md").read_text() + WORKERS
YAML = [
    document
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGES, re.MULTILINE | re.DOTALL)
    for document in yaml.safe_load_all(block)
]
TROUBLES = (DOCS / "troubleshooting.md").read_text()
SPANS = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", TROUBLES, flags=re.DOTALL))
OWN = {value.name for value in vars(metadata).values() if isinstance(value, MetricFamily)}


def document(kind: str) -> dict[str, Any]:
    """The one manifest of this kind."""
    (found,) = (item for item in YAML if item.get("kind") == kind)
    return dict(found)


def with_key(key: str) -> list[dict[str, Any]]:
    """Other YAML, by what it begins with."""
    return [item for item in YAML if key in item]


POD = document("Deployment")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
SCRAPES = [config for item in with_key("scrape_configs") for config in item["scrape_configs"]]


# --- manifests ---------------------------------------------------------------------------------------------


def test_manifests_fit_each_other() -> None:
    """Labels, ports and the Secret are called the same everywhere."""
    labels = POD["metadata"]["labels"]
    monitor, policy, secret = document("PodMonitor"), document("NetworkPolicy"), document("Secret")
    selectors = [item["spec"]["selector"]["matchLabels"] for item in (document("Deployment"), monitor)]
    assert [*selectors, policy["spec"]["podSelector"]["matchLabels"]] == [labels] * 3
    assert labels[monitor["spec"]["jobLabel"]] == SCRAPES[0]["job_name"]  # alerts ask for that job
    assert 'job="shop"' in str(with_key("groups"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    probes = [CONTAINER[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")]
    assert {endpoint["port"], *(probe["port"] for probe in probes)} == {"metrics"}
    named = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(named) == sorted(PORTS)
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["name"] == secret["metadata"]["name"]
    assert credentials["key"] in secret["stringData"]
    (volume,) = POD["spec"]["volumes"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert volume["name"] == CONTAINER["volumeMounts"][0]["name"]


def test_the_container_s_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge with these variables: on all networks, tokens from the mounted Secret, also a new one."""
    environment = {item["name"]: item["value"] for item in CONTAINER["env"]}
    mount = CONTAINER["volumeMounts"][0]["mountPath"]
    (key, token), *rest = document("Secret")["stringData"].items()
    assert rest == []
    # As the kubelet makes it: a link to a link to a folder, which it exchanges as a whole.
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "first").mkdir()
    (volume / "first" / key).write_text(token)
    (volume / "..data").symlink_to("first")
    (volume / key).symlink_to(f"..data/{key}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace(mount, str(volume)))
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "0")

    def status(path: str, token: str | None = None) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{bridge.server.port}{path}", headers=headers)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=5
            ) as done:
                return int(done.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    with start(set_global=False) as bridge:
        assert bridge.server.address == "0.0.0.0"
        assert [status("/metrics"), status("/metrics", token)] == [401, 200]
        paths = [CONTAINER[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")]
        assert [status(path) for path in paths] == [200, 200]
        (volume / "second").mkdir()
        (volume / "second" / key).write_text(f"{token}\n{token[::-1]}\n")
        (volume / "..tmp").symlink_to("second")
        (volume / "..tmp").replace(volume / "..data")
        wait_for(lambda: status("/metrics", token[::-1]) == 200, seconds=10, what="the new token")
        assert status("/metrics", token) == 200


def _without_kubernetes(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "kubernetes_sd_configs"}


def test_hosts() -> None:
    """`::` is IPv4, too; what is on localhost is at no other address."""
    reader = PrometheusMetricReader(registry=None)
    with start_http_server(reader, port=0, addr="::") as server:
        assert get(f"http://127.0.0.1:{server.port}/health")
    with start_http_server(reader, port=0) as server, pytest.raises(urllib.error.URLError, match="refused"):
        get(f"http://127.0.0.2:{server.port}/health")


def test_prometheus_takes_the_configurations(tmp_path: Path) -> None:
    """`promtool check` has no complaint. Debian's knows no Kubernetes: its discovery is left out there."""
    (tmp_path / "shop-token").write_text("x")
    for number, item in enumerate(with_key("scrape_configs")):
        for config in item["scrape_configs"]:
            assert config.get("kubernetes_sd_configs", [{"role": "pod"}]) == [{"role": "pod"}]
        item = {"scrape_configs": [_without_kubernetes(config) for config in item["scrape_configs"]]}
        file = tmp_path / f"{number}.yml"
        file.write_text(yaml.safe_dump(item).replace("/etc/prometheus/", f"{tmp_path}/"))
        approved("check", "config", file)
    assert number == 1


def test_rules(tmp_path: Path) -> None:
    """Prometheus takes the alerts, each fires, and the bridge's metrics in them exist."""
    (rules,) = with_key("groups")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    approved("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "rules.yml")
    text = str(rules)
    assert set(re.findall(r"otel_prom_bridge_\w+", text)) <= OWN
    series = {
        'up{job="shop",pod="a",namespace="n",instance="1"}': "0x30",
        'otel_prom_bridge_last_collection_successful{instance="1"}': "0x30",
        'otel_prom_bridge_callback_failures_total{instance="1",instrument="g"}': "0+1x30",
        'otel_prom_bridge_dropped_metrics{instance="1"}': "1x30",
        'otel_prom_bridge_sources_ended_total{instance="1",how="connection"}': "0+1x30",
        'otel_prom_bridge_overflowed_points_total{instance="1",metric="m"}': "0+1x30",
        'otel_prom_bridge_last_reload_successful{instance="1"}': "0x30",
        'otel_prom_bridge_certificate_expiry_timestamp_seconds{instance="1"}': "1000000x30",
    }
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    samples = [f'ALERTS{{alertname="{name}",alertstate="firing"}}' for name in sorted(names)]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": "count by (alertname, alertstate) (ALERTS{alertstate='firing'})",
                "eval_time": "20m",
                "exp_samples": [{"labels": name.removeprefix("ALERTS"), "value": 1} for name in samples],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}))
    approved("test", "rules", file)


PODS: dict[str, tuple[dict[str, str], bool]] = {  # what else a pod has, and whether it is scraped
    "10.1.2.3:9464": ({}, True),
    "10.1.2.3:9467": ({"container_port_name": "metrics-3"}, True),
    "10.1.2.3:8000": ({"container_port_name": "http"}, False),
    "10.1.2.4:9464": ({"annotation_prometheus_io_scrape": ""}, False),
    "10.1.2.5:9464": ({"phase": "Succeeded"}, False),
}


@pytest.mark.slow
def test_pods_are_found(tmp_path: Path) -> None:
    """The relabeling keeps the ports for metrics of running pods that are to be scraped, and no others."""
    (config,) = (_without_kubernetes(config) for config in SCRAPES if "kubernetes_sd_configs" in config)
    del config["authorization"]
    labels = {  # what the discovery of a pod gives
        "container_port_name": "metrics",
        "annotation_prometheus_io_scrape": POD["metadata"]["annotations"]["prometheus.io/scrape"],
        "phase": "Running",
        "name": "shop-1",
    }
    config["static_configs"] = [
        {
            "targets": [target],
            "labels": {
                "__meta_kubernetes_namespace": "default",
                **{f"__meta_kubernetes_pod_{key}": value for key, value in {**labels, **changes}.items()},
            },
        }
        for target, (changes, _) in PODS.items()
    ]
    (tmp_path / "config.yml").write_text(json.dumps({"scrape_configs": [config]}))
    output = approved("check", "service-discovery", "--timeout=2s", tmp_path / "config.yml", "shop")
    found = [item["labels"] for item in json.loads(output) if item.get("labels")]
    wanted = {"namespace": "default", "pod": "shop-1", "job": "shop"}
    assert all(wanted.items() <= item.items() for item in found)
    assert {item["instance"] for item in found} == {target for target, (_, kept) in PODS.items() if kept}


def test_the_ports_of_two_workers() -> None:
    """Targets and container ports are those that the recipe of workers.md takes."""
    assert "start(port=9464)" in WORKERS
    ports = list(range(9464, 9464 + 2 * 2))
    (targets,) = (config["static_configs"][0]["targets"] for config in SCRAPES if "static_configs" in config)
    assert [int(target.rpartition(":")[2]) for target in targets] == ports
    (container,) = with_key("ports")
    assert [port["containerPort"] for port in container["ports"]] == ports
    assert all(re.fullmatch(r"metrics.*", port["name"]) for port in container["ports"])


# --- names -------------------------------------------------------------------------------------------------

# Words that are neither options nor metrics of ours.
OTHERS = {
    "otel_prom_bridge",
    "prometheus_client",
    "post_fork",
    "serve_inherited",
    "http_requests",
    "orders_total",
    "target_info",
    "trace_based",
    "always_off",
    "attribute_keys",
    "scrape_protocols",
    "remote_write",
    "metric_relabel_configs",
    "stream_options",
}


def test_names_in_troubleshooting_exist() -> None:
    """Every option and every metric that is named there is one."""
    words = {span for span in SPANS if re.fullmatch(r"[a-z]+(_[a-zA-Z]+)+", span)}
    families = {family.name for name in ("llmdevops", "semconv") for family in load_profile(name).families}
    assert words - {option.key for option in OPTIONS} - OWN - OTHERS - families == set()
    assert {word for word in words if word.startswith("otel_prom_bridge_")} <= OWN


# --- lines of the log --------------------------------------------------------------------------------------

COLUMN = [
    row.split(" | ")[0] for row in re.findall(r"^\| (.*) \|$", TROUBLES.split("\n## ")[1], re.MULTILINE)
]
ERRORS = re.findall(r"`([^`]+)`", " ".join(COLUMN))
MESSAGES = [span for span in SPANS if span.count(" ") >= 3 and "{" not in span and span not in ERRORS]


class Later:
    """Calls functions at the end of the test, and knows what was logged."""

    def __init__(self, stack: ExitStack, caplog: pytest.LogCaptureFixture) -> None:
        self._stack, self._caplog = stack, caplog

    def __call__(self, function: Callable[[], object]) -> None:
        """Call it at the end."""
        self._stack.callback(function)

    def when_logged(self, text: str) -> None:
        """Wait for a line: those of the endpoint are written by threads of their own."""
        wait_for(lambda: text in self._caplog.text, seconds=10, what=text)


@pytest.fixture
def later(caplog: pytest.LogCaptureFixture) -> Iterator[Later]:
    """Call these at the end of the test."""
    with ExitStack() as stack:
        yield Later(stack, caplog)


def provider(later: Later, **options: object) -> tuple[PrometheusMetricReader, MeterProvider]:
    """A reader and its provider."""
    reader = PrometheusMetricReader(**{"registry": None, **options})  # type: ignore[arg-type]
    found = MeterProvider([reader], shutdown_on_exit=False)
    later(found.shutdown)
    return reader, found


def not_served(later: Later) -> None:
    """A port that is taken, where that is no error."""
    with start_http_server(provider(later)[0], port=0, addr="127.0.0.1") as taken:
        start_http_server(provider(later)[0], port=taken.port, addr="127.0.0.1", strict=False)


def not_allowed(later: Later) -> None:
    """A client outside of the networks."""
    guards = Guards(allow=["10.0.0.0/8"])
    with start_http_server(provider(later)[0], port=0, addr="127.0.0.1", guards=guards) as server:
        with pytest.raises(OSError):  # noqa: PT011
            get(server.url)
        later.when_logged("was refused")


def too_many(later: Later) -> None:
    """More requests, and more connections, than there may be."""
    reader, found = provider(later)
    go_on, is_asked = threading.Event(), threading.Event()
    later(go_on.set)

    def callback(_: CallbackOptions) -> list[Observation]:
        is_asked.set()
        return [Observation(int(go_on.wait(20)))]

    found.get_meter("shop").create_observable_gauge("g", [callback])
    limits = ServerLimits(max_in_flight=1, max_connections=3)
    with start_http_server(reader, port=0, addr="127.0.0.1", limits=limits) as server, ExitStack() as stack:

        def ask(request: bytes) -> socket.socket:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            client.sendall(request)
            return client

        ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert is_asked.wait(10)
        assert b" 503 " in ask(b"GET /metrics?name[]=x HTTP/1.1\r\nHost: a\r\n\r\n").recv(100)
        for _ in range(3):
            ask(b"")
        later.when_logged("its maximum")
        later.when_logged("more get status 503")
        go_on.set()


def hanging(later: Later) -> None:
    """A callback that hangs."""
    reader, found = provider(later, scrape_timeout=0.2)
    go_on = threading.Event()
    later(go_on.set)
    found.get_meter("shop").create_observable_gauge("g", [lambda _: [Observation(int(go_on.wait(20)))]])
    body = reader.expose().body.decode()
    assert "otel_prom_bridge_last_collection_successful 0" in body
    go_on.set()


class Stuck:
    """A collector that hangs."""

    go_on = threading.Event()

    def collect(self) -> list[prometheus_client.Metric]:
        """Hang."""
        self.go_on.wait(20)
        return []


def stuck(later: Later) -> None:
    """A collector of prometheus_client that hangs."""
    registry = prometheus_client.CollectorRegistry()
    reader, _ = provider(later, registry=registry, scrape_timeout=0.5)
    collector = Stuck()
    collector.go_on.set()
    registry.register(collector)  # type: ignore[arg-type]
    collector.go_on.clear()
    later(collector.go_on.set)
    assert "otel_prom_bridge_stuck_collectors 1" in reader.expose().body.decode()


def raising(later: Later) -> None:
    """A callback that raises."""
    reader, found = provider(later)

    def callback(_: CallbackOptions) -> list[Observation]:
        raise RuntimeError

    found.get_meter("shop").create_observable_gauge("g", [callback])
    body = reader.expose().body.decode()
    assert 'otel_prom_bridge_callback_failures_total{instrument="g"} 1' in body
    assert "otel_prom_bridge_last_collection_successful 1" in body


def two_providers(_: Later) -> None:
    """A second global provider."""
    # In a process of its own: the global provider of this one can be set only once.
    code = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from otel_prom_bridge import start
start(port=0)
metrics.set_meter_provider(MeterProvider())
"""
    command = [sys.executable, "-c", code]
    result = programs.run(command, capture_output=True, text=True, timeout=30, check=True)
    (line,) = result.stderr.splitlines()
    logging.getLogger("opentelemetry").warning("%s", line)


def taken(later: Later) -> None:
    """A port that is taken, as the application sees it."""
    with start_http_server(provider(later)[0], port=0, addr="127.0.0.1") as first:
        with pytest.raises(EndpointError) as caught:
            start(port=first.port, addr="127.0.0.1", set_global=False)
        logging.getLogger("gunicorn").warning("%s", str(caught.value).partition("] ")[2])


def overflow(later: Later) -> None:
    """More series than a metric may have."""
    reader, found = provider(later, max_series_per_metric=2)
    counter = found.get_meter("shop").create_counter("orders")
    for number in range(4):
        counter.add(1, {"number": number})
    body = reader.expose().body.decode()
    assert 'otel_metric_overflow="true"' in body
    assert 'otel_prom_bridge_overflowed_points_total{metric="orders_total"} 2' in body


def sdk_overflow(later: Later) -> None:
    """More attribute sets than the SDK may hold."""
    reader, found = provider(later, max_series_per_metric=100, sdk_max_series=100)
    counter = found.get_meter("shop").create_counter("orders")
    for number in range(120):
        counter.add(1, {"number": number})
    assert 'otel_metric_overflow="true"' in reader.expose().body.decode()


def conflicting(later: Later) -> None:
    """Two metrics with one name."""
    reader, found = provider(later)
    found.get_meter("shop").create_counter("orders").add(1)
    found.get_meter("shop").create_gauge("orders.total").set(1)
    assert "otel_prom_bridge_dropped_metrics 1" in reader.expose().body.decode()
    assert len(reader.conflicts()) == 1


def bounded(later: Later) -> None:
    """More values than clients may choose, and one that is too long."""
    reader, found = provider(later)
    counter = found.get_meter("shop").create_counter("orders")
    for number in range(60):
        counter.add(1, {"user_agent.original": f"{number}", "note": "x" * 2000})
    body = reader.expose().body.decode()
    assert 'user_agent_original="other"' in body
    assert "x…" in body


def like_ids(later: Later) -> None:
    """An attribute with another UUID in each point."""
    reader, found = provider(later)
    counter = found.get_meter("shop").create_counter("c")
    for _ in range(20):
        counter.add(1, {"cycle": str(uuid.uuid4())})
    reader.expose()


CAUSES = [
    not_served,
    not_allowed,
    too_many,
    hanging,
    stuck,
    raising,
    two_providers,
    taken,
    overflow,
    sdk_overflow,
    conflicting,
    bounded,
    like_ids,
]


def test_every_line_of_the_log_is_one(later: Later, caplog: pytest.LogCaptureFixture) -> None:
    """What causes them is done here, and each quoted line is logged then."""
    for cause in CAUSES:
        cause(later)
    assert len(MESSAGES) == 15
    for message in MESSAGES:
        pattern = re.escape(message).replace("…", "(?s:.+)")
        assert any(re.fullmatch(pattern, line) for line in caplog.messages), (message, caplog.messages)


# --- exemplars, forks --------------------------------------------------------------------------------------


def test_what_exemplars_need(later: Later) -> None:
    """Within a span there is one, after its end there is none; text shows none."""
    reader, found = provider(later)
    counter = found.get_meter("shop").create_counter("orders")
    with TracerProvider(shutdown_on_exit=False).get_tracer("shop").start_as_current_span("order"):
        pass
    counter.add(1)
    assert "otel_prom_bridge_exemplars 0" in reader.expose().body.decode()
    with TracerProvider(shutdown_on_exit=False).get_tracer("shop").start_as_current_span("order"):
        counter.add(1)
    assert "otel_prom_bridge_exemplars 1" in reader.expose().body.decode()
    assert b"trace_id" not in reader.expose("text/plain").body
    assert b"trace_id" in reader.expose(OPENMETRICS).body


APPLICATION = """
import otel_prom_bridge
from opentelemetry import metrics

otel_prom_bridge.start()
counter = metrics.get_meter("shop").create_counter("orders")

def app(environ, start_response):
    counter.add(1)
    start_response("200 OK", [])
    return [b"books"]
"""


@pytest.mark.parametrize("preload", [["--preload"], []], ids=["preload", "import-in-worker"])
def test_start_where_the_application_is_imported(preload: list[str], tmp_path: Path) -> None:
    """With --preload the server is in the master, which never hears of an order; without, a port is taken.

    That matters only to those who want this port and no other.
    """
    (tmp_path / "shop.py").write_text(APPLICATION)
    port, metrics_port = free_port(), free_port()
    options = ["--no-control-socket", "--chdir", tmp_path, "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    command = [sys.executable, "-m", "gunicorn", *options, *preload, "shop:app"]
    environment = {"OTEL_EXPORTER_PROMETHEUS_PORT": str(metrics_port), "OTEL_PROM_BRIDGE_STRICT": "true"}
    with running(command, log=tmp_path / "log", env=environment) as process:
        if not preload:
            output = process.until("Worker failed to boot", 20)
            (quoted,) = (span for span in MESSAGES if "Address already in use" in span)
            assert re.search(re.escape(quoted).replace("…", ".+"), output)
            return

        def answered() -> bool:
            try:
                return get(f"http://127.0.0.1:{port}/")[1] == b"books"
            except OSError:
                return False

        wait_for(answered, seconds=20, what="the application")
        content_type, body = get(f"http://127.0.0.1:{metrics_port}/metrics")
        names = {name for name, _ in samples(content_type, body)}
        assert "otel_prom_bridge_series" in names
        assert "orders_total" not in names


def test_ready_waits_for_no_scraper(later: Later) -> None:
    """The first collection is made by `/ready` itself."""
    reader, _ = provider(later, collect_interval=0)
    with start_http_server(reader, port=0, addr="127.0.0.1") as server:
        assert get(server.url.replace("/metrics", "/ready"))[1] == b"ready\n"
