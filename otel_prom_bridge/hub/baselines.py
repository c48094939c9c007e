"""Points of clients that add up themselves, as what the store takes.

A counter or a histogram may come as a *total*: what was counted since the client began. The store adds up
what all processes say, also those that have ended. So it takes what came in since the last total. That needs
the last total of each series, here called its baseline.

A level (an up-down counter) may come as a *step*: by how much it rose. What an ended process has added must
go when it goes. So the store takes levels, and the steps of a process are added up here.

Only such clients cost this memory. The bridge's own sends what the store takes.

https://opentelemetry.io/docs/specs/otel/metrics/data-model/#resets-and-gaps
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from otel_prom_bridge.arithmetic.histograms import joined, lowered
from otel_prom_bridge.hub.otlp import (
    OtlpBucketPoint,
    OtlpBuckets,
    OtlpExponentialPoint,
    OtlpNumberPoint,
    Reading,
    Rejected,
)
from otel_prom_bridge.points import SourcePoint, Stream

OtlpPoint: TypeAlias = OtlpNumberPoint | OtlpBucketPoint | OtlpExponentialPoint

MOST_SERIES = 50_000
_FULL = f"more than {MOST_SERIES} series of one source are totals; let it send deltas"


class Baselines:
    """What one source has said last. ``began`` is when the hub did, in nanoseconds since the epoch."""

    def __init__(self, *, began: int) -> None:
        self._began = began
        self._totals: dict[tuple[Stream, object], OtlpPoint] = {}
        self._levels: dict[Stream, dict[object, OtlpNumberPoint]] = {}
        self._held = 0

    @property
    def is_empty(self) -> bool:
        """Nothing has to be remembered of this source."""
        return not self._held

    def taken(self, reading: Reading, rejected: Rejected) -> Sequence[SourcePoint]:
        """The points of a reading as the store takes them."""
        if reading.totals:
            deltas = (self._delta(reading.stream, point, rejected) for point in reading.points)
            return [delta for delta in deltas if delta is not None]
        if reading.steps:
            return self._stepped(reading.stream, reading.points, rejected)
        return reading.points

    def _room(self, rejected: Rejected) -> bool:
        if self._held >= MOST_SERIES:
            rejected.add(1, _FULL)
            return False
        self._held += 1
        return True

    def _delta(self, stream: Stream, point: OtlpPoint, rejected: Rejected) -> OtlpPoint | None:
        key = stream, attributes_key(point.attributes)
        last = self._totals.get(key)
        if last is None:
            if not self._room(rejected):
                return None
            self._totals[key] = point
            # What was counted before this hub began, another one may have shown already. A total without a
            # start counts in full, as nobody can know.
            is_older = point.start_time_unix_nano is not None and point.start_time_unix_nano < self._began
            return _difference(point, point) if is_older else point
        if _is_late(point, last):
            return None
        self._totals[key] = point
        if point.start_time_unix_nano != last.start_time_unix_nano:
            return point  # it began anew
        delta = _difference(point, last) or point
        return delta if _has_something(delta) else None

    def _stepped(self, stream: Stream, points: Iterable[Any], rejected: Rejected) -> Sequence[SourcePoint]:
        levels = self._levels.setdefault(stream, {})
        for point in points:
            key = attributes_key(point.attributes)
            last = levels.get(key)
            if last is not None:
                levels[key] = replace(point, value=last.value + point.value)
            elif self._room(rejected):
                levels[key] = point
        return list(levels.values())  # all of them: what is not mentioned would be gone


def attributes_key(attributes: Mapping[str, object]) -> object:
    """What equal attribute sets have in common, in whichever order and of whichever types they are."""
    return tuple(
        sorted((key, value if type(value) is str else (repr(value),)) for key, value in attributes.items())
    )


def _has_something(delta: OtlpPoint) -> bool:
    """Whether it changes its series. Clients name all totals every time, whether they have changed or not."""
    return bool((delta.value if isinstance(delta, OtlpNumberPoint) else delta.count) or delta.exemplars)


def _is_late(point: OtlpPoint, last: OtlpPoint) -> bool:
    """Whether a later point of the same series came before this one."""
    if (point.start_time_unix_nano or 0) < (last.start_time_unix_nano or 0):
        return True
    return (
        point.start_time_unix_nano == last.start_time_unix_nano and point.time_unix_nano < last.time_unix_nano
    )


def _difference(point: Any, last: Any) -> OtlpPoint | None:
    """What came in between two totals; None if the later one cannot go on from the other."""
    if isinstance(point, OtlpNumberPoint):
        number: OtlpNumberPoint = replace(point, value=point.value - last.value)
        return number if number.value >= 0 else None
    if isinstance(point, OtlpBucketPoint):
        return _of_buckets(point, last)
    return _of_exponential(point, last)


def _of_buckets(point: OtlpBucketPoint, last: OtlpBucketPoint) -> OtlpBucketPoint | None:
    if point.explicit_bounds != last.explicit_bounds:
        return None
    counts = [now - before for now, before in zip(point.bucket_counts, last.bucket_counts, strict=True)]
    if min(counts) < 0:
        return None
    return replace(point, count=sum(counts), sum=point.sum - last.sum, bucket_counts=counts)


def _of_exponential(point: OtlpExponentialPoint, last: OtlpExponentialPoint) -> OtlpExponentialPoint | None:
    by = last.scale - point.scale
    zeros = point.zero_count - last.zero_count
    if by < 0 and (last.positive.bucket_counts or last.negative.bucket_counts):
        return None  # a resolution only ever goes down, unless it begins anew
    positive = _side(point.positive, last.positive, max(0, by))
    negative = _side(point.negative, last.negative, max(0, by))
    if positive is None or negative is None or zeros < 0:
        return None
    return replace(
        point,
        count=point.count - last.count,
        sum=point.sum - last.sum,
        zero_count=zeros,
        positive=positive,
        negative=negative,
    )


def _side(now: OtlpBuckets, before: OtlpBuckets, by: int) -> OtlpBuckets | None:
    minus = [(index, -count) for index, count in lowered(_sparse(before), by)]
    left = [(index, count) for index, count in joined(tuple(_sparse(now)), tuple(minus)) if count]
    if any(count < 0 for _, count in left):
        return None
    if not left:
        return OtlpBuckets(0, ())
    first, last = left[0][0], left[-1][0]
    counts = [0] * (last - first + 1)
    for index, count in left:
        counts[index - first] = count
    return OtlpBuckets(first - 1, counts)


def _sparse(buckets: OtlpBuckets) -> list[tuple[int, int]]:
    counts = enumerate(buckets.bucket_counts, buckets.offset + 1)
    return [(index, count) for index, count in counts if count]
