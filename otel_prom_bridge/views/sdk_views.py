"""As much of a policy as the SDK understands, as SDK Views.

What no view shows need not be kept by the SDK either: its table is smaller then, and a flood of request ids
never gets into it. This is an economy only. The store applies the whole policy to whatever comes.

Every SDK View that matches an instrument makes a stream of it, so the Views must not overlap, nor overlap
with those of the application; but patterns overlap. Therefore there is one for every combination of export
views that select an instrument, and it matches the instruments that just these select. Which combination that
is turns out when its first instrument comes: of overlapping patterns more are possible than anybody meets.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.views.mapping import AttributeMap
from otel_prom_bridge.views.view import ExportView

# https://github.com/open-telemetry/opentelemetry-specification/blob/main/specification/metrics/sdk.md#explicit-bucket-histogram-aggregation
_DEFAULT_BOUNDS: tuple[float, ...] = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)

# How many combinations of views get an SDK View. Of another combination's instruments the SDK keeps all.
_MOST = 500

# Of them for instruments of a combination that record in another unit, and so need other bounds.
_CONVERTED = 20


class _Combination(NamedTuple):
    """Views, by index, and the unit that their bounds are to be converted into."""

    indexes: tuple[int, ...]
    unit: str = ""


class _DisjointView(View):
    """A View that asks which of several matches an instrument, and matches if that is itself.

    ``_match`` is not part of the SDK's public interface, and the SDK has no other way to say "and not
    those". Should a later SDK not call it any more, the patterns that it gets here match nothing (no
    instrument's name begins with ``_``): the economy is lost then, nothing else.
    """

    def __init__(self, chosen: Callable[[Any], View | None]) -> None:
        super().__init__(instrument_name="_")
        self._chosen = chosen

    def become(self, **options: Any) -> None:
        """Take the options of a View. The SDK reads them of a View that matched."""
        super().__init__(instrument_name="_", **options)

    def _match(self, instrument: Any) -> bool:
        return self._chosen(instrument) is self


class _NoFalseAlarm(logging.Filter):
    """Without Views the SDK lets two scopes have instruments of one name; with one it warns of each pair.

    Views of ours rename nothing, so they cannot be why two streams meet, and the store takes them apart.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        return not (isinstance(args, tuple) and args and all(isinstance(arg, _DisjointView) for arg in args))


_FALSE_ALARMS = logging.getLogger("opentelemetry.sdk.metrics._internal.metric_reader_storage")
_NO_FALSE_ALARM = _NoFalseAlarm()


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
    fallbacks: int = 1,
    limit: int,
    beside: Sequence[View] = (),
) -> list[View]:
    """SDK Views for export views; ``maps`` are theirs.

    The last one is for what no other selects, and the last ``fallbacks``, of which it is one, for what none
    before them selects. ``limit`` is the SDK's for an instrument of which a view says how many series it may
    have.
    """
    _FALSE_ALARMS.addFilter(_NO_FALSE_ALARM)  # one that is there already is not added again
    *given, rest = range(len(views))
    tiers = (given[: len(views) - fallbacks], given[len(views) - fallbacks :])

    def combination(instrument: Any) -> _Combination | None:
        if any(view._match(instrument) for view in beside):
            return None
        for tier in tiers:
            selecting = [index for index in tier if _selects(views[index], instrument)]
            if selecting:
                shown = tuple(index for index in selecting if views[index].name is not None)
                return _Combination(shown, _unit([views[index] for index in shown], instrument.unit or ""))
        return _Combination((rest,))

    findings = Findings()

    def options(combination: _Combination) -> dict[str, Any]:
        selecting = [views[index] for index in combination.indexes]
        needs = [maps[index].needs for index in combination.indexes]
        return _options(selecting, needs, combination.unit, limit, findings)

    # Views that select the same instruments are always together. Patterns that exclude each other are not
    # looked for: an SDK View that no instrument needs costs less than finding out.
    selections = len({_selection(views[index]) for index in given if views[index].name is not None})
    converted = _CONVERTED if any(_has_bounds(view) for view in views) else 0
    return _Choice(combination, options, findings).views(min(_MOST, 2**selections) + 1 + converted)


