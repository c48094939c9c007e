"""Where the endpoint answers."""

from __future__ import annotations

import re

from otel_prom_bridge.values.checks import Check

METRICS_PATH, HEALTH_PATH, READY_PATH = "/metrics", "/health", "/ready"
# What needs no escaping in a URL: nobody has to guess how a scraper spells it.
_URL_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?")


def _metrics_path(value: object) -> str:
    if not isinstance(value, str) or not _URL_PATH.fullmatch(value):
        raise ValueError
    # Clients resolve "." and "..", and guards leave the other two paths open to strangers.
    if value in (HEALTH_PATH, READY_PATH) or not {".", ".."}.isdisjoint(value.split("/")):
        raise ValueError
    return value


URL_PATH = Check(
    allowed=f"a path like '/metrics', without an end slash; not '{HEALTH_PATH}' or '{READY_PATH}'",
    check=_metrics_path,
)
