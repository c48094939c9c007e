"""What the arguments of the endpoint's functions may be, for those who call them without the options.

A wrong one is refused where it is given: found later, it would be a failed answer to every request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from otel_prom_bridge.endpoint.health import Health
from otel_prom_bridge.endpoint.paths import METRICS_PATH_ALLOWED, is_metrics_path
from otel_prom_bridge.endpoint.source import Source
from otel_prom_bridge.errors import ConfigurationError

# They say how a response is sent, which the server knows, or it sends them itself.
_SENT_BY_SERVERS = {
    *("connection", "content-encoding", "content-length", "date", "keep-alive", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
# https://www.rfc-editor.org/rfc/rfc9110#name-tokens
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def checked_source(source: object) -> Source:
    """The source, if it is one. prometheus_client's call has the port in its place."""
    if isinstance(source, Source) and not isinstance(source, type):
        return source
    is_port = isinstance(source, int) and not isinstance(source, bool)
    hint = f"; the port is `port={source}`" if is_port else ""
    raise ConfigurationError("source", source, f"a PrometheusMetricReader{hint}")


def checked_metrics_path(path: object) -> str:
    """Where the metrics are."""
    if not is_metrics_path(path):
        raise ConfigurationError("metrics_path", path, METRICS_PATH_ALLOWED)
    return str(path)


def checked_seconds(key: str, seconds: object, *, default: float) -> float:
    """A number of seconds, which may be 0; the default for None."""
    if seconds is None:
        return default
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ConfigurationError(key, seconds, "a number of seconds, 0 for never, or None")
    return seconds


def checked_threshold(size: object, *, default: int) -> float:
    """From how many bytes on a body is compressed: never (infinity) for False, the default for None."""
    if size is None:
        return default
    if size is False:
        return math.inf
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ConfigurationError(
            "compression_threshold", size, "a whole number of bytes, False for never, or None"
        )
    return size


def checked_health(health: object, source: Source) -> Health | None:
    """The answers of ``/health`` and ``/ready``: with True those of the source, with False none."""
    if isinstance(health, bool):
        return Health(source) if health else None
    if isinstance(health, Health):
        return health
    raise ConfigurationError("health", health, "True, False or a Health")


def checked_headers(headers: object) -> Sequence[tuple[str, str]]:
    """Headers for every response."""
    expected = "a list of pairs of text in one line, like [('X-Frame-Options', 'deny')], or what gives one"
    if isinstance(headers, str) or not isinstance(headers, Sequence):
        raise ConfigurationError("headers", headers, expected)
    for i, pair in enumerate(headers):
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(map(_is_line, pair)) or not _FIELD_NAME.fullmatch(pair[0]):
            raise ConfigurationError(f"headers[{i}]", pair, expected)
        if pair[0].lower() in _SENT_BY_SERVERS:
            raise ConfigurationError(f"headers[{i}]", pair, "a header that is not the server's to send")
    return headers


def _is_line(text: object) -> bool:
    return isinstance(text, str) and text.isprintable() and all(ord(letter) < 256 for letter in text)
