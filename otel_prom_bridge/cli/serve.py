"""``serve``: the explorer's page for any target or recorded exposition, ours or anybody's."""

from __future__ import annotations

import argparse
import threading

from otel_prom_bridge.cli.output import write
from otel_prom_bridge.cli.shared_arguments import add_access, add_endpoint, checked
from otel_prom_bridge.endpoint import start_http_server
from otel_prom_bridge.endpoint.pages import Wanted, pages_of
from otel_prom_bridge.explorer.options import TRACE_URL
from otel_prom_bridge.explorer.target import FileTarget, ForeignTarget, RecordingTarget, UrlTarget
from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.fetching import as_url, fetch
from otel_prom_bridge.snapshots.recordings import Recording


def add(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.description = (
        "Show what an endpoint exposes on a page in the browser: a URL, which is asked again while the page\n"
        "is open, an exposition in a file, or a recording of `record`. /metrics beside the page has the same."
    )
    command.epilog = (
        "examples:\n"
        "  otel-prom-bridge serve localhost:8000\n"
        "  otel-prom-bridge serve metrics.prom --port 0\n"
        "  otel-prom-bridge serve localhost:9464 --trace-url 'http://localhost:16686/trace/{trace_id}'"
    )
    command.add_argument("where", metavar="URL|FILE|-", help="what to show; host:port is http, - is stdin")
    command.add_argument(
        "--trace-url",
        type=checked(TRACE_URL),
        metavar="URL",
        help="where the trace of an exemplar is, with {trace_id} in it",
    )
    command.add_argument(
        "--public",
        action="store_true",
        help="show it to everybody who reaches the address, if it is not one of this machine only",
    )
    add_access(command)
    add_endpoint(command)
    command.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    target = target_of(options)
    count = len(target.snapshot().families)  # what cannot be had is said now, and not in the browser
    wanted: Wanted = "public" if options.public else True
    title = options.where if options.where != "-" else "stdin"
    pages = pages_of(target, wanted, trace_url=options.trace_url, title=title)
    with start_http_server(target, port=options.port, addr=options.addr, explorer=pages) as server:
        page = server.url.removesuffix("/metrics")
        write(f"{count:,} families of {title} at {page}/; Ctrl-C ends it")
        threading.Event().wait()
    return 0


def target_of(options: argparse.Namespace) -> ForeignTarget:
    """What is to be shown: a URL, an exposition, or a recording."""
    where: str = options.where
    if as_url(where):
        return UrlTarget(where, timeout=options.timeout, headers=dict(options.header))
    body = fetch(where).body
    if body[:1] == b"{" and body.partition(b"\n")[0].rstrip().endswith(b"}"):
        return RecordingTarget(Recording.of(where))
    snapshot = Snapshot.lenient(body)  # what is wrong with it is shown
    return FileTarget(snapshot if snapshot.families else Snapshot.of(body))
