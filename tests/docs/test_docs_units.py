"""The manifests of examples/kubernetes and the units of examples/systemd: valid, and they fit each other.

tests/data/monitors.json has the schemas of PodMonitor and ServiceMonitor: those of the Prometheus Operator
0.80.1 (Apache-2.0), without their descriptions, and without room for names that are not theirs.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from machines import EXAMPLES, command
from pages import DOCS, ROOT, anchors, blocks
from promtool import approved
from servers import free_port, get, newer, running, wait_for

from otel_prom_bridge.dashboards.rules import RUNBOOKS

KUBERNETES, SYSTEMD = EXAMPLES / "kubernetes", EXAMPLES / "systemd"
MONITORS = json.loads((Path(__file__).parents[1] / "data" / "monitors.json").read_text())


def documents() -> Iterator[dict[str, Any]]:
    """All manifests, but the list of them."""
    for file in sorted(KUBERNETES.glob("*.yaml")):
        if file.name != "kustomization.yaml":
            yield from yaml.safe_load_all(file.read_text())


MANIFESTS = {document["kind"]: document for document in documents()}
POD = MANIFESTS["Deployment"]["spec"]["template"]
(HUB,), (SHOP,) = POD["spec"]["initContainers"], POD["spec"]["containers"]


@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_are_valid(kind: str, version: str) -> None:
    """By the schemas of Kubernetes and of the Prometheus Operator, with no name that they do not know."""
    if kind in MONITORS:
        jsonschema.validate(MANIFESTS[kind], MONITORS[kind])
    else:
        kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


@pytest.mark.parametrize("kind", MONITORS)
def test_a_wrong_monitor_is_not(kind: str) -> None:
    """The schemas refuse a name that does not exist."""
    wrong = json.loads(json.dumps(MANIFESTS[kind]))
    wrong["spec"]["jobLabels"] = "app"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, MONITORS[kind])


def test_kustomize_builds_them() -> None:
    """All of one way, with the image and its tag in both containers."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here: it comes with kubernetes-client")
    *_, folder = command("scaling.md", "kubectl", "apply", "-k").words
    built = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT
    ).stdout
    found = {document["kind"]: document for document in yaml.safe_load_all(built)}
    assert found.keys() == {"Deployment", "Secret", "NetworkPolicy", "PodMonitor"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    images = {container["image"] for key in ("containers", "initContainers") for container in pod[key]}
    assert images == {"registry.example.com/shop:1.0"}


def test_manifests_fit_each_other() -> None:
    """Labels, ports, the Secret, the socket and the user are the same everywhere."""
    labels = POD["metadata"]["labels"]
    monitors = [MANIFESTS[kind]["spec"] for kind in MONITORS]
    selectors = [MANIFESTS["Deployment"]["spec"]["selector"], *(spec["selector"] for spec in monitors)]
    assert [each["matchLabels"] for each in selectors] == [labels] * 3
    assert MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    service = MANIFESTS["Service"]
    assert service["spec"]["selector"] == service["metadata"]["labels"] == labels
    secret = MANIFESTS["Secret"]
    for spec in monitors:
        (endpoint,) = spec.get("podMetricsEndpoints", []) + spec.get("endpoints", [])
        assert endpoint["port"] == HUB["ports"][0]["name"] == service["spec"]["ports"][0]["name"]
        credentials = endpoint["authorization"]["credentials"]
        assert credentials["name"] == secret["metadata"]["name"]
        assert credentials["key"] in secret["stringData"]
    named = {port["port"] for rule in MANIFESTS["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]}
    assert named == {port["name"] for container in (HUB, SHOP) for port in container["ports"]}
    mounted = {volume["name"] for container in (HUB, SHOP) for volume in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["spec"]["volumes"]}
    assert f"unix:{HUB['command'][-1]}" == SHOP["env"][0]["value"]


@pytest.mark.slow
def test_the_containers_commands(tmp_path: Path) -> None:
    """The sidecar serves with a token, and the application pushes to it, by their commands and variables."""
    with tempfile.TemporaryDirectory(prefix="hub-", dir="/tmp") as folder:
        token = MANIFESTS["Secret"]["stringData"]["tokens"]
        Path(folder, "tokens").write_text(token)
        port, web = free_port(), free_port()
        places = {
            "/run/hub": folder,
            "/etc/shop-metrics": folder,
            "0.0.0.0:8000": f"127.0.0.1:{web}",
            "0.0.0.0": "127.0.0.1",
        }

        def here(text: str) -> str:
            for written, place in places.items():
                text = text.replace(written, place)
            return text

        def variables(container: dict[str, Any]) -> dict[str, str]:
            return {item["name"]: here(item["value"]) for item in container["env"]}

        modules = {"otel-prom-bridge": "otel_prom_bridge", "gunicorn": "gunicorn"}
        hub, shop = (
            [sys.executable, "-m", modules[name], *map(here, rest)]
            for name, *rest in (HUB["command"], SHOP["command"])
        )
        (tmp_path / "shop.py").write_text(APPLICATION)
        python = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
        hub_variables = {**python, **variables(HUB), "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
        with running(hub, log=tmp_path / "hub.log", env=hub_variables) as first:
            for probe in ("startupProbe", "livenessProbe"):
                path = HUB[probe]["httpGet"]["path"]
                wait_for(lambda path=path: answers(port, path), seconds=20, what=path)  # type: ignore[misc]
            with running(shop, log=tmp_path / "shop.log", env={**python, **variables(SHOP)}) as second:
                wait_for(lambda: answers(web, "/"), seconds=20, what=f"an answer: {second.output}")
                assert not answers(port, "/metrics")
                wait_for(
                    lambda: b"\norders_total" in scraped(port, token),
                    seconds=10,
                    what=f"orders: {first.output}",
                )


APPLICATION = """
import otel_prom_bridge
from opentelemetry import metrics

otel_prom_bridge.start()
orders = metrics.get_meter("shop").create_counter("orders")


def app(environ, start_response):
    orders.add(1)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""


def answers(port: int, path: str) -> bool:
    """Whether somebody without a token gets an answer there."""
    try:
        get(f"http://127.0.0.1:{port}{path}")
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        pass
    else:
        return True
    return False


def scraped(port: int, token: str) -> bytes:
    """What a scrape with a token gets, in plain text."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        head = (
            f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        )
        client.sendall(head.encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


# --- Prometheus --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["prometheus.yml", "federation.yml", "prometheus-otlp.yml"])
def test_configurations(file: str, tmp_path: Path) -> None:
    """Prometheus 3 has no complaint, also of the one that cannot be run here."""
    (tmp_path / "token").write_text("x")
    shutil.copy(EXAMPLES / "scaling" / "rules.yml", tmp_path)
    text = (EXAMPLES / "scaling" / file).read_text()
    (tmp_path / file).write_text(text.replace("/etc/prometheus/shop-token", str(tmp_path / "token")))
    check = [newer("sid", "promtool", required=True), "check", "config", tmp_path / file]
    done = subprocess.run(check, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_not_run_says_so() -> None:
    """In its first line."""
    folders = (EXAMPLES / "kubernetes", EXAMPLES / "systemd")
    files = [file for folder in folders for file in folder.iterdir()]
    files += [EXAMPLES / "scaling" / file for file in ("collector.yaml", "prometheus-otlp.yml")]
    assert len(files) == 11
    assert [file for file in files if not file.read_text().startswith("# Not run here: ")] == []


def test_alerts_of_hubs(tmp_path: Path) -> None:
    """Each fires, and leads to its runbook."""
    file = EXAMPLES / "scaling" / "rules.yml"
    approved("check", "rules", "--lint=all", "--lint-fatal", file)
    rules = [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    alerts = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    for url in alerts.values():
        page, _, anchor = url.partition("#")
        assert page == RUNBOOKS
        assert anchor in anchors(DOCS / "runbooks.md")
    series = {'up{job="shop"}': "0x30", 'otel_prom_bridge_sources{job="shop"}': "3x30"}
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": "count by (alertname) (ALERTS{alertstate='firing'})",
                "eval_time": "20m",
                "exp_samples": expected,
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": [str(file)], "tests": [test]}))
    approved("test", "rules", tmp_path / "test.yml")


@pytest.mark.slow
def test_a_name_for_each_instance(tmp_path: Path) -> None:
    """The YAML of docs/ha.md gives a target that name in place of its address."""
    (block,) = (block for block in blocks(DOCS / "ha.md") if block.language == "yaml")
    (tmp_path / "prometheus.yml").write_text(block.text)
    found = json.loads(
        approved("check", "service-discovery", "--timeout=2s", tmp_path / "prometheus.yml", "shop")
    )
    assert [target["labels"]["instance"] for target in found] == ["shop-1"]


# --- systemd -----------------------------------------------------------------------------------------------


def test_units_are_valid(tmp_path: Path) -> None:
    """systemd has no complaint, and each unit that another one names is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: it comes with systemd")
    for file in SYSTEMD.iterdir():
        text = file.read_text().replace("User=shop", "User=daemon")
        (tmp_path / file.name).write_text(re.sub(r"/opt/shop/bin/\S+", "/bin/true", text))
    units = sorted(tmp_path.iterdir())
    verify = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    found = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert command("scaling.md", "cp").words[1] == f"{SYSTEMD.relative_to(ROOT)}/*"
    assert {unit.name for unit in units} == {*command("scaling.md", "systemctl", "enable").words[3:]}


def test_the_hub_takes_the_socket_of_systemd(tmp_path: Path) -> None:
    """The unit's command serves at the port that systemd has opened, and workers push to the other one."""
    if shutil.which("systemd-socket-activate") is None:
        pytest.skip("no systemd-socket-activate here: it comes with systemd")
    unit = (SYSTEMD / "shop-metrics.service").read_text()
    (start,) = re.findall(r"^ExecStart=/opt/shop/bin/otel-prom-bridge (.+)$", unit, re.MULTILINE)
    (hub,) = re.findall(r"OTEL_PROM_BRIDGE_HUB=unix:(\S+)", (SYSTEMD / "shop.service").read_text())
    assert hub in start
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hub-", dir="/tmp") as folder:
        (tmp_path / "tokens").write_text("6d2f0c5a7be94e1c8a37d5f0b1e29c84")
        (variable,) = re.findall(r"^Environment=(\w+)=%d/tokens$", unit, re.MULTILINE)
        arguments = start.replace("/run/shop", folder).split()
        activate = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}"]
        for name in ("PYTHONPATH", variable):
            activate.append(f"--setenv={name}")
        environment = {"PYTHONPATH": str(ROOT), variable: str(tmp_path / "tokens")}
        started = [*activate, sys.executable, "-m", "otel_prom_bridge", *arguments]
        with running(started, log=tmp_path / "hub.log", env=environment) as found:
            wait_for(lambda: answers(port, "/ready"), seconds=20, what=f"the hub: {found.output}")
            assert b" 401 " in scraped(port, "wrong")
            assert b" 200 " in scraped(port, "6d2f0c5a7be94e1c8a37d5f0b1e29c84")
            assert Path(folder, "hub.sock").is_socket()
