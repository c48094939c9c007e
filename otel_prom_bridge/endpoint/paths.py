"""Where the endpoint answers."""

from __future__ import annotations

import re

METRICS_PATH, HEALTH_PATH, READY_PATH = "/metrics", "/health", "/ready"
METRICS_PATH_ALLOWED = f"a path like '/metrics', without an end slash; not '{HEALTH_PATH}' or '{READY_PATH}'"
# What needs no escaping in a URL: nobody has to guess how a scraper spells it.
_URL_PATH = re.compile(r"/(?:[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*)?")


def is_metrics_path(path: object) -> bool:
    """Whether metrics may be there: at what is a path, and not where something else is."""
    if not isinstance(path, str) or not _URL_PATH.fullmatch(path):
        return False
    # Clients resolve "." and "..".
    return path not in (HEALTH_PATH, READY_PATH) and {".", ".."}.isdisjoint(path.split("/"))
