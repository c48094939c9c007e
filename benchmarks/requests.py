"""What a request costs that is recorded: our middlewares beside those of others, in one run.

Each row is an ASGI or WSGI application that answers at once, wrapped in one middleware and driven without a
server. The times are those of the middleware: the median of the wrapped application's requests less that of
the bare one, each of the round in which the machine was quietest, as other work can only add to it. All
record through OpenTelemetry into this bridge, but for prometheus-fastapi-instrumentator, which uses
``prometheus_client``.

    python -m benchmarks.requests            # half a minute
    python -m benchmarks.requests --quick    # CI runs it so that this file does not rot
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as WsgiOpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from otel_prom_bridge import PrometheusMetricReader
from otel_prom_bridge.direct import DirectMeterProvider, DirectReader
from otel_prom_bridge.instrument import AsgiMetrics, WsgiMetrics

ROUNDS = 25
BODY = b"hello"
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/v1/users/17",
    "raw_path": b"/v1/users/17",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 80),
}
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/v1/users/17",
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost",
    "wsgi.url_scheme": "http",
}


def provider() -> MeterProvider:
    """A provider with this bridge."""
    return MeterProvider([PrometheusMetricReader(registry=None)], shutdown_on_exit=False)


def direct() -> DirectMeterProvider:
    """A provider without the SDK."""
    return DirectMeterProvider(DirectReader(registry=None), shutdown_on_exit=False)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": BODY})


def fastapi() -> FastAPI:
    app = FastAPI()

    @app.get("/v1/users/{user}")
    async def user(user: int) -> int:
        return user

    return app


def bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [BODY]


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


async def _asgi_round(app: Any, count: int) -> list[float]:
    times = []
    for _ in range(count):
        scope = SCOPE.copy()
        start = time.perf_counter()
        await app(scope, _receive, _send)
        times.append(time.perf_counter() - start)
    return times


def asgi_round(app: Any, count: int) -> float:
    """The median of so many requests, in microseconds."""
    return statistics.median(asyncio.run(_asgi_round(app, count))) * 1e6


def wsgi_round(app: Any, count: int) -> float:
    """The same for a WSGI application."""
    times = []
    for _ in range(count):
        environ = {**ENVIRON, "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO()}
        start = time.perf_counter()
        for _part in (parts := app(environ, lambda *_: lambda _: None)):
            pass
        if hasattr(parts, "close"):
            parts.close()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def recording(count: int) -> float:
    """What the SDK takes for one value of a histogram with as many attributes as a request has."""
    histogram = provider().get_meter("benchmark").create_histogram("h")
    attributes: dict[str, str | int] = {f"attribute.{number}": f"value {number}" for number in range(4)}
    attributes["http.response.status_code"] = 200
    times = []
    for _ in range(count):
        start = time.perf_counter()
        histogram.record(0.1, attributes)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def compare(
    title: str, measure: Callable[[Any, int], float], apps: dict[str, Any], count: int, rounds: int
) -> None:
    """Print what each application takes more than the first of them."""
    found: dict[str, list[float]] = {name: [] for name in apps}
    for app in apps.values():
        measure(app, max(count // 4, 10))  # warm
    for _ in range(rounds):
        for name, app in apps.items():
            found[name].append(measure(app, count))
    base = min(found[next(iter(apps))])
    print(f"\n{title}\n")
    print(f"| middleware | p50 of a request | of that the middleware |\n|{'---|' * 3}")
    for name, times in found.items():
        took = min(times)
        print(f"| {name} | {took:.1f} µs | {took - base:.1f} µs |")


def asgi_apps() -> dict[str, Any]:
    traces = NoOpTracerProvider()
    return {
        "none": bare,
        "AsgiMetrics": AsgiMetrics(bare, meter_provider=provider()),
        "AsgiMetrics, recorded directly": AsgiMetrics(bare, meter_provider=direct()),
        "AsgiMetrics, sizes=False": AsgiMetrics(bare, meter_provider=provider(), sizes=False),
        "AsgiMetrics, sample=0.1": AsgiMetrics(bare, meter_provider=provider(), sample=0.1),
        "opentelemetry-instrumentation-asgi": OpenTelemetryMiddleware(
            bare, meter_provider=provider(), tracer_provider=traces
        ),
        "the same, recorded directly": OpenTelemetryMiddleware(
            bare, meter_provider=direct(), tracer_provider=traces
        ),
    }


def fastapi_apps() -> dict[str, Any]:
    ours, packaged, instrumentator = fastapi(), fastapi(), fastapi()
    ours.add_middleware(AsgiMetrics, meter_provider=provider())
    FastAPIInstrumentor.instrument_app(
        packaged, meter_provider=provider(), tracer_provider=NoOpTracerProvider()
    )
    Instrumentator(registry=CollectorRegistry()).instrument(instrumentator)
    return {
        "none": fastapi(),
        "AsgiMetrics": ours,
        "opentelemetry-instrumentation-fastapi": packaged,
        "prometheus-fastapi-instrumentator": instrumentator,
    }


def wsgi_apps() -> dict[str, Any]:
    return {
        "none": bare_wsgi,
        "WsgiMetrics": WsgiMetrics(bare_wsgi, meter_provider=provider()),
        "WsgiMetrics, recorded directly": WsgiMetrics(bare_wsgi, meter_provider=direct()),
        "opentelemetry-instrumentation-wsgi": WsgiOpenTelemetryMiddleware(
            bare_wsgi, meter_provider=provider(), tracer_provider=NoOpTracerProvider()
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few requests: whether it runs at all")
    quick = parser.parse_args().quick
    count, rounds = (50, 2) if quick else (500, ROUNDS)
    print(f"One recording of the SDK with five attributes: {recording(count):.1f} µs")
    compare("ASGI", asgi_round, asgi_apps(), count, rounds)
    compare("FastAPI", asgi_round, fastapi_apps(), count, rounds)
    compare("WSGI", wsgi_round, wsgi_apps(), count, rounds)


if __name__ == "__main__":
    main()
