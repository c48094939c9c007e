"""Families → bytes, in the format that a scraper asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition.encoder import Encoder
from otel_prom_bridge.exposition.negotiation import Format, Negotiated, accepts_gzip, negotiate
from otel_prom_bridge.exposition.openmetrics import OpenMetricsWriter
from otel_prom_bridge.exposition.openmetrics2 import OpenMetrics2Writer
from otel_prom_bridge.exposition.pieces import Pieces
from otel_prom_bridge.exposition.protobuf import ProtobufWriter
from otel_prom_bridge.exposition.schemes import Escaper, Escaping
from otel_prom_bridge.exposition.text import TextWriter, with_companions
from otel_prom_bridge.exposition.unchanged import Memory
from otel_prom_bridge.exposition.writer import DEFAULT_OPTIONS, WriterOptions
from otel_prom_bridge.families import MetricFamily, claimed_names

__all__ = [
    "Escaping",
    "Exposer",
    "Exposition",
    "Format",
    "Negotiated",
    "Pieces",
    "WriterOptions",
    "accepts_gzip",
    "negotiate",
]


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Exposition:
    """What a scrape is answered with: the Content-Type header and the body.

    ``complete`` is False if something in it could not be collected and is shown as it was last known.
    ``pieces`` are the body before it is put together. Those that are as in the exposition before are the same
    objects.
    """

    content_type: str
    pieces: Pieces
    complete: bool

    def __init__(
        self,
        content_type: str,
        body: bytes | None = None,
        complete: bool = True,
        *,
        pieces: Iterable[bytes] = (),
    ) -> None:
        if not isinstance(pieces, Pieces) or body is not None:
            pieces = Pieces(pieces if body is None else (body,))
        for name, value in (("content_type", content_type), ("pieces", pieces), ("complete", complete)):
            object.__setattr__(self, name, value)

    @property
    def body(self) -> bytes:
        """The body."""
        return self.pieces.body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exposition) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[str, bytes, bool]:
        return self.content_type, self.body, self.complete


class Exposer:
    """Chooses the format, escapes the names, filters the families and encodes them.

    An exposer is safe to use from any thread.
    """

    def __init__(self, *, findings: Findings, options: WriterOptions = DEFAULT_OPTIONS) -> None:
        text = Encoder(TextWriter(options), findings=findings)
        openmetrics = Encoder(OpenMetricsWriter(options), findings=findings)
        # Formats that share a body share its encoder.
        self._encoders = {
            Format.TEXT_0_0_4: text,
            Format.TEXT_1_0_0: text,
            Format.OPENMETRICS_0_0_1: openmetrics,
            Format.OPENMETRICS_1_0_0: openmetrics,
            Format.OPENMETRICS_2_0_0: Encoder(OpenMetrics2Writer(options), findings=findings),
            Format.PROTOBUF: Encoder(ProtobufWriter(), findings=findings),
        }
        self._openmetrics_2 = options.openmetrics_2
        self._companions = Memory[MetricFamily, tuple[MetricFamily, ...]](nothing=())
        self._escapers = {scheme: Escaper(scheme, findings=findings) for scheme in Escaping}

    def expose(
        self, families: Sequence[MetricFamily], *, accept: str | None, names: Iterable[str] = ()
    ) -> Exposition:
        """The exposition of these families, or only of those that ``names`` mention.

        A name mentions a family if it is the family's own or that of one of its samples: ``h`` and
        ``h_bucket`` both mention the histogram ``h``. Names are compared as this scraper sees them, which is
        after escaping.
        """
        choice = negotiate(accept, openmetrics_2=self._openmetrics_2)
        shown = self._escapers[choice.escaping].escape(tuple(families))
        wanted = frozenset((names,) if isinstance(names, str) else names)
        if wanted:
            shown = tuple(family for family in shown if wanted & claimed_names(family.name, family.kind))
        if choice.format in (Format.TEXT_0_0_4, Format.TEXT_1_0_0):
            shown = self._companions.whole(shown, with_companions)
        return Exposition(choice.content_type, pieces=self._encoders[choice.format].encode(shown))
