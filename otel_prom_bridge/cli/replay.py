"""``replay``: serve a recording again."""

from __future__ import annotations

import argparse
import sys

from otel_prom_bridge.cli.output import until_interrupted, write
from otel_prom_bridge.cli.shared_arguments import add_endpoint, checked
from otel_prom_bridge.endpoint import start_http_server
from otel_prom_bridge.exposition import Format
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.recordings import Recording
from otel_prom_bridge.testing.replay import Replay
from otel_prom_bridge.values.checks import FACTOR


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Serve a recording (or a single exposition) on a port, as the application exposed it, at its own\n"
        "speed or faster. With --backfill, write it to stdout as OpenMetrics with timestamps instead, which\n"
        "`promtool tsdb create-blocks-from openmetrics` makes a database of."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge replay demo.jsonl.gz --speed 10\n"
        "  otel-prom-bridge replay demo.jsonl.gz --backfill > demo.om"
    )
    command.add_argument("file", metavar="FILE", help="a recording of `record`, or an exposition")
    command.add_argument(
        "--speed",
        type=checked(FACTOR),
        default=1.0,
        metavar="N",
        help="so many times as fast",
    )
    command.add_argument("--loop", action="store_true", help="begin anew at the end; counters go back then")
    command.add_argument("--backfill", action="store_true", help="write all of it to stdout, with timestamps")
    add_endpoint(command)
    command.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    recording = Recording.of(options.file)
    if options.backfill:
        body = Snapshot.of_families(recording.with_times()).expose(Format.OPENMETRICS_1_0_0.value).body
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
        return 0
    replay = Replay(recording, speed=options.speed, loop=options.loop)
    with start_http_server(replay, port=options.port, addr=options.addr) as server:
        count = len(recording.snapshots)
        write(f"{count:,} snapshots of {recording.seconds:,.0f} s at {server.url}; Ctrl-C ends it")
        until_interrupted()
    return 0
