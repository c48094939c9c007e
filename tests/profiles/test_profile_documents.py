"""The profiles tachikoma, incident_manager and research_api: each metric that their documents name.

`tests/data/documents.json` has a row for each of them: its name, type, labels, unit and buckets. What is
recorded here is what applications record naturally: standard instruments with the attributes of the
conventions, calls of models by the recorder, and the profile's own instruments for the rest.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from bridges import families_of, running
from metrics_messages import decode
from opentelemetry.metrics import Meter, MeterProvider
from oracles import OPENMETRICS, parse
from prometheus_client import Metric
from servers import free_port

from otel_prom_bridge.genai import Call, LLMRecorder
from otel_prom_bridge.instrument import LLMCallTracker
from otel_prom_bridge.profiles import Instruments, load_profile

ROWS: list[dict[str, Any]] = json.loads(
    Path(__file__).parents[1].joinpath("data", "documents.json").read_text()
)
PROGRAM = Path(__file__).parents[1] / "support" / "natural.py"
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
FORMATS = {"text": None, "openmetrics": OPENMETRICS, "protobuf": PROTOBUF}
Values = Mapping[tuple[str, ...], float]


# --- what applications record -------------------------------------------------------------------------------


def calls_of_models(provider: MeterProvider, emit: Any) -> Call:
    """Two calls that succeed, with 100 and 20 tokens each, and one that fails; the fourth goes on."""
    llm = LLMRecorder(provider, emit=emit)
    for _ in range(2):
        llm.record_request(
            model="gpt-4o-2024-08-06", provider="openai", duration=0.7, input_tokens=100, output_tokens=20
        )
    llm.record_request(
        model="gpt-4o-2024-08-06", provider="openai", duration=0.1, error_type="openai.RateLimitError"
    )
    return llm.call(model="gpt-4o", provider="openai").__enter__()


def of_http(meter: Meter) -> None:
    """Three requests of a server, one of which fails; four more that were not sampled; one is going on."""
    duration = meter.create_histogram("http.server.request.duration", unit="s")
    sizes = [
        meter.create_histogram(f"http.server.{which}.body.size", unit="By")
        for which in ("request", "response")
    ]
    route = {"http.request.method": "GET", "http.route": "/users/{id}", "url.scheme": "https"}
    for status in (200, 204, 503):
        duration.record(0.03, {**route, "http.response.status_code": status})
        for size in sizes:
            size.record(500, {**route, "http.response.status_code": status})
    unsampled = meter.create_counter("http.server.unsampled_requests", unit="{request}")
    unsampled.add(4, {**route, "http.response.status_code": 200})
    active = meter.create_up_down_counter("http.server.active_requests", unit="{request}")
    active.add(1, {"http.request.method": "GET", "url.scheme": "https"})


def of_databases(meter: Meter) -> None:
    """Three queries, one of which fails, and two pools."""
    duration = meter.create_histogram("db.client.operation.duration", unit="s")
    query = {"db.system.name": "postgresql", "db.namespace": "app", "server.address": "db"}
    select = {**query, "db.operation.name": "SELECT", "db.collection.name": "users"}
    for _ in range(2):
        duration.record(0.004, {**select, "db.query.text": "SELECT * FROM users"})
    insert = {**query, "db.operation.name": "insert", "db.collection.name": "users"}
    duration.record(0.4, {**insert, "error.type": "unique_constraint"})
    connections = meter.create_up_down_counter("db.client.connection.count", unit="{connection}")
    for pool in ("a", "b"):
        for state, number in (("idle", 1), ("used", 2)):
            labels = {"db.client.connection.pool.name": pool, "db.client.connection.state": state}
            connections.add(number, labels)


def of_tachikoma(meter: Meter, own: Instruments) -> None:
    """Backends that are called over HTTP, and what Tachikoma alone has."""
    duration = meter.create_histogram("http.client.request.duration", unit="s")
    call = {"http.request.method": "POST", "server.address": "api.example", "url.template": "/v1/{what}"}
    duration.record(0.2, {**call, "http.response.status_code": 200})
    duration.record(0.2, {**call, "http.response.status_code": 429, "error.type": "429"})
    own["ws.connections"].add(3)
    own["ws.connections.current"].add(2)
    own["ws.messages.received"].add(2, {"message_type": "command"})
    own["ws.messages.sent"].add(5, {"message_type": "event"})
    own["executions.in_progress"].add(2)
    for cache_name in ("plans", "files"):
        own["cache.hits"].add(3, {"cache.name": cache_name})
        own["cache.misses"].add(1, {"cache.name": cache_name})
        own["cache.size"].add(40, {"cache.name": cache_name})
    own["missions"].set(7)
    own["specs"].set(4, {"status": "done"})
    own["specs"].set(2, {"status": "planned"})
    own["file.changes"].add(1, {"change_type": "create", "status": "applied"})


def of_incident_manager(meter: Meter, own: Instruments) -> None:
    """gRPC of both generations, playbooks as workflows, and what an incident manager alone has."""
    seconds = meter.create_histogram("rpc.server.call.duration", unit="s")
    milliseconds = meter.create_histogram("rpc.server.duration", unit="ms")
    method = {"rpc.method": "incidents.v1.Incidents/Create", "rpc.system.name": "grpc"}
    seconds.record(0.02, {**method, "rpc.response.status_code": "OK"})
    old = {"rpc.service": "incidents.v1.Incidents", "rpc.method": "Create", "rpc.grpc.status_code": 4}
    milliseconds.record(20, old)
    own["rpc.server.active_streams"].add(2, {"rpc.service": "incidents.v1.Incidents"})
    own["http.server.active_connections"].add(3)
    own["incident.processing.duration"].record(12, {"severity": "critical", "status": "resolved"})
    own["incidents"].add(2, {"severity": "low", "status": "new"})
    own["incidents.active"].add(2, {"severity": "low"})
    own["incidents.deduplicated"].add(4)
    own["incidents.correlated"].add(5)
    own["incidents.escalated"].add(1, {"level": "l2"})
    own["notification.duration"].record(0.2, {"channel": "slack", "status": "sent"})
    own["notifications"].add(1, {"channel": "email", "status": "failed"})
    own["notification.queue.size"].add(6, {"channel": "email"})
    workflow = meter.create_histogram("gen_ai.invoke_workflow.duration", unit="s")
    workflow.record(30, {"gen_ai.workflow.name": "restart"})
    workflow.record(3, {"gen_ai.workflow.name": "restart", "error.type": "TimeoutError"})
    own["playbook.executions.active"].add(1)
    own["storage.operation.duration"].record(0.02, {"operation": "put", "backend": "s3"})
    own["storage.size"].set(5000, {"backend": "s3"})
    own["errors"].add(2, {"component": "api", "error.type": "TimeoutError"})
    own["build.info"].set(1, {"version": "1.2.0", "commit": "0a1b2c3", "timestamp": "2026-01-01T00:00:00Z"})
    meter.create_gauge("process.uptime", unit="s").set(99)


def of_research_api(meter: Meter, own: Instruments) -> None:
    """The process, and what a research API alone has."""
    for mode, value in (("user", 3.0), ("system", 1.0)):
        meter.create_counter("process.cpu.time", unit="s").add(value, {"cpu.mode": mode})
    meter.create_up_down_counter("process.memory.usage", unit="By").add(5e7)
    meter.create_up_down_counter("process.unix.file_descriptor.count", unit="{file_descriptor}").add(12)
    own["process.start_time"].set(1_700_000_000)
    meter.create_counter("db.client.connection.timeouts", unit="{timeout}").add(
        1, {"db.client.connection.pool.name": "a"}
    )
    own["db.client.connection.errors"].add(2)
    own["experiments.created"].add(3)
    own["experiments.completed"].add(2, {"status": "success"})
    own["experiment.runs"].add(4, {"status": "running"})
    own["experiment.duration"].record(120)
    own["evaluations.processed"].add(9)
    own["models.registered"].add(2)
    own["dataset.upload.size"].record(1_000_000)
    own["datasets.uploaded"].add(1)
    own["operation.duration"].record(1.5)
    own["custom.operation"].record(0.05, {"type": "processing"})
    own["custom.events"].add(3, {"status": "success"})
    own["active.connections"].add(42)
    own["operations"].add(1, {"type": "batch"})
    own["queue.size"].add(6, {"queue.name": "a"})
    own["queue.size"].add(4, {"queue.name": "b"})


OWN: dict[str, Callable[[Meter, Instruments], None]] = {
    "tachikoma": of_tachikoma,
    "incident_manager": of_incident_manager,
    "research_api": of_research_api,
}

# --- what the documents say of it: the samples by the labels of the row; of histograms their counts ---------

GET = ("GET", "/users/{id}")
HTTP: dict[str, Values] = {
    "http_requests_total": {(*GET, "2xx"): 6, (*GET, "5xx"): 1},
    "http_request_duration_seconds": {GET: 3},
    "http_request_size_bytes": {GET: 3},
    "http_response_size_bytes": {GET: 3},
}
EXPECTED: dict[str, dict[str, Values]] = {
    "tachikoma": {
        **HTTP,
        "http_requests_in_flight": {(): 1},
        "ws_connections_total": {(): 3},
        "ws_connections_current": {(): 2},
        "ws_messages_received_total": {("command",): 2},
        "ws_messages_sent_total": {("event",): 5},
        "executions_total": {("openai", "gpt-4o", "success"): 2, ("openai", "gpt-4o", "error"): 1},
        "execution_duration_seconds": {("openai", "gpt-4o"): 3},
        "execution_tokens_total": {
            ("openai", "gpt-4o", "prompt"): 200,
            ("openai", "gpt-4o", "completion"): 40,
        },
        "executions_in_progress": {(): 3},
        "db_queries_total": {("select", "users"): 2, ("insert", "users"): 1},
        "db_query_duration_seconds": {("select",): 2, ("insert",): 1},
        "db_connections_current": {(): 6},
        "cache_hits_total": {(): 6},
        "cache_misses_total": {(): 2},
        "cache_size": {(): 80},
        "backend_requests_total": {("api.example", "/v1/{what}"): 2},
        "backend_request_duration_seconds": {("api.example",): 2},
        "backend_errors_total": {("api.example", "rate_limit"): 1},
        "missions_total": {(): 7},
        "specs_total": {("done",): 4, ("planned",): 2},
        "file_changes_total": {("create", "applied"): 1},
    },
    "incident_manager": {
        f"llm_incident_manager_{name}": values
        for name, values in {
            **HTTP,
            "http_connections_active": {(): 3},
            "grpc_requests_total": {
                ("incidents.v1.Incidents", "Create", "OK"): 1,
                ("incidents.v1.Incidents", "Create", "DEADLINE_EXCEEDED"): 1,
            },
            "grpc_request_duration_seconds": {("incidents.v1.Incidents", "Create"): 2},
            "grpc_streams_active": {(): 2},
            "incidents_total": {("critical", "resolved"): 1, ("low", "new"): 2},
            "incidents_active": {("low",): 2},
            "incident_processing_duration_seconds": {("critical",): 1},
            "incidents_deduplicated_total": {(): 4},
            "incidents_correlated_total": {(): 5},
            "incidents_escalated_total": {("l2",): 1},
            "llm_requests_total": {("openai", "gpt-4o", "chat"): 3},
            "llm_request_duration_seconds": {("openai", "gpt-4o", "chat"): 3},
            "llm_tokens_total": {("openai", "gpt-4o", "input"): 200, ("openai", "gpt-4o", "output"): 40},
            "llm_errors_total": {("openai", "rate_limit"): 1},
            "llm_cost_usd": {("openai", "gpt-4o"): 2 * (100 * 2.5 + 20 * 10) / 1e6},
            "notifications_total": {("slack", "sent"): 1, ("email", "failed"): 1},
            "notification_duration_seconds": {("slack",): 1},
            "notification_queue_size": {("email",): 6},
            "playbook_executions_total": {("restart", "success"): 1, ("restart", "error"): 1},
            "playbook_execution_duration_seconds": {("restart",): 2},
            "playbook_executions_active": {(): 1},
            "storage_operations_total": {
                ("select", "postgresql"): 2,
                ("insert", "postgresql"): 1,
                ("put", "s3"): 1,
            },
            "storage_operation_duration_seconds": {
                ("select", "postgresql"): 2,
                ("insert", "postgresql"): 1,
                ("put", "s3"): 1,
            },
            "storage_size_bytes": {("s3",): 5000},
            "errors_total": {("api", "timeout"): 2},
            "build_info": {("1.2.0", "0a1b2c3", "2026-01-01T00:00:00Z"): 1},
            "uptime_seconds": {(): 99},
        }.items()
    },
    "research_api": {
        **HTTP,
        "http_requests_in_flight": {(): 1},
        "db_query_duration_seconds": {("select", "users"): 2, ("insert", "users"): 1},
        "db_connections_total": {(): 6},
        "db_connection_errors_total": {(): 3},
        "db_query_errors_total": {("insert", "unique_constraint"): 1},
        "experiments_created_total": {(): 3},
        "experiments_completed_total": {("success",): 2},
        "experiment_runs_total": {("running",): 4},
        "experiment_duration_seconds": {(): 1},
        "evaluations_processed_total": {(): 9},
        "models_registered_total": {(): 2},
        "datasets_uploaded_total": {(): 2},
        "dataset_upload_size_bytes": {(): 1},
        "process_cpu_seconds_total": {(): 4},
        "process_resident_memory_bytes": {(): 5e7},
        "process_open_fds": {(): 12},
        "process_start_time_seconds": {(): 1_700_000_000},
        "operation_duration": {(): 1},
        "custom_operation": {("processing",): 1},
        "custom_events": {("success",): 3},
        "active_connections": {(): 42},
        "operations_total": {("batch",): 1},
        "queue_size": {(): 10},
    },
}
# Counters that OpenMetrics 1.0 cannot call counters, as their names do not end with `_total`.
NO_TOTAL = {"llm_incident_manager_llm_cost_usd", "custom_events"}


@cache
def scrape(profile: str, emit: str) -> dict[str, tuple[str, bytes]]:
    """What is shown in each format after all of it was recorded, with calls of one generation of names."""
    with running(profile=profile, scrape_timeout=30) as bridge:
        meter = bridge.meter_provider.get_meter("app")
        going_on = calls_of_models(bridge.meter_provider, emit)
        of_http(meter)
        of_databases(meter)
        OWN[profile](meter, load_profile(profile).instruments(meter, strict=True))
        shown = {name: bridge.reader.expose(accept) for name, accept in FORMATS.items()}
        del going_on
        # The registry's own collector of the process makes way for what the application records.
        names = {conflict.metric for conflict in bridge.reader.conflicts()}
        assert names <= {row["name"] for row in ROWS if row["name"].startswith("process_")}
        return {name: (each.content_type, each.body) for name, each in shown.items()}


# Each row with each generation of names that calls of models may be recorded under.
BOTH = [
    pytest.param(row, emit, id=f"{row['profile']}-{row['name']}-{emit}")
    for row in ROWS
    for emit in ("current", "latest")
]


def stem_of(row: Mapping[str, Any], format_name: str) -> str:
    """How prometheus_client calls the family."""
    name: str = row["name"]
    counted = row["type"] == "counter" and not (format_name == "openmetrics" and name in NO_TOTAL)
    return name.removesuffix("_total") if counted else name


def values(family: Metric, names: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """The samples by these labels: of counters and gauges themselves, of histograms the counts."""
    return {
        tuple(sample.labels[name] for name in names): sample.value
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_sum")) and sample.value
    }


@pytest.mark.parametrize(("row", "emit"), BOTH)
@pytest.mark.parametrize("format_name", ["text", "openmetrics"])
def test_a_row_of_the_documents_is_there(row: dict[str, Any], emit: str, format_name: str) -> None:
    """A family has the row's name, type, labels, unit and buckets, with exact values."""
    content_type, body = scrape(row["profile"], emit)[format_name]
    families = {family.name: family for family in parse(content_type, body)}
    stem, name = stem_of(row, format_name), row["name"]
    shown_type = "unknown" if format_name == "openmetrics" and name in NO_TOTAL else row["type"]
    lines = body.decode().splitlines()
    assert f"# TYPE {name if format_name == 'text' else stem} {shown_type}" in lines
    family = families[stem]
    ends = ("_bucket", "_count", "_sum") if row["type"] == "histogram" else ("",)
    # prometheus_client's parser of text says `_total` of every counter, so what is written is asked.
    written = {re.split("[{ ]", line)[0] for line in lines if line.startswith(name)}
    assert {f"{name}{end}" for end in ends} <= written
    for sample in family.samples:
        assert sample.labels.keys() - {"le"} == {*row["labels"]}
    found = values(family, tuple(row["labels"]))
    assert found == pytest.approx(dict(EXPECTED[row["profile"]][name]))
    if format_name == "openmetrics" and row["unit"]:
        assert f"# UNIT {stem} {row['unit']}" in lines
    if format_name == "openmetrics" and not row["unit"]:
        assert not any(line.startswith(f"# UNIT {stem} ") for line in lines)
    bounds = {sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")}
    agrees([float(bound) for bound in bounds], row)


def agrees(bounds: list[float], row: Mapping[str, Any]) -> None:
    """The bounds are those of the row, which may say the first, the last and how many there are."""
    found, expected = sorted(filter(math.isfinite, bounds)), row["buckets"]
    if isinstance(expected, dict):
        assert (found[0], found[-1], len(found)) == (expected["first"], expected["last"], expected["number"])
    elif expected is not None:
        assert found == expected
    assert bool(found) == (row["type"] == "histogram")


@pytest.mark.parametrize(("row", "emit"), BOTH)
def test_a_row_of_the_documents_is_there_in_protobuf(row: dict[str, Any], emit: str) -> None:
    """The same over protobuf, where each name is exact and each counter is one."""
    _, body = scrape(row["profile"], emit)["protobuf"]
    (family,) = (family for family in decode(body) if family.name == row["name"])
    kinds = {0: "counter", 1: "gauge", 4: "histogram"}
    assert kinds[family.type] == row["type"]
    assert family.unit in ("", row["unit"]) if not row["unit"] else family.unit == row["unit"]
    found = {}
    for metric in family.metric:
        labels = {pair.name: pair.value for pair in metric.label}
        assert labels.keys() == {*row["labels"]}
        point = getattr(metric, row["type"])
        value = point.sample_count if row["type"] == "histogram" else point.value
        if value:
            found[tuple(labels[name] for name in row["labels"])] = value
        if row["type"] == "histogram":
            agrees([bucket.upper_bound for bucket in point.bucket], row)
    assert found == pytest.approx(dict(EXPECTED[row["profile"]][row["name"]]))


@pytest.mark.parametrize("profile", OWN)
def test_nothing_is_missing_from_the_table(profile: str) -> None:
    """Each row is a family of the profile, and what is recorded makes nothing else."""
    named = [row["name"] for row in ROWS if row["profile"] == profile]
    assert len(named) == {"tachikoma": 25, "incident_manager": 31, "research_api": 27}[profile]
    assert len(set(named)) == len(named)
    process = {"process_cpu_seconds_total", "process_resident_memory_bytes"} | {
        "process_open_fds",
        "process_start_time_seconds",
    }
    # What the documents have no name for is in these, so that it is somewhere.
    rest = {
        "tachikoma": {
            *("execution_tokens_beside_total", "other_operations_total", "other_operation_duration_seconds"),
        },
        "incident_manager": {
            *("llm_incident_manager_llm_tokens_beside_total",),
            *(f"llm_incident_manager_llm_other_operation{it}" for it in ("s_total", "_errors_total")),
            "llm_incident_manager_llm_other_operation_duration_seconds",
        },
    }
    families = {family.name for family in load_profile(profile).families} - rest.get(profile, set())
    assert families - process == {*named} - process
    assert {*named} <= families
    assert EXPECTED[profile].keys() == {*named}


@cache
def naturally(profile: str, door: str) -> dict[str, tuple[str, bytes]]:
    """What is shown in each format of what a program records in the ways that applications do."""
    port = free_port()
    command = [sys.executable, str(PROGRAM), profile, door]
    if door == "hub":
        command = [sys.executable, "-m", "otel_prom_bridge", "run", "--linger", "0", "--", *command]
    variables = {
        "ACCEPTS": json.dumps([accept or "" for accept in FORMATS.values()]),
        "HUB_PORT": str(port),
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(port),
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
        "OTEL_SERVICE_NAME": "natural",
        **({"OTEL_PROM_BRIDGE_PROFILE": profile} if door == "hub" else {}),
    }
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        name: (found[accept or ""][0], base64.b64decode(found[accept or ""][1]))
        for name, accept in FORMATS.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["text", "openmetrics"])
