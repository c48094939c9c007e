"""An agent server with metrics of HTTP, WebSockets, executions, a database and caches; copy what you need.

    pip install . opentelemetry-instrumentation-asgi starlette uvicorn websockets
    python examples/tachikoma.py               # AGENT_PORT is 8000, if not set
    python examples/tachikoma.py --visitors    # some callers are simulated

    curl -X POST http://localhost:8000/missions/7/specs/3
    curl http://localhost:9464/metrics

A middleware records HTTP and WebSockets, a recorder the calls of models, and the profile's own instruments
what no instrumentation knows of. No model is called: what they answer is made up.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.request import ProxyHandler, Request, build_opener

import uvicorn
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.applications import Starlette
from starlette.requests import Request as Received
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from otel_prom_bridge import start
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.instrument import AsgiMetrics, Cache, Database, instrument_connection
from otel_prom_bridge.profiles import load_profile

PROFILE = "tachikoma"
PORT = int(os.environ.get("AGENT_PORT", "8000"))

tracer = trace.get_tracer("agents")
meter = metrics.get_meter("agents")
own = load_profile("tachikoma").instruments(meter)
llm = LLMRecorder()
plans: dict[str, str] = {}
cache = Cache("plans")
database = Database("sqlite", namespace="agents")
connection = instrument_connection(sqlite3.connect(":memory:"), database)
# What an instrumentation of HTTP clients records, with the template of the path that this client knows.
backend_seconds = meter.create_histogram("http.client.request.duration", unit="s")


class RateLimitError(Exception):
    """What a client library raises."""


@asynccontextmanager
async def backend(template: str) -> AsyncIterator[None]:
    """A request to a backend."""
    attributes: dict[str, str | int] = {"server.address": "backend.example", "url.template": template}
    began = time.perf_counter()
    with tracer.start_as_current_span(f"POST {template}", kind=trace.SpanKind.CLIENT):
        try:
            yield
            attributes["http.response.status_code"] = 200
        except RateLimitError:
            attributes |= {"http.response.status_code": 429, "error.type": "429"}
            raise
        finally:
            backend_seconds.record(time.perf_counter() - began, attributes)


async def similar(spec: str) -> None:
    """Look for plans like this one, which is no execution: the profile has it among other operations."""
    with llm.call(model="text-embedding-3-small", provider="openai", operation="retrieval") as call:
        await asyncio.sleep(0.01)
        call.tokens(input=len(spec))


async def execute(spec: str) -> str:
    """An execution by a model, which its recorder times and counts."""
    await similar(spec)
    with tracer.start_as_current_span("execute"), llm.call(model="gpt-4o", provider="openai") as call:
        async with backend("/v1/responses"):
            await asyncio.sleep(random.uniform(0.01, 0.2))
            if random.random() < 0.1:
                raise RateLimitError
        call.tokens(input=random.randint(50, 500), output=random.randint(10, 100))
    return f"a plan of {spec}"


async def run(request: Received) -> JSONResponse:
    spec = request.path_params["spec"]
    plan = cache.looked_up(plans.get(spec))
    with tracer.start_as_current_span("store"):
        with suppress(sqlite3.IntegrityError):  # it is known already
            connection.execute("INSERT INTO specs VALUES (?)", (spec,))
        (number,) = connection.execute("SELECT count(*) FROM specs").fetchone()
    own["missions"].set(3)
    own["specs"].set(number, {"status": "done"})
    own["specs"].set(2, {"status": "planned"})
    try:
        plan = plan or await execute(spec)
    except RateLimitError:
        return JSONResponse({"error": "try again"}, status_code=503)
    plans[spec] = plan
    cache.size(len(plans))
    own["file.changes"].add(1, {"change_type": "modify", "status": "applied"})
    return JSONResponse({"plan": plan})


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"you said {text}")


app = Starlette(
    routes=[Route("/missions/{mission}/specs/{spec}", run, methods=["POST"]), WebSocketRoute("/talk", talk)]
)


async def visit() -> None:
    """What callers do; leave it out."""
    opener = build_opener(ProxyHandler({}))

    def post() -> None:
        with suppress(OSError):
            number = random.randint(1, 40)
            url = f"http://localhost:{PORT}/missions/{number}/specs/{number}"
            opener.open(Request(url, data=b"x" * 200, method="POST"), timeout=5).close()

    while True:
        await asyncio.gather(*(asyncio.to_thread(post) for _ in range(3)))
        if len(plans) > 30:
            plans.clear()
        with suppress(OSError):
            async with connect(f"ws://localhost:{PORT}/talk", proxy=None) as socket:
                await socket.send("hello")
                await socket.recv()
                await asyncio.sleep(0.2)


async def serve() -> None:
    # The outer middleware makes the spans that exemplars lead to, and no metrics.
    measured = OpenTelemetryMiddleware(AsgiMetrics(app), meter_provider=NoOpMeterProvider())
    server = uvicorn.Server(uvicorn.Config(measured, port=PORT, log_level="warning"))
    visitors = asyncio.create_task(visit()) if "--visitors" in sys.argv else None
    await server.serve()
    if visitors is not None:
        visitors.cancel()


def main() -> None:
    tracers = TracerProvider()
    if "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in os.environ:  # where the exemplars' trace ids can be looked up
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    connection.execute("CREATE TABLE specs (name TEXT UNIQUE)")
    database.connections(used=1, pool="main")
    with start(profile=PROFILE, resource={"service.name": "agents"}) as bridge, suppress(KeyboardInterrupt):
        print(f"agents at http://localhost:{PORT}, metrics at {bridge.server.url}", flush=True)
        asyncio.run(serve())


if __name__ == "__main__":
    main()
