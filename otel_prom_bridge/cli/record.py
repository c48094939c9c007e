"""``record``: keep what a URL exposes, again and again."""

from __future__ import annotations

import argparse
import sys
import time

from otel_prom_bridge.cli.output import Progress, write
from otel_prom_bridge.cli.shared_arguments import WHOLE, add_access, checked
from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.recordings import Recorder
from otel_prom_bridge.values.checks import SECONDS


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Fetch an exposition at an interval, and write a recording that `replay` serves again.\n"
        "Ctrl-C ends it; what was written is complete."
    )
    command.epilog = (
        "example:\n  otel-prom-bridge record localhost:9464 --out demo.jsonl.gz --interval 5 --for 3600"
    )
    command.add_argument("where", metavar="URL", help="what to fetch, such as localhost:9464")
    command.add_argument("--out", required=True, metavar="FILE", help="where to; .gz is compressed")
    command.add_argument(
        "--interval", type=checked(SECONDS), default=15.0, metavar="SECONDS", help="default: %(default)g"
    )
    command.add_argument("--for", dest="seconds", type=checked(SECONDS), metavar="SECONDS", help="how long")
    command.add_argument("--count", type=WHOLE, metavar="N", help="how many snapshots")
    add_access(command)
    command.set_defaults(run=_record)


def _record(options: argparse.Namespace) -> int:
    most = options.count or sys.maxsize
    if options.seconds is not None:
        most = min(most, int(options.seconds / options.interval) + 1)
    access = {"timeout": options.timeout, "headers": dict(options.header)}
    first = Snapshot.of(options.where, **access)  # a URL that is wrong is said before a file is made
    count = missed = 0
    with Recorder(options.out) as recorder, Progress() as progress:
        began = time.monotonic()
        recorder.write(first)
        try:
            for count in range(1, most):
                progress.show(f"{count:,} snapshots, {missed:,} missed")
                time.sleep(max(0.0, began + count * options.interval - time.monotonic()))
                try:
                    recorder.write(Snapshot.of(options.where, **access))
                except ExpositionError:
                    missed += 1  # the target may come back
        except KeyboardInterrupt:
            most = count
    return write(f"{options.out}: {max(1, min(most, count + 1)) - missed:,} snapshots, {missed:,} missed")
