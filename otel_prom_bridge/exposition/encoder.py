"""Families → bytes, rendering each line once.

The store hands out the same point object until a series changes, so "changed" is "another object". An
encoder keeps, per family, the points it saw last and the line it made of each, and renders only where the
object differs. If no family differs, the whole body is handed out again.

Encoders are safe to use from any thread without a lock: a page is never modified once it is published,
and two threads that render at once merely do the same work twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import is_not
from types import ModuleType
from typing import Any, NamedTuple

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition import openmetrics, text
from otel_prom_bridge.exposition.escaping import label_set
from otel_prom_bridge.exposition.negotiation import Format
from otel_prom_bridge.families import MetricFamily


class _Page(NamedTuple):
    """A family as it was rendered last; the lists are parallel to its points."""

    family: MetricFamily
    header: bytes
    render: Any
    labels: list[str]
    lines: list[bytes]


class Encoder:
    """Renders families in one text format and remembers what it rendered."""

    def __init__(self, writer: ModuleType, findings: Findings) -> None:
        self._writer = writer
        self._findings = findings
        self._trailer = writer.TRAILER.encode()
        self._pages: dict[str, _Page] = {}
        self._last: tuple[tuple[MetricFamily, ...], bytes] = ((), self._trailer)

    def encode(self, families: Sequence[MetricFamily]) -> bytes:
        """The exposition of these families, in this order.

        A family that cannot be rendered is left out and reported; it never fails the others.
        """
        families = tuple(families)
        last, body = self._last
        if families == last:  # families compare by identity
            return body
        pages = [page for family in families if (page := self._page_or_none(family)) is not None]
        parts = chain.from_iterable((page.header, *page.lines) for page in pages)
        body = b"".join([*parts, self._trailer])
        self._last = (families, body)
        return body

    def _page_or_none(self, family: MetricFamily) -> _Page | None:
        try:
            return self._page(family)
        except Exception as error:
            self._findings.report(
                ("encode", family.name, type(error)),
                "metric %r could not be written and is left out: %r",
                *(family.name, error),
            )
            return None

    def _page(self, family: MetricFamily) -> _Page:
        page = self._pages.get(family.name)
        if page is None or _metadata(page.family) != _metadata(family):
            header = self._writer.header(family).encode()
            page = _Page(family, header, self._writer.renderer(family), [], [])
            page = self._pages[family.name] = _updated(page, (), family)
        elif page.family is not family:
            page = self._pages[family.name] = _updated(page, page.family.points, family)
        return page


class Encoders:
    """One encoder per distinct body; formats that share a body share its encoder."""

    def __init__(self, findings: Findings) -> None:
        self._text = Encoder(text, findings)
        self._openmetrics = Encoder(openmetrics, findings)

    def encode(self, families: Iterable[MetricFamily], format: Format) -> bytes:
        """The exposition of these families in a format."""
        encoder = self._openmetrics if format.is_openmetrics else self._text
        return encoder.encode(tuple(families))


def _metadata(family: MetricFamily) -> tuple[object, ...]:
    return (family.name, family.kind, family.help, family.unit)


def _updated(page: _Page, before: tuple[Any, ...], family: MetricFamily) -> _Page:
    points = family.points
    render = page.render
    known = min(len(before), len(points))
    labels, lines = page.labels[:known], page.lines[:known]
    for index in compress(range(known), map(is_not, before, points)):
        point = points[index]
        if point.labels is not before[index].labels:
            labels[index] = label_set(point.labels)
        lines[index] = render(point, labels[index]).encode()
    for point in points[known:]:
        labels.append(label_set(point.labels))
        lines.append(render(point, labels[-1]).encode())
    return page._replace(family=family, labels=labels, lines=lines)
