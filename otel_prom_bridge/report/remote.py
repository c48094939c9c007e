"""Anybody's exposition: getting it from a URL, a file or stdin, and reading which metrics are in it.

The text parser of prometheus_client reads the sample lines, both of text 0.0.4 and of OpenMetrics, since it
does not mind exemplars and timestamps. The TYPE lines are read here, because that parser renames counters by
them and gives up on families in which a ``_created`` comes between. Its OpenMetrics parser is not used. It
refuses a whole exposition for faults that do not matter to who counts, and it says no more than the other.
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import socket
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, NamedTuple, TextIO, cast
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.parser import text_fd_to_metric_families

from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.families import Kind, Labels

_TYPE = re.compile(r'#[ \t]+TYPE[ \t]+("(?:[^"\\]|\\.)*"|\S+)[ \t]+(\S+)')
_TYPES = frozenset(kind.value for kind in Kind)
_UNKNOWN = Kind.UNKNOWN.value

# The suffixes of the names of samples, and the types whose samples have them.
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "_total": ("counter",),
    "_info": ("info",),
    "_bucket": ("histogram", "gaugehistogram"),
    "_count": ("histogram", "summary", "gaugehistogram"),
    "_sum": ("histogram", "summary", "gaugehistogram"),
    "_gcount": ("gaugehistogram",),
    "_gsum": ("gaugehistogram",),
    "_created": ("counter", "histogram", "summary"),
}
_SHOWN_SUFFIX = {"counter": "_total", "info": "_info"}
_LINE_WIDTH = 70

# Prometheus prefers the same formats, so what is counted is what it would store. (OpenMetrics may have start
# times.)
ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
# A million lines are 50 to 200 MB. What is larger than this is no exposition.
MAX_BYTES = 512 * 2**20
_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
# For example localhost:9464, 10.0.0.1:9090/metrics and [::1]:9464.
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}(/.*)?")


@dataclass(slots=True)
class ExposedMetric:
    """A metric by its name in queries. Its series lack the labels that only tell their samples apart."""

    name: str
    kind: str
    series: dict[Labels, None] = field(default_factory=dict)
    samples: int = 0


class _Place(NamedTuple):
    """The metric that samples of a name belong to, and the label that tells the samples of a series apart."""

    metric: ExposedMetric
    dropped: str


class _Lines:
    """The sample lines of an exposition. It remembers the types that were declared and the current line."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self.types: dict[str, str] = {}
        self.number = 0
        self.line = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number, self.line = self.number + 1, line.strip()
            if not self.line.startswith("#"):
                yield self.line
            elif found := _TYPE.fullmatch(self.line):
                name, kind = found.groups()
                self.types[_unquoted(name)] = kind if kind in _TYPES else _UNKNOWN


def load(where: str, *, timeout: float, headers: Mapping[str, str]) -> list[ExposedMetric]:
    """The metrics at a URL, in a file, or on stdin (``-``).

    ``timeout`` is in seconds.

    Raises:
        ExpositionError: the exposition cannot be fetched or read.
    """
    try:
        data = _fetched(url, timeout, headers) if (url := as_url(where)) else _stored(where)
        text = io.TextIOWrapper(
            io.BytesIO(_decompressed(data)), encoding="utf-8", errors="backslashreplace", newline="\n"
        )
        return read_exposition(text)
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


def _fetched(url: str, timeout: float, headers: Mapping[str, str]) -> bytes:
    deadline = time.monotonic() + timeout
    if "@" in url.split("/")[2]:
        raise ExpositionError("credentials go into --header 'Authorization: …', not into the URL")
    try:
        request = urllib.request.Request(
            url, headers={"Accept": ACCEPT, "Accept-Encoding": "gzip", "User-Agent": "otel-prom-bridge"}
        )
        for name, value in headers.items():
            request.add_unredirected_header(name.capitalize(), value)
        with urllib.request.build_opener(_SameOrigin).open(request, timeout=timeout) as response:
            kind = response.headers.get_content_type()
            if kind == "text/html" or "protobuf" in kind:
                raise ExpositionError(f"answers with {kind}, which is no text exposition; is the path right?")
            body = _all(response.read1, deadline)
            if response.length:  # read1() does not tell the end of a body from a broken connection.
                raise ExpositionError(f"broke off {response.length:,} bytes before the end")
            return body
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


def _decompressed(data: bytes) -> bytes:
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


def read_exposition(lines: Iterable[str]) -> list[ExposedMetric]:
    """The metrics of an exposition.

    Raises:
        ExpositionError: a line does not belong into an exposition.
    """
    source = _Lines(lines)
    metrics: dict[str, ExposedMetric] = {}
    places: dict[str, _Place] = {}
    try:
        for parsed in text_fd_to_metric_families(cast(TextIO, source)):
            for sample in parsed.samples:
                place = places.get(sample.name)
                if place is None:
                    place = places[sample.name] = _place(sample.name, sample.labels, source.types, metrics)
                metric, dropped = place
                pairs = (pair for pair in sample.labels.items() if pair[1] and pair[0] != dropped)
                metric.series[tuple(sorted(pairs))] = None
                metric.samples += 1
    except (ValueError, IndexError, KeyError):  # The parser says too little, so the message shows the line.
        shown = source.line if len(source.line) <= _LINE_WIDTH else f"{source.line[:_LINE_WIDTH]}…"
        raise ExpositionError(f"line {source.number} is not a sample: {shown!r}") from None
    return list(metrics.values())


def _place(
    name: str, labels: dict[str, str], types: dict[str, str], metrics: dict[str, ExposedMetric]
) -> _Place:
    # What a Prometheus federates has no types any more, but buckets, which come first, can be recognised.
    if name.endswith("_bucket") and "le" in labels and types.get(name, _UNKNOWN) == _UNKNOWN:
        types.setdefault(name.removesuffix("_bucket"), "histogram")
    owner, kind = _owner(name, types)
    shown = owner
    if owner != name and owner not in metrics:
        shown = owner.removesuffix("_total") + _SHOWN_SUFFIX.get(kind, "")
    dropped = ""
    if owner != name and name.endswith("_bucket"):
        dropped = "le"
    elif owner == name:
        dropped = {"summary": "quantile", "stateset": name}.get(kind, "")
    return _Place(metrics.setdefault(shown, ExposedMetric(shown, kind)), dropped)


def _owner(name: str, types: dict[str, str]) -> tuple[str, str]:
    """The family to which a sample belongs, by the name in its TYPE line, and the type of the family."""
    own = types.get(name, _UNKNOWN)
    # In text, prometheus_client writes start times as gauges of their own. They belong to their metric.
    if own != _UNKNOWN and not (own == "gauge" and name.endswith("_created")):
        return name, own
    for suffix, kinds in _SUFFIXES.items():
        base = name.removesuffix(suffix)
        for owner in (base, f"{base}_total") if suffix == "_created" else (base,):
            if base != name and types.get(owner) in kinds:
                return owner, types[owner]
    return name, own


def _unquoted(name: str) -> str:
    # The escapes in a quoted name are a part of those that JSON knows.
    try:
        return str(json.loads(name, strict=False)) if name.startswith('"') else name
    except ValueError:
        return name
