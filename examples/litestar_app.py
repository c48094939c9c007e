"""A Litestar service with its metrics at /metrics; copy what you need.

pip install . litestar uvicorn
uvicorn --app-dir examples litestar_app:app

curl -X POST localhost:8000/orders/books
curl localhost:8000/metrics             # and /health, /ready
"""

from __future__ import annotations

from litestar import Litestar, asgi, post
from litestar.types import Receive, Scope, Send
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from otel_prom_bridge import PrometheusMetricReader, make_asgi_app

reader = PrometheusMetricReader()
metrics.set_meter_provider(MeterProvider([reader], resource=Resource.create({"service.name": "shop"})))
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}", description="Orders taken")
endpoint = make_asgi_app(reader)


# Routes and not is_mount=True, which would not tell the endpoint where it is mounted.
@asgi(["/metrics", "/health", "/ready"], copy_scope=True)
async def prometheus(scope: Scope, receive: Receive, send: Send) -> None:
    await endpoint(scope, receive, send)


@post("/orders/{item:str}")
async def order(item: str) -> dict[str, str]:
    orders.add(1, {"item": item})
    return {"ordered": item}


app = Litestar([prometheus, order])
