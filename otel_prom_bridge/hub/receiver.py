"""Takes pushes: requests of OTLP over HTTP, with the headers that our own workers add (``push/wire.py``).

Whoever may push is on this machine: over the Unix socket another process of the same user, and over TCP
somebody with the token. Everything else is refused before a body is read, with a sentence that says what to
set. A push is answered when it is in the store, so whoever hears 200 need not keep it.

One push is taken in at a time. A scrape waits for none of them, but for the store's own lock.
"""

from __future__ import annotations

import hmac
import logging
import os
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from hashlib import blake2b
from urllib.parse import unquote

from otel_prom_bridge.configuration.options import DEFAULT_MAX_PUSH_SIZE, DEFAULT_MAX_SOURCES
from otel_prom_bridge.diagnostics import Findings, endpoint_logger
from otel_prom_bridge.endpoint.messages import Handler, Link, Request, Response, refusal, text_response
from otel_prom_bridge.endpoint.server.log import log_without_waiting
from otel_prom_bridge.hub.otlp import Decoder, Reading, Rejected, RequestError
from otel_prom_bridge.hub.places import MAKE_WAY_PATH
from otel_prom_bridge.hub.pushers import End, EndWatch, Pusher, Pushers
from otel_prom_bridge.native import RLock
from otel_prom_bridge.pipeline.pipeline import Pipeline
from otel_prom_bridge.points import WORKER, SourcePoint, Stream
from otel_prom_bridge.push import wire

# How many times as large it may be when it is unpacked.
_UNPACKED = 4
_HASHES = 4096
_NAME = ("service.namespace", "service.name", "service.instance.id")
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
_BINARY = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf (or OTEL_EXPORTER_OTLP_METRICS_PROTOCOL)"


