"""``diff``: what is different between two expositions."""

from __future__ import annotations

import argparse
import json

from otel_prom_bridge.cli.output import FOUND, write
from otel_prom_bridge.cli.shared_arguments import add_access, add_source
from otel_prom_bridge.report.cardinality import visible
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.values.patterns import glob


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Compare two expositions, in whichever formats: families and series that are new or gone, types,\n"
        "units, help texts, values, and counters that went back. The exit code is 1 if there are differences."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge diff before.txt localhost:9464 --no-values\n"
        "  otel-prom-bridge diff old:9464 new:9464 --match 'http_*'"
    )
    add_source(command, "before")
    add_source(command, "after")
    command.add_argument("--no-values", action="store_true", help="values may differ")
    command.add_argument(
        "--match",
        action="append",
        metavar="GLOB",
        help="only metrics of this name; may be repeated",
    )
    command.add_argument("--all", action="store_true", help="write all differences, not ten of each kind")
    command.add_argument("--json", action="store_true", help="write JSON instead of lines")
    add_access(command)
    command.set_defaults(run=_diff)


def _diff(options: argparse.Namespace) -> int:
    access = {"timeout": options.timeout, "headers": dict(options.header)}
    before, after = (Snapshot.of(where, **access) for where in (options.before, options.after))
    names = glob(options.match or ["*"])
    found = before.diff(after, compare_values=not options.no_values, wanted=names.fullmatch)
    if options.json:
        write(json.dumps(found.as_json(), indent=2))
    else:
        write("\n".join(map(visible, found.lines(most=None if options.all else 10))) or "no difference")
    return FOUND if found else 0
