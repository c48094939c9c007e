"""``cardinality``: which metrics and labels make the series of an exposition."""

from __future__ import annotations

import argparse
import json
from typing import Any

from otel_prom_bridge.cli.output import write
from otel_prom_bridge.cli.shared_arguments import WHOLE, add_access, add_source
from otel_prom_bridge.report.cardinality import (
    DEFAULT_VALUES,
    CardinalityReport,
    MetricCardinality,
    of_family,
)
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.values.patterns import glob

_TOP = 20


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = "Count the series of an exposition, biggest metric first."
    command.epilog = (
        "SERIES are label sets; SAMPLES are lines, each a series to the database.\n\n"
        "example:\n  otel-prom-bridge cardinality localhost:9464 --match 'http_*'"
    )
    add_source(command)
    _add_choices(command)
    add_access(command)
    command.set_defaults(run=_cardinality)


def _add_choices(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--top",
        type=WHOLE,
        metavar="N",
        help=f"show N metrics, 0 for all (default: {_TOP} in the table, all with --json)",
    )
    command.add_argument(
        "--values",
        type=WHOLE,
        default=DEFAULT_VALUES,
        metavar="N",
        help="count the series of the N biggest values of each label (default: %(default)s)",
    )
    command.add_argument(
        "--match",
        action="append",
        metavar="GLOB",
        help="only metrics of this name, with * and ?; may be repeated",
    )
    command.add_argument("--json", action="store_true", help="write JSON instead of a table")


def _cardinality(options: argparse.Namespace) -> int:
    names = glob(options.match or ["*"])
    snapshot = Snapshot.of(options.where, timeout=options.timeout, headers=dict(options.header))
    report = CardinalityReport.of(
        of_family(family, values=options.values)
        for family in snapshot.families
        if family.points and names.fullmatch(family.name)
    )
    if options.json:
        return write(json.dumps(_as_json(report, options.top or None), indent=2))
    return write(report.table(top=_TOP if options.top is None else options.top or None))


def _as_json(report: CardinalityReport, top: int | None) -> dict[str, Any]:
    return {
        "series": report.series,
        "samples": report.samples,
        "metrics": [_metric_as_json(metric) for metric in report.metrics[:top]],
        "left_out": len(report) - len(report.metrics[:top]),
    }


def _metric_as_json(metric: MetricCardinality) -> dict[str, Any]:
    return {
        "metric": metric.metric,
        "type": metric.kind,
        "series": metric.series,
        "samples": metric.samples,
        "overflow_series": metric.overflow_series,
        "labels": [
            {
                "name": label.name,
                "values": label.values,
                "biggest": [{"value": value, "series": series} for value, series in label.biggest],
            }
            for label in metric.labels
        ],
    }
