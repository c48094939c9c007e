"""Families → bytes, rendering each point once.

An encoder keeps, for each family, what it rendered last. It renders a point again only if the point is
another object than last time. If every family is the same object as last time, it hands out the same body
again (see ``unchanged.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import SerializationError
from otel_prom_bridge.exposition.unchanged import Made, Memory, nothing_made
from otel_prom_bridge.exposition.writer import Writer
from otel_prom_bridge.families import MetricFamily


class _Page(NamedTuple):
    """A family as it was rendered last.

    It is kept in pieces. To put them together takes little longer than to copy the page as a whole, which
    would be all of it a second time.
    """

    family: MetricFamily
    header: bytes
    render: Any
    made: Made


class Encoder:
    """Renders families in one format and remembers what it rendered. Safe to use from any thread."""

    def __init__(self, writer: Writer, *, findings: Findings) -> None:
        self._writer = writer
        self._findings = findings
        self._memory = Memory[_Page, bytes](nothing=writer.trailer)

    def encode(self, families: Sequence[MetricFamily]) -> bytes:
        """The exposition of these families, in this order.

        A family that cannot be rendered is left out and reported; it never fails the others.
        """
        return self._memory.whole(tuple(families), self._body)

    def _body(self, families: tuple[MetricFamily, ...]) -> bytes:
        pages = [page for family in families if (page := self._page_or_none(family)) is not None]
        parts = [self._writer.page(page.header, page.made.results) for page in pages]
        return b"".join(chain(*parts, (self._writer.trailer,)))

    def _page_or_none(self, family: MetricFamily) -> _Page | None:
        try:
            return self._page(family)
        except Exception as error:
            finding = ("encode", family.name, type(error))
            self._findings.report(finding, "%s", SerializationError(family.name, error))
            return None

    def _page(self, family: MetricFamily) -> _Page:
        pages = self._memory.pages
        page = pages.get(family.name)
        if page is None or _metadata(page.family) != _metadata(family):
            header, render = self._writer.header(family), self._writer.renderer(family)
            page = pages[family.name] = self._updated(_Page(family, header, render, nothing_made()), family)
        elif page.family is not family:
            page = pages[family.name] = self._updated(page, family)
        return page

    def _updated(self, page: _Page, family: MetricFamily) -> _Page:
        made = page.made.updated(family.points, of_labels=self._writer.labels, of_point=page.render)
        return page._replace(family=family, made=made)


def _metadata(family: MetricFamily) -> tuple[object, ...]:
    return (family.name, family.kind, family.help, family.unit, family.shows_created)
