"""Instrumentations of others record directly what they record through the SDK."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
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


@pytest.mark.parametrize("use", [asgi, fastapi, wsgi, system])
def test_an_instrumentation_shows_the_same_series(use: Callable[[Any], None]) -> None:
    """Names and labels are equal. Durations and what the system says are not."""
    reader = PrometheusMetricReader(registry=None, self_metrics=False)
    direct = DirectReader(registry=None, self_metrics=False)
    shown = []
    for each, provider in (
        (reader, MeterProvider([reader], views=reader.policy.sdk_views(), shutdown_on_exit=False)),
        (direct, DirectMeterProvider(direct, shutdown_on_exit=False)),
    ):
        use(provider)
        exposition = each.expose(OPENMETRICS)
        shown.append(set(samples(exposition.content_type, exposition.body)))
        provider.shutdown()
    assert shown[0] == shown[1]
    assert len(shown[0]) > 1
