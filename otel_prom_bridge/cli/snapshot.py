"""``snapshot``: keep an exposition."""

from __future__ import annotations

import argparse
import sys

from otel_prom_bridge.cli.output import CommandError, write
from otel_prom_bridge.cli.shared_arguments import add_access, add_source
from otel_prom_bridge.exposition import Format
from otel_prom_bridge.snapshots import Snapshot

_KINDS = (*dict.fromkeys(item.value.partition(";")[0] for item in Format), "*/*")
_ALLOWED = f"there are {', '.join(_KINDS[:-1])}"


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Write an exposition of any format to stdout: sorted, and as OpenMetrics 2.0, which loses nothing,\n"
        "or in the format that --accept asks for."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge snapshot localhost:9464 > before.txt\n"
        "  otel-prom-bridge snapshot before.txt --accept 'text/plain;version=0.0.4' | promtool check metrics"
    )
    add_source(command)
    command.add_argument("--accept", metavar="TYPES", help="the format to write, as an Accept header says it")
    add_access(command)
    command.set_defaults(run=_snapshot)


def _snapshot(options: argparse.Namespace) -> int:
    if options.accept is not None and not any(kind in options.accept.lower() for kind in _KINDS):
        raise CommandError(f"--accept: {options.accept!r} is no format that can be written; {_ALLOWED}")
    snapshot = Snapshot.of(options.where, timeout=options.timeout, headers=dict(options.header))
    if options.accept is None:
        return write(snapshot.text().rstrip("\n"))
    sys.stdout.flush()
    sys.stdout.buffer.write(snapshot.expose(options.accept).body)
    sys.stdout.flush()
    return 0
