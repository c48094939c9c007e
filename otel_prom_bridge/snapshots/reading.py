"""Bytes of an exposition → families, and everything that is wrong with it.

The content type says which format it is. Bytes from a file have none, so the bytes themselves say it:
``# EOF`` at the end is OpenMetrics, what begins as a delimited message is protobuf, and the rest is
Prometheus text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from otel_prom_bridge.exposition import Format
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.snapshots.assembly import family_of
from otel_prom_bridge.snapshots.findings import Faults, Finding
from otel_prom_bridge.snapshots.groups import grouped
from otel_prom_bridge.snapshots.lines import read_lines, shortened
from otel_prom_bridge.snapshots.protobuf import looks_like_protobuf, read_protobuf

_VERSION = re.compile(r'version="?([0-9.]+)')
_COMPOSITE = re.compile(rb"[ }]\{(?:count|gcount):", re.ASCII)


class ReadExposition(NamedTuple):
    """The families, the content type (as it was said, or found out), and the findings."""

    families: tuple[MetricFamily, ...]
    content_type: str
    findings: tuple[Finding, ...]


def read(body: bytes, content_type: str = "") -> ReadExposition:
    """Read an exposition, whatever is wrong with it."""
    faults = Faults()
    content_type = content_type or _guessed(body)
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/vnd.google.protobuf":
        families = read_protobuf(body, faults)
    else:
        families = _read_text(body, _openmetrics(kind, content_type), faults)
    return ReadExposition(tuple(families), content_type, faults.all())


def _guessed(body: bytes) -> str:
    if looks_like_protobuf(body):
        return Format.PROTOBUF.value
    if not body.rstrip(b"\n").endswith(b"# EOF"):
        return Format.TEXT_0_0_4.value
    found = Format.OPENMETRICS_2_0_0 if _COMPOSITE.search(body) else Format.OPENMETRICS_1_0_0
    return found.value


def _openmetrics(kind: str, content_type: str) -> str:
    """The main number of the version of OpenMetrics; an empty string for Prometheus text."""
    if kind != "application/openmetrics-text":
        return ""
    found = _VERSION.search(content_type)
    return "2" if found and found[1].startswith("2") else "1"


def _read_text(body: bytes, openmetrics: str, faults: Faults) -> list[MetricFamily]:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        shown = shortened(body.split(b"\n")[line - 1].decode(errors="backslashreplace"))
        faults.error("syntax", "", f"{shown!r} is no UTF-8", line=line)
        text = body.decode(errors="backslashreplace")
    lines = read_lines(text, openmetrics=bool(openmetrics), faults=faults)
    groups = grouped(lines, openmetrics=openmetrics, faults=faults)
    return [family_of(group, faults) for group in groups]
