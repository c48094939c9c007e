"""A program that records what a document of a profile names, in the ways that applications do, and shows it.

    python natural.py PROFILE DOOR

Pieces of ``instrument``, recorders, a packaged instrumentation, and the profile's own instruments for the
rest. What goes on when a scrape comes is kept alive. Behind a hub (``DOOR`` is ``hub``), the hub is asked.
The last line is JSON: content types and bodies by the Accept headers in ``ACCEPTS``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from opentelemetry import metrics

from otel_prom_bridge import Bridge, start
from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.instrument import (
    AsgiMetrics,
    Cache,
    ComponentErrors,
    Database,
    IncidentTracker,
    LLMCallTracker,
    NotificationQueue,
    NotificationTracker,
    PlaybookTracker,
    Queue,
    Storage,
    WsgiMetrics,
    instrument_build,
    instrument_connection,
    instrument_process,
)
from otel_prom_bridge.profiles import Instruments, load_profile

ACCEPTS: list[str] = json.loads(os.environ.get("ACCEPTS", "[]"))
going_on: list[Any] = []  # what must not end before the scrape
opener = build_opener(ProxyHandler({}))


def asked(url: str, data: bytes | None = None) -> None:
    """A request, whatever comes of it."""
    with contextlib.suppress(HTTPError):
        opener.open(Request(url, data=data), timeout=20).close()


def asgi() -> None:
    """Requests that are answered, one that fails, one that goes on, and two WebSockets."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request as Received
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket
    from websockets.sync.client import connect

    held, entered = threading.Event(), threading.Event()

    def user(request: Received) -> PlainTextResponse:
        if request.path_params["id"] == "held":
            entered.set()
            held.wait(30)
        return PlainTextResponse("x" * 300, status_code=503 if request.path_params["id"] == "13" else 200)

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    routes = [Route("/users/{id}", user, methods=["GET", "POST"]), WebSocketRoute("/talk", talk)]
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(AsgiMetrics(Starlette(routes=routes)), log_level="critical"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    for name in ("7", "8", "13"):
        asked(f"http://{place}/users/{name}", b"x" * 200)
    threading.Thread(target=asked, args=(f"http://{place}/users/held",), daemon=True).start()
    entered.wait(20)
    for _ in range(2):
        going_on.append(connect(f"ws://{place}/talk", proxy=None))
        going_on[-1].send("hello")
        going_on[-1].recv()
    going_on[-1].close()


def wsgi() -> None:
    """Requests that are answered, one that fails, and one that goes on."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    held, entered = threading.Event(), threading.Event()

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"].endswith("held"):
            entered.set()
            held.wait(30)
        status = "503 Busy" if environ["PATH_INFO"].endswith("13") else "200 OK"
        start_response(status, [("Content-Type", "text/plain")])
        return [b"x" * 300]

    server = make_server("127.0.0.1", 0, WsgiMetrics(app), server_class=Server, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("7", "8", "13"):
        asked(f"http://127.0.0.1:{server.server_port}/users/{name}", b"x" * 200)
    held_url = f"http://127.0.0.1:{server.server_port}/users/held"
    threading.Thread(target=asked, args=(held_url,), daemon=True).start()
    entered.wait(20)


def database() -> None:
    """Queries, of which one fails, and a pool."""
    used = Database("sqlite", namespace="app")
    connection = instrument_connection(sqlite3.connect(":memory:"), used)
    connection.execute("CREATE TABLE users (id int UNIQUE)")
    connection.execute("SELECT * FROM users").fetchall()
    for _ in range(2):
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute("INSERT INTO users VALUES (1)")
    used.connections(used=2, idle=1, pool="main")
    going_on.append(connection)


def tachikoma(own: Instruments) -> None:
    """HTTP, WebSockets, executions, a database, a cache, and backends by a packaged instrumentation."""
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    asgi()
    database()
    llm = LLMRecorder()
    with llm.call(model="gpt-4o-2024-08-06", provider="openai") as call:
        call.tokens(input=100, output=20)
    with contextlib.suppress(TimeoutError), llm.call(model="gpt-4o", provider="openai"):
        raise TimeoutError
    going_on.append(llm.call(model="gpt-4o", provider="openai").__enter__())

    class Backend(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(429 if self.path == "/busy" else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    RequestsInstrumentor().instrument()
    session = requests.Session()
    session.trust_env = False
    for path in ("calm", "busy"):
        session.get(f"http://127.0.0.1:{server.server_port}/{path}", timeout=20)
    cache = Cache("plans")
    cache.looked_up(None)
    cache.looked_up("a plan")
    cache.size(40)
    own["missions"].set(7)
    own["specs"].set(4, {"status": "done"})
    own["file.changes"].add(1, {"change_type": "create", "status": "applied"})


def incident_manager(own: Instruments) -> None:
    """HTTP, gRPC, a database and a storage, trackers, the process and its build."""
    import grpc

    from otel_prom_bridge.instrument.grpc import ServerInterceptor

    wsgi()
    database()
    instrument_process()
    instrument_build(version="1.2.0", commit="0a1b2c3", timestamp="2026-01-01T00:00:00Z")
    held = threading.Event()

    def watch(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield request
        held.wait(30)

    handlers = {
        "Create": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[ServerInterceptor()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Incidents", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
    channel.unary_unary("/a.Incidents/Create")(b"x")
    stream = channel.unary_stream("/a.Incidents/Watch")(b"x")
    next(stream)
    with IncidentTracker("critical") as incident:
        incident.deduplicated()
        incident.correlated()
        incident.escalated("l2")
        incident.success("resolved")
    with LLMCallTracker("openai", "gpt-4o", "completion") as call:
        call.success(input_tokens=100, output_tokens=20)
    with contextlib.suppress(TimeoutError), LLMCallTracker("openai", "gpt-4o"):
        raise TimeoutError
    with NotificationTracker("slack") as notification:
        notification.success("sent")
    NotificationQueue("email").size(6)
    with PlaybookTracker("restart") as playbook:
        playbook.success()
    storage = Storage("s3")
    with storage.operation("put") as operation:
        operation.moved(2048)
    storage.size(5000)
    ComponentErrors("api").record(TimeoutError())
    going_on.extend((server, channel, stream, IncidentTracker("low").start(), PlaybookTracker("x").start()))


def research_api(own: Instruments) -> None:
    """HTTP, SQLAlchemy, the process, a queue, and what a research API alone has."""
    from sqlalchemy import create_engine, exc, text

    from otel_prom_bridge.instrument.sqlalchemy import instrument_engine

    wsgi()
    instrument_process()
    folder = TemporaryDirectory()
    engine, lost = (
        create_engine(f"sqlite:///{folder.name}/it"),
        create_engine(f"sqlite:///{folder.name}/no/it"),
    )
    for each in (engine, lost):
        instrument_engine(each)
    with contextlib.suppress(exc.OperationalError):
        lost.connect()
    connection = engine.connect()
    connection.execute(text("CREATE TABLE runs (id int UNIQUE)"))
    for _ in range(2):
        with contextlib.suppress(exc.IntegrityError):
            connection.execute(text("INSERT INTO runs VALUES (1)"))
    going_on.extend((folder, connection))
    for name in ("experiments.created", "evaluations.processed", "models.registered", "active.connections"):
        own[name].add(3)
    for name in ("experiments.completed", "experiment.runs", "custom.events"):
        own[name].add(2, {"status": "success"})
    own["experiment.duration"].record(120)
    own["dataset.upload.size"].record(1_000_000)
    own["operation.duration"].record(1.5)
    own["custom.operation"].record(0.05, {"type": "processing"})
    own["operations"].add(1, {"type": "batch"})
    Queue("a").size(6)


def shown(bridge: Bridge, door: str) -> dict[str, tuple[str, bytes]]:
    """What a scrape gets for each of the headers, here or from the hub."""
    if door != "hub":
        return {
            accept: (result.content_type, result.body)
            for accept in ACCEPTS
            for result in [bridge.reader.expose(accept)]
        }
    metrics.get_meter("natural").create_counter("recorded").add(1)
    url = f"http://127.0.0.1:{os.environ['HUB_PORT']}/metrics"
    deadline = time.monotonic() + 20
    while b"\nrecorded_total" not in opener.open(url, timeout=5).read() and time.monotonic() < deadline:
        time.sleep(0.2)
    found = {}
    for accept in ACCEPTS:
        with opener.open(Request(url, headers={"Accept": accept}), timeout=5) as answer:
            found[accept] = (answer.headers["Content-Type"], answer.read())
    return found


def main() -> None:
    """Record, show, and end without waiting for what goes on."""
    profile, door = sys.argv[1:]
    options: dict[str, Any] = {"hub": {}, "start": {"profile": profile}}.get(
        door, {"profile": profile, "recording": "direct"}
    )
    where: dict[str, Any] = {} if door == "hub" else {"port": 0, "addr": "127.0.0.1"}
    bridge = start(**where, **options)
    record: dict[str, Callable[[Instruments], None]] = {
        each.__name__: each for each in (tachikoma, incident_manager, research_api)
    }
    record[profile](load_profile(profile).instruments(metrics.get_meter("app"), strict=True))
    found = shown(bridge, door)
    written = {key: (kind, base64.b64encode(body).decode()) for key, (kind, body) in found.items()}
    sys.stdout.write(json.dumps(written) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # where modules have the names of packages
    main()
