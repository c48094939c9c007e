"""Getting anybody's exposition: from a URL, a file or stdin, as bytes and the content type that was said."""

from __future__ import annotations

import gzip
import http.client
import io
import re
import socket
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from typing import IO, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from otel_prom_bridge.errors import ExpositionError

DEFAULT_TIMEOUT = 10.0
# Prometheus prefers the same formats, so what is counted is what it would store. (OpenMetrics may have start
# times.)
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
# A million lines are 50 to 200 MB. What is larger than this is no exposition.
MAX_BYTES = 512 * 2**20
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
# For example localhost:9464, 10.0.0.1:9090/metrics and [::1]:9464.
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}(/.*)?")


class Fetched(NamedTuple):
    """Plain bytes, and their Content-Type if somebody said it, else an empty string."""

    body: bytes
    content_type: str


def fetch(
    where: str,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    headers: Mapping[str, str] | None = None,
    accept: str = ACCEPT,
) -> Fetched:
    """What is at a URL, in a file, or on stdin (``-``).

    ``timeout`` is in seconds. ``headers`` go to the URL, and nowhere else.

    Raises:
        ExpositionError: it cannot be had.
    """
    try:
        if url := as_url(where):
            return _fetched(url, timeout, headers or {}, accept)
        return Fetched(decompressed(_stored(where)), "")
    except ExpositionError as error:
        raise ExpositionError(f"{where}: {error}") from None


def as_url(where: str) -> str:
    """The URL that is meant, with the usual path if it has none. An empty string if a file is meant."""
    if _ADDRESS.fullmatch(where):
        where = f"http://{where}"
    if not where.lower().startswith(("http://", "https://")):
        return ""
    try:
        parts = urlsplit(where)
    except ValueError:
        return where  # It is for urllib to say what is wrong with it.
    return urlunsplit(parts._replace(path=parts.path or "/metrics", fragment=""))


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Sends the headers of the user along when the server redirects to itself, but not to other servers."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The next request; None if urllib does not follow the redirection."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and (following.type, following.host) == (req.type, req.host):
            following.unredirected_hdrs.update(req.unredirected_hdrs)
        return following


def _fetched(url: str, timeout: float, headers: Mapping[str, str], accept: str) -> Fetched:
    deadline = time.monotonic() + timeout
    if "@" in url.split("/")[2]:
        raise ExpositionError("credentials go into --header 'Authorization: …', not into the URL")
    try:
        request = urllib.request.Request(
            url, headers={"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "otel-prom-bridge"}
        )
        for name, value in headers.items():
            request.add_unredirected_header(name.capitalize(), value)
        with urllib.request.build_opener(_SameOrigin).open(request, timeout=timeout) as response:
            kind = response.headers.get_content_type()
            if kind == "text/html":
                raise ExpositionError(f"answers with {kind}, which is no exposition; is the path right?")
            body = _all(response.read1, deadline)
            if response.length:  # read1() does not tell the end of a body from a broken connection.
                raise ExpositionError(f"broke off {response.length:,} bytes before the end")
            return Fetched(decompressed(body), response.headers.get("Content-Type") or "")
    except urllib.error.HTTPError as error:
        with error:
            raise ExpositionError(f"answers {error.code} {error.reason}; {_advice(error.code)}") from None
    except TimeoutError:
        raise ExpositionError(_slow(timeout)) from None
    except urllib.error.URLError as error:
        raise ExpositionError(_unreachable(error.reason, timeout)) from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise ExpositionError(f"cannot be fetched: {_one_line(error)}") from None


def _advice(status: int) -> str:
    if status in (401, 403):
        return "pass what it asks for with --header 'Authorization: …'"
    return "is the path right? usually it is /metrics" if status in (404, 405) else "its log may say why"


def _unreachable(reason: object, timeout: float) -> str:
    match reason:
        case TimeoutError():
            return _slow(timeout)
        case ConnectionRefusedError():
            return "nothing listens there; is it running, and is the port right?"
        case socket.gaierror():
            return f"the host is not known ({reason.strerror})"
        case _:
            return f"cannot be reached: {_one_line(reason)}"


def _slow(timeout: float) -> str:
    return f"no complete answer within {timeout:g} s; --timeout gives it more"


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__


def _stored(where: str) -> bytes:
    try:
        if where == "-":
            return _all(sys.stdin.buffer.read)
        with open(where, "rb") as file:
            return _all(file.read)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ExpositionError(f"cannot be read: {reason}; give a file, a URL, host:port, or -") from None


def _all(read: Callable[[int], bytes], deadline: float | None = None) -> bytes:
    """Everything that there is to read, up to the limits of size and time."""
    found = bytearray()
    while chunk := read(_CHUNK):
        found += chunk
        if len(found) > MAX_BYTES:
            raise ExpositionError(_too_large())
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError
    return bytes(found)


def decompressed(data: bytes) -> bytes:
    """The plain bytes, whether the server announced gzip or a file contains it."""
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as plain:
            return _all(plain.read)
    except (OSError, EOFError, zlib.error) as error:
        raise ExpositionError(f"broken gzip: {_one_line(error)}") from None


def _too_large() -> str:
    return f"larger than {MAX_BYTES // 2**20} MB, which is no exposition that a Prometheus would take"
