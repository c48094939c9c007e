"""Families → bytes, in the format that a scraper asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.exposition.encoder import Encoders
from otel_prom_bridge.exposition.negotiation import Format, accepts_gzip, negotiate
from otel_prom_bridge.families import MetricFamily, claimed_names

__all__ = ["Exposer", "Exposition", "Format", "accepts_gzip", "negotiate"]


@dataclass(frozen=True, slots=True)
class Exposition:
    """What a scrape is answered with: the Content-Type header and the body."""

    content_type: str
    body: bytes


class Exposer:
    """Negotiates, filters and encodes. Safe to use from any thread."""

    def __init__(self, *, findings: Findings) -> None:
        self._encoders = Encoders(findings)

    def expose(
        self, families: Sequence[MetricFamily], *, accept: str | None, names: Iterable[str] = ()
    ) -> Exposition:
        """The exposition of these families, or of those that ``names`` mention.

        A name mentions a family if it is the family's or one of its samples' (``h`` and ``h_bucket`` both
        mention the histogram ``h``).
        """
        wanted = frozenset(names)
        if wanted:
            families = [family for family in families if wanted & claimed_names(family.name, family.kind)]
        format = negotiate(accept)
        return Exposition(format.content_type, self._encoders.encode(families, format))
