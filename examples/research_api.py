"""A research API with its metrics of HTTP, a database, experiments, models and datasets; copy what you need.

    pip install . opentelemetry-instrumentation-wsgi
    python examples/research_api.py               # API_PORT is 8000, if not set
    python examples/research_api.py --visitors    # some callers are simulated

    curl -X POST http://localhost:8000/experiments/7
    curl http://localhost:9464/metrics

A middleware records HTTP, a wrapped connection the database, and the profile's own instruments what no
instrumentation knows of. The profile makes its families of all that. prometheus_client shows the process.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from socketserver import ThreadingMixIn
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_prom_bridge import start
from otel_prom_bridge.instrument import (
    Database,
    Queue,
    WsgiMetrics,
    instrument_connection,
)
from otel_prom_bridge.profiles import load_profile

PROFILE = "research_api"
PORT = int(os.environ.get("API_PORT", "8000"))

tracer = trace.get_tracer("research")
own = load_profile("research_api").instruments(metrics.get_meter("research"))
database = Database("sqlite", namespace="research")
queue = Queue("runs")
waiting: list[str] = []


@contextmanager
def connected() -> Iterator[sqlite3.Connection]:
    """A connection that records its queries."""
    connection = instrument_connection(
        sqlite3.connect("file:research?mode=memory&cache=shared", uri=True), database
    )
    own["active.connections"].add(1)
    try:
        with connection:
            yield connection
    finally:
        own["active.connections"].add(-1)
        connection.close()


def experiment(name: str) -> str:
    own["experiments.created"].add(1)
    waiting.append(name)
    queue.size(len(waiting))
    with tracer.start_as_current_span("experiment"), connected() as connection:
        began = time.perf_counter()
        own["experiment.runs"].add(1, {"status": "running"})
        connection.execute("INSERT INTO experiments VALUES (?)", (name,))
        time.sleep(random.uniform(0.01, 0.05))
        # What takes hours in earnest takes milliseconds here.
        own["experiment.duration"].record(1000 * (time.perf_counter() - began))
    waiting.remove(name)
    queue.size(len(waiting))
    status = random.choice(("success", "success", "success", "failure"))
    own["experiments.completed"].add(1, {"status": status})
    own["evaluations.processed"].add(3)
    return status


def dataset(size: int) -> str:
    own["dataset.upload.size"].record(size)
    began = time.perf_counter()
    with connected() as connection:
        rows = connection.execute("SELECT count(*) FROM experiments").fetchone()
    took = time.perf_counter() - began
    own["operation.duration"].record(took)
    own["custom.operation"].record(took, {"type": "count"})
    own["operations"].add(1, {"type": "upload"})
    own["custom.events"].add(1, {"status": "success"})
    return f"{size} bytes beside {rows[0]} experiments"


def model(name: str) -> str:
    own["models.registered"].add(1)
    with connected() as connection, suppress(sqlite3.OperationalError):
        connection.execute(
            "UPDATE models SET name = ?", (name,)
        )  # there is no such table: a query that fails
    return name


def broken() -> str:
    """What a request is that finds the database gone."""
    database.connection_error(ConnectionError("refused"))
    raise ConnectionError("refused")


def answer(path: str, body: bytes) -> str | None:
    match path.strip("/").split("/"):
        case ["experiments", name]:
            return experiment(name)
        case ["datasets", _]:
            return dataset(len(body))
        case ["models", name]:
            return model(name)
        case ["broken"]:
            return broken()
        case _:
            return None


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    try:
        text = answer(environ["PATH_INFO"], body)
    except ConnectionError as error:
        status, text = "503 Service Unavailable", str(error)
    else:
        status = "200 OK" if text else "404 Not Found"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [(text or "not found").encode(), b"\n"]


class Server(ThreadingMixIn, WSGIServer):
    """A server with a thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """A handler without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """One line for each request would be too many."""


def visit() -> None:
    """What callers do; leave it out."""
    opener = build_opener(ProxyHandler({}))
    while True:
        number = random.randint(1, 9999)
        for path in (f"experiments/{number}", f"datasets/{number}", f"models/m-{number}", "broken"):
            request = Request(f"http://localhost:{PORT}/{path}", data=b"x" * number, method="POST")
            with suppress(URLError), opener.open(request, timeout=5) as response:
                response.read()
        time.sleep(0.2)


def main() -> None:
    tracers = TracerProvider()
    if "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in os.environ:  # where the exemplars' trace ids can be looked up
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    # The outer middleware makes the spans that exemplars lead to, and no metrics.
    measured = OpenTelemetryMiddleware(WsgiMetrics(app), meter_provider=NoOpMeterProvider())
    keep = sqlite3.connect("file:research?mode=memory&cache=shared", uri=True)
    keep.execute("CREATE TABLE experiments (name TEXT)")
    database.connections(used=1, pool="main")
    with (
        suppress(KeyboardInterrupt),
        make_server("localhost", PORT, measured, server_class=Server, handler_class=Quiet) as server,
        start(profile=PROFILE, resource={"service.name": "research"}) as bridge,
    ):
        print(f"the API is at http://localhost:{PORT}, its metrics at {bridge.server.url}", flush=True)
        if "--visitors" in sys.argv:
            threading.Thread(target=visit, daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
