"""The second naming step: names as the scraper can read them.

Translation has chosen the names; a scraper says which characters it understands. Legacy names (the ones
that every Prometheus reads) stay as they are under every scheme. What a scheme rewrites may meet another name
or another label; then it is merged again, so that no series appears twice and no value is lost.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/escaping_schemes.md, and where that page and
the reference implementation (prometheus/common, model/metric.go) differ, the implementation: it is what
scrapers un-escape with.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import compress
from operator import is_not
from typing import Any, NamedTuple

from otel_prom_bridge.arithmetic.merging import merged
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.families import (
    EXEMPLAR_CHARACTERS,
    CounterPoint,
    Exemplar,
    HistogramPoint,
    Labels,
    MetricFamily,
    NativeHistogramPoint,
    Point,
    claimed_names,
    identity,
    is_legacy_label,
    is_legacy_name,
)

_NAMES_REMEMBERED = 8192
_IDS = ("trace_id", "span_id")
_SPARE_PAGES = 100


class Escaping(enum.Enum):
    """What to do with characters that legacy names cannot hold, by the name that scrapers use."""

    ALLOW_UTF_8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"


@lru_cache(maxsize=_NAMES_REMEMBERED)
def escaped(name: str, scheme: Escaping, *, label: bool = False) -> str:
    """A metric's name, or a label's, under a scheme; a legacy name is never changed.

    A colon is a legacy character in metric names only, and Prometheus keeps labels that begin with two
    underscores for itself: such a result gets the prefix ``exported_``.

    >>> [escaped("http.status", scheme) for scheme in Escaping]
    ['http.status', 'http_status', 'http_dot_status', 'U__http_2e_status']
    """
    is_legacy = is_legacy_label if label else is_legacy_name
    if scheme is Escaping.ALLOW_UTF_8 or is_legacy(name):
        return name
    # Whether a character is a legacy one depends on its place: a digit cannot come first.
    legacy = [is_legacy(c if place == 0 else f"a{c}") for place, c in enumerate(name)]
    characters = list(zip(name, legacy, strict=True))
    match scheme:
        case Escaping.UNDERSCORES:
            result = "".join(c if ok else "_" for c, ok in characters)
        case Escaping.DOTS:
            special = {".": "_dot_", "_": "__"}
            result = "".join(special.get(c, c if ok else "__") for c, ok in characters)
        case _:
            result = "U__" + "".join(c if ok and c != "_" else _value(c) for c, ok in characters)
    return f"exported_{result}" if label and result.startswith("__") else result


def _value(character: str) -> str:
    return "__" if character == "_" else f"_{ord(character):x}_"


def _ids_first(pair: tuple[str, str]) -> int:
    return _IDS.index(pair[0]) if pair[0] in _IDS else len(_IDS)


class _Page(NamedTuple):
    """A family as it was escaped last; ``points`` are parallel to its own."""

    family: MetricFamily
    points: list[Any]
    escaped: MetricFamily


class Escaper:
    """Escapes families for one scheme, and remembers what it escaped: unchanged points stay the same objects.

    Safe to use from any thread without a lock, as an encoder is.
    """

    def __init__(self, scheme: Escaping, *, findings: Findings) -> None:
        self._scheme = scheme
        self._findings = findings
        self._pages: dict[str, _Page] = {}
        self._last: tuple[tuple[MetricFamily, ...], tuple[MetricFamily, ...]] = ((), ())

    def escape(self, families: tuple[MetricFamily, ...]) -> tuple[MetricFamily, ...]:
        """The families with names that the scheme allows; those that meet are merged or, of two types, the
        later one is left out."""
        if self._scheme is Escaping.ALLOW_UTF_8 or not any(family.foreign for family in families):
            return families
        before, result = self._last
        if families != before:
            result = self._distinct(families)
            self._last = (families, result)
            if len(self._pages) > 2 * len(families) + _SPARE_PAGES:  # names that were made up and are gone
                names = {family.name for family in families}
                self._pages = {name: page for name, page in self._pages.items() if name in names}
        return result

    def _family(self, family: MetricFamily) -> MetricFamily:
        if not family.foreign:
            return family
        page = self._pages.get(family.name)
        if page is not None and page.family is family:
            return page.escaped
        old, kept = (page.family.points, page.points) if page is not None else ((), [])
        known = min(len(old), len(family.points))
        points = kept[:known]
        # A series whose labels are the same object keeps the labels that it was given before.
        relabelled = len(old) != len(family.points)
        for index in compress(range(known), map(is_not, old, family.points)):
            point = family.points[index]
            same = point.labels is old[index].labels
            relabelled = relabelled or not same
            points[index] = self._point(point, kept[index].labels if same else self._labels(point.labels))
        points += [self._point(point, self._labels(point.labels)) for point in family.points[known:]]
        name = escaped(family.name, self._scheme)
        if not relabelled and page is not None and len(page.escaped.points) == len(points):
            result = replace(page.escaped, points=tuple(points))  # still no two with equal labels
        else:
            result = _merged_family(family, name, points)
        self._pages[family.name] = _Page(family, points, result)
        return result

    def _point(self, point: Point, labels: Labels) -> Point:
        point = point._replace(labels=labels)
        if isinstance(point, CounterPoint) and point.exemplar is not None:
            return point._replace(exemplar=self._exemplar(point.exemplar))
        if isinstance(point, HistogramPoint) and point.exemplars:
            found = (None if item is None else self._exemplar(item) for item in point.exemplars)
            return point._replace(exemplars=tuple(found))
        if isinstance(point, NativeHistogramPoint) and point.exemplars:
            return point._replace(exemplars=tuple(map(self._exemplar, point.exemplars)))
        return point

    def _exemplar(self, item: Exemplar) -> Exemplar:
        # Escaping can make names longer than an exemplar may be; the ids are short, and legacy names.
        kept, room = [], EXEMPLAR_CHARACTERS
        for name, value in sorted(self._labels(item.labels), key=_ids_first):
            if len(name) + len(value) <= room:
                kept.append((name, value))
                room -= len(name) + len(value)
        return item._replace(labels=tuple(kept))

    def _labels(self, labels: Labels) -> Labels:
        found: dict[str, list[str]] = {}
        for name, value in labels:  # sorted by the original names, as joining wants them
            found.setdefault(escaped(name, self._scheme, label=True), []).append(value)
        return tuple(sorted((name, ";".join(values)) for name, values in found.items()))

    def _distinct(self, families: tuple[MetricFamily, ...]) -> tuple[MetricFamily, ...]:
        result: dict[str, MetricFamily] = {}
        owners: dict[str, str] = {}
        for original in families:
            family = self._family(original)
            claimed = claimed_names(family.name, family.kind)
            known = result.get(family.name)
            if known is not None and known.kind is family.kind:
                points = [*known.points, *family.points]
                result[family.name] = _merged_family(known, family.name, points)
                self._report(original, family, "as a metric of its own", "its series are merged with those")
            elif owners.keys().isdisjoint(claimed):
                owners.update(dict.fromkeys(claimed, family.name))
                result[family.name] = family
            else:
                self._report(original, family, "at all", "what came first is kept")
        return tuple(result.values())

    def _report(self, original: MetricFamily, family: MetricFamily, how: str, instead: str) -> None:
        reason = f"another metric has its name under escaping={self._scheme.value}, {instead}"
        what = f"{family.kind.value} {original.name!r} {how}"
        self._findings.conflict(Conflict(family.name, what, reason))


def _merged_family(like: MetricFamily, name: str, points: Sequence[Point]) -> MetricFamily:
    groups: dict[Labels, list[Point]] = {}
    for point in points:
        groups.setdefault(identity(point.labels), []).append(point)
    distinct = (g[0] if len(g) == 1 else merged(g, additive=like.additive) for g in groups.values())
    return MetricFamily(name, like.kind, like.help, like.unit, tuple(distinct), additive=like.additive)
