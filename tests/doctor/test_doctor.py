"""The doctor: each thing that keeps metrics from being seen is named, with the line that mends it."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from certificates import CA, write_authority, write_pair

from otel_prom_bridge import start, start_http_server
from otel_prom_bridge.cli import main
from otel_prom_bridge.doctor.environment import examine_environment, examine_options
from otel_prom_bridge.testing import MetricsProbe

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("env", "weight", "text"),
    [
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "problem", "OTEL_METRICS_EXPORTER=otlp does not name the bridge"),
        (
            {"OTEL_METRICS_EXPORTER": "prometheus, prometheus_bridge"},
            "problem",
            "two exporters that want the same",
        ),
        ({"OTEL_METRIC_EXPORTER": "prometheus_bridge"}, "problem", "OTEL_METRIC_EXPORTER means nothing"),
        ({"OTEL_SDK_DISABLED": "True"}, "problem", "turns all of OpenTelemetry off"),
        ({"OTEL_CONFIG_FILE": "/nowhere.yml"}, "problem", "there is no file '/nowhere.yml'"),
        ({"OTEL_METRICS_EXEMPLAR_FILTER": "always_off"}, "note", "there are none"),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "note", "no trace is sampled"),
        ({"OTEL_PROM_BRIDGE_HUB": "unix:/nowhere"}, "problem", "nothing is there"),
        ({"PROMETHEUS_MULTIPROC_DIR": "/tmp"}, "note", "is for prometheus_client"),
    ],
)
def test_variables(env: dict[str, str], weight: str, text: str) -> None:
    """A variable that is wrong is a symptom; as a problem it has a remedy."""
    (found,) = [symptom for symptom in examine_environment(env) if text in symptom.text]
    assert found.weight == weight
    assert found.remedy or weight == "note" or "no file" in text


def test_a_good_environment() -> None:
    """Nothing to complain of."""
    env = {"OTEL_METRICS_EXPORTER": "prometheus_bridge", "OTEL_SERVICE_NAME": "x"}
    assert [symptom.weight for symptom in examine_environment(env)] == ["ok"]


@pytest.mark.parametrize("exporters", ["", "otlp"])
def test_the_provider_of_the_bridge_is_enough(exporters: str) -> None:
    """The API loads it by itself; only opentelemetry-instrument reads the other variable."""
    env = {"OTEL_PYTHON_METER_PROVIDER": "prometheus_bridge", "OTEL_METRICS_EXPORTER": exporters}
    (found,) = examine_environment(env)
    assert found.weight == "ok"
    assert "under opentelemetry-instrument it needs OTEL_METRICS_EXPORTER=prometheus_bridge" in found.text


@pytest.mark.parametrize(
    ("exporters", "weight"),
    [("prometheus_bridge, otlp,console", "problem"), ("prometheus_bridge,", "ok"), ("", "ok")],
)
@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_PROM_BRIDGE_RECORDING", "direct"), ("OTEL_PYTHON_METER_PROVIDER", "prometheus_bridge")],
)
def test_direct_recording_beside_other_exporters(
    variable: str, value: str, exporters: str, weight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They must not stay empty, so the SDK records: the doctor says that as the log does."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", exporters)
    (found,) = examine_options()[1]
    assert found.weight == "ok"
    monkeypatch.setenv(variable, value)
    (found,) = examine_options()[1]
    assert found.weight == weight
    assert ("names otlp, console, too: under opentelemetry-instrument" in found.text) == (weight == "problem")


def doctor(capsys: Capture, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and the texts by weight."""
    code = main(["doctor", "--json", *arguments])
    found: dict[str, list[str]] = {}
    for item in json.loads(capsys.readouterr().out):
        found.setdefault(item["weight"], []).append(f"{item['subject']}: {item['text']}")
    return code, found


def test_an_endpoint_that_works(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked as Prometheus 2 and 3 ask."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus_bridge")
    with MetricsProbe() as probe:
        probe.meter().create_counter("c").add(1)
        with start_http_server(probe.reader, port=0) as server:
            code, found = doctor(capsys, "--url", server.url)
    assert (code, found.get("problem")) == (0, None)
    assert sum("endpoint: Prometheus" in text for text in found["ok"]) == 3
    assert any("nothing was recorded within a sampled span" in text for text in found["note"])


def test_a_certificate_that_is_about_to_end(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a problem before it ends, and none if it is new."""
    monkeypatch.setenv("SSL_CERT_FILE", write_authority(tmp_path))
    for days, code, said in (
        (5, 1, "certificate: it ends in 5.0 days"),
        (90, 0, "certificate: it ends in 90 days"),
    ):
        when = datetime.now(UTC) + timedelta(days=days)
        cert, key = write_pair(tmp_path, CA.issue_cert("localhost", "127.0.0.1", not_after=when))
        files = {"tls_cert_file": cert, "tls_key_file": key}
        with start(set_global=False, port=0, addr="127.0.0.1", **files) as bridge:
            bridge.meter_provider.get_meter("shop").create_counter("c").add(1)
            found = doctor(capsys, "--url", bridge.server.url)
        assert found[0] == code
        assert said in found[1]["problem" if code else "ok"]


def test_an_endpoint_that_is_not_there(capsys: Capture) -> None:
    """One problem, and exit code 1; options that are wrong are another."""
    code, found = doctor(capsys, "--url", "localhost:1")
    assert code == 1
    assert found["problem"] == [
        "endpoint: localhost:1: nothing listens there; is it running, and is the port right?"
    ]


def test_options_that_are_wrong(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named as the application would name them."""
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "many")
    code, found = doctor(capsys, "--url", "localhost:1")
    assert code == 1
    assert any("OTEL_EXPORTER_PROMETHEUS_PORT: 'many' is not allowed" in text for text in found["problem"])


@pytest.mark.parametrize(
    ("program", "problem", "fine"),
    [
        (
            "import otel_prom_bridge, time\notel_prom_bridge.start(port=0)\ntime.sleep(60)\n",
            "",
            "MeterProvider, set by",
        ),
        ("print('nothing of OpenTelemetry')\n", "no meter provider was set", ""),
        (
            "from opentelemetry.sdk.metrics import MeterProvider\nfrom opentelemetry import metrics\n"
            "metrics.set_meter_provider(MeterProvider())\nmetrics.set_meter_provider(MeterProvider())\n",
            "it has no reader of the bridge, but none at all",
            "MeterProvider, set by",
        ),
    ],
    ids=["start", "nothing", "no reader"],
)
def test_a_program_is_looked_into(
    program: str, problem: str, fine: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which provider it has, who set it, and what it lacks."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    path = tmp_path / "app.py"
    path.write_text(program)
    main(["doctor", "--json", "--seconds", "4", "--", sys.executable, str(path)])
    out = capsys.readouterr().out
    symptoms = json.loads(out[out.index("[\n") :])
    texts = [
        item["text"] for item in symptoms if item["subject"] == "provider" and item["weight"] == "problem"
    ]
    assert any(problem in text for text in texts) == bool(problem)
    assert any(fine in item["text"] for item in symptoms if item["weight"] == "ok")
    if fine and problem:
        assert any("set a second time" in text and "app.py:4" in text for text in texts)


def test_a_program_that_is_none(capsys: Capture) -> None:
    """One line, and exit code 2."""
    assert main(["doctor", "--", "no-such-program"]) == 2
    assert "a program that can be run" in capsys.readouterr().err