class _RefusalError(Exception):
    """A push gets another answer than 200."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.response = refusal(status, f"{reason}\n", *headers)
        self.reason = reason


class Receiver(Handler):
    """Answers pushes, and puts what they bring into a pipeline.

    ``token`` is what TCP clients need; without one they get nothing in. ``users`` are the ids of those whose
    processes may use the Unix socket.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        token: str | None = None,
        users: Sequence[int] = (),
        max_sources: int = DEFAULT_MAX_SOURCES,
        source_timeout: float | None = None,
        max_push_size: int = DEFAULT_MAX_PUSH_SIZE,
    ) -> None:
        self.max_body = max_push_size
        self._pipeline = pipeline
        self._token = token
        self._users = {*users, 0, *((os.getuid(),) if hasattr(os, "getuid") else ())}
        self._lock = RLock()
        self.pushers = Pushers(self._end, lock=self._lock, most=max_sources, timeout=source_timeout)
        self._watch = EndWatch(self.pushers)
        self._decoder = Decoder()
        self._findings = Findings(log=endpoint_logger)
        self._hashes: dict[bytes, None] = {}  # of the pushes that came last
        self._make_way: Callable[[int], bool] = lambda port: False

    def start(self) -> None:
        """Notice from now on when processes end."""
        self._watch.start()

    def stop(self) -> None:
        """Notice it no longer."""
        self._watch.stop()

    @property
    def has_health(self) -> bool:
        """Nothing but pushes is answered here."""
        return False

    @property
    def is_in_use(self) -> bool:
        """Somebody is there who may push: a connection, or a process that is known."""
        with self._lock:
            return self.pushers.are_connected

    def on_make_way(self, answer: Callable[[int], bool]) -> None:
        """Let another hub that needs a port have this one end, if ``answer`` agrees."""
        self._make_way = answer

    # --- in the loop of the server --------------------------------------------------------------------------

    def admit(self, request: Request) -> Response | None:
        """Why this request will not be answered with 200, if its head says so already."""
        try:
            self._check(request)
        except _RefusalError as error:
            self._say(error.reason)
            return error.response
        return None

    def refused(self, reason: str) -> None:
        """Say what was no request: somebody may speak gRPC."""
        self._say(reason)

    def left(self, link: Link) -> None:
        """A connection has ended."""
        self._watch.left(link)

    def _say(self, reason: str) -> None:
        log_without_waiting(logging.WARNING, "a push was refused: %s", reason)

    def _check(self, request: Request) -> None:
        self._check_client(request)
        if request.path.rstrip("/") != wire.PATH:
            raise _RefusalError(
                404,
                f"a hub takes metrics only, at {wire.PATH}; send traces and logs elsewhere"
                " (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), or set OTEL_TRACES_EXPORTER=none",
            )
        if request.method != "POST":
            raise _RefusalError(405, f"POST pushes to {wire.PATH}", ("Allow", "POST"))
        content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content == "application/json":
            raise _RefusalError(415, f"JSON is not taken, {_BINARY}")
        if content.startswith("application/grpc"):
            raise _RefusalError(415, f"gRPC is not taken, {_BINARY}")
        if content != wire.CONTENT_TYPE:
            raise _RefusalError(415, f"Content-Type {content[:100]!r} is not {wire.CONTENT_TYPE}: {_BINARY}")
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise _RefusalError(
                415, f"Content-Encoding {encoding[:100]!r}: set OTEL_EXPORTER_OTLP_COMPRESSION=gzip, or none"
            )

    def _check_client(self, request: Request) -> None:
        link = request.link
        if link is not None and link.is_local:
            if link.uid is not None and link.uid not in self._users:
                raise _RefusalError(403, f"user {link.uid} may not push here: run it as the hub's user")
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Generators of headers in the environment quote them, and exporters differ in unquoting.
        tokens = (given.strip(), unquote(given.strip()))
        expected = (self._token or "").encode()
        is_right = any(hmac.compare_digest(token.encode("utf-8", "replace"), expected) for token in tokens)
        if not expected or scheme.lower() != "bearer" or not is_right:
            raise _RefusalError(
                401,
                "a push over TCP needs the hub's token: Authorization: Bearer …"
                " (OTEL_EXPORTER_OTLP_METRICS_HEADERS=authorization=Bearer%20…)",
                ("WWW-Authenticate", "Bearer"),
            )

    # --- in a worker of the server --------------------------------------------------------------------------

    def respond(self, request: Request) -> Response:
        """Take a push in. It never raises."""
        rejected, dropped, duplicate = Rejected(), 0, False
        try:
            if request.path == MAKE_WAY_PATH:
                return self._make_way_for(request)
            self._check(request)
            body = _unpacked(request, self.max_body)
            with self._lock:
                duplicate, dropped = self._taken(request, body, rejected)
            response = _success(rejected)
            if rejected.reasons:
                self._findings.report(
                    ("rejected", rejected.text), "of a push was left out: %s", rejected.text
                )
        except _RefusalError as error:
            self._say(error.reason)
            response = error.response
        except RequestError as error:
            self._say(str(error))
            response = refusal(400, f"{error}\n")
        except Exception:
            endpoint_logger.exception("a push failed; this is a fault of the bridge")
            # Not 503: it would come again, and fail again, and what comes after it would wait.
            response = refusal(500, "the push failed; the hub's log says why\n")
        self._pipeline.self_metrics.pushed(
            response.status, rejected=rejected.points, dropped=dropped, duplicate=duplicate
        )
        return response

    def _make_way_for(self, request: Request) -> Response:
        self._check_client(request)
        if self._make_way(_whole(request.query) or 0):
            return text_response(200, "going\n")
        return text_response(409, "this hub is in use\n")

    def _taken(self, request: Request, body: bytes, rejected: Rejected) -> tuple[bool, int]:
        """Take a push in, under the lock: whether it was a duplicate, and what its worker has dropped."""
        headers = request.headers
        name = headers.get(wire.SOURCE.lower(), "")
        if not name:
            return self._taken_from_stranger(request, body, rejected), 0
        number = _whole(headers.get(wire.NUMBER.lower()))
        pusher = self._find(("bridge", name), request, interval=_seconds(headers.get(wire.INTERVAL.lower())))
        dropped = max(0, (_whole(headers.get(wire.DROPPED.lower())) or 0) - pusher.dropped)
        pusher.dropped += dropped
        duplicate = number is not None and pusher.pushed is not None and number <= pusher.pushed
        if not duplicate:
            readings = self._decoder.resources(body, rejected)
            batch = [reading for _, found in readings for reading in found]
            failing = wire.read_failing(headers.get(wire.FAILING.lower(), ""))
            resource = readings[0][0] if readings else pusher.resource
            self._put(pusher, batch, resource, rejected, failing=failing)
            pusher.pushed = number if number is not None else pusher.pushed
        if headers.get(wire.END.lower()) == "1":
            self.pushers.end(pusher, "goodbye")
        return duplicate, dropped

    def _taken_from_stranger(self, request: Request, body: bytes, rejected: Rejected) -> bool:
        """Take a push of another exporter in; whether it was a duplicate.

        Nobody says whether it has everything that there is: exporters split large requests. So what it does
        not mention stays for a while, as with callbacks that failed (``failing=None``).
        """
        digest = blake2b(body, digest_size=16).digest()
        if body and digest in self._hashes:
            return True
        for resource, readings in self._decoder.resources(body, rejected):
            identity = tuple(str(resource.get(name, "")) for name in _NAME)
            key: Hashable = identity if identity[-1] else self.pushers.unnamed(request.link, resource)
            pusher = self._find(key, request)
            self._put(pusher, readings, resource, rejected, failing=None)
        while len(self._hashes) >= _HASHES:
            del self._hashes[next(iter(self._hashes))]
        self._hashes[digest] = None
        return False

    def _find(self, key: Hashable, request: Request, *, interval: float | None = None) -> Pusher:
        before = len(self.pushers)
        pusher = self.pushers.find(key, link=request.link, interval=interval)
        if pusher is None:
            raise _RefusalError(
                503, f"{before} processes push already: raise max_sources", ("Retry-After", "5")
            )
        if len(self.pushers) != before:
            self._watch.look()
        return pusher

    def _put(
        self,
        pusher: Pusher,
        readings: Sequence[Reading],
        resource: Mapping[str, object] | None,
        rejected: Rejected,
        *,
        failing: frozenset[str] | None,
    ) -> None:
        pusher.resource = resource
        batch = list(_batch(pusher, readings, rejected))
        self._pipeline.take(pusher.source, batch, resource=resource, failing=failing)

    def _end(self, pusher: Pusher, how: End) -> None:
        self._pipeline.end(pusher.source)
        self._pipeline.self_metrics.source_ended(how)