@pytest.mark.parametrize("door", ["start", "direct", "hub"])
@pytest.mark.parametrize("profile", OWN)
def test_what_applications_record_by_themselves_is_there(profile: str, door: str, format_name: str) -> None:
    """Each row, by middlewares, interceptors, trackers and packages, in the process and behind a hub."""
    content_type, body = naturally(profile, door)[format_name]
    families = {family.name: family for family in parse(content_type, body)}
    lines = body.decode().splitlines()
    for row in [row for row in ROWS if row["profile"] == profile]:
        stem, name = stem_of(row, format_name), row["name"]
        shown_type = "unknown" if format_name == "openmetrics" and name in NO_TOTAL else row["type"]
        assert f"# TYPE {name if format_name == 'text' else stem} {shown_type}" in lines
        family = families[stem]
        assert any(sample.value for sample in family.samples), name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == {*row["labels"]}, name
        if format_name == "openmetrics" and row["unit"]:
            assert f"# UNIT {stem} {row['unit']}" in lines
        bounds = {sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")}
        agrees([float(bound) for bound in bounds], row)


@pytest.mark.slow
@pytest.mark.parametrize("door", ["start", "direct", "hub"])
@pytest.mark.parametrize("profile", OWN)
def test_what_applications_record_by_themselves_is_there_in_protobuf(profile: str, door: str) -> None:
    """The same families with their exact names, types, labels and units."""
    kinds = {0: "counter", 1: "gauge", 4: "histogram"}
    families = {family.name: family for family in decode(naturally(profile, door)["protobuf"][1])}
    for row in [row for row in ROWS if row["profile"] == profile]:
        family = families[row["name"]]
        assert (kinds[family.type], family.unit if row["unit"] else "") == (row["type"], row["unit"])
        for metric in family.metric:
            assert {pair.name for pair in metric.label} == {*row["labels"]}, row["name"]
            if row["type"] == "histogram":
                agrees([bucket.upper_bound for bucket in metric.histogram.bucket], row)


def test_operations_of_models_have_the_names_of_the_conventions() -> None:
    """What the incident manager's document calls a completion is a text completion, and nothing is lost."""
    with running(profile="incident_manager") as bridge:
        for operation in ("completion", "text_completion", "chat", "embed", "summarize"):
            with LLMCallTracker("openai", "gpt-4o", operation, meter_provider=bridge.meter_provider):
                pass
        family = families_of(bridge)["llm_incident_manager_llm_requests"]
    found = {sample.labels["operation"]: sample.value for sample in family.samples}
    assert found == {"text_completion": 2, "chat": 1, "embeddings": 1, "other": 1}
