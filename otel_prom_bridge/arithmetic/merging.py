"""Several points with equal labels become one.

Translation, and the escaping that a scraper asks for, can make one series of several. No value is lost then:
sums and histograms add up, and of gauges the one that changed last stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_prom_bridge.arithmetic.histograms import by_bucket, by_time, native_sum, rebucket, to_classic, total
from otel_prom_bridge.families import (
    CounterPoint,
    Exemplar,
    GaugePoint,
    HistogramPoint,
    NativeHistogramPoint,
    Point,
)

# Half of what the SDK's reservoir hands over for an exponential histogram, because every scrape carries them
# all.
MAX_NATIVE_EXEMPLARS = 10


def merged(group: Sequence[Point], *, additive: bool = True) -> Point:
    """One point for a group of points of the same kind, with the labels of the first.

    ``additive`` says that gauges add up, too, because they are non-monotonic sums.
    """
    first = group[0]
    if isinstance(first, CounterPoint):
        counters = [point for point in group if isinstance(point, CounterPoint)]
        return first._replace(
            value=total(point.value for point in counters),
            exemplar=newest([point.exemplar for point in counters]),
            created=earliest([point.created for point in counters]),
        )
    if isinstance(first, GaugePoint):
        gauges = [point for point in group if isinstance(point, GaugePoint)]
        newest_gauge = max(gauges, key=lambda point: point.updated)
        value = total(point.value for point in gauges) if additive else newest_gauge.value
        return first._replace(value=value, updated=newest_gauge.updated)
    if isinstance(first, HistogramPoint | NativeHistogramPoint):
        return _merged_histograms([p for p in group if isinstance(p, HistogramPoint | NativeHistogramPoint)])
    return group[-1]._replace(labels=first.labels)


def newest(exemplars: Sequence[Exemplar | None]) -> Exemplar | None:
    """The exemplar with the latest timestamp, and of equal ones the last."""
    latest: Exemplar | None = None
    for item in exemplars:
        if item is not None and (latest is None or by_time(item) >= by_time(latest)):
            latest = item
    return latest


def native_exemplars(
    exemplars: Sequence[Exemplar], *, order: Callable[[Exemplar], tuple[float, ...]] = by_time
) -> tuple[Exemplar, ...]:
    """The greatest exemplars of a native histogram, by default the newest.

    The oldest of them comes first, as Prometheus wants it.
    """
    kept = sorted(exemplars, key=order)[-MAX_NATIVE_EXEMPLARS:]
    return tuple(sorted(kept, key=lambda item: item.timestamp or 0))


def earliest(times: Sequence[float | None]) -> float | None:
    """The earliest of the known times."""
    return min((time for time in times if time is not None), default=None)


def _merged_histograms(group: Sequence[HistogramPoint | NativeHistogramPoint]) -> Point:
    created = earliest([point.created for point in group])
    native = [point for point in group if isinstance(point, NativeHistogramPoint)]
    if len(native) == len(group):
        exemplars = [item for point in native for item in point.exemplars]
        return native_sum(native)._replace(exemplars=native_exemplars(exemplars), created=created)
    classic = [point for point in group if isinstance(point, HistogramPoint)]
    # Buckets that not all of them have are joined to the next higher one.
    bounds = tuple(sorted(set.intersection(*(set(point.bounds) for point in classic))))
    classic += [to_classic(point, bounds) for point in native]
    return _classic_sum(classic, bounds)._replace(labels=group[0].labels, created=created)


def _classic_sum(group: Sequence[HistogramPoint], bounds: tuple[float, ...]) -> HistogramPoint:
    columns = [rebucket(point.bounds, point.counts, bounds) for point in group]
    sums = [point.sum for point in group if point.sum is not None]
    exemplars = (item for point in group for item in point.exemplars if item is not None)
    return group[0]._replace(
        native=None,
        bounds=bounds,
        counts=tuple(map(sum, zip(*columns, strict=True))),
        sum=total(sums) if len(sums) == len(group) else None,
        exemplars=by_bucket(bounds, exemplars),
    )
