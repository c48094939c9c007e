"""What the options of the explorer may be."""

from __future__ import annotations

from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from otel_prom_bridge.values.checks import BOOLEAN, Check

Explored: TypeAlias = bool | Literal["public"]
PUBLIC: Literal["public"] = "public"


def _explored(value: object) -> Explored:
    if value == PUBLIC:
        return PUBLIC
    found: bool = BOOLEAN.check(value)
    return found


def _read(text: str) -> object:
    return text if text == PUBLIC else BOOLEAN.read(text)


def _trace_url(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or "{trace_id}" not in value:
        raise ValueError
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "{" in parts.netloc:
        raise ValueError
    return value


EXPLORER = Check(
    allowed="true, false, or 'public' for an address that others reach and that nothing guards",
    check=_explored,
    read=_read,
)
TRACE_URL = Check(
    allowed="a URL with {trace_id} in it, like 'https://jaeger.example/trace/{trace_id}'; {span_id}, too",
    check=_trace_url,
)
