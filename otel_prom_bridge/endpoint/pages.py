"""The explorer at an endpoint: which requests are for it, what it may cost, and who may see it.

It has the same guards as the metrics. Its page has no data of the application: it asks for those, and sends
the token that somebody types in. So where tokens are asked for, the page itself is for strangers, too, since
a browser cannot send a token with the address that somebody opens.

Equal questions within a second share one answer, and few are answered at a time. So pages that are left open
do not take the place of scrapes.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.cache import Cache
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.guards import Guards
from otel_prom_bridge.endpoint.messages import (
    EXPLORER_PATH,
    FAILED,
    Request,
    Response,
    busy,
    text_response,
)
from otel_prom_bridge.endpoint.served import Served
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.exposition import accepts_gzip
from otel_prom_bridge.forks import renew_in_child
from otel_prom_bridge.native import Capacity

if TYPE_CHECKING:
    from otel_prom_bridge.explorer.answers import Explorer

Wanted: TypeAlias = bool | Literal["public"] | None
"""The option ``explorer``, as it is given."""

_SECONDS = 1.0
_PATIENCE = 10.0
_AT_ONCE = 4
_METHODS = ("GET", "HEAD")
_LEAST, _LEVEL, _GZIP = 1024, 1, 31


class Pages:
    """The explorer's answers as responses. It may be used from any thread.

    With ``is_public`` everybody may see them, wherever they are served.
    """

    def __init__(self, explorer: Explorer, *, is_public: bool = False) -> None:
        self._explorer = explorer
        self.is_public = is_public
        self._cache = Cache[Response](_SECONDS, size=lambda response: response.pieces.size)
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: nothing is being answered there."""
        self._room = Capacity(_AT_ONCE)

    def has(self, path: str) -> bool:
        """Whether the explorer is at this path."""
        return path == EXPLORER_PATH or path.startswith(f"{EXPLORER_PATH}/")

    def is_blank(self, request: Request, *, metrics_path: str) -> bool:
        """Whether the request is for the page, which has no data in it."""
        return request.method in _METHODS and self._is_page(request, metrics_path)

    def is_for(self, request: Request, *, metrics_path: str) -> bool:
        """Whether the request is for the explorer."""
        return self.has(request.path) or self._is_page(request, metrics_path)

    def _is_page(self, request: Request, metrics_path: str) -> bool:
        # An app that is mounted has the metrics at its mount, and so have those who want them at "/".
        is_root = request.path == "/" and not request.mount and metrics_path != "/"
        return is_root or request.path == EXPLORER_PATH

    def respond(self, request: Request, *, metrics_path: str) -> Response:
        """The response. It never raises."""
        try:
            return self._respond(request, metrics_path)
        except Exception:
            endpoint_logger.exception("the explorer failed; this is a fault of the bridge")
            return FAILED

    def _respond(self, request: Request, metrics_path: str) -> Response:
        if request.method not in _METHODS:
            allow = ("Allow", ", ".join(_METHODS))
            return text_response(405, f"use one of {', '.join(_METHODS)}\n", allow)
        if request.path == f"{EXPLORER_PATH}/":  # links in the page are relative to its path
            there = ("Location", f"{request.mount}{EXPLORER_PATH}")
            return text_response(308, "the page is at /explorer\n", there)
        compressed = accepts_gzip(request.headers.get("accept-encoding"))
        question = (request.mount, request.path, request.query, compressed)
        response = self._cache.get(question)
        if response is not None:
            return response
        asked = self._cache.now()
        with self._cache.making(question, _PATIENCE) as response:
            if response is None:
                if not self._room.enter():
                    return busy()
                try:
                    response = self._made(request, metrics_path, compressed=compressed)
                finally:
                    self._room.leave()
                if response.status == 200:
                    self._cache.put(question, response, asked)
        return response

    def _made(self, request: Request, metrics_path: str, *, compressed: bool) -> Response:
        path = "" if request.path == "/" else request.path.removeprefix(EXPLORER_PATH)
        shown = f"{request.mount}{metrics_path}"
        answer = self._explorer.answer(path, request.query, metrics_path=shown)
        body = answer.body
        headers = [("Content-Type", answer.content_type), ("Vary", "Accept-Encoding"), *answer.headers]
        if compressed and len(body) >= _LEAST:
            body = zlib.compress(body, _LEVEL, _GZIP)
            headers.append(("Content-Encoding", "gzip"))
        return Response(answer.status, (*headers, ("Content-Length", str(len(body)))), body)

    def scraped(self, request: Request, response: Response, seconds: float) -> None:
        """Remember a scrape that was answered. It must not wait."""
        kind = next((value for name, value in response.headers if name == "Content-Type"), "")
        self._explorer.scrapes.add(
            peer=request.peer,
            agent=request.headers.get("user-agent", ""),
            content_type=kind,
            status=response.status,
            size=response.pieces.size,
            seconds=seconds,
        )


def pages_of(
    source: Served,
    explorer: Wanted,
    *,
    trace_url: str | None,
    problems: Sequence[str] = (),
    title: str = "",
) -> Pages | None:
    """The explorer, if it is wanted. ``problems`` are those of the configuration, which it shows.

    Raises:
        ConfigurationError: an option is not what it may be.
    """
    if not explorer and trace_url is None and isinstance(explorer, bool | None):
        return None  # nothing of it is loaded then
    from otel_prom_bridge.explorer.answers import Explorer
    from otel_prom_bridge.explorer.options import EXPLORER, TRACE_URL

    url = TRACE_URL.optional("trace_url", trace_url, "")
    wanted = EXPLORER.optional("explorer", explorer, False)
    if not wanted:
        return None
    found = Explorer(source, trace_url=url, configuration=problems, title=title)
    return Pages(found, is_public=wanted == "public")


def check_guarded(
    pages: Pages | None, addresses: Iterable[str], tls: Certificates | None, guards: Guards | None
) -> None:
    """Refuse an explorer that others can reach at one of these addresses and that nothing guards.

    Raises:
        ConfigurationError: it is so, and nobody said that it is meant.
    """
    is_guarded = (guards is not None and guards.are_selective) or (tls is not None and tls.demands)
    if pages is None or pages.is_public or is_guarded:
        return
    for address in addresses:
        if not _is_local(address):
            expected = (
                f"a guard beside it, as others reach {address}: bearer_tokens_file, web_config, allow or"
                " tls_client_ca_file; or 'public' if everybody may see it"
            )
            raise ConfigurationError("explorer", True, expected)


def _is_local(address: str) -> bool:
    if "/" in address:
        return True  # a Unix socket
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
