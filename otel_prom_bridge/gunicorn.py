"""A hub for gunicorn, where the command cannot be changed: ``gunicorn -c python:otel_prom_bridge.gunicorn``.

gunicorn reads this module as its configuration. The variable that leads to the hub is set when that happens,
because with ``--preload`` the application is loaded before any hook is called. The hub itself is started by
the master, before it starts workers. All options of the hub come from the environment.

A configuration of one's own has it with ``from otel_prom_bridge.gunicorn import on_starting``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from otel_prom_bridge.errors import EndpointError
from otel_prom_bridge.hub import places
from otel_prom_bridge.hub.launch import HUB, start_hub

__all__ = ["on_starting"]

# Where the hub of this master will be. It is None where there is one already: under `otel-prom-bridge run`,
# or when gunicorn replaces itself (SIGUSR2).
_socket = None if os.environ.get(HUB) else places.new_socket()
if _socket is not None:
    os.environ[HUB] = f"unix:{_socket}"


def on_starting(server: Any) -> None:
    """Start the hub. If that cannot be done, gunicorn does not start either."""
    if _socket is None:
        return
    try:
        os.environ.update(start_hub((), socket=_socket))
    except EndpointError as error:
        server.log.error("%s", error)
        sys.exit(1)
