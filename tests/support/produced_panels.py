"""Which panels of the dashboards have data, of what producers showed: a real Prometheus is asked."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from produced import OPENMETRICS, Result
from servers import Prometheus, prometheus, wait_for

from otel_prom_bridge.dashboards import Panel, read_dashboard
from otel_prom_bridge.profiles import load_profile

# Rows that no producer of this kind fills.
_OTHERS = {"Processes", "HTTP server", "HTTP clients", "Databases", "Cardinality", "What recorders fill"}
_GRAFANA = {"$__rate_interval": "60s", "$__range": "60s"}
_INTERVAL = 2.0


def panels(profile: str) -> list[Panel]:
    """The panels about models, agents and tools."""
    return [panel for panel in read_dashboard(load_profile(profile)).panels if panel.row not in _OTHERS]


def with_data(
    executable: str, folder: Path, results: Mapping[str, list[Result]]
) -> dict[tuple[str, str, str], set[str]]:
    """The titles of the panels that have data: by producer, profile, and whether spans were measured."""
    runs = {
        f"{name}.{result.profile}.{result.spans}": (name, result)
        for name, found in results.items()
        for result in found
        if len(result.shown) == 2
    }
    with _serving({name: result.shown for name, (_, result) in runs.items()}) as (address, turn):
        targets = dict.fromkeys(runs, address)
        settings = {run: {"metrics_path": f"/{run}"} for run in runs}
        with prometheus(executable, folder, targets, interval=_INTERVAL, settings=settings) as api:
            wait_for(lambda: len(api.query("up == 1")) == len(runs), seconds=90, what="first scrapes")
            turn.set()
            time.sleep(2 * _INTERVAL + 1)
            return {
                (name, result.profile, result.spans): {
                    panel.title for panel in panels(result.profile) if _has_data(api, panel, run)
                }
                for run, (name, result) in runs.items()
            }


def _has_data(api: Prometheus, panel: Panel, run: str) -> bool:
    for query in panel.queries:
        expression = query.expr
        for variable, value in {**_GRAFANA, "$job": run, "$service": run, "$model": ".*"}.items():
            expression = expression.replace(variable, value)
        expression = re.sub(r"\$\w+", ".*", expression)
        for series in api.query(expression):
            # What stands in where nothing is (`or vector(0)`) has no labels, and is 0.
            if math.isfinite(float(series["value"][1])) and (series["metric"] or float(series["value"][1])):
                return True
    return False


@contextmanager
def _serving(pages: Mapping[str, list[str]]) -> Iterator[tuple[str, threading.Event]]:
    """Serve the first page of each run and, from an event on, the second."""
    turn = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[self.path.lstrip("/")][turn.is_set()].encode()
            self.send_response(200)
            self.send_header("Content-Type", f"{OPENMETRICS}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the output of the tests silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", turn
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
