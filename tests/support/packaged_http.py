"""Applications with the packaged instrumentations of web frameworks, and the bridge with a profile.

It runs in an environment of its own, as ``packaged_http.py flask PROFILE RECORDING``, and prints what a
scrape shows.
Each application is asked for two users, and for something that raises.
"""

from __future__ import annotations

import sys
from typing import Any

import otel_prom_bridge

PATHS = ("/users/7", "/users/8", "/broken")


def fastapi() -> None:
    """FastAPI, whose instrumentation knows its routes."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = FastAPI()
    app.get("/users/{user}")(lambda user: user)
    app.get("/broken")(lambda: broken())
    FastAPIInstrumentor.instrument_app(app)
    visit(TestClient(app, raise_server_exceptions=False).get)


def starlette() -> None:
    """Starlette, whose instrumentation stands inside of what answers to exceptions."""
    from opentelemetry.instrumentation.starlette import StarletteInstrumentor
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    routes = [Route("/users/{user}", lambda _: PlainTextResponse("x")), Route("/broken", broken)]
    app = Starlette(routes=routes)
    StarletteInstrumentor.instrument_app(app)
    visit(TestClient(app, raise_server_exceptions=False).get)


def flask() -> None:
    """Flask, by WSGI."""
    from flask import Flask
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    app = Flask("shop")
    app.get("/users/<user>")(lambda user: user)
    app.get("/broken")(broken)
    FlaskInstrumentor().instrument_app(app)
    visit(app.test_client().get)


def django() -> None:
    """Django, whose routes do not begin with a slash."""
    import django
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", MIDDLEWARE=[])
    globals()["urlpatterns"] = [
        path("users/<user>", lambda _, user: HttpResponse(user)),
        path("broken", broken),
    ]
    DjangoInstrumentor().instrument()
    django.setup()
    from django.test import Client

    visit(Client(raise_request_exception=False).get)


def broken(*_: Any) -> None:
    """What no application should do."""
    raise ValueError("broken")


def visit(get: Any) -> None:
    """Ask for all paths."""
    for path in PATHS:
        get(path)


if __name__ == "__main__":
    recording: Any = sys.argv[3]
    bridge = otel_prom_bridge.start(port=0, addr="127.0.0.1", profile=sys.argv[2], recording=recording)
    globals()[sys.argv[1]]()
    sys.stdout.write(bridge.reader.expose().body.decode())
