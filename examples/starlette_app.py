"""A Starlette service with its metrics at /metrics, which only its own network may read; copy what you need.

    pip install . starlette uvicorn
    uvicorn --app-dir examples starlette_app:app

    curl -X POST localhost:8000/orders/books
    curl localhost:8000/metrics             # and /metrics/health, /metrics/ready

The reader is made when the worker starts, not when this module is imported: that is right also for servers
that import first and fork then, as `gunicorn --preload` does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from otel_prom_bridge import Guards, PrometheusMetricReader, RateLimit, make_asgi_app

# Instruments may be made before there is a provider; they begin to record when there is one.
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}", description="Orders taken")
guards = Guards(allow=["127.0.0.0/8", "::1", "10.0.0.0/8"], rate_limit=RateLimit(interval=0.1, burst=50))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader], resource=Resource.create({"service.name": "shop"}))
    metrics.set_meter_provider(provider)
    prometheus = make_asgi_app(reader, guards=guards)
    # The route answers /metrics itself; the mount alone would redirect every scrape to /metrics/.
    app.router.routes += [Route("/metrics", prometheus), Mount("/metrics", prometheus)]
    yield
    provider.shutdown()


async def order(request: Request) -> JSONResponse:
    item = request.path_params["item"]
    orders.add(1, {"item": item})
    return JSONResponse({"ordered": item})


app = Starlette(routes=[Route("/orders/{item}", order, methods=["POST"])], lifespan=lifespan)
