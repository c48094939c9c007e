"""Families → bytes, rendering each point once.

An encoder keeps, for each family, what it rendered last. It renders a point again only if the point is
another object than last time, and puts it between what stays (``rendered.py``). If every family is the same
object as last time, it hands out the same pieces again (``unchanged.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress, count, repeat
from operator import attrgetter, is_not
from typing import Any, NamedTuple

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import SerializationError
from otel_prom_bridge.exposition.pieces import Pieces
from otel_prom_bridge.exposition.rendered import Rendered
from otel_prom_bridge.exposition.unchanged import Memory, made_anew
from otel_prom_bridge.exposition.writer import Writer
from otel_prom_bridge.families import Kind, MetricFamily


class _Page(NamedTuple):
    """A family as it was rendered last: its labels one by one, its points together, and how it is written.

    ``parts`` is what it is in a body. All the rest belongs to whoever takes the page out of the memory.
    """

    family: MetricFamily
    header: bytes
    render: Any
    labels: list[Any]
    rendered: Rendered
    parts: Pieces


_NO_PAGE = _Page(MetricFamily("", Kind.UNKNOWN, "", "", ()), b"", None, [], Rendered(), Pieces())
_NAME, _FAMILY, _PARTS, _SIZE = map(attrgetter, ("name", "family", "parts", "size"))


class Encoder:
    """Renders families in one format and remembers what it rendered. Safe to use from any thread."""

    def __init__(self, writer: Writer, *, findings: Findings) -> None:
        self._writer = writer
        self._findings = findings
        self._trailer = Pieces((writer.trailer,))
        self._memory = Memory[_Page, Pieces](nothing=self._trailer)

    def encode(self, families: Sequence[MetricFamily]) -> Pieces:
        """The exposition of these families, in this order. Pieces that did not change are the same objects.

        A family that cannot be rendered is left out and reported; it never fails the others.
        """
        return self._memory.whole(tuple(families), self._pieces)

    def _pieces(self, families: tuple[MetricFamily, ...]) -> Pieces:
        # Of most families nothing changed, so Python code looks only at the others.
        pages = list(map(self._memory.pages.get, map(_NAME, families), repeat(_NO_PAGE)))
        stale = list(compress(count(), map(is_not, map(_FAMILY, pages), families)))
        for place in stale:
            pages[place] = _NO_PAGE  # or it would keep the old lines while the new ones are made
            pages[place] = self._page_or_none(families[place])
        parts = [*map(_PARTS, pages), self._trailer]
        return Pieces(chain.from_iterable(parts), size=sum(map(_SIZE, parts)))

    def _page_or_none(self, family: MetricFamily) -> _Page:
        try:
            page = self._memory.pages[family.name] = self._updated(family)
            return page
        except Exception as error:
            finding = ("encode", family.name, type(error))
            self._findings.report(finding, "%s", SerializationError(family.name, error))
            return _NO_PAGE

    def _updated(self, family: MetricFamily) -> _Page:
        """The page of a family that is another object than last time."""
        writer = self._writer
        # A thread that comes meanwhile finds no page, and makes one of its own.
        page = self._memory.pages.pop(family.name, None)
        if page is None or _metadata(page.family) != _metadata(family):
            header, render = writer.header(family), writer.renderer(family)
            page = _Page(family.with_points(()), header, render, [], Rendered(), Pieces())
        before, header, render, labels, rendered, _ = page
        del page, _
        changed, made, labels = made_anew(
            before.points, family.points, labels, of_labels=writer.labels, of_point=render
        )
        rendered.update(changed, made, size=len(family.points))
        return _Page(family, header, render, labels, rendered, Pieces(writer.page(header, family, rendered)))


def _metadata(family: MetricFamily) -> tuple[object, ...]:
    return (family.name, family.kind, family.help, family.unit, family.shows_created)
