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
from otel_prom_bridge.limits import sdk_limit
from otel_prom_bridge.views import ExportView

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


class _Needed(set[str]):
    """The attribute keys that some view needs; asked by the SDK for every attribute of every measurement.

    The SDK wants a set and asks ``key in keys``. What is needed may be given by patterns, so this is a set
    without members that answers by a function; the answers are remembered.
    """

    def __init__(self, needs: Callable[[str], bool]) -> None:
        super().__init__()
        self._needs = lru_cache(maxsize=1000)(needs)

    def __contains__(self, key: object) -> bool:
        return self._needs(cast("str", key))


def sdk_views(
    views: Sequence[ExportView], maps: Sequence[AttributeMap], *, beside: Sequence[View] = ()
) -> list[View]:
    """SDK Views for export views, of which the last one selects what no other does; ``maps`` are theirs."""

    def first(instrument: Any) -> int | None:
        if any(view._match(instrument) for view in beside):
            return None
        return next(index for index, view in enumerate(views) if _selects(view, instrument))

    def chosen(index: int) -> Selected:
        return lambda instrument: first(instrument) == index

    return [
        _DisjointView(chosen(index), **_options(index, view, views, maps)) for index, view in enumerate(views)
    ]


def _options(
    index: int, view: ExportView, views: Sequence[ExportView], maps: Sequence[AttributeMap]
) -> dict[str, Any]:
    # The last view stands for what is exported as it is: no other selects those instruments.
    rest = index == len(views) - 1
    together = [other for other in range(len(views) - 1) if _may_meet(view, views[other])]
    together = [index] if rest else together
    wanted = [other for other in together if views[other].name is not None]
    needs = [maps[other].needs for other in wanted]
    if not wanted:
        return {"aggregation": DropAggregation()}
    limit = max((views[other].max_series or 0 for other in wanted), default=0)
    return {
        "attribute_keys": _Needed(lambda key: any(need(key) for need in needs)),
        "aggregation": _aggregation(view, [views[other] for other in wanted]),
        "aggregation_cardinality_limit": sdk_limit(limit) if limit else None,
    }


def _aggregation(view: ExportView, together: Sequence[ExportView]) -> Aggregation | None:
    # Only a view that asks for buckets itself is sure to select nothing but histograms.
    if view.buckets is None:
        return None
    if any(other.buckets == "exponential" for other in together):
        return ExponentialBucketHistogramAggregation()
    bounds = {bound for other in together for bound in (other.buckets or ()) if not isinstance(bound, str)}
    return ExplicitBucketHistogramAggregation(boundaries=sorted(bounds))


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
