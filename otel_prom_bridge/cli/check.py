"""``check``: is an exposition as it should be?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable

from otel_prom_bridge.audit import Limits, check
from otel_prom_bridge.audit.asking import Expression, check_queries, queries_of_dashboard, queries_of_rules
from otel_prom_bridge.cli.output import FOUND, write
from otel_prom_bridge.cli.shared_arguments import WHOLE, add_access, add_source, checked
from otel_prom_bridge.report.cardinality import visible
from otel_prom_bridge.snapshots import Finding, Snapshot
from otel_prom_bridge.snapshots.findings import RULES, Faults
from otel_prom_bridge.values.checks import one_of


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Check an exposition: syntax, types, duplicates, names and units, cardinality, exemplars,\n"
        "buckets, and what dashboards and rules ask for that is not there.\n\n"
        "Errors are against the specification of the format, or panels without data; they make the\n"
        "exit code 1. Warnings are against a convention; with --strict they do, too."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge check localhost:9464\n"
        "  otel-prom-bridge check metrics.txt --strict --ignore help\n"
        "  otel-prom-bridge check localhost:9464 --dashboard llm.json --rules llm.rules.yml"
    )
    add_source(command)
    command.add_argument("--strict", action="store_true", help="warnings make the exit code 1, too")
    command.add_argument(
        "--ignore",
        type=checked(one_of(*RULES)),
        action="append",
        default=[],
        metavar="RULE",
        help="leave this rule out, such as help",
    )
    command.add_argument(
        "--max-series",
        type=WHOLE,
        default=Limits().series,
        metavar="N",
        help="series that a metric may have (default: %(default)s)",
    )
    command.add_argument(
        "--dashboard", action="append", default=[], metavar="FILE", help="a Grafana dashboard in JSON"
    )
    command.add_argument(
        "--rules", action="append", default=[], metavar="FILE", help="Prometheus rules in YAML"
    )
    command.add_argument("--json", action="store_true", help="write JSON instead of lines")
    add_access(command)
    command.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    queries = _queries(options)
    snapshot = Snapshot.lenient(options.where, timeout=options.timeout, headers=dict(options.header))
    faults = Faults()
    check_queries(snapshot.families, queries, faults)
    found = [*check(snapshot, Limits(series=options.max_series)), *faults.all()]
    findings = [finding for finding in found if finding.rule not in options.ignore]
    write(_as_json(findings) if options.json else _as_text(findings, snapshot))
    is_wrong = any(finding.severity == "error" or options.strict for finding in findings)
    return FOUND if is_wrong else 0


def _queries(options: argparse.Namespace) -> list[Expression]:
    found = [query for path in options.dashboard for query in queries_of_dashboard(path)]
    return found + [query for path in options.rules for query in queries_of_rules(path)]


def _as_text(findings: Iterable[Finding], snapshot: Snapshot) -> str:
    findings = list(findings)
    errors = sum(finding.severity == "error" for finding in findings)
    lines = [visible(line) for finding in findings for line in str(finding).split("\n")]
    series = sum(len(family.points) for family in snapshot.families)
    total = (
        f"{len(snapshot.families):,} metrics with {series:,} series: "
        f"{errors:,} errors, {len(findings) - errors:,} warnings"
    )
    return "\n".join([*lines, total])


def _as_json(findings: Iterable[Finding]) -> str:
    return json.dumps([finding._asdict() for finding in findings], indent=2)