def _batch(
    pusher: Pusher, readings: Sequence[Reading], rejected: Rejected
) -> Iterator[tuple[Stream, Sequence[SourcePoint]]]:
    """What the store takes. Points of gauges say from which worker they are."""
    worker = str(pusher.source.worker)
    for reading in readings:
        meaning = reading.stream.meaning
        points = pusher.baselines.taken(reading, rejected)
        if not meaning.additive and not meaning.accumulates:
            for point in reading.points:
                point.attributes[WORKER] = worker
        yield reading.stream, points


def _unpacked(request: Request, max_body: int) -> bytes:
    """The body as it was before it was compressed."""
    if request.headers.get("content-encoding", "").strip().lower() in ("", "identity"):
        return request.body
    most, data, pieces, size = _UNPACKED * max_body, request.body, [], 0
    try:
        while data:
            inflating = zlib.decompressobj(47)  # gzip or zlib, whichever it is
            piece = inflating.decompress(data, most - size + 1)
            size += len(piece)
            pieces.append(piece)
            if size > most:
                raise _RefusalError(413, f"a body may have {most} bytes when it is unpacked")
            if not inflating.eof:
                raise _RefusalError(400, "the compressed body is cut off")
            data = inflating.unused_data
    except zlib.error as error:
        raise _RefusalError(400, f"the body cannot be unpacked: {error}") from None
    return b"".join(pieces)


def _success(rejected: Rejected) -> Response:
    return Response(200, (("Content-Type", wire.CONTENT_TYPE),), rejected.response())


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 20 else None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < 86_400 else None
