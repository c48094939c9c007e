"""As much of a policy as the SDK understands, as SDK Views.

The SDK need not keep what no view shows. Its table is smaller then, and a flood of request ids never gets
into it. This only saves memory and time. The store applies the whole policy to whatever comes.

Every SDK View that matches an instrument makes a stream of it. So no two SDK Views may match one instrument,
although the patterns of export views overlap. The solution is one SDK View for each combination of export
views: it matches the instruments that exactly these export views select. A combination gets its SDK View when
its first instrument comes, because far more combinations are possible than anybody ever meets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, TypeAlias, cast

from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    View,
)

from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.forks import renew_in_child, renew_lock
from otel_prom_bridge.native import RLock
from otel_prom_bridge.sdk.versions import view_options
from otel_prom_bridge.views.buckets import selects
from otel_prom_bridge.views.mapping import AttributeMap
from otel_prom_bridge.views.view import ExportView

# How many combinations of views can get an SDK View. The SDK keeps everything of the instruments of others.
_MOST = 500

# The indexes of the views that select an instrument and export something of it.
_Combination: TypeAlias = tuple[int, ...]


class _DisjointView(View):
    """A View that asks which one of several matches an instrument, and matches if it is that one.

    ``_match`` is not part of the SDK's public interface, but the SDK has no other way to say "and not those".
    If a later SDK does not call it any more, this View matches nothing, because no instrument has a name that
    begins with ``_``. Then only the saving is lost.
    """

    def __init__(self, chosen: Callable[[Any], View | None]) -> None:
        super().__init__(instrument_name="_")
        self._chosen = chosen

    def become(self, **options: Any) -> None:
        """Take the options of a View. The SDK reads them only from a View that has matched."""
        super().__init__(instrument_name="_", **options)

    def _match(self, instrument: Any) -> bool:
        return self._chosen(instrument) is self


class _NoFalseAlarm(logging.Filter):
    """Leaves out a warning of the SDK that is wrong for our Views.

    Without Views, the SDK lets two scopes have instruments of the same name. With a View, it warns of each
    such pair. Our Views rename nothing, so they cannot bring two streams together, and the store keeps the
    streams of two scopes apart anyway.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        return not (isinstance(args, tuple) and args and all(isinstance(arg, _DisjointView) for arg in args))


_FALSE_ALARMS = logging.getLogger("opentelemetry.sdk.metrics._internal.metric_reader_storage")
_NO_FALSE_ALARM = _NoFalseAlarm()


def _needed(needs: Sequence[Callable[[str], bool]]) -> set[str]:
    """The attribute keys that some view needs. The SDK asks for every attribute of every measurement.

    The SDK wants a set, and asks ``key in keys``. Views say what they need by patterns, so this is a set
    without members that answers by calling a function. Each answer is remembered. The set has a class of its
    own, so that ``in`` calls the cached function directly, without a Python frame in between.
    """
    answer = lru_cache(maxsize=1000)(lambda key: any(need(key) for need in needs))
    return cast("set[str]", type("_Needed", (set,), {"__contains__": staticmethod(answer)})())


def sdk_views(
    views: Sequence[ExportView],
    map_of: Callable[[ExportView], AttributeMap],
    *,
    fallbacks: int = 1,
    limit: int,
    beside: Sequence[View] = (),
) -> list[View]:
    """The SDK Views for these export views.

    Args:
        views: the export views. The last one is for what no other view selects.
        map_of: gives what a view makes of attributes, which is asked of those that select an instrument.
        fallbacks: how many views at the end are for what none of the views before them selects. The last one
            is among them.
        limit: the SDK's limit for an instrument of which a view says how many series it may have.
        beside: the application's own Views. None of ours matches what one of these matches.
    """
    _FALSE_ALARMS.addFilter(_NO_FALSE_ALARM)  # a filter that is there already is not added again
    *given, rest = range(len(views))
    tiers = (given[: len(views) - fallbacks], given[len(views) - fallbacks :])
    attributes = cache(lambda index: map_of(views[index]))

    def combination(instrument: Any) -> _Combination | None:
        if any(view._match(instrument) for view in beside):
            return None
        for tier in tiers:
            selecting = [index for index in tier if selects(views[index], instrument)]
            if selecting:
                return tuple(index for index in selecting if views[index].name is not None)
        return (rest,)

    def options(combination: _Combination) -> dict[str, Any]:
        return _options([(views[index], attributes(index)) for index in combination], limit)

    # Views that select the same instruments are always together. Patterns that exclude each other are not
    # looked for: an SDK View that no instrument needs costs less than finding out.
    selections = len({_selection(views[index]) for index in given if views[index].name is not None})
    return _Choice(combination, options).views(min(_MOST, 2**selections) + 1)


class _Choice:
    """Decides which View matches an instrument.

    A View takes the options of a combination when the first instrument of that combination comes.
    """

    def __init__(
        self,
        combination: Callable[[Any], _Combination | None],
        options: Callable[[_Combination], dict[str, Any]],
    ) -> None:
        self._combination = combination
        self._options = options
        # Readers of one provider ask independently. A signal handler may ask while its own thread does.
        self._lock = RLock()
        self._free: list[_DisjointView] = []
        self._taken: dict[_Combination, View] = {}
        self._last: tuple[Any, View | None] = (None, None)
        self._findings = Findings()
        renew_in_child(self)

    def renew(self) -> None:
        """In a forked child: wait for no thread of the parent."""
        renew_lock(self)

    def views(self, number: int) -> list[View]:
        """New Views, of this number, among which this object chooses."""
        self._free = [_DisjointView(self.view_of) for _ in range(number)]
        return list(reversed(self._free))

    def view_of(self, instrument: Any) -> View | None:
        """The View that matches the instrument. The answer is remembered: the SDK asks all Views in turn."""
        known, view = self._last  # read together, because other threads ask, too
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
                    " SDK keeps everything",
                    *(len(self._taken), instrument.name),
                )
                return None
            view = self._free.pop()
            view.become(**self._options(combination))
            self._taken[combination] = view
            return view


def _options(chosen: Sequence[tuple[ExportView, AttributeMap]], limit: int) -> dict[str, Any]:
    """The options of the SDK View for these export views, each with what it makes of attributes."""
    if not chosen:
        return {"aggregation": DropAggregation()}
    has_limit = any(view.max_series for view, _ in chosen)
    return {
        "attribute_keys": _needed([attributes.needs for _, attributes in chosen]),
        **view_options(limit if has_limit else None),
    }


def _selection(view: ExportView) -> tuple[object, ...]:
    return (view.instrument_name.lower(), view.classes, view.instrument_unit, view.meter_name)