def _has_bounds(view: ExportView) -> bool:
    return view.unit is not None and isinstance(view.buckets, tuple)


def _unit(views: Sequence[ExportView], unit: str) -> str:
    """The unit if it matters: that is, if bounds of some of the views are other numbers in it."""
    converts = any(_has_bounds(view) and view.factor(unit) != view.scale for view in views)
    return unit if converts else ""


class _Choice:
    """Which View matches an instrument; each takes the options of a combination when that is first met."""

    def __init__(
        self,
        combination: Callable[[Any], _Combination | None],
        options: Callable[[_Combination], dict[str, Any]],
        findings: Findings,
    ) -> None:
        self._combination = combination
        self._options = options
        # Readers of one provider ask independently; a signal handler, while its own thread does.
        self._lock = threading.RLock()
        self._free: list[_DisjointView] = []
        self._taken: dict[_Combination, View] = {}
        self._last: tuple[Any, View | None] = (None, None)
        self._findings = findings

    def views(self, number: int) -> list[View]:
        """So many Views among which it chooses."""
        self._free = [_DisjointView(self.view_of) for _ in range(number)]
        return list(reversed(self._free))

    def view_of(self, instrument: Any) -> View | None:
        """The View that matches the instrument; the answer is remembered, as the SDK asks all in turn."""
        known, view = self._last  # together, as other threads ask, too
        if known is not instrument:
            combination = self._combination(instrument)
            view = None if combination is None else self._view(combination, instrument)
            self._last = (instrument, view)
        return view

    def _view(self, combination: _Combination, instrument: Any) -> View | None:
        with self._lock:
            if combination in self._taken:
                return self._taken[combination]
            if not self._free:
                self._findings.report(
                    "full",
                    "views select instruments in more than %d combinations; of %r and what comes after it the"
                    " SDK keeps everything, but no bounds that views ask for",
                    *(len(self._taken), instrument.name),
                )
                return None
            view = self._free.pop()
            view.become(**self._options(combination))
            self._taken[combination] = view
            return view


def _options(
    views: Sequence[ExportView],
    needs: Sequence[Callable[[str], bool]],
    unit: str,
    limit: int,
    findings: Findings,
) -> dict[str, Any]:
    if not views:
        return {"aggregation": DropAggregation()}
    return {
        "attribute_keys": _needed(needs),
        "aggregation": _aggregation(views, unit, findings),
        "aggregation_cardinality_limit": limit if any(view.max_series for view in views) else None,
    }


def _aggregation(views: Sequence[ExportView], unit: str, findings: Findings) -> Aggregation | None:
    asked = [view for view in views if view.buckets is not None]
    if not asked:
        return None
    exponential = [view for view in asked if view.buckets == "exponential"]
    if exponential:
        _report_others(exponential, views, findings)
    if exponential == asked:
        return ExponentialBucketHistogramAggregation()
    bounds = _together(*(view.recorded_bounds(unit) or () for view in asked))
    as_it_is = any(view.take == "value" and not isinstance(view.buckets, tuple) for view in views)
    return (_MoreBounds if as_it_is else ExplicitBucketHistogramAggregation)(boundaries=bounds)


def _report_others(
    exponential: Sequence[ExportView], views: Sequence[ExportView], findings: Findings
) -> None:
    """Log where views do not agree: the SDK records a histogram once for all of them.

    Bounds win, as an exponential histogram has none of them, and every view can show an explicit one.
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


def _selects(view: ExportView, instrument: Any) -> bool:
    scope = instrument.instrumentation_scope.name or ""
    return view.selects_instrument(instrument.name, instrument.unit or "", scope, type(instrument).__mro__)


def _selection(view: ExportView) -> tuple[object, ...]:
    return (view.instrument_name.lower(), view.classes, view.instrument_unit, view.meter_name)
