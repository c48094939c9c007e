"""Instrumentations of others record directly what they record through the SDK."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from environments import installed
from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WsgiMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from oracles import OPENMETRICS, samples

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.testing.probe import ALONE

SUPPORT = Path(__file__).parents[1] / "support"
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/users/17",
    "raw_path": b"/users/17",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 80),
}


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def _called(app: Any) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    await app(dict(SCOPE), receive, send)


def asgi(provider: Any) -> None:
    """One request, with the instrumentation of ASGI."""
    app = OpenTelemetryMiddleware(_answer, meter_provider=provider, tracer_provider=NoOpTracerProvider())
    asyncio.run(_called(app))


def fastapi(provider: Any) -> None:
    """One request, with the instrumentation of FastAPI."""
    app = FastAPI()

    @app.get("/users/{user}")
    def user(user: int) -> int:
        return user

    FastAPIInstrumentor.instrument_app(app, meter_provider=provider, tracer_provider=NoOpTracerProvider())
    asyncio.run(_called(app))


def wsgi(provider: Any) -> None:
    """One request, with the instrumentation of WSGI."""

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hello"]

    app = WsgiMiddleware(answer, meter_provider=provider, tracer_provider=NoOpTracerProvider())
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    list(app({**environ, "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO()}, lambda *_: None))


def system(provider: Any) -> None:
    """What the instrumentation of the system observes."""
    instrumentor = SystemMetricsInstrumentor()
    instrumentor.instrument(meter_provider=provider)
    instrumentor.uninstrument()


def django(provider: Any) -> None:
    """A request that is answered and one that is not, with the instrumentation of Django."""
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.test import Client, override_settings
    from django.urls import path
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", DEBUG=False)
        django.setup()
    module = sys.modules["direct_urls"] = ModuleType("direct_urls")
    module.urlpatterns = [path("users/<int:user>", lambda _, user: HttpResponse(str(user)))]  # type: ignore[attr-defined]
    instrumentor = DjangoInstrumentor()
    with override_settings(ROOT_URLCONF="direct_urls", MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
        instrumentor.instrument(meter_provider=provider, tracer_provider=NoOpTracerProvider())
        try:
            for asked in ("/users/17", "/users/18", "/nowhere"):
                Client(raise_request_exception=False).get(asked)
        finally:
            instrumentor.uninstrument()
            del sys.modules["direct_urls"]


def requests(provider: Any, url: str) -> None:
    """Calls that are answered and one that is not, with the instrumentation of requests."""
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    instrumentor = RequestsInstrumentor()
    instrumentor.instrument(meter_provider=provider, tracer_provider=NoOpTracerProvider())
    try:
        with requests.Session() as session:
            session.trust_env = False
            for path in ("", "", "missing"):
                session.get(url + path, timeout=5)
            with contextlib.suppress(requests.ConnectionError):
                session.get("http://127.0.0.1:1", timeout=5)
    finally:
        instrumentor.uninstrument()


def httpx(provider: Any, url: str) -> None:
    """The same with that of httpx, in both of its clients."""
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    instrument = HTTPXClientInstrumentor.instrument_client
    given = {"meter_provider": provider, "tracer_provider": NoOpTracerProvider()}

    async def asynchronous() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            instrument(client, **given)
            await client.get(url)

    with httpx.Client(trust_env=False) as client:
        instrument(client, **given)
        for path in ("", "", "missing"):
            client.get(url + path)
        with contextlib.suppress(httpx.ConnectError):
            client.get("http://127.0.0.1:1")
    asyncio.run(asynchronous())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on loopback that answers at its root."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


CONNECTIONS = ("system_network_connections", "state")


@pytest.mark.parametrize("use", [asgi, fastapi, wsgi, django, requests, httpx, system])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the instrumentations
def test_an_instrumentation_shows_the_same_series(
    use: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    """Names, labels and counts are equal. Durations and what the system says are not."""
    given = [request.getfixturevalue("url")] if use in (requests, httpx) else []
    shown, counts = [], []
    for direct in (False, True):
        reader: Any = (DirectReader if direct else PrometheusMetricReader)(
            registry=None, self_metrics=False, disable_target_info=True
        )
        provider = (
            DirectMeterProvider(reader, shutdown_on_exit=False)
            if direct
            else MeterProvider([reader], views=reader.policy.sdk_views(), shutdown_on_exit=False)
        )
        use(provider, *given)
        exposition = reader.expose(OPENMETRICS)
        found = samples(exposition.content_type, exposition.body)
        # How long something took, and so its bucket, is not the same twice; nor is in which states the
        # connections of other programs are.
        shown.append(
            {
                (name, *sorted(pair for pair in labels if (name, pair[0]) != CONNECTIONS))
                for name, labels in found
                if not name.endswith("_bucket")
            }
        )
        counts.append(
            {key: value for key, value in found.items() if key[0].endswith("_count") or "active" in key[0]}
        )
        provider.shutdown()
    assert shown[0] == shown[1]
    assert len(shown[0]) > 1
    if use is not system:
        assert counts[0] == counts[1]
        assert sum(counts[0].values()) > 0


def test_a_library_that_asks_for_a_provider_of_the_sdk_records_with_ours() -> None:
    """As LiteLLM asks, which otherwise makes a provider of its own that nobody scrapes."""
    reader = DirectReader(**ALONE)
    there = DirectMeterProvider(reader, shutdown_on_exit=False)
    provider = there if isinstance(there, MeterProvider) else MeterProvider(shutdown_on_exit=False)
    provider.get_meter("litellm").create_counter("calls").add(1)
    assert b"calls_total 1\n" in reader.expose().body
    provider.shutdown()


# It wants a SQLAlchemy before 2.1, so it has an environment of its own.
SQLALCHEMY = """
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool
import json
import sys
import otel_prom_bridge

