"""Alerts of services, judged by promtool: HTTP, databases, processes, endpoints, and those of dialects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alerts import SCRAPED, Case, judged, quantile, shares
from alerts_of_models import CASES as OF_MODELS

from otel_prom_bridge.dashboards import read_dashboard
from otel_prom_bridge.profiles import BUILT_IN, load_profile

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.usefixtures("real_prometheus"),  # promtool comes with it
]

N = "llm_incident_manager_"
TARGET = 'job="app", instance="host:9464"'
OTHER = 'job="app", instance="other:9464"'
CERTIFICATE = "otel_prom_bridge_certificate_expiry_timestamp_seconds"
OVERFLOW = f'{{{TARGET}, metric="m"}}'


def between(name: str, labels: str, low: str, high: str) -> dict[str, str]:
    """A histogram all of whose observations are between two of its bounds."""
    return {
        f'{name}_bucket{{{labels}, le="{low}"}}': "0x120",
        f'{name}_bucket{{{labels}, le="{high}"}}': "0+60x120",
        f'{name}_bucket{{{labels}, le="+Inf"}}': "0+60x120",
    }


def parts(whole: str, part: str, labels: str, failing: int, more: str = "") -> dict[str, str]:
    """A hundred per minute of one metric, of which so many are in another one."""
    return {f"{whole}{{{labels}}}": "0+100x120", f"{part}{{{labels}{more}}}": f"0+{failing}x120"}


def case(profile: str, alert: str, labels: Mapping[str, str], severity: str, **more: Any) -> Case:
    """A case of an alert of a job."""
    return Case(profile=profile, alert=alert, labels={"job": "app", **labels, "severity": severity}, **more)


def of_endpoints(profile: str, series: str, scrapes: str) -> list[Case]:
    """The alerts of an endpoint, whose own metrics have these names."""
    down = {f"up{{{TARGET}}}": "1x10 0x110", f"{series}{{{TARGET}}}": "5x10"}
    strangers = {f"up{{{OTHER}}}": "0x120", f"{series}{{{TARGET}}}": "5x120"}
    return [
        case(
            *(profile, "EndpointDown", {"instance": "host:9464"}, "critical"),
            series=down,
            quiet=strangers,
            summary="app: host:9464 answers no scrapes",
        ),
        case(
            *(profile, "ScrapesSlow", {"instance": "host:9464"}, "warning"),
            series=quantile(scrapes, TARGET, "5.12"),
            quiet=quantile(scrapes, TARGET, "2.56"),
            summary="host:9464 needs 4.992s to answer a scrape",
        ),
    ]


def of_memory(profile: str, metric: str) -> Case:
    """A process that has four times the memory after six hours."""
    return case(
        *(profile, "ProcessMemoryGrowing", {"instance": "host:9464"}, "warning"),
        series={f"{metric}{{{TARGET}}}": "100000000x360 400000000x120"},
        quiet={f"{metric}{{{TARGET}}}": "400000000x480"},
        summary="app: host:9464 uses half as much memory again as six hours ago",
        fires="430m",
        before="380m",
    )


ENDPOINTS = [
    *of_endpoints("tachikoma", "otel_prom_bridge_series", "otel_sdk_exporter_operation_duration_seconds"),
    *of_endpoints("llmdevops", "llmdevops_metrics_series_count", "llmdevops_metrics_scrape_duration_seconds"),
    Case(
        profile="llmdevops",
        alert="ScrapePoolOverTargetLimit",
        series={f"prometheus_target_scrape_pool_exceeded_target_limit_total{{{TARGET}}}": "0x10 1x110"},
        quiet={f"prometheus_target_scrape_pool_exceeded_target_limit_total{{{TARGET}}}": "1x120"},
        labels={**SCRAPED, "severity": "warning"},
        summary="A scrape pool of Prometheus is over its target_limit, and scrapes nothing",
        fires="20m",
    ),
    case(
        *("tachikoma", "SeriesNearLimit", {"instance": "host:9464"}, "warning"),
        series={
            f"otel_prom_bridge_series{{{TARGET}}}": "8500x120",
            f"otel_prom_bridge_series_limit{{{TARGET}}}": "10000x120",
        },
        quiet={
            f"otel_prom_bridge_series{{{TARGET}}}": "8500x120",
            f"otel_prom_bridge_series_limit{{{TARGET}}}": "20000x120",
        },
        summary="host:9464 has 85% of the series that it may have",
    ),
    *(
        case(
            *("tachikoma", "SeriesOverflow", {"instance": "host:9464", "metric": "m"}, "warning"),
            series={f"otel_prom_bridge_overflowed_points_total{OVERFLOW}": growing},
            quiet={f"otel_prom_bridge_overflowed_points_total{OVERFLOW}": "5x60 _x20 5x40"},
            summary="host:9464: m has no room for new series",
            before="30m",
        )
        for growing in ("0x35 1+1x80", "_x35 5x80")
    ),
    *(
        case(
            *("tachikoma", alert, {"instance": "host:9464"}, severity),
            series={f"{CERTIFICATE}{{{TARGET}}}": f"{soon}x120"},
            quiet={f"{CERTIFICATE}{{{TARGET}}}": f"{later}x120"},
            summary=f"host:9464: the certificate of the endpoint ends in {left}",
            fires="80m",
        )
        # Seconds since 1970, which is when the test begins.
        for alert, severity, soon, later, left in [
            ("CertificateEndsSoon", "warning", 1_000_000, 1_300_000, "11d 12h 26m 40s"),
            ("CertificateEnds", "critical", 150_000, 200_000, "1d 16h 20m 0s"),
        ]
    ),
    of_memory("tachikoma", "process_resident_memory_bytes"),
    of_memory("semconv", "process_resident_memory_bytes"),
    of_memory("semconv", "process_memory_usage_bytes"),
    case(
        *("tachikoma", "ProcessRestarting", {"instance": "host:9464"}, "warning"),
        series={f"process_start_time_seconds{{{TARGET}}}": "100x10 200x5 300x5 400x40"},
        quiet={f"process_start_time_seconds{{{TARGET}}}": "100x60 200x60"},
        summary="app: host:9464 has restarted 3 times in half an hour",
        fires="30m",
    ),
]
ROUTE = 'job="app", method="GET", path="/x"'
TACHIKOMA = [
    case(
        *("tachikoma", "HTTPErrorsHigh", {"path": "/x"}, "critical"),
        series=shares("http_requests_total", ROUTE, "status", good="2xx", bad="5xx", failing=10),
        quiet=shares("http_requests_total", ROUTE, "status", good="2xx", bad="4xx", failing=10),
        summary="app: 10% of the requests to /x fail",
    ),
    case(
        *("tachikoma", "HTTPLatencyHigh", {"method": "GET", "path": "/x"}, "warning"),
        series=quantile("http_request_duration_seconds", ROUTE, "5.12"),
        quiet=quantile("http_request_duration_seconds", ROUTE, "2.56"),
        summary="app: 1 of 20 requests to /x takes more than 4.992s",
    ),
    *(
        case(
            *("tachikoma", "ExecutionsFailing", {"backend": "b", "model": "m"}, "critical"),
            series=shares(*of, "status", good="success", bad="error", failing=20),
            quiet=shares(*of, "status", good="success", bad="error", failing=5),
            summary="app: 20% of the executions of m fail",
        )
        for of in [("executions_total", 'job="app", backend="b", model="m"')]
    ),
    case(
        *("tachikoma", "ExecutionsSlow", {"backend": "b", "model": "m"}, "warning"),
        series=between("execution_duration_seconds", 'job="app", backend="b", model="m"', "60", "120"),
        quiet=between("execution_duration_seconds", 'job="app", backend="b", model="m"', "30", "60"),
        summary="app: 1 of 20 executions of m takes more than 1m 57s",
    ),
    case(
        *("tachikoma", "BackendErrorsHigh", {"backend": "b"}, "critical"),
        series=parts("backend_requests_total", "backend_errors_total", 'job="app", backend="b"', 10),
        quiet=parts("backend_requests_total", "backend_errors_total", 'job="app", backend="b"', 2),
        summary="app: 10% of the requests to b fail",
    ),
    case(
        *("tachikoma", "QueriesSlow", {"operation": "select"}, "warning"),
        series=between("db_query_duration_seconds", 'job="app", operation="select"', "0.5", "1"),
        quiet=between("db_query_duration_seconds", 'job="app", operation="select"', "0.25", "0.5"),
        summary="app: 1 of 20 select queries takes more than 975ms",
    ),
    case(
        *("tachikoma", "CacheMissesHigh", {}, "info"),
        series={'cache_hits_total{job="app"}': "0+1x120", 'cache_misses_total{job="app"}': "0+9x120"},
        quiet={'cache_hits_total{job="app"}': "0+9x120", 'cache_misses_total{job="app"}': "0+1x120"},
        summary="app: only 10% of what is asked of the caches is there",
    ),
]
SEVERE = {"severity": "critical"}
INCIDENT = 'job="app", severity="high"'
CALLS = 'job="app", service="s", method="m"'
INCIDENTS = [
    Case(
        profile="incident_manager",
        alert="IncidentsCriticalOpen",
        series={f'{N}incidents_active{{job="app", severity="critical"}}': "2x120"},
        quiet={f'{N}incidents_active{{job="app", severity="high"}}': "2x120"},
        labels={"job": "app", **SEVERE},
        summary="app: 2 critical incidents are open",
    ),
    *(
        Case(
            profile="incident_manager",
            alert=alert,
            series=shares(f"{N}{metric}", labels, "status", good=good, bad=bad, failing=failing),
            quiet=shares(f"{N}{metric}", labels, "status", good=good, bad=harmless, failing=few),
            labels={**said, **SEVERE},
            summary=summary,
        )
        for alert, metric, labels, (good, bad, harmless), (failing, few), said, summary in [
            (
                *("IncidentsFailing", "incidents_total", INCIDENT),
                *(("resolved", "error", "error"), (20, 5)),
                {"job": "app", "incident_severity": "high"},
                "app: the processing of 20% of the high incidents fails",
            ),
            (
                *("PlaybooksFailing", "playbook_executions_total", 'job="app", playbook_id="p"'),
                *(("success", "error", "error"), (20, 5)),
                *({"job": "app", "playbook_id": "p"}, "app: 20% of the executions of p fail"),
            ),
            (
                *("NotificationsFailing", "notifications_total", 'job="app", channel="slack"'),
                *(("sent", "failed", "sent_late"), (10, 10)),
                *({"job": "app", "channel": "slack"}, "app: 10% of the notifications over slack fail"),
            ),
            (
                *("GrpcErrorsHigh", "grpc_requests_total", CALLS),
                *(("OK", "INTERNAL", "NOT_FOUND"), (10, 10)),
                *({"job": "app", "service": "s", "method": "m"}, "app: 10% of the calls of s/m fail"),
            ),
        ]
    ),
    Case(
        profile="incident_manager",
        alert="IncidentProcessingSlow",
        series=between(f"{N}incident_processing_duration_seconds", INCIDENT, "300", "600"),
        quiet=between(f"{N}incident_processing_duration_seconds", INCIDENT, "60", "300"),
        labels={"job": "app", "incident_severity": "high", "severity": "warning"},
        summary="app: 1 of 20 high incidents takes more than 9m 45s",
    ),
    case(
        *("incident_manager", "NotificationsWaiting", {"channel": "slack"}, "warning"),
        series={f'{N}notification_queue_size{{job="app", channel="slack"}}': "150x120"},
        quiet={f'{N}notification_queue_size{{job="app", channel="slack"}}': "50x120"},
        summary="app: 150 notifications wait for slack",
    ),
    case(
        *("incident_manager", "LLMErrorsHigh", {"provider": "p"}, "warning"),
        series=parts(f"{N}llm_requests_total", f"{N}llm_errors_total", 'job="app", provider="p"', 10),
        quiet=parts(f"{N}llm_requests_total", f"{N}llm_errors_total", 'job="app", provider="p"', 2),
        summary="app: 10% of the requests to p fail",
    ),
    case(
        *("incident_manager", "LLMCostHigh", {}, "warning"),
        series={f'{N}llm_cost_usd{{job="app", provider="p", model="m"}}': "0+3x120"},
        quiet={f'{N}llm_cost_usd{{job="app", provider="p", model="m"}}': "0+1x120"},
        summary="app spent 180 USD in an hour",
        fires="90m",
    ),
]
QUERY = 'job="app", query_type="insert", table="t"'
COMPLETED = ("experiments_completed_total", 'job="app"', "status")
RESEARCH = [
    case(
        *("research_api", "QueriesSlow", {"query_type": "insert", "table": "t"}, "warning"),
        series=between("db_query_duration_seconds", QUERY, "0.5", "1"),
        quiet=between("db_query_duration_seconds", QUERY, "0.25", "0.5"),
        summary="app: 1 of 20 insert queries of t takes more than 975ms",
    ),
    *(
        case(
            *("research_api", "QueryErrorsHigh", {"query_type": "insert"}, "critical"),
            series=parts(*metrics, 10, ', error_type="x"'),
            quiet=parts(*metrics, 2, ', error_type="x"'),
            summary="app: 10% of the insert queries fail",
        )
        for metrics in [("db_query_duration_seconds_count", "db_query_errors_total", QUERY)]
    ),
    case(
        *("research_api", "DatabaseConnectionErrors", {}, "critical"),
        series={'db_connection_errors_total{job="app"}': "0+2x120"},
        quiet={'db_connection_errors_total{job="app"}': "7x120"},
        summary="app: 10 connections to the database failed",
    ),
    case(
        *("research_api", "ExperimentsFailing", {}, "warning"),
        series=shares(*COMPLETED, good="success", bad="failure", failing=20),
        quiet=shares(*COMPLETED, good="success", bad="failure", failing=5),
        summary="app: only 80% of the experiments succeed",
    ),
]
SERVED = 'job="app", http_request_method="GET", http_route="/x"'
STORED = 'job="app", db_system_name="pg", db_operation_name="select"'
FAILING: list[tuple[str, str, str, dict[str, str], str, str]] = [
    (
        *("OutgoingHTTPErrorsHigh", "http_client_request_duration_seconds_count"),
        *('job="app", server_address="api"', {"server_address": "api"}, "warning"),
        "app: 20% of its requests to api fail",
    ),
    (
        *("QueriesFailing", "db_client_operation_duration_seconds_count"),
        *(STORED, {"db_system_name": "pg"}, "critical", "app: 20% of its queries to pg fail"),
    ),
]
SEMCONV = [
    *(
        case(
            *("semconv", "HTTPErrorsHigh", {"http_route": "/x"}, "critical"),
            series=shares(count, SERVED, label, good=good, bad=bad, failing=10),
            quiet=shares(count, SERVED, "http_response_status_code", good="200", bad="404", failing=10),
            summary="app: 10% of the requests to /x fail",
        )
        for count in ["http_server_request_duration_seconds_count"]
        for label, good, bad in [
            ("http_response_status_code", "200", "503"),
            ("error_type", "", "TimeoutError"),  # there was no answer
        ]
    ),
    case(
        *("semconv", "HTTPLatencyHigh", {"http_route": "/x"}, "warning"),
        series=quantile("http_server_request_duration_seconds", SERVED, "5.12"),
        quiet=quantile("http_server_request_duration_seconds", SERVED, "2.56"),
        summary="app: 1 of 20 requests to /x takes more than 4.992s",
    ),
    *(
        case(
            *("semconv", alert, said, severity),
            series=shares(metric, labels, "error_type", good="", bad="timeout", failing=20),
            quiet=shares(metric, labels, "error_type", good="", bad="timeout", failing=3),
            summary=summary,
        )
        for alert, metric, labels, said, severity, summary in FAILING
    ),
    case(
        *("semconv", "QueriesSlow", {"db_system_name": "pg", "db_operation_name": "select"}, "warning"),
        series=between("db_client_operation_duration_seconds", STORED, "0.5", "1"),
        quiet=between("db_client_operation_duration_seconds", STORED, "0.1", "0.5"),
        summary="app: 1 of 20 select queries takes more than 975ms",
    ),
    case(
        *("semconv", "DatabasePoolExhausted", {"db_client_connection_pool_name": "main"}, "critical"),
        series={
            'db_client_connection_timeouts_total{job="app", db_client_connection_pool_name="main"}': "0+1x120"
        },
        quiet={
            'db_client_connection_timeouts_total{job="app", db_client_connection_pool_name="main"}': "9x120"
        },
        summary="app: requests wait in vain for a connection of main",
    ),
]
CASES = [*ENDPOINTS, *TACHIKOMA, *INCIDENTS, *RESEARCH, *SEMCONV]
# Promtool takes its time for each. Dialects have alerts of the same kinds as the conventions.
OF_DIALECTS = [pytest.param(case, marks=pytest.mark.slow) for case in (*TACHIKOMA, *INCIDENTS, *RESEARCH)]


@pytest.mark.parametrize(
    "case", [*ENDPOINTS, *SEMCONV, *OF_DIALECTS], ids=lambda case: f"{case.profile}-{case.alert}"
)
def test_alerts_fire_when_they_should(case: Case, tmp_path: Path) -> None:
    """After its time the alert is there with labels and texts; before, or with harmless series, it is not."""
    judged(case, tmp_path)


def test_every_alert_has_a_case() -> None:
    """No alert of a built-in profile is without a test. What profiles have of one part is tested in one."""
    tested = {(case.profile, case.alert) for case in (*CASES, *OF_MODELS)}
    alerts: dict[tuple[str, str], set[bool]] = {}
    for name in BUILT_IN:
        profile = load_profile(name)
        for alert in read_dashboard(profile).alerts:
            what = (alert.alert, re.sub(rf"\b({profile.namespace}|ns)_(?=\w)", "", alert.expr))
            alerts.setdefault(what, set()).add((name, alert.alert) in tested)
    assert [what for what, found in alerts.items() if True not in found] == []
