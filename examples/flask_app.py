"""A Flask service with its metrics at /metrics; copy what you need.

    pip install . flask gunicorn
    gunicorn --chdir examples --threads 4 flask_app:app

    curl -X POST localhost:8000/orders/books
    curl localhost:8000/metrics             # and /metrics/health, /metrics/ready

With several workers each has metrics of its own, and a scrape meets any of them: prefer threads.
"""

from __future__ import annotations

from flask import Flask
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otel_prom_bridge import PrometheusMetricReader, make_wsgi_app

reader = PrometheusMetricReader()
metrics.set_meter_provider(MeterProvider([reader], resource=Resource.create({"service.name": "shop"})))
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}", description="Orders taken")

app = Flask(__name__)
# In front of Flask, so that its hooks, sessions and access rules are not asked about scrapes.
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": make_wsgi_app(reader)})  # type: ignore[method-assign]


@app.post("/orders/<item>")
def order(item: str) -> dict[str, str]:
    orders.add(1, {"item": item})
    return {"ordered": item}
