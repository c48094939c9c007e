"""An application that is mounted, below a prefix of which the server, the application or a proxy knows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from servers import free_port, wait_for
from setups import Setup
from starlette.applications import Starlette
from starlette.routing import Mount, Route, Router
from wire import ask

from otel_prom_bridge import make_asgi_app
from otel_prom_bridge.endpoint.guards import Guards

# FastAPI advises against it by now; applications have it.
pytestmark = pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")

Make = Callable[..., Setup]


@contextmanager
def uvicorn_serving(app: Any, root_path: str) -> Iterator[int]:
    """An application on a real server; the port."""
    port = free_port()
    config = uvicorn.Config(
        app, port=port, root_path=root_path, log_config=None, lifespan="off", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started, seconds=20, what="uvicorn")
        yield port
    finally:
        server.should_exit = True
        thread.join(10)


def mounted(endpoint: Any, root_path: str) -> Any:
    """The endpoint as a mount of the application."""
    app = FastAPI(root_path=root_path)
    app.mount("/internal/stats", endpoint)
    return app


def in_a_router(endpoint: Any, root_path: str) -> Any:
    """The endpoint as a mount of a router, which is a mount itself."""
    app = FastAPI(root_path=root_path)
    app.mount("/internal", Router([Mount("/stats", endpoint)]))
    return app


def in_an_included_router(endpoint: Any, root_path: str) -> Any:
    """The endpoint as a mount of a router whose routes become the application's."""
    app, router = FastAPI(root_path=root_path), APIRouter()
    router.mount("/internal/stats", endpoint)
    app.router.routes.extend(router.routes)
    return app


def in_an_application_of_its_own(endpoint: Any, root_path: str) -> Any:
    """The endpoint as a mount of an application, which is a mount itself."""
    app, inner = FastAPI(root_path=root_path), FastAPI()
    inner.mount("/stats", endpoint)
    app.mount("/internal", inner)
    return app


def in_starlette(endpoint: Any, root_path: str) -> Any:
    """The endpoint as a mount without FastAPI; the prefix is a mount itself."""
    inner = Starlette(routes=[Mount("/internal/stats", endpoint)])
    return inner if not root_path else Starlette(routes=[Mount(root_path, inner), Mount("/", inner)])


MOUNTS = [mounted, in_an_included_router, in_starlette]
# Starlette itself does not find a mount within a mount below a prefix that a proxy has taken off.
NESTED = [in_a_router, in_an_application_of_its_own]
# What the application knows of, what the server knows of, and what it is asked for.
TAKEN_OFF = [("/api", "", ""), ("/api/v1", "", "")]
LEFT = [
    ("", "", ""),
    ("/api", "", "/api"),
    ("/api/v1", "", "/api/v1"),
    ("", "/api", ""),  # uvicorn puts back what a proxy took off
    ("/api", "/api", ""),
]


@pytest.mark.parametrize(
    ("made", "root_path", "of_uvicorn", "asked"),
    [
        *((made, *place) for made in MOUNTS for place in TAKEN_OFF + LEFT),
        *((made, *place) for made in NESTED for place in LEFT),
    ],
)
def test_mounted_below_a_root_path(
    bridge: Make, made: Callable[[Any, str], Any], root_path: str, of_uvicorn: str, asked: str
) -> None:
    """All paths are found, and what is not is answered with those that are."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    with uvicorn_serving(made(make_asgi_app(setup.reader), root_path), of_uvicorn) as port:
        below = f"{asked}/internal/stats"
        assert b"c_total 1" in ask(port, f"{below}/metrics").body
        assert b"c_total 1" in ask(port, f"{below}/").body
        assert ask(port, f"{below}/health").status == 200
        assert ask(port, f"{below}/ready").body == b"ready\n"
        missing = ask(port, f"{below}/nothing")
        assert missing.status == 404
        assert b"/internal/stats/metrics\n" in missing.body


@pytest.mark.parametrize(("root_path", "asked"), [("", ""), ("/api", ""), ("/api", "/api")])
def test_a_route_below_a_root_path(bridge: Make, root_path: str, asked: str) -> None:
    """A route makes no mount: the path is the application's, and ``metrics_path`` says which."""
    setup = bridge()
    setup.meter.create_counter("c").add(1)
    app = FastAPI(root_path=root_path)
    app.router.routes.append(Route("/metrics", make_asgi_app(setup.reader)))
    app.router.routes.append(
        Route("/internal/stats", make_asgi_app(setup.reader, metrics_path="/internal/stats"))
    )
    with uvicorn_serving(app, "") as port:
        assert b"c_total 1" in ask(port, f"{asked}/metrics").body
        assert b"c_total 1" in ask(port, f"{asked}/internal/stats").body


def test_a_mount_opens_no_path(bridge: Make, tmp_path: Any) -> None:
    """Only the path below the mount says what is asked for, so a mount is no way around a guard."""
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-the-tests-1\n")
    endpoint = make_asgi_app(bridge().reader, guards=Guards(bearer_tokens_file=tokens))
    app = FastAPI(root_path="/health")
    app.mount("/metrics", endpoint)
    with uvicorn_serving(app, "") as port:
        for path in ("/metrics/metrics", "/metrics/", "/health/metrics/metrics", "/health/metrics/"):
            assert ask(port, path).status == 401, path
        assert ask(port, "/metrics/health").status == 200