bridge = otel_prom_bridge.start(recording=sys.argv[1], port=0, addr="127.0.0.1")
engine = create_engine("sqlite://", poolclass=QueuePool)
SQLAlchemyInstrumentor().instrument(engine=engine)
with engine.connect() as connection, engine.connect() as other:
    connection.execute(text("SELECT 1"))
    other.execute(text("SELECT 2"))
in_use = engine.connect()
print(bridge.reader.expose().body.decode())
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_instrumentation_of_sqlalchemy_shows_the_same_series(tmp_path: Path) -> None:
    """Connections in use and idle."""
    packages = ["SQLAlchemy<2.1", "opentelemetry-instrumentation-sqlalchemy"]
    python = installed(tmp_path, "sqlalchemy", packages)
    shown = []
    for recording in ("sdk", "direct"):
        done = subprocess.run(
            [python, "-c", SQLALCHEMY, recording],
            env={**os.environ, "PYTHONPATH": str(SUPPORT.parents[1])},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found = samples("text/plain; version=0.0.4", done.stdout.encode())
        shown.append({key: value for key, value in found.items() if key[0].startswith("db_client")})
    assert shown[0] == shown[1]
    assert sorted(shown[0].values()) == [1, 1]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("producer", ["conventions", "openllmetry"])
def test_instrumentations_of_models_show_the_same_series(producer: str) -> None:
    """Those of OpenAI's client and of agents: names, labels, and how many calls and tokens there were."""
    shown = []
    for recording in ("sdk", "direct"):
        command = [sys.executable, str(SUPPORT / "producers.py"), producer, "semconv", recording]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout)
        assert said["conflicts"] == []
        found = samples(said["content_type"], said["body"].encode())
        shown.append(
            {
                # Each run has a server of its own.
                (name, frozenset(label for label in labels if not label[0].startswith("server_"))): value
                for (name, labels), value in found.items()
                if is_equal_twice(name)
            }
        )
    assert shown[0] == shown[1]
    assert len(shown[0]) > 10


def is_equal_twice(name: str) -> bool:
    """Whether a sample is of calls, and not of time."""
    is_duration = any(word in name for word in ("duration", "time", "seconds"))
    return name.startswith("gen_ai_") and (name.endswith("_count") or not is_duration)
