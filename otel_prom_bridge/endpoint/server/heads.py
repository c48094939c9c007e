"""The head of a request: where it ends, and what it says.

``HeadScanner`` finds the end in bytes that come in pieces. It gives up as soon as they cannot become a head
that we would answer: because it is too long, has too many fields, is of another version than 1.0 and 1.1, or
has lines that end or begin in ways that another server on the way might read differently. ``parse`` leaves
the reading to h11. It refuses what h11 allows but nobody sends who means well: lengths that can be read in
two ways, and bodies where nobody has a use for them.

Scrapers send the same bytes every time, so the last heads are remembered. Those with credentials are not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import h11

from otel_prom_bridge.endpoint.messages import joined_headers

MAX_HEAD = 16 * 1024
MAX_FIELDS = 100
MAX_REQUEST_LINE = 8 * 1024
# A body up to this size is ignored and the request is answered. A larger one is refused.
MAX_BODY = 16 * 1024
_REMEMBERED = 32
# https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2
# A port may follow, and the zone of an address may be written as clients do.
_HOST = re.compile(
    r"(?:\[[A-Za-z0-9:._~%-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?", re.ASCII
)
_SECRETS = (b"authorization", b"cookie")  # the first is the end of Proxy-Authorization, too


class Head(NamedTuple):
    """What a request asks for. Header names are in lower case.

    ``has_body`` means that bytes follow which belong to it. ``expects`` means that the client wants to hear
    that they are welcome before it sends them. ``says_keep_alive`` means that it is an HTTP/1.0 client, which
    wants to hear that the connection stays open.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool
    has_body: bool
    says_keep_alive: bool
    expects: bool = False


class Refusal(NamedTuple):
    """Why a request gets no answer but this status code; the connection closes after it."""

    status: int
    reason: str


TOO_LARGE = Refusal(431, f"more than {MAX_HEAD} bytes or {MAX_FIELDS} fields in the head of the request")
TOO_LONG = Refusal(414, f"more than {MAX_REQUEST_LINE} bytes in the request line")
TIMED_OUT = Refusal(408, "the request did not arrive in time")
_NOT_HTTP = Refusal(400, "this is not an HTTP request")
_MALFORMED = Refusal(400, "the head of the request is malformed")
_NO_HOST = Refusal(400, "this is not the name of a host")
_VERSION = Refusal(
    505, "this speaks HTTP/1.1 and HTTP/1.0; of OTLP, set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
)
_SMUGGLING = Refusal(400, "the length of the body is ambiguous")
_BODY = Refusal(413, "requests have no use for a body here")
_CODING = Refusal(501, "this transfer encoding is not known here")


class HeadScanner:
    """Looks for the end of the head in a buffer that grows. Every byte is looked at once."""

    def __init__(self) -> None:
        self._line = 0  # where the current line begins
        self._seen = 0  # up to here there is no unseen end of a line
        self._lines = 0

    def scan(self, buffer: bytearray) -> int | Refusal:
        """Where the head ends, or 0 if it has not ended yet, or why it never will."""
        if buffer and not 0x21 <= buffer[0] <= 0x7E:
            return _NOT_HTTP  # it is TLS or another protocol, so there is no need to wait for a line
        while (end := buffer.find(b"\n", self._seen)) >= 0:
            found = self._take(buffer, end)
            if found:
                return found
        self._seen = len(buffer)
        if not self._lines and len(buffer) >= MAX_REQUEST_LINE:
            return TOO_LONG
        return TOO_LARGE if len(buffer) >= MAX_HEAD else 0

    def _take(self, buffer: bytearray, end: int) -> int | Refusal:
        start, self._seen, self._line = self._line, end + 1, end + 1
        self._lines += 1
        if self._lines == 1 and end >= MAX_REQUEST_LINE:
            return TOO_LONG
        if end >= MAX_HEAD or self._lines > MAX_FIELDS + 2:
            return TOO_LARGE
        if end == start or buffer[end - 1] != 0x0D:
            return _MALFORMED  # a bare line feed
        if self._lines == 1:
            return _wrong_first_line(bytes(buffer[start : end - 1])) or 0
        if end - start == 1:
            return end + 1
        return _MALFORMED if buffer[start] in b" \t" else 0  # obsolete line folding


def _wrong_first_line(line: bytes) -> Refusal | None:
    version = line.rpartition(b" ")[2]
    if version in (b"HTTP/1.1", b"HTTP/1.0"):
        return None
    is_version = version.startswith(b"HTTP/") and version[5:].replace(b".", b"", 1).isdigit()
    return _VERSION if is_version else _NOT_HTTP


def parse(head: bytes, *, max_body: int = 0) -> Head | Refusal:
    """Read a complete head. ``max_body`` is the size of the largest body that will be read."""
    if max_body:
        return _parse(head, max_body)
    lowered = head.lower()
    if any(secret in lowered for secret in _SECRETS):
        return _parse(head)
    return _remembered(head)


def _parse(head: bytes, max_body: int = 0) -> Head | Refusal:
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    parser.receive_data(head)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        # h11's own words are left out, because they quote the request, which may have credentials in it.
        return _CODING if error.error_status_hint == 501 else _MALFORMED
    if not isinstance(event, h11.Request):
        return _MALFORMED
    headers = joined_headers((name.decode(), value.decode("latin-1")) for name, value in event.headers)
    if not _HOST.fullmatch(headers.get("host", "")):
        return _NO_HOST
    return _refused_body(headers, event.http_version, max_body) or _head(event, headers, max_body)


_remembered = functools.lru_cache(_REMEMBERED)(_parse)


def _refused_body(headers: Mapping[str, str], version: bytes, max_body: int) -> Refusal | None:
    if "transfer-encoding" in headers:
        if "content-length" in headers or version == b"1.0":
            return _SMUGGLING
        return None if max_body else _BODY
    # h11 made sure that it is a number of at most 20 digits, once.
    if int(headers.get("content-length", "0")) <= (max_body or MAX_BODY):
        return None
    return larger_than(max_body) if max_body else _BODY


def larger_than(max_body: int) -> Refusal:
    """The refusal of a body that is larger than this."""
    return Refusal(413, f"a body may have {max_body} bytes here")


def _head(event: h11.Request, headers: dict[str, str], max_body: int) -> Head:
    path, query = target(event.target.decode("ascii"))
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    is_old = event.http_version == b"1.0"
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""
    keep_alive = "close" not in tokens and (not is_old or "keep-alive" in tokens)
    return Head(
        method=event.method.decode("ascii"),
        path=path,
        query=query,
        headers=MappingProxyType(headers),
        # Where nobody reads the body, nothing after it can be taken for a request.
        keep_alive=keep_alive and not (has_body and not max_body),
        has_body=has_body,
        says_keep_alive=is_old,
        expects=headers.get("expect", "").lower() == "100-continue" and not is_old,
    )


def target(text: str) -> tuple[str, str]:
    """Path and query of a request's target. It may be a whole URL; what is neither is an unknown path."""
    if text == "*":
        return text, ""
    if text.startswith("/"):
        text = f"http://host/{text.lstrip('/')}"
    try:
        parts = urlsplit(text)
    except ValueError:
        return text, ""
    return unquote(parts.path), parts.query
