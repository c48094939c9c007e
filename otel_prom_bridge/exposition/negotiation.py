"""Accept header → exposition format.

An Accept header is a list of media ranges with weights; the highest weight that we can serve wins. Whatever
the header says, the answer is a format, never an error: a scraper that asked for something strange is
better served with text 0.0.4 than with a 406 or a 500.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/content_negotiation.md
https://www.rfc-editor.org/rfc/rfc9110#name-accept
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from otel_prom_bridge.exposition.schemes import Escaping


class Format(enum.Enum):
    """The formats that the bridge can write; the values are their content types without the escaping."""

    TEXT_0_0_4 = "text/plain; version=0.0.4; charset=utf-8"
    TEXT_1_0_0 = "text/plain; version=1.0.0; charset=utf-8"
    # Prometheus 2.5 to 2.33 ask for version 0.0.1. Its body is the same as that of 1.0.0.
    OPENMETRICS_0_0_1 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
    OPENMETRICS_1_0_0 = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    OPENMETRICS_2_0_0 = "application/openmetrics-text; version=2.0.0; charset=utf-8"
    PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


# These formats are older than escaping, which their content type names only if a scraper asked for it.
_BEFORE_ESCAPING = (Format.TEXT_0_0_4, Format.OPENMETRICS_0_0_1)


class Negotiated(NamedTuple):
    """The format and the escaping of names that a scraper gets."""

    format: Format
    escaping: Escaping

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        if self.escaping is Escaping.UNDERSCORES and self.format in _BEFORE_ESCAPING:
            return self.format.value
        return f"{self.format.value}; escaping={self.escaping.value}"


_TEXT, _OPENMETRICS = ("text", "plain"), ("application", "openmetrics-text")
_PROTOBUF = ("application", "vnd.google.protobuf")
_PROTOBUF_PARAMETERS = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
# Without a version the oldest version of the standard is meant: 0.0.4 of Prometheus text, and of OpenMetrics
# "the oldest version of the standard (i.e. 1.0.0)", since 0.0.1 was only a draft. prometheus_client answers
# so, too; client_golang answers with 0.0.1.
# https://prometheus.io/docs/specs/om/open_metrics_spec/#protocol-negotiation
_VERSIONS = {
    (_TEXT, ""): Format.TEXT_0_0_4,
    (_TEXT, "0.0.4"): Format.TEXT_0_0_4,
    (_TEXT, "1.0.0"): Format.TEXT_1_0_0,
    (_OPENMETRICS, ""): Format.OPENMETRICS_1_0_0,
    (_OPENMETRICS, "0.0.1"): Format.OPENMETRICS_0_0_1,
    (_OPENMETRICS, "1.0.0"): Format.OPENMETRICS_1_0_0,
    (_OPENMETRICS, "2.0.0"): Format.OPENMETRICS_2_0_0,
}
_WILDCARDS = {
    ("*", "*"): Format.TEXT_0_0_4,
    ("text", "*"): Format.TEXT_0_0_4,
    ("application", "*"): Format.OPENMETRICS_1_0_0,
}

# A header is a sequence of tokens, quoted strings and separators (RFC 9110). A quote that is never closed
# reaches to the end of the header, because searching for another reading would take quadratic time.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"?|[^",;]+|[,;]', re.DOTALL)
_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")
# No more of a header than this is read, which takes at most 10 ms. The longest header of a known scraper has
# 400 characters.
_MAX_LENGTH = 2048


class _Range(NamedTuple):
    type: tuple[str, str]
    parameters: Mapping[str, str] = {}

    @property
    def weight(self) -> float:
        # A weight that the RFC does not allow (Prometheus 2.49.0 sent q=2) must neither win nor fail.
        text = self.parameters.get("q", "1")
        return float(text) if _WEIGHT.fullmatch(text) else 0.0

    @property
    def format(self) -> Format | None:
        if self.type in _WILDCARDS:
            return _WILDCARDS[self.type]
        if self.type == _PROTOBUF:
            return Format.PROTOBUF if self.parameters.items() >= _PROTOBUF_PARAMETERS.items() else None
        return _VERSIONS.get((self.type, self.parameters.get("version", "")))

    @property
    def escaping(self) -> Escaping:
        try:
            return Escaping(self.parameters.get("escaping", "").lower())
        except ValueError:
            return Escaping.UNDERSCORES  # "SHOULD" be used where no known scheme was asked for


@lru_cache(maxsize=64)
def negotiate(accept: str | None, *, openmetrics_2: bool = False) -> Negotiated:
    """The format and the escaping with which an Accept header is answered.

    Without a header, or if nothing in it can be served, that is text 0.0.4. Of ranges with equal weights the
    more specific one wins, then the earlier one. OpenMetrics 2.0 is experimental: it is an answer only to who
    asks for that version, and only with ``openmetrics_2``.

    >>> negotiate('application/openmetrics-text;version="1.0.0";q=0.5, text/plain;q=0.4').format.name
    'OPENMETRICS_1_0_0'
    """
    best, best_rank = Negotiated(Format.TEXT_0_0_4, Escaping.UNDERSCORES), (0.0, 0)
    for item in _ranges((accept or "")[:_MAX_LENGTH]):
        rank = (item.weight, -item.type.count("*"))
        if item.format is Format.OPENMETRICS_2_0_0 and not openmetrics_2:
            continue
        if item.format is not None and item.weight > 0 and rank > best_rank:
            best, best_rank = Negotiated(item.format, item.escaping), rank
    return best


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an Accept-Encoding header allows gzip: ``gzip;q=0`` does not.

    https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding
    """
    weights = {item.type[0]: item.weight for item in _ranges((accept_encoding or "")[:_MAX_LENGTH])}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _ranges(header: str) -> Iterator[_Range]:
    pieces: list[str] = []
    for piece in [*_PIECE.findall(header), ","]:
        if piece == ",":
            if "".join(pieces).strip():
                yield _range("".join(pieces))
            pieces = []
        else:
            pieces.append(piece)


def _range(text: str) -> _Range:
    parts = [""]
    for piece in _PIECE.findall(text):
        if piece == ";":
            parts.append("")
        else:
            parts[-1] += piece
    main, _, sub = parts[0].strip().lower().partition("/")
    parameters: dict[str, str] = {}
    for part in parts[1:]:
        name, _, value = part.partition("=")
        # The first of several wins: Prometheus 3.0 sends the escaping twice.
        parameters.setdefault(name.strip().lower(), _unquoted(value.strip()))
    return _Range((main, sub), parameters)


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value
