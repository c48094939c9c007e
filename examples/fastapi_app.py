"""A FastAPI service with its metrics at /metrics; copy what you need.

pip install . fastapi uvicorn
uvicorn --app-dir examples fastapi_app:app

curl -X POST localhost:8000/orders/books
curl localhost:8000/metrics             # and /metrics/health, /metrics/ready
"""

from __future__ import annotations

from fastapi import FastAPI
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from starlette.routing import Route

from otel_prom_bridge import PrometheusMetricReader, make_asgi_app

reader = PrometheusMetricReader()
metrics.set_meter_provider(MeterProvider([reader], resource=Resource.create({"service.name": "shop"})))
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}", description="Orders taken")

app = FastAPI()
prometheus = make_asgi_app(reader)
# The route answers /metrics itself; the mount alone would redirect every scrape to /metrics/.
app.router.routes.append(Route("/metrics", prometheus))
app.mount("/metrics", prometheus)


@app.post("/orders/{item}")
async def order(item: str) -> dict[str, str]:
    orders.add(1, {"item": item})
    return {"ordered": item}
