"""What a worker and the hub agree on: the address, the headers, and how often.

A push is a request of OTLP/HTTP, as any exporter of OpenTelemetry makes it. Ours has a few headers more, and
without them the request means the same::

    POST /v1/metrics HTTP/1.1
    Content-Type: application/x-protobuf
    X-Otel-Prom-Bridge-Source: 5f0c1ad2;4711
    X-Otel-Prom-Bridge-Number: 17

https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from otel_prom_bridge.values.checks import Check

DEFAULT_INTERVAL = 1.0
PATH = "/v1/metrics"
CONTENT_TYPE = "application/x-protobuf"

# Who pushes: an id that nobody else has, and the number of the process.
SOURCE = "X-Otel-Prom-Bridge-Source"
# The how many-th push of this source it is. One that is sent again has the number that it had.
NUMBER = "X-Otel-Prom-Bridge-Number"
# After how many seconds the next one comes.
INTERVAL = "X-Otel-Prom-Bridge-Interval"
# The instruments of which a callback failed, so that what it said last is not gone.
FAILING = "X-Otel-Prom-Bridge-Failing"
# How many points this source has dropped since it began.
DROPPED = "X-Otel-Prom-Bridge-Dropped"
# "1": this was its last push.
END = "X-Otel-Prom-Bridge-End"


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where a hub listens: a Unix socket's ``path``, or a ``host`` and a ``port``."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def address(value: object) -> HubAddress:
    """The address that a text names: ``unix:/run/shop/hub.sock``, ``http://127.0.0.1:4318``.

    Raises:
        ValueError: it is not of one of these forms.
    """
    if isinstance(value, HubAddress):
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(value)
        return HubAddress(path=path)
    parts = urlsplit(value)
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme != "http" or not parts.hostname or not parts.port or any(rest):
        raise ValueError(value)
    return HubAddress(host=parts.hostname, port=parts.port)


def _token(value: object) -> str:
    # What stands in a header: ASCII that can be seen.
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ValueError
    if " " in value:
        raise ValueError
    return value


TOKEN = Check(allowed="a word of visible ASCII characters", check=_token, secret=True)
HUB = Check(
    allowed="the address of a hub: 'unix:' and an absolute path, or 'http://' and a host with a port",
    check=address,
    example="unix:/run/shop/hub.sock",
)


@dataclass(frozen=True, slots=True)
class SourceName:
    """Who pushes. The id is new for each reader and in each forked child."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    pid: int = field(default_factory=os.getpid)

    def __str__(self) -> str:
        return f"{self.id};{self.pid}"


def failing_text(names: Iterable[str]) -> str:
    """The names of instruments as one header has them."""
    return ",".join(quote(name, safe="", errors="replace") for name in sorted(names))


def read_failing(text: str) -> frozenset[str]:
    """The names of instruments that a header has."""
    return frozenset(unquote(name) for name in text.split(",") if name)
