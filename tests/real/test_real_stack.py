"""examples/stack: its files are valid and fit each other, and the commands of its services run."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from machines import EXAMPLES, command, here, path_with_scripts
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pages import ROOT
from promtool import approved
from servers import Prometheus, alertmanager, free_port, get, newer, running, serving, wait_for

from otel_prom_bridge.profiles import BUILT_IN

STACK = EXAMPLES / "stack"
COMPOSE: dict[str, Any] = yaml.safe_load((STACK / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
AGENTS = ("llmdevops", "semconv")
# The examples of the other profiles, and the variables that say where they answer their visitors.
EXAMPLE_PORTS = {"tachikoma": "AGENT_PORT", "incident_manager": "INCIDENTS_PORT", "research_api": "API_PORT"}
PROFILES = (*AGENTS, *EXAMPLE_PORTS)
DOCKERFILE = (STACK / "Dockerfile").read_text()


# --- files -------------------------------------------------------------------------------------------------


def test_the_compose_file_is_valid() -> None:
    """By the published schema, and as docker-compose reads it; what is mounted is there."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    file = command("production.md", "docker", "compose", "up").words[3]
    assert ROOT / file == STACK / "compose.yaml"
    done = subprocess.run([*check, file], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    compose = newer("sid", "docker-compose")
    config = [compose, "-f", file, "config", "--format", "json"]
    shown = json.loads(subprocess.run(config, capture_output=True, timeout=60, check=True, cwd=ROOT).stdout)
    for service in shown["services"].values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or Path(volume["source"]).exists()
    (profiles,) = re.findall(r"for profile in ([\w ]+);", SERVICES["dashboards"]["command"][-1])
    assert profiles.split() == list(PROFILES)
    assert set(PROFILES) == set(BUILT_IN)
    assert [SERVICES[name]["environment"]["OTEL_PROM_BRIDGE_PROFILE"] for name in AGENTS] == list(AGENTS)


def test_the_image() -> None:
    """It is no root's, asks for its health where it serves, and copies what a build needs."""
    assert re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    assert "HEALTHCHECK" in DOCKERFILE
    assert "http://127.0.0.1:9464/health" in DOCKERFILE
    assert DOCKERFILE.count("FROM python:3.13-slim") == 2
    (line,) = re.findall(r"^COPY (.+) \./$", DOCKERFILE, re.MULTILINE)
    (examples,) = re.findall(r"^COPY (.+) /opt/app/examples/$", DOCKERFILE, re.MULTILINE)
    for name in (*line.split(), *examples.split(), "otel_prom_bridge"):
        assert (EXAMPLES.parent / name).exists()


# By https://grafana.com/docs/grafana/latest/administration/provisioning/.
TEXT, BOOLEAN = {"type": "string"}, {"type": "boolean"}


def _object(required: str, **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def _file(**lists: Mapping[str, object]) -> dict[str, object]:
    items = {name: {"type": "array", "items": item} for name, item in lists.items()}
    return _object(" ".join(("apiVersion", *items)), apiVersion={"const": 1}, **items)


LINK = _object("name datasourceUid", name=TEXT, datasourceUid=TEXT, url=TEXT, urlDisplayLabel=TEXT)
DATASOURCE = _object(
    "name type url",
    name=TEXT,
    uid=TEXT,
    type={"enum": ["prometheus", "jaeger", "alertmanager"]},
    url={"type": "string", "pattern": "^http://"},
    access={"enum": ["proxy"]},
    isDefault=BOOLEAN,
    editable=BOOLEAN,
    jsonData=_object(
        "",
        timeInterval=TEXT,
        httpMethod=TEXT,
        implementation={"enum": ["prometheus", "mimir", "cortex"]},
        exemplarTraceIdDestinations={"type": "array", "items": LINK},
    ),
)
PROVIDER = _object(
    "name type options",
    name=TEXT,
    orgId={"type": "integer"},
    folder=TEXT,
    folderUid=TEXT,
    type={"const": "file"},
    disableDeletion=BOOLEAN,
    updateIntervalSeconds={"type": "integer"},
    allowUiUpdates=BOOLEAN,
    options=_object("path", path=TEXT, foldersFromFilesStructure=BOOLEAN),
)


def test_grafana_is_provisioned() -> None:
    """Files are as Grafana reads them: sources are services, exemplars lead to the one with the traces."""
    sources = yaml.safe_load((STACK / "grafana/datasources/datasources.yml").read_text())
    jsonschema.validate(sources, _file(datasources=DATASOURCE))
    providers = yaml.safe_load((STACK / "grafana/dashboards/dashboards.yml").read_text())
    jsonschema.validate(providers, _file(providers=PROVIDER))
    by_type = {source["type"]: source for source in sources["datasources"]}
    for source in by_type.values():
        assert re.match(r"http://(\w+):", source["url"])[1] in SERVICES  # type: ignore[index]
    (link,) = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (link["name"], link["datasourceUid"]) == ("trace_id", by_type["jaeger"]["uid"])
    mounts = dict(reversed(volume.split(":")[:2]) for volume in SERVICES["grafana"]["volumes"])
    assert mounts == {"/etc/grafana/provisioning": "./grafana", "/var/lib/grafana/dashboards": "monitoring"}
    (provider,) = providers["providers"]
    assert mounts[provider["options"]["path"]] == "monitoring"


def test_alerts_are_routed(real_alertmanager: str) -> None:
    """amtool has no complaint, and each severity that our rules have goes somewhere on purpose."""
    assert real_alertmanager
    config = str(STACK / "alertmanager.yml")
    subprocess.run(["amtool", "check-config", config], capture_output=True, timeout=30, check=True)
    expected = {"critical": "pager", "warning": "tickets", "info": "nobody"}
    for severity, receiver in expected.items():
        command = ["amtool", "config", "routes", "test", f"--config.file={config}", f"severity={severity}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout.strip() == receiver


# --- processes ---------------------------------------------------------------------------------------------


class Traces(http.server.ThreadingHTTPServer):
    """It takes what a trace store takes at its port for OTLP over HTTP, and keeps the ids of the traces."""

    daemon_threads = True

    def __init__(self) -> None:
        self.ids: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Received)


class _Received(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take spans."""
        assert isinstance(self.server, Traces)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for found in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in found.scope_spans:
                    self.server.ids |= {span.trace_id.hex() for span in scope.spans}
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Stack:
    """The services as processes, by their commands and variables."""

    def __init__(self, stack: ExitStack, folder: Path, manager: str) -> None:
        self.traces = Traces()
        threading.Thread(target=self.traces.serve_forever, daemon=True).start()
        stack.callback(self.traces.server_close)
        stack.callback(self.traces.shutdown)
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-", dir="/tmp"))
        common = {
            "PATH": path_with_scripts(),
            "PYTHONPATH": str(EXAMPLES.parent),
            "XDG_RUNTIME_DIR": runtime,
            "OTEL_PROM_BRIDGE_LINGER": "0",
        }
        self.rules = folder / "rules"
        *shell, script = SERVICES["dashboards"]["command"]
        script = script.replace("$$", "$").replace("/monitoring", str(self.rules))
        with running([*shell, script], log=folder / "dashboards.log", env=common) as dashboards:
            assert dashboards.wait(150) == 0, dashboards.output
        self.ports: list[int] = []
        targets = {}
        for name in PROFILES:
            service, port = SERVICES[name], free_port()
            own = {key: self._here(text) for key, text in service["environment"].items()}
            if name in EXAMPLE_PORTS:
                own[EXAMPLE_PORTS[name]] = str(free_port())
            variables = {**common, **own, "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
            command = [self._program(service["command"][0]), *map(self._here, service["command"][1:])]
            stack.enter_context(running(command, log=folder / f"{name}.log", env=variables))
            self.ports.append(port)
            targets[f"{name}:9464"] = f"127.0.0.1:{port}"
        address = stack.enter_context(alertmanager(manager, STACK / "alertmanager.yml", folder))
        here(folder, "stack/prometheus.yml", {**targets, "alertmanager:9093": address, "5s": "1s"})
        self.prometheus = self._prometheus(stack, folder)

    def _here(self, text: str) -> str:
        text = text.replace("jaeger:4318", f"127.0.0.1:{self.traces.server_port}")
        return text.replace("/opt/app/examples", str(EXAMPLES))

    def _program(self, name: str) -> str:
        return shutil.which(name, path=path_with_scripts()) or name

    def _prometheus(self, stack: ExitStack, folder: Path) -> Prometheus:
        address = f"127.0.0.1:{free_port()}"
        places = {"/etc/prometheus": str(folder), "=/prometheus": f"={folder / 'data'}"}
        flags = SERVICES["prometheus"]["command"]
        for written, place in places.items():
            flags = [flag.replace(written, place) for flag in flags]
        command = [newer("sid", "prometheus", required=True), *flags, f"--web.listen-address={address}"]
        return stack.enter_context(serving(command, folder, address))


@pytest.fixture(scope="module")
def stack(real_alertmanager: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started once, for all tests."""
    with ExitStack() as entered:
        yield Stack(entered, tmp_path_factory.mktemp("stack"), real_alertmanager)


@pytest.mark.slow
@pytest.mark.real_server
@pytest.mark.timeout(300)
def test_the_exemplars_lead_to_traces(stack: Stack) -> None:
    """Prometheus scrapes all services, and an exemplar of each names a trace that was sent."""
    for name in (
        "llmdevops_llm_request_duration_seconds_bucket",
        "gen_ai_client_operation_duration_seconds_bucket",
        'http_request_duration_seconds_bucket{job="tachikoma"}',
        'llm_incident_manager_http_request_duration_seconds_bucket{job="incident_manager"}',
        'http_request_duration_seconds_bucket{job="research_api"}',
    ):

        def leads(name: str = name) -> bool:
            found = stack.prometheus.query_exemplars(name)
            ids = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
            return bool(ids & stack.traces.ids)

        wait_for(leads, seconds=60, what=f"exemplars of {name} among {len(stack.traces.ids)} traces")


@pytest.mark.slow
@pytest.mark.real_server
@pytest.mark.timeout(300)
def test_rules_and_dashboards_are_there(stack: Stack) -> None:
    """All profiles have a dashboard and rules. Prometheus evaluates these, and knows its Alertmanager."""
    assert {file.name for file in stack.rules.iterdir()} == {
        f"{name}{end}" for name in PROFILES for end in (".json", ".rules.yml")
    }
    for file in stack.rules.glob("*.json"):
        assert json.loads(file.read_text())["templating"]["list"][0]["type"] == "datasource"
    approved("check", "rules", *stack.rules.glob("*.rules.yml"))
    record = "service_model:llmdevops_llm_requests:rate5m"
    wait_for(lambda: stack.prometheus.query(record), seconds=60, what=record)
    shown = get(f"{stack.prometheus.url}/metrics")[1].decode()
    assert "prometheus_notifications_alertmanagers_discovered 1" in shown


@pytest.mark.slow
@pytest.mark.real_server
@pytest.mark.timeout(300)
def test_the_health_check(stack: Stack) -> None:
    """The image's command says yes where a service runs, and no where none does."""
    (shown,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)

    def succeeds(port: int) -> bool:
        _, *rest = json.loads(shown.replace(":9464/", f":{port}/"))
        return subprocess.run([sys.executable, *rest], capture_output=True, timeout=30).returncode == 0

    wait_for(lambda: all(map(succeeds, stack.ports)), seconds=30, what="healthy services")
    assert not succeeds(free_port())
