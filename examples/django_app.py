"""A Django service with its metrics at /metrics, in one file; copy the end of it into your wsgi.py.

    pip install . django gunicorn
    gunicorn --chdir examples --threads 4 django_app:application

    curl -X POST localhost:8000/orders/books
    curl localhost:8000/metrics             # and /metrics/health, /metrics/ready

With several workers each has metrics of its own, and a scrape meets any of them: prefer threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import shift_path_info

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from otel_prom_bridge import PrometheusMetricReader, make_wsgi_app

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])
orders = metrics.get_meter("shop").create_counter("orders", unit="{order}", description="Orders taken")


def order(_: HttpRequest, item: str) -> JsonResponse:
    orders.add(1, {"item": item})
    return JsonResponse({"ordered": item})


urlpatterns = [path("orders/<item>", order)]

# From here on: wsgi.py.
reader = PrometheusMetricReader()
metrics.set_meter_provider(MeterProvider([reader], resource=Resource.create({"service.name": "shop"})))
prometheus, django = make_wsgi_app(reader), get_wsgi_application()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    # In front of Django: a scraper asks by address, which ALLOWED_HOSTS would refuse.
    if environ["PATH_INFO"].split("/")[1:2] == ["metrics"]:
        shift_path_info(environ)  # /metrics/health becomes /health, mounted at /metrics
        return prometheus(environ, start_response)
    answer: Iterable[bytes] = django(environ, start_response)
    return answer
