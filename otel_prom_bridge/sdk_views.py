"""As much of a policy as the SDK understands, as SDK Views.

What no view shows need not be kept by the SDK either: its table is smaller then, and a flood of request ids
never gets into it. This is an economy only. The store applies the whole policy to whatever comes.

Every SDK View that matches an instrument makes a stream of it, so the Views must not overlap, nor overlap
with those of the application; but patterns overlap. Therefore each of ours stands for the instruments of
which one export view is the first that selects them (the last one for all others), and leaves out only what
none of the export views that might select the same instrument needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_prom_bridge.attributes import AttributeMap
from otel_prom_bridge.views import ExportView

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#explicit-bucket-histogram-aggregation
_DEFAULT_BOUNDS: tuple[float, ...] = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)

Selected = Callable[[Any], bool]


class _DisjointView(View):
    """A View that says itself which instruments it matches.

    ``_match`` is not part of the SDK's public interface, and the SDK has no other way to say "and not
    those". Should a later SDK not call it any more, the patterns that it gets here match nothing (no
    instrument's name begins with ``_``): the economy is lost then, nothing else.
    """

    def __init__(self, selected: Selected, **options: Any) -> None:
        super().__init__(instrument_name="_", **options)
        self._selected = selected

    def _match(self, instrument: Any) -> bool:
        return self._selected(instrument)


class _MoreBounds(ExplicitBucketHistogramAggregation):
    """The bounds that views ask for, beside those that a histogram has anyway, which another view shows.

    Neither ``_create_aggregation`` nor the advisory bounds are public. Should a later SDK have neither, the
    bounds that views ask for are all there are.
    """

    def _create_aggregation(self, instrument: Any, *args: Any, **options: Any) -> Any:
        advisory = getattr(instrument, "_advisory", None)
        own = getattr(advisory, "explicit_bucket_boundaries", None)
        bounds = _together(_DEFAULT_BOUNDS if own is None else tuple(own), tuple(self._boundaries or ()))
        aggregation = ExplicitBucketHistogramAggregation(boundaries=bounds)
        return aggregation._create_aggregation(instrument, *args, **options)


@lru_cache(maxsize=1000)  # called for every series of every collection
def _together(*bounds: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({bound for each in bounds for bound in each}))


def _needed(needs: Sequence[Callable[[str], bool]]) -> set[str]:
    """The attribute keys that some view needs; asked by the SDK for every attribute of every measurement.

    The SDK wants a set and asks ``key in keys``. What is needed may be given by patterns, so this is a set
    without members that answers by a function; the answers are remembered. It has a class of its own, so
    that ``in`` calls the remembering function directly, which has no Python frame.
    """
    answer = lru_cache(maxsize=1000)(lambda key: any(need(key) for need in needs))
    return cast("set[str]", type("_Needed", (set,), {"__contains__": staticmethod(answer)})())


def sdk_views(
    views: Sequence[ExportView],
    maps: Sequence[AttributeMap],
    *,
    limit: int,
    beside: Sequence[View] = (),
) -> list[View]:
    """SDK Views for export views, of which the last one selects what no other does; ``maps`` are theirs.

    ``limit`` is the SDK's for an instrument of which a view says how many series it may have.
    """
    # Those which ask for buckets come first: only of their instruments it is certain that they have some.
    order = sorted(range(len(views)), key=lambda index: views[index].buckets is None)

    def first(instrument: Any) -> int | None:
        if any(view._match(instrument) for view in beside):
            return None
        return next(index for index in order if _selects(views[index], instrument))

    def chosen(index: int) -> Selected:
        return lambda instrument: first(instrument) == index

    return [
        _DisjointView(chosen(index), **_options(index, views, maps, limit)) for index in range(len(views))
    ]


def _options(
    index: int, views: Sequence[ExportView], maps: Sequence[AttributeMap], limit: int
) -> dict[str, Any]:
    view = views[index]
    # The last view stands for what is exported as it is: no other selects those instruments.
    rest = index == len(views) - 1
    together = [other for other in range(len(views) - 1) if _may_meet(view, views[other])]
    together = [index] if rest else together
    wanted = [other for other in together if views[other].name is not None]
    if not wanted:
        return {"aggregation": DropAggregation()}
    limited = any(views[other].max_series for other in wanted)
    return {
        "attribute_keys": _needed([maps[other].needs for other in wanted]),
        "aggregation": _aggregation(view, [views[other] for other in wanted]),
        "aggregation_cardinality_limit": limit if limited else None,
    }


def _aggregation(view: ExportView, together: Sequence[ExportView]) -> Aggregation | None:
    # Only a view that asks for buckets itself is sure to select nothing but histograms.
    asked = [other.buckets for other in together if other.buckets is not None]
    if view.buckets is None or not asked:
        return None
    if "exponential" in asked:
        return ExponentialBucketHistogramAggregation()
    bounds = _together(*(tuple(map(float, each)) for each in asked))
    as_it_is = any(other.take == "value" and other.buckets is None for other in together)
    return (_MoreBounds if as_it_is else ExplicitBucketHistogramAggregation)(boundaries=bounds)


def _selects(view: ExportView, instrument: Any) -> bool:
    scope = instrument.instrumentation_scope.name or ""
    classes = tuple(kind for kind in type(instrument).__mro__)
    return view.selects_instrument(instrument.name, instrument.unit or "", scope, classes)


def _may_meet(one: ExportView, other: ExportView) -> bool:
    """Whether an instrument may be selected by both; in doubt it may."""
    if one.classes and other.classes and not set(one.classes) & set(other.classes):
        return False
    if (
        None not in (one.instrument_unit, other.instrument_unit)
        and one.instrument_unit != other.instrument_unit
    ):
        return False
    exact, pattern = (one, other) if one.is_exact else (other, one)
    return not exact.is_exact or pattern.selects_name(exact.instrument_name)
