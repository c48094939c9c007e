"""Which exemplars of its points a series takes, and what their labels are."""

from __future__ import annotations

from collections.abc import Mapping

from otel_prom_bridge.families import Exemplar
from otel_prom_bridge.points import SourcePoint
from otel_prom_bridge.store.series import Series
from otel_prom_bridge.translate.exemplars import exemplar
from otel_prom_bridge.views.computations import Outcome
from otel_prom_bridge.views.exemplars import Exemplars
from otel_prom_bridge.views.mapping import AttributeMap

_outcome = Outcome()


class ExemplarIntake:
    """Takes exemplars as ``policy`` says; ``escape`` their labels' names.

    ``attributes`` says what may be seen of attributes that are no labels.
    """

    def __init__(self, policy: Exemplars, attributes: AttributeMap, *, escape: bool) -> None:
        self._policy = policy
        self._attributes = attributes
        self._escape = escape

    def taken(self, point: SourcePoint, series: Series) -> list[Exemplar]:
        """The exemplars of the point that the series is to compare with those that it has."""
        policy = self._policy
        latest = max(item.time_unix_nano for item in point.exemplars) / 1e9
        waits = latest < series.exemplars_from
        if waits and not policy.may_pass(point.time_unix_nano == series.exemplars_of):
            return []
        result = self._labelled(point, series)
        if not policy.interval:
            return result
        rank = policy.rank(latest)
        # Each one that is taken makes the series wait: of a histogram's many none is left out for one.
        result = sorted(result, key=policy.order(latest))[-policy.at_once :]
        if waits:
            result = [item for item in result if rank(item) > series.exemplars_rank]
        else:
            series.exemplars_from = latest + policy.interval * len(result)
        if result:
            series.exemplars_of, series.exemplars_rank = point.time_unix_nano, max(map(rank, result))
        return result

    def _labelled(self, point: SourcePoint, series: Series) -> list[Exemplar]:
        extra = self._attributes.exemplar_attributes(point.attributes or {}, overflowed=series.overflowed)
        result = []
        for source in point.exemplars:
            filtered = source.filtered_attributes or {}  # what an SDK View left out of the point
            left_out = self._attributes.exemplar_attributes(filtered, overflowed=True)
            shown = self._policy.chosen({**extra, **left_out})
            item = exemplar(source, shown, escape=self._escape)
            if self._policy.keep == "error" and _failed({**(point.attributes or {}), **filtered}):
                item = item._replace(failed=True)
            result.append(item)
        return result


def _failed(attributes: Mapping[str, object]) -> bool:
    return _outcome(attributes) == _outcome.error
