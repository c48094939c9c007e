"""The second naming step: names that the scraper can read.

Translation has chosen the names, and a scraper says which characters it understands. Legacy names, which
every Prometheus reads, stay as they are, except that ``dots`` doubles their underscores. A name that a
scheme rewrites may become equal to another one. What then has the same name and labels is merged, so that no
series appears twice and no value is lost.

https://github.com/prometheus/docs/blob/main/docs/instrumenting/escaping_schemes.md

Where that page and the reference implementation (prometheus/common, model/metric.go) differ about
characters, we follow the implementation, because scrapers un-escape with it. Under ``dots`` the
implementation doubles the underscores of a name (``EscapeName``), but not of a legacy name in a whole family
(``EscapeMetricFamily``). There we follow the page, as prometheus_client and the .NET exporter do: "Existing
underscores MUST be replaced with double underscores". Suffixes that a format adds (``_bucket``, ``_count``,
``_sum``, ``_created``) are not part of a name.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from otel_prom_bridge.arithmetic.merging import merged
from otel_prom_bridge.diagnostics import Conflict, Findings
from otel_prom_bridge.exposition.unchanged import Memory, made_anew
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
_FOREIGN = attrgetter("foreign")


class Escaping(enum.Enum):
    """What to do with characters that legacy names cannot hold; by the names that scrapers use."""

    ALLOW_UTF_8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"


@lru_cache(maxsize=_NAMES_REMEMBERED)
def escaped(name: str, scheme: Escaping, *, label: bool = False) -> str:
    """The name of a metric, or of a label, under a scheme. Only ``dots`` changes legacy names.

    A colon is a legacy character in the names of metrics, but not in those of labels. Prometheus keeps labels
    that begin with two underscores for itself, so a label that would get such a name gets the prefix
    ``exported_``.

    >>> [escaped("http.status", scheme) for scheme in Escaping]
    ['http.status', 'http_status', 'http_dot_status', 'U__http_2e_status']
    >>> [escaped("http_status", scheme) for scheme in Escaping]
    ['http_status', 'http_status', 'http__status', 'http_status']
    """
    is_legacy = is_legacy_label if label else is_legacy_name
    if scheme is Escaping.ALLOW_UTF_8 or (scheme is not Escaping.DOTS and is_legacy(name)):
        return name
    # Whether a character is a legacy one depends on its place, because a digit cannot come first.
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
    """A family as it was escaped last: labels and points one by one, and the family that they became."""

    family: MetricFamily
    labels: list[Labels]
    points: list[Point]
    escaped: MetricFamily


class Escaper:
    """Escapes families for one scheme. What did not change stays the same object, for the encoder to see.

    Safe to use from any thread.
    """

    def __init__(self, scheme: Escaping, *, findings: Findings) -> None:
        self._scheme = scheme
        self._findings = findings
        self._memory = Memory[_Page, tuple[MetricFamily, ...]](nothing=())

    def escape(self, families: tuple[MetricFamily, ...]) -> tuple[MetricFamily, ...]:
        """The families with names that the scheme allows.

        Families of one type that get the same name are merged; of two types the later family is left out.
        """
        if self._scheme is Escaping.ALLOW_UTF_8:
            return families
        if self._scheme is Escaping.DOTS or any(map(_FOREIGN, families)):
            return self._memory.whole(families, self._distinct)
        return families

    def _family(self, family: MetricFamily) -> MetricFamily:
        if not family.foreign and self._scheme is not Escaping.DOTS:
            return family
        page = self._memory.pages.get(family.name)
        if page is not None and page.family is family:
            return page.escaped
        before = page.family.points if page is not None else ()
        known_labels = page.labels if page is not None else []
        changed, made, labels = made_anew(
            before, family.points, known_labels, of_labels=self._labels, of_point=self._point
        )
        points = page.points[: len(family.points)] if page is not None else []
        for index, point in zip(changed, made, strict=False):
            points[index] = point
        points += made
        if page is not None and labels is page.labels and len(page.escaped.points) == len(points):
            # No labels changed, and no two points were merged: neither need they be now.
            result = replace(
                family, name=page.escaped.name, points=tuple(points), foreign=page.escaped.foreign
            )
        else:
            result = _merged_family(family, escaped(family.name, self._scheme), points)
        self._memory.pages[family.name] = _Page(family, labels, points, result)
        return result

    def _point(self, point: Point, labels: Labels) -> Point:
        point = point._replace(labels=labels)
        if isinstance(point, CounterPoint) and point.exemplar is not None:
            return point._replace(exemplar=self._exemplar(point.exemplar))
        if isinstance(point, HistogramPoint) and (point.exemplars or point.native):
            found = (None if item is None else self._exemplar(item) for item in point.exemplars)
            native = point.native and self._native(point.native)
            return point._replace(exemplars=tuple(found), native=native)
        return self._native(point) if isinstance(point, NativeHistogramPoint) else point

    def _native(self, point: NativeHistogramPoint) -> NativeHistogramPoint:
        if not point.exemplars:
            return point
        return point._replace(exemplars=tuple(map(self._exemplar, point.exemplars)))

    def _exemplar(self, item: Exemplar) -> Exemplar:
        # Escaped names may be too long for an exemplar. The ids come first: they are short legacy names.
        kept, room = [], EXEMPLAR_CHARACTERS
        for name, value in sorted(_renamed(item.labels, self._exemplar_label), key=_ids_first):
            if len(name) + len(value) <= room:
                kept.append((name, value))
                room -= len(name) + len(value)
        return item._replace(labels=tuple(kept))

    def _labels(self, labels: Labels) -> Labels:
        return _renamed(labels, self._label)

    def _label(self, name: str) -> str:
        return escaped(name, self._scheme, label=True)

    def _exemplar_label(self, name: str) -> str:
        # Whoever follows a trace looks for `trace_id`, under any scheme. Neither prometheus_client nor
        # client_golang changes legacy names here.
        return name if is_legacy_label(name) else self._label(name)

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


def _renamed(labels: Labels, rename: Callable[[str], str]) -> Labels:
    found: dict[str, list[str]] = {}
    # Values are joined in the order of the original names, by which the labels are sorted.
    for name, value in labels:
        found.setdefault(rename(name), []).append(value)
    return tuple(sorted((name, ";".join(values)) for name, values in found.items()))


def _merged_family(like: MetricFamily, name: str, points: Sequence[Point]) -> MetricFamily:
    groups: dict[tuple[Labels, float | None], list[Point]] = {}
    for point in points:
        groups.setdefault((identity(point.labels), point.timestamp), []).append(point)
    distinct = (g[0] if len(g) == 1 else merged(g, additive=like.additive) for g in groups.values())
    return replace(like, name=name, points=tuple(distinct), foreign=False)
