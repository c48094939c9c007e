"""Families → bytes, rendering each point once.

The store hands out the same point object until a series changes, so "changed" is "another object". An
encoder keeps, per family, the points it saw last and what it made of each, and renders only where the object
differs. If no family differs, the whole body is handed out again.

Encoders are safe to use from any thread without a lock: a page is never modified once it is published,
and two threads that render at once merely do the same work twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from operator import is_not
from typing import Any, NamedTuple

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import SerializationError
from otel_prom_bridge.exposition.writer import Writer
from otel_prom_bridge.families import MetricFamily

_SPARE_PAGES = 100


class _Page(NamedTuple):
    """A family as it was rendered last; the lists are parallel to its points."""

    family: MetricFamily
    header: bytes
    render: Any
    labels: list[Any]
    lines: list[bytes]
    joined: bytes | None = None  # the whole page, once it was asked for without having changed


class Encoder:
    """Renders families in one format and remembers what it rendered."""

    def __init__(self, writer: Writer, *, findings: Findings) -> None:
        self._writer = writer
        self._findings = findings
        self._pages: dict[str, _Page] = {}
        self._last: tuple[tuple[MetricFamily, ...], bytes] = ((), writer.trailer)

    def encode(self, families: Sequence[MetricFamily]) -> bytes:
        """The exposition of these families, in this order.

        A family that cannot be rendered is left out and reported; it never fails the others.
        """
        families = tuple(families)
        last, body = self._last
        if families == last:  # families compare by identity
            return body
        pages = [page for family in families if (page := self._page_or_none(family)) is not None]
        self._prune(families)
        parts = chain.from_iterable(map(self._parts, pages))
        body = b"".join([*parts, self._writer.trailer])
        self._last = (families, body)
        return body

    def _page_or_none(self, family: MetricFamily) -> _Page | None:
        try:
            return self._page(family)
        except Exception as error:
            finding = ("encode", family.name, type(error))
            self._findings.report(finding, "%s", SerializationError(family.name, error))
            return None

    def _page(self, family: MetricFamily) -> _Page:
        page = self._pages.get(family.name)
        if page is None or _metadata(page.family) != _metadata(family):
            header = self._writer.header(family)
            page = _Page(family, header, self._writer.renderer(family), [], [])
            page = self._pages[family.name] = self._updated(page, (), family)
        elif page.family is not family:
            page = self._pages[family.name] = self._updated(page, page.family.points, family)
        elif page.joined is None:
            page = self._pages[family.name] = page._replace(joined=b"".join(self._parts(page)))
        return page

    def _updated(self, page: _Page, before: tuple[Any, ...], family: MetricFamily) -> _Page:
        points, render, render_labels = family.points, page.render, self._writer.labels
        known = min(len(before), len(points))
        labels, lines = page.labels[:known], page.lines[:known]
        for index in compress(range(known), map(is_not, before, points)):
            point = points[index]
            if point.labels is not before[index].labels:
                labels[index] = render_labels(point.labels)
            lines[index] = render(point, labels[index])
        for point in points[known:]:
            labels.append(render_labels(point.labels))
            lines.append(render(point, labels[-1]))
        return page._replace(family=family, labels=labels, lines=lines, joined=None)

    def _parts(self, page: _Page) -> Iterable[bytes]:
        return self._writer.page(page.header, page.lines) if page.joined is None else (page.joined,)

    def _prune(self, families: tuple[MetricFamily, ...]) -> None:
        # Collectors may make up names for ever. A scrape that asked for a few names only prunes too much
        # now and then, which costs rendering them again.
        if len(self._pages) > 2 * len(families) + _SPARE_PAGES:
            names = {family.name for family in families}
            self._pages = {name: page for name, page in self._pages.items() if name in names}


def _metadata(family: MetricFamily) -> tuple[object, ...]:
    return (family.name, family.kind, family.help, family.unit)
