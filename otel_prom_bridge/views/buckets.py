"""How the SDK records histograms: with the buckets that export views ask for.

The SDK asks an aggregation for each series: the one of the SDK View that matches the instrument or, where
that says nothing, the one that the reader prefers. Ours prefers one that decides by the instrument. So views
have their buckets also where nobody can give Views to the provider, as under ``opentelemetry-instrument``,
and other readers of the provider have theirs.

The SDK's own buckets are made for milliseconds: of times in seconds nearly all are in the first one. So a
histogram in seconds gets others, unless somebody said which ones it should have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DefaultAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.points import Shape, Stream
from otel_prom_bridge.views.view import ExportView

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#explicit-bucket-histogram-aggregation
_DEFAULT_BOUNDS: tuple[float, ...] = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
# For times in seconds of which nobody said how long they are: from quick queries to long answers of models.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# The unit, and how libraries spell it that do not write units as the specification does.
_UNITS_OF_SECONDS = frozenset({"s", "sec", "second", "seconds"})
# Histograms whose aggregation is remembered. Of more, the SDK asks the views again.
_REMEMBERED = 10_000


class _MoreBounds(ExplicitBucketHistogramAggregation):
    """The bounds that views ask for, and those that the histogram has anyway, which another view shows.

    Neither ``_create_aggregation`` nor the advisory bounds are public. If a later SDK has neither, only the
    bounds that views ask for are recorded.
    """

    def _create_aggregation(self, instrument: Any, *args: Any, **options: Any) -> Any:
        advisory = getattr(instrument, "_advisory", None)
        own = getattr(advisory, "explicit_bucket_boundaries", None)
        bounds = _together(_DEFAULT_BOUNDS if own is None else tuple(own), tuple(self._boundaries or ()))
        aggregation = ExplicitBucketHistogramAggregation(boundaries=bounds)
        return aggregation._create_aggregation(instrument, *args, **options)


@lru_cache(maxsize=1000)  # the SDK asks for every series in every collection
def _together(*bounds: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({bound for each in bounds for bound in each}))


class _ByViews(DefaultAggregation):
    """Records a histogram with the buckets that the views ask for which select it.

    ``_create_aggregation`` is not public, and there is no public way to decide by the instrument. If a later
    SDK does not call it, this is the default aggregation.
    """

    def __init__(self, tiers: Sequence[Sequence[ExportView]], findings: Findings, *, seconds: bool) -> None:
        def chosen(instrument: Any) -> Aggregation:
            try:
                shown = _first_selecting(tiers, instrument)
                found = _aggregation(shown, instrument.unit or "", findings)
                return found or (in_seconds if seconds and _is_in_seconds(instrument) else default)
            except Exception:  # an instrument that is made otherwise; its recording must go on
                return default

        default = DefaultAggregation()
        in_seconds = ExplicitBucketHistogramAggregation(boundaries=SECONDS)
        self._chosen = lru_cache(maxsize=_REMEMBERED)(chosen)  # called for every series of every collection

    def _create_aggregation(self, instrument: Any, *args: Any, **options: Any) -> Any:
        return self._chosen(instrument)._create_aggregation(instrument, *args, **options)


def preferred_aggregations(
    tiers: Sequence[Sequence[ExportView]], findings: Findings, *, seconds: bool = True
) -> Mapping[type, Aggregation]:
    """What a reader prefers, by the SDK's class of instruments. Only histograms have buckets.

    The first one of the ``tiers`` counts in which a view selects the instrument. With ``seconds``, histograms
    in seconds of which nobody says the buckets get :data:`SECONDS`.
    """
    if not seconds and all(view.buckets is None for views in tiers for view in views):
        return {}
    return {Histogram: _ByViews(tiers, findings, seconds=seconds)}


def _is_in_seconds(instrument: Any) -> bool:
    """Whether a histogram is in seconds, and its author advises no buckets."""
    advisory = getattr(instrument, "_advisory", None)
    is_advised = getattr(advisory, "explicit_bucket_boundaries", None) is not None
    return _is_second(instrument.unit or "") and not is_advised


def _is_second(unit: str) -> bool:
    return unit.lower() in _UNITS_OF_SECONDS


def _first_selecting(tiers: Sequence[Sequence[ExportView]], instrument: Any) -> list[ExportView]:
    """The views of the first tier with views that select an instrument, without those that export nothing."""
    for views in tiers:
        selecting = [view for view in views if selects(view, instrument)]
        if selecting:
            return [view for view in selecting if view.name is not None]
    return []


def _aggregation(views: Sequence[ExportView], unit: str, findings: Findings) -> Aggregation | None:
    """How the SDK records a histogram for these views, or None if it need not change anything."""
    asked = _asked(views, unit, findings)
    if asked is None:
        return None
    if asked == "exponential":
        return ExponentialBucketHistogramAggregation()
    return (_MoreBounds if _shows_own(views) else ExplicitBucketHistogramAggregation)(boundaries=asked)


def recorded_buckets(
    views: Sequence[ExportView],
    own: Sequence[float] | None,
    unit: str,
    findings: Findings,
    *,
    seconds: bool = True,
) -> tuple[float, ...] | Literal["exponential"]:
    """The bounds with which a histogram is recorded for these views. ``own`` are those that it advises.

    With ``seconds``, a histogram in seconds of which nobody says them gets :data:`SECONDS`.
    """
    default = _DEFAULT_BOUNDS if own is None else _together(tuple(own))
    asked = _asked(views, unit, findings)
    if asked is None:
        return SECONDS if seconds and own is None and _is_second(unit) else default
    if asked == "exponential":
        return asked
    return _together(default, asked) if _shows_own(views) else asked


def _asked(
    views: Sequence[ExportView], unit: str, findings: Findings
) -> tuple[float, ...] | Literal["exponential"] | None:
    """The bounds that views ask for; None if none of them asks for any."""
    asked = [view for view in views if view.buckets is not None]
    if not asked:
        return None
    exponential = [view for view in asked if view.buckets == "exponential"]
    if exponential:
        _report_others(exponential, views, findings)
    if exponential == asked:
        return "exponential"
    return _together(*(view.recorded_bounds(unit) or () for view in asked))


def _shows_own(views: Sequence[ExportView]) -> bool:
    """Whether one of the views shows the bounds that the histogram has anyway."""
    return any(view.take == "value" and not isinstance(view.buckets, tuple) for view in views)


def _report_others(
    exponential: Sequence[ExportView], views: Sequence[ExportView], findings: Findings
) -> None:
    """Log that views do not agree. The SDK records a histogram only once, for all of them.

    Bounds win, because an exponential histogram has no bounds, while every view can show an explicit one.
    """
    asking = " and ".join(view.title for view in exponential)
    bounded = " and ".join(view.title for view in views if isinstance(view.buckets, tuple))
    others = " and ".join(view.title for view in views if view.take == "value" and view.buckets is None)
    if bounded:
        message = "%s: the histogram is recorded with the bounds of %s, not as an exponential one"
        findings.report(("bounded", asking, bounded), message, asking, bounded)
    elif others:
        message = "%s: %s shows an exponential histogram, too, as the SDK records one for all views"
        findings.report(("exponential", asking, others), message, asking, others)


def report_explicit(stream: Stream, views: Sequence[ExportView], findings: Findings) -> None:
    """Log views that ask for an exponential histogram and get another one, unless bounds win anyway."""
    if stream.meaning.shape is not Shape.BUCKETS or any(isinstance(view.buckets, tuple) for view in views):
        return
    for view in views:
        if view.buckets == "exponential":
            findings.report(
                ("explicit", stream.name, view.title),
                "%s: the histogram %r has explicit buckets, because a View of the SDK records it so; take"
                " that View away, or let it record an exponential one",
                *(view.title, stream.name),
            )


def selects(view: ExportView, instrument: Any) -> bool:
    """Whether a view selects an instrument of the SDK."""
    scope = instrument.instrumentation_scope.name or ""
    return view.selects_instrument(instrument.name, instrument.unit or "", scope, type(instrument).__mro__)
