"""``synth``: made-up load, on a port or as a recording."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress

from otel_prom_bridge.cli.output import Progress, write
from otel_prom_bridge.cli.shared_arguments import add_endpoint, checked
from otel_prom_bridge.endpoint import start_http_server
from otel_prom_bridge.snapshots.recordings import Recorder
from otel_prom_bridge.testing.probe import MetricsProbe
from otel_prom_bridge.testing.synthetic import Synthetic
from otel_prom_bridge.values.checks import SECONDS

_STEP = 1.0  # how often load is made, in seconds


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Make up load by a description in TOML: families, labels, rates, distributions, errors and seasons.\n"
        "It is served on a port as time passes, or written as a recording at once (--out)."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge synth shop.toml --port 9464\n"
        "  otel-prom-bridge synth shop.toml --out hour.jsonl.gz --for 3600 --interval 15\n\n"
        "a description:\n"
        "  [[metrics]]\n"
        '  name = "http.server.request.duration"\n'
        '  kind = "histogram"\n'
        '  unit = "s"\n'
        "  rate = 20\n"
        "  median = 0.12\n"
        '  labels = {"http.route" = 12, "http.request.method" = {GET = 9, POST = 1}}'
    )
    command.add_argument("description", metavar="FILE", help="a description in TOML")
    command.add_argument("--out", metavar="FILE", help="write a recording instead of serving")
    command.add_argument(
        "--for",
        dest="seconds",
        type=checked(SECONDS),
        metavar="SECONDS",
        help="how long (3600 with --out)",
    )
    command.add_argument(
        "--interval",
        type=checked(SECONDS),
        default=15.0,
        metavar="SECONDS",
        help="between snapshots of a recording (default: %(default)g)",
    )
    add_endpoint(command)
    command.set_defaults(run=_synth)


def _synth(options: argparse.Namespace) -> int:
    synthetic = Synthetic(options.description)
    if options.out is None:
        return _serve(synthetic, options)
    seconds, begin = options.seconds or 3600.0, time.time()
    count = 0
    with Recorder(options.out) as recorder, Progress() as progress:
        for snapshot in synthetic.snapshots(seconds, interval=options.interval, begin=begin - seconds):
            recorder.write(snapshot)
            count += 1
            progress.show(f"{count * options.interval:,.0f} of {seconds:,.0f} s")
    return write(f"{options.out}: {count:,} snapshots of {seconds:,.0f} s")


def _serve(synthetic: Synthetic, options: argparse.Namespace) -> int:
    with suppress(KeyboardInterrupt), MetricsProbe(registry=None, disable_target_info=False) as probe:
        server = start_http_server(probe.reader, port=options.port, addr=options.addr)
        write(f"{len(synthetic.metrics):,} metrics at {server.url}; Ctrl-C ends it")
        began = last = time.monotonic()
        while options.seconds is None or last - began < options.seconds:
            time.sleep(_STEP)
            now = time.monotonic()
            synthetic.step(probe.meter("synthetic"), now - last)
            last = now
    return 0
