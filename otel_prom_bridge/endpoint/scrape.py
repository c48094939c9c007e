"""From a request to a response, without sockets, threads or a framework.

Everything that the endpoint decides is decided here, and can be tested without a port. WSGI, ASGI and the
server only spell it. A request that makes no sense gets an answer that says what would make sense. Nothing
that a scraper sends ends in a 500.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

from otel_prom_bridge.clocks import process_start
from otel_prom_bridge.diagnostics import endpoint_logger
from otel_prom_bridge.endpoint.cache import Cache
from otel_prom_bridge.endpoint.compression import Compression
from otel_prom_bridge.endpoint.files.tls import Certificates
from otel_prom_bridge.endpoint.health import HEALTH, Health
from otel_prom_bridge.endpoint.messages import (
    EXPLORER_PATH,
    FAILED,
    HEALTH_PATH,
    METRICS_PATH,
    READY_PATH,
    URL_PATH,
    Handler,
    Request,
    Response,
    text_response,
)
from otel_prom_bridge.endpoint.pages import Pages
from otel_prom_bridge.endpoint.served import Served, checked_source
from otel_prom_bridge.errors import CompressionError, ConfigurationError, ExpositionError
from otel_prom_bridge.exposition import Exposition, Pieces, accepts_gzip, negotiate
from otel_prom_bridge.values.checks import INTERVAL, LONGEST_WAIT, THRESHOLD

DEFAULT_CACHE_TTL = 1.0
_METHODS = ("GET", "HEAD", "OPTIONS")

# A body that is smaller fits into the packet that carries the head, so to compress it saves nothing.
GZIP_THRESHOLD = 1024
# The most fields in a query. It is far above what any scraper sends, and well below what would keep a thread
# busy.
_MOST_FIELDS = 1000
# How many seconds a scraper waits for an answer that another scrape is making, unless it says how long.
_PATIENCE = 10.0


class Scrape(Handler):
    """Answers requests for one source. It may be used from any thread.

    ``metrics_path`` is where the metrics are. ``cache_ttl`` is for how many seconds a complete answer is
    given again; 0 is for never. ``compression_threshold`` is from how many bytes on a body is compressed, if
    the scraper takes that; False is for never. ``health`` has the answers of ``/health`` and ``/ready``; with
    False there are none. ``problem`` says why what stands in front of the metrics (tokens, certificates) is
    older than its files, or None if it is not. ``certificates`` are those of the server, if it speaks TLS.
    ``pages`` are those of the explorer, if it is wanted.

    Raises:
        ConfigurationError: an argument is not what it may be; the path is none, or one of those two, which
            guards leave open to strangers.
    """

    def __init__(
        self,
        source: Served,
        *,
        metrics_path: str | None = None,
        cache_ttl: float | None = None,
        compression_threshold: int | bool | None = None,
        health: Health | bool | None = None,
        problem: Callable[[], str | None] | None = None,
        certificates: Certificates | None = None,
        pages: Pages | None = None,
    ) -> None:
        self._source = checked_source(source)
        self.metrics_path: str = URL_PATH.optional("metrics_path", metrics_path, METRICS_PATH)
        self._pages = pages
        if pages is not None and pages.has(self.metrics_path):
            raise ConfigurationError("metrics_path", metrics_path, "another path, as the explorer is there")
        threshold = THRESHOLD.optional("compression_threshold", compression_threshold, GZIP_THRESHOLD)
        self._compression_threshold = math.inf if threshold is False else threshold
        health = HEALTH.optional("health", health, True)
        self._health = (Health(source) if health else None) if isinstance(health, bool) else health
        self._paths = (self.metrics_path, *((HEALTH_PATH, READY_PATH) if self._health else ()))
        self._problem = problem
        self._certificates = certificates
        self._process_start = _process_start()
        seconds = INTERVAL.optional("cache_ttl", cache_ttl, DEFAULT_CACHE_TTL)
        self._cache = Cache[Response](seconds, size=lambda response: response.pieces.size)
        self._compression = Compression()

    @property
    def has_health(self) -> bool:
        """Whether something is at ``/health`` and ``/ready``."""
        return self._health is not None

    def is_blank(self, request: Request) -> bool:
        """It is the explorer's page, which has no data in it: those it asks for, with a token."""
        pages = self._pages
        return pages is not None and pages.is_blank(request, metrics_path=self.metrics_path)

    def respond(self, request: Request) -> Response:
        """The response to a request. It never raises."""
        try:
            if self._pages is not None and self._pages.is_for(request, metrics_path=self.metrics_path):
                return self._pages.respond(request, metrics_path=self.metrics_path)
            return self._answer(request)
        except Exception:
            endpoint_logger.exception("a scrape failed; this is a fault of the bridge")
            return FAILED

    def quick(self, request: Request) -> Response | None:
        """The response, if it takes no time: that the process is alive, or the kept answer to a scrape.

        It never raises, never waits and never collects.
        """
        try:
            path = self._path(request)
            if path == HEALTH_PATH and self._health and self._health.is_plain:
                return self.respond(request)
            if (
                path != self.metrics_path
                or request.method not in ("GET", "HEAD")
                or self._source.is_shut_down
            ):
                return None
            start = time.perf_counter()
            response = self._cache.get(_question(request))
            if response is None:
                return None
            self._answered(request, response, time.perf_counter() - start)
            return response
        except Exception:  # respond() will say what is wrong
            return None

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS" and request.path == "*":
            return Response(204, (("Allow", ", ".join(_METHODS)),), b"")
        path = self._path(request)
        if path is None:
            paths = (*self._paths, EXPLORER_PATH) if self._pages else self._paths
            paths = ("", *paths) if request.mount else paths
            here = "".join(f"  {request.mount}{path}\n" for path in paths)
            return text_response(404, f"nothing at this path; there is:\n{here}")
        if request.method == "OPTIONS":
            return Response(204, (("Allow", ", ".join(_METHODS)),), b"")
        if request.method not in _METHODS:
            allow = ("Allow", ", ".join(_METHODS))
            return text_response(405, f"use one of {', '.join(_METHODS)}\n", allow)
        return self._observed(request) if path == self.metrics_path else self._state(path, request)

    def _path(self, request: Request) -> str | None:
        # An app that is mounted at /metrics (or anywhere) serves the metrics at its mount point as well.
        if request.mount and request.path in ("", "/"):
            return self.metrics_path
        path = request.path.rstrip("/") or request.path
        return path if path in self._paths else None

    def _observed(self, request: Request) -> Response:
        start, response = time.perf_counter(), FAILED
        try:
            response = self._metrics(request)
            return response
        finally:
            self._answered(request, response, time.perf_counter() - start)

    def _answered(self, request: Request, response: Response, seconds: float) -> None:
        """Tell those who want to know that a scrape was answered."""
        self._source.observer.scrape(response.status, seconds)
        if self._pages is not None:
            self._pages.scraped(request, response, seconds)

    def _metrics(self, request: Request) -> Response:
        if self._source.is_shut_down:
            # Frozen values would look alive, while a failed scrape shows as `up == 0`.
            return text_response(503, "the metric reader has been shut down\n")
        if (hub := getattr(self._source, "hub", None)) is not None:
            return text_response(503, f"the metrics of this process are at the hub, {hub}: scrape that\n")
        try:
            question = _question(request)
        except ValueError:
            return text_response(400, f"more than {_MOST_FIELDS} fields in the query; send fewer name[]\n")
        response = self._cache.get(question)
        if response is None:
            asked = self._cache.now()
            timeout = _timeout(request.headers.get("x-prometheus-scrape-timeout-seconds"))
            with self._cache.making(question, _PATIENCE if timeout is None else timeout) as response:
                if response is None:
                    left = timeout and timeout - (self._cache.now() - asked)
                    response = self._exposed(request, question, left)
        return response

    def _exposed(self, request: Request, question: _Question, timeout: float | None) -> Response:
        try:
            return self._made(request, question, timeout)
        except ExpositionError as error:  # it is somebody else's, who does not answer
            return text_response(502, f"{error}\n")

    def _made(self, request: Request, question: _Question, timeout: float | None) -> Response:
        if self._problem is not None:
            self._source.observer.reloaded(self._problem() is None)
        if self._certificates is not None and (ends := self._certificates.ends) is not None:
            self._source.observer.certificate(ends)
        asked = self._cache.now()
        accept = request.headers.get("accept")
        exposition = self._source.expose(accept, names=question.names, timeout=timeout)
        response = self._response(exposition, question)
        if exposition.complete:
            self._cache.put(question, response, asked)
        return response

    def _response(self, exposition: Exposition, question: _Question) -> Response:
        headers = [("Content-Type", exposition.content_type), ("Vary", "Accept, Accept-Encoding")]
        if self._process_start is not None:
            headers.append(("Process-Start-Time-Unix", self._process_start))
        pieces = exposition.pieces
        is_large = question.compressed and pieces.size >= self._compression_threshold
        compressed = self._gzip(exposition, is_whole=not question.names) if is_large else None
        if compressed is not None:
            pieces = compressed
            headers.append(("Content-Encoding", "gzip"))
        return Response(200, (*headers, ("Content-Length", str(pieces.size))), pieces)

    def _gzip(self, exposition: Exposition, *, is_whole: bool) -> Pieces | None:
        observer = self._source.observer
        compression = self._compression if is_whole else Compression()  # only what is whole is remembered
        try:
            with observer.phase("compress"):
                compressed = compression.gzip(exposition.pieces, kind=exposition.content_type)
        except (MemoryError, zlib.error) as error:  # what is plain is there already
            endpoint_logger.debug("%s", CompressionError(error))
            return None
        observer.size(exposition.content_type, len(compressed), encoding="gzip")
        return Pieces((compressed,))

    def _state(self, path: str, request: Request) -> Response:
        assert self._health
        good, details = self._health.alive() if path == HEALTH_PATH else self._health.ready()
        if not good and not request.authenticated:
            endpoint_logger.debug("%s: %s", path, details)
            details = "not alive" if path == HEALTH_PATH else "not ready"
        elif path == READY_PATH and request.authenticated and self._problem and (problem := self._problem()):
            details += f"; what was read before stays in use: {problem}"
        return text_response(200 if good else 503, f"{details}\n")


