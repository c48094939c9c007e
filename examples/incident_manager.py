"""An incident manager with its metrics of gRPC, HTTP, incidents, playbooks; copy what you need.

    pip install '.[grpc]' opentelemetry-instrumentation-grpc opentelemetry-instrumentation-wsgi
    python examples/incident_manager.py               # INCIDENTS_PORT is 8000, if not set
    python examples/incident_manager.py --visitors    # some callers are simulated

    curl -d critical http://localhost:8000/incidents
    curl http://localhost:9464/metrics

Interceptors and a middleware record gRPC and HTTP, trackers what begins and ends. No model is called and
nobody is notified: what they do is made up.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socketserver import ThreadingMixIn
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import server_interceptor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_prom_bridge import start
from otel_prom_bridge.instrument import (
    ComponentErrors,
    IncidentTracker,
    LLMCallTracker,
    NotificationQueue,
    NotificationTracker,
    PlaybookTracker,
    Storage,
    WsgiMetrics,
    instrument_build,
    instrument_process,
)
from otel_prom_bridge.instrument.grpc import ServerInterceptor

PROFILE = "incident_manager"
PORT = int(os.environ.get("INCIDENTS_PORT", "8000"))
SEVERITIES = ("critical", "high", "medium", "low")

tracer = trace.get_tracer("incidents")
storage = Storage("s3")
notifications = NotificationQueue("slack")
errors = ComponentErrors("processor")


class RateLimitError(Exception):
    """What a client library raises."""


def summarize() -> None:
    with LLMCallTracker("openai", "gpt-4o") as call:
        time.sleep(random.uniform(0.01, 0.1))
        if random.random() < 0.2:
            raise RateLimitError
        call.success(input_tokens=random.randint(50, 500), output_tokens=random.randint(10, 100))


def similar(severity: str) -> None:
    """Look for incidents like this one, which is no request: the profile has it among other operations."""
    with LLMCallTracker("openai", "text-embedding-3-small", "retrieval") as call:
        time.sleep(0.01)
        if random.random() < 0.2:
            raise RateLimitError
        call.success(input_tokens=len(severity))


def notify() -> None:
    notifications.size(random.randint(0, 5))
    with NotificationTracker("slack") as delivery:
        time.sleep(0.01)
        delivery.success("sent")


def process(severity: str) -> str:
    """Process an incident; its tracker records how it ends, whatever happens."""
    with tracer.start_as_current_span("process"), IncidentTracker(severity) as incident:
        if random.random() < 0.2:
            incident.deduplicated()
        if random.random() < 0.2:
            incident.correlated()
        try:
            similar(severity)
            summarize()
        except RateLimitError as error:
            errors.record(error)
            incident.escalated("l2")
        with storage.operation("put") as operation:
            operation.moved(2048)
        storage.size(random.randint(10_000, 20_000))
        with PlaybookTracker("restart") as playbook:
            time.sleep(random.uniform(0.01, 0.1))
            playbook.success()
        notify()
        incident.success("resolved")
    return "resolved"


# The gRPC side. Messages are bytes rather than classes of protobuf, to keep it short.
def watch(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"received"
    yield process(request.decode()).encode()


def create(request: bytes, context: grpc.ServicerContext) -> bytes:
    if request.decode() not in SEVERITIES:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"one of {SEVERITIES}")
    return process(request.decode()).encode()


def grpc_server() -> tuple[grpc.Server, int]:
    handlers = {
        "Create": grpc.unary_unary_rpc_method_handler(create),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    # The first interceptor makes the spans that exemplars lead to, and no metrics.
    interceptors = [server_interceptor(), ServerInterceptor()]  # type: ignore[no-untyped-call]
    server = grpc.server(ThreadPoolExecutor(max_workers=8), interceptors=interceptors)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("incidents.v1.Incidents", handlers),)
    )
    return server, server.add_insecure_port("127.0.0.1:0")


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    severity = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    status = "200 OK" if severity in SEVERITIES else "400 Bad Request"
    text = process(severity) if severity in SEVERITIES else f"one of {SEVERITIES}"
    start_response(status, [("Content-Type", "text/plain")])
    return [text.encode(), b"\n"]


class Server(ThreadingMixIn, WSGIServer):
    """A server with a thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """A handler without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """One line for each request would be too many."""


def visit(port: int) -> None:
    """What callers do; leave it out."""
    opener = build_opener(ProxyHandler({}))
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
    while True:
        severity = random.choice(SEVERITIES).encode()
        with suppress(grpc.RpcError):
            channel.unary_unary("/incidents.v1.Incidents/Create")(random.choice((severity, b"unknown")))
            list(channel.unary_stream("/incidents.v1.Incidents/Watch")(severity))
        with suppress(URLError):
            opener.open(f"http://localhost:{PORT}/incidents", data=severity, timeout=5).close()


def main() -> None:
    tracers = TracerProvider()
    if "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in os.environ:  # where the exemplars' trace ids can be looked up
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    # This is for the uptime. It has a start time, too, and the log says once that it is shown instead of the
    # one of prometheus_client.
    instrument_process()
    instrument_build(version="1.2.0", commit="0a1b2c3", timestamp="2026-01-01T00:00:00Z")
    # The outer middleware makes the spans that exemplars lead to, and no metrics.
    measured = OpenTelemetryMiddleware(WsgiMetrics(app), meter_provider=NoOpMeterProvider())
    server, port = grpc_server()
    with (
        suppress(KeyboardInterrupt),
        make_server("localhost", PORT, measured, server_class=Server, handler_class=Quiet) as http,
        start(profile=PROFILE, resource={"service.name": "incidents"}) as bridge,
    ):
        server.start()
        print(f"incidents at http://localhost:{PORT} and port {port} for gRPC", flush=True)
        print(f"metrics at {bridge.server.url}", flush=True)
        if "--visitors" in sys.argv:
            threading.Thread(target=visit, args=(port,), daemon=True).start()
        http.serve_forever()


if __name__ == "__main__":
    main()