def _process_start() -> str | None:
    """What promhttp sends in every answer, so that a scraper can tell a restart from a reset.

    https://pkg.go.dev/github.com/prometheus/client_golang/prometheus/promhttp#HandlerOpts
    """
    began = process_start()
    return None if began is None else str(int(began))


def _timeout(header: str | None) -> float | None:
    """How many seconds the scraper waits, less those that the way back takes. None where it does not say."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    if not 0 < seconds <= LONGEST_WAIT:
        return None
    return seconds - min(0.5, seconds / 5)


class _Question(NamedTuple):
    """What the answer to a scrape depends on, in whichever words it was asked for."""

    content_type: str
    names: frozenset[str]
    compressed: bool


def _question(request: Request) -> _Question:
    return _read_question(
        request.headers.get("accept"), request.headers.get("accept-encoding"), request.query
    )


@lru_cache(maxsize=32)  # scrapers ask the same every time
def _read_question(accept: str | None, accept_encoding: str | None, query: str) -> _Question:
    # More fields are a ValueError. A filter that is not understood must not let everything pass.
    fields = parse_qsl(query, max_num_fields=_MOST_FIELDS)
    names = frozenset(value for name, value in fields if name == "name[]")
    # Only the source knows whether it writes OpenMetrics 2.0. Who asks for it shares no answer with who does
    # not.
    choice = negotiate(accept, openmetrics_2=True)
    return _Question(choice.content_type, names, accepts_gzip(accept_encoding))
